"""The event model, stage 2: detail that both frames have is brought to the frame of stage 1.

Yu et al., "Training Weakly Supervised Video Frame Interpolation with Events", ICCV 2021. Written
from a description of the network; parameter names are those of the official checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midframe.models.base import Interpolator, Pad
from midframe.models.blocks import join, lacking, per_time, wide
from midframe.models.wevi import CHANNELS, Base, EventInterpolator
from midframe.models.wevi_attention import Attention, Features, Pyramid, chosen, fit_matrix, spread
from midframe.models.wevi_parts import GROUPS, FuseBlock, doubled, draw_published, edged
from midframe.types import Inputs, Prediction

MULTIPLE = 4
IDLE = tuple(
    f"AttDecoder.RB1.{block}.conv{layer}.{kind}"
    for block in (2, 3)
    for layer in (1, 2)
    for kind in ("weight", "bias")
)


class ResBlock(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, h, w)."""
        return x + self.conv2(F.relu(self.conv1(x)))


class Extractor(nn.Module):
    """Features of the target at a quarter of the size, in fewer channels."""

    def __init__(self, inside: int, width: int) -> None:
        super().__init__()
        self.conv_head = nn.Conv2d(inside, width, 3, padding=1)
        self.RBs = nn.Sequential(*(ResBlock(width) for _ in range(4)))
        self.conv_tail = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, width, h, w)."""
        x = F.relu(self.conv_head(x))
        return x + self.conv_tail(self.RBs(x))


class MergeTail(nn.Module):
    """Three levels become a picture."""

    def __init__(self, quarter: int, half: int, full: int) -> None:
        super().__init__()
        self.conv13 = nn.Conv2d(quarter, full, 1)
        self.conv23 = nn.Conv2d(half, full, 1)
        self.conv_merge = nn.Conv2d(3 * full, full, 3, padding=1)
        self.conv_tail1 = nn.Conv2d(full, full // 2, 3, padding=1)
        self.conv_tail2 = nn.Conv2d(full // 2, 3, 1)

    def forward(self, quarter: Tensor, half: Tensor, full: Tensor) -> Tensor:
        """Return (N, 3, H, W)."""
        # a 1x1 convolution and enlarging may change places, which saves most of the former
        coarse = F.relu(doubled(self.conv13(quarter), 4))
        middle = F.relu(doubled(self.conv23(half)))
        merged = F.relu(self.conv_merge(join(full, coarse, middle)))
        return self.conv_tail2(self.conv_tail1(merged))


class Decoder(nn.Module):
    """What is added to the frame of stage 1.

    Args:
        found: channels of the features from the neighbours at H, H/2 and H/4.
        stage: channels of stage 1's at H, H/2 and H/4.
        embed: channels of the target's own.
        widths: of the decoder at H/4, H/2 and H.
    """

    def __init__(
        self,
        found: Sequence[int],
        stage: Sequence[int],
        embed: int,
        widths: Sequence[int],
    ) -> None:
        super().__init__()
        quarter, half, full = widths
        self.SFE = Extractor(found[2], embed)
        self.ConvIn = nn.Sequential(*edged(embed + found[2] + stage[2], quarter))
        self.RB0 = nn.Sequential(*(ResBlock(quarter) for _ in range(4)))
        self.AADBlk1 = FuseBlock(quarter, half, found[1], stage[1])
        self.RB1 = nn.Sequential(*(ResBlock(half) for _ in range(4)))  # the last two are idle
        self.AADBlk2 = FuseBlock(half, full, found[0], stage[0])
        self.RB2 = nn.Sequential(*(ResBlock(full) for _ in range(2)))
        self.merge_tail = MergeTail(quarter, half, full)

    def forward(self, own: Tensor, found: Pyramid, stage: Pyramid) -> Tensor:
        """Return (N, 3, H, W).

        Args:
            own: features of the target at H/4.
            found: those from the neighbours, finest first.
            stage: those of stage 1, finest first.
        """
        quarter = self.ConvIn(join(self.SFE(own), found[2], stage[2]))
        quarter = quarter + self.RB0(quarter)
        half = self.AADBlk1(doubled(quarter), found[1], stage[1])
        half = half + self.RB1[1](self.RB1[0](half))
        full = self.AADBlk2(doubled(half), found[0], stage[0])
        full = full + self.RB2(full)
        return self.merge_tail(quarter, half, full)


class Refine(nn.Module):
    """What stage 2 learns: attention to both frames, and a decoder that begins at zero.

    Args:
        bins: of the events.
        stage: channels of stage 1's features at H, H/2 and H/4.
        features: channels of a frame's features at H, H/2 and H/4; multiples of 4.
        embed: channels in which places are compared, and of the target in the decoder.
        decoder: channels of the decoder at H/4, H/2 and H; the last one even.
    """

    def __init__(
        self,
        bins: int,
        stage: Sequence[int],
        features: tuple[int, int, int],
        embed: int,
        decoder: Sequence[int],
    ) -> None:
        super().__init__()
        self.subAttnMatC = nn.Parameter(fit_matrix(), requires_grad=False)
        self.feaExt = Features(3 + bins, features)
        self.AttnMultiScale = Attention(features[2], embed)
        self.AttDecoder = Decoder(features, stage, embed, decoder)
        draw_published(self.feaExt)
        draw_published(self.AttDecoder)
        nn.init.zeros_(self.AttDecoder.merge_tail.conv_tail2.weight)

    def forward(self, target: Tensor, ends: Sequence[Tensor], stage: Pyramid) -> Tensor:
        """Return what is added to the target frames, (B * T, 3, H, W) in [-1, 1].

        Args:
            target: (B * T, 3 + bins, H, W) the frames of stage 1 with the events around them; sizes
                are multiples of 4.
            ends: (B, 3 + bins, H, W) the same of both frames; looked at once for all times.
            stage: features of stage 1, finest first.
        """
        times = len(target) // max(len(ends[0]), 1)
        own = self.feaExt(target)
        wanted = self.AttnMultiScale.described(own[2])
        alike, found = [], []
        for end in ends:
            features = self.feaExt(end)
            offered = per_time(self.AttnMultiScale.described(features[2]), times)
            score, values = self.AttnMultiScale(
                wanted, offered, spread(features, times), self.subAttnMatC
            )
            alike.append(score.to(target.dtype))
            found.append(values)
        best = chosen((alike[0], alike[1]), (found[0], found[1]))
        return self.AttDecoder(own[2], best, stage)


class EventRefine(Interpolator):
    """The network; see the module's page for the paper.

    Stage 1 stands within as the part ``generator`` and does not change. Before training, and where
    nothing was learnt, the frame is that of stage 1 to the bit.

    Args:
        channels: of stage 1, see `EventInterpolator`.
        bins: of the events.
        base: of stage 1.
        features: channels of what attention compares, at H, H/2 and H/4; multiples of 4.
        embed: channels in which it compares.
        decoder: channels of the decoder at H/4, H/2 and H; the last one even.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"events", "events_ends", "motion"})
    provides: ClassVar[frozenset[str]] = frozenset({"frames_coarse"})
    pad = Pad(1)
    casts: ClassVar[bool] = True
    # pixels of a side from which on no level, down to 1/16 of the size, has one only: PyTorch
    # records for any size what holds for more than one, and refuses to say so of fewer
    recorded_from: ClassVar[int] = 17
    idle: ClassVar[frozenset[str]] = frozenset(f"refine.{name}" for name in IDLE)
    state_names: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"Generator": "generator.", "attnRefine": "refine."}
    )

    def __init__(
        self,
        channels: Sequence[int] = CHANNELS,
        bins: int = 8,
        base: Base = "none",
        features: Sequence[int] = (32, 64, 128),
        embed: int = 32,
        decoder: Sequence[int] = (64, 32, 16),
    ) -> None:
        super().__init__()
        if len(features) != 3 or any(c < GROUPS or c % GROUPS for c in features):
            raise ValueError(f"features={list(features)}: give three multiples of {GROUPS}")
        if len(decoder) != 3 or decoder[2] < 2 or decoder[2] % 2:
            raise ValueError(f"decoder={list(decoder)}: give three widths, the last one even")
        self.bins = bins
        self.generator = EventInterpolator(channels, bins, base).requires_grad_(False)
        full, half, quarter = features
        self.refine = Refine(bins, channels[:3], (full, half, quarter), embed, decoder)
        for name in self.idle:  # else distributed training would wait for their gradients
            self.get_parameter(name).requires_grad_(False)

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        """Interpolate at every ``x.t``; the frame is not clamped.

        Args:
            x: two frames of any size with motion and events, also around both frames.
            **hints: options of other models; ignored.

        Returns:
            Frame, and as ``frames_coarse`` that of stage 1, of the same size.

        Raises:
            UserError: without events or motion.
        """
        self.check_given(x)
        assert x.events is not None and x.events_ends is not None
        height, width = x.frames.shape[-2:]
        sides = (0, lacking(width, MULTIPLE), 0, lacking(height, MULTIPLE))
        with torch.no_grad():
            first, stage = self.generator.staged(x)
        dtype = self.dtype
        target = torch.cat((first, x.events.flatten(0, 1).to(first.dtype)), 1)
        ends = [
            torch.cat((2 * wide(frame) - 1, wide(events)), 1)
            for frame, events in zip(x.pair, x.events_ends.unbind(1))
        ]
        seen = [F.pad(y.to(dtype), sides) for y in (target, *ends)]
        more = wide(self.refine(seen[0], seen[1:], (stage[2], stage[1], stage[0])))
        frame = first + more[..., :height, :width]
        one, two = (((y + 1) / 2).unflatten(0, x.t.shape) for y in (frame, first))
        return Prediction(one, frames_coarse=(two,))
