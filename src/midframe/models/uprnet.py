"""UPR-Net: unified pyramid recurrent network, sizes base, large and LARGE.

Jin et al., "A Unified Pyramid Recurrent Network for Video Frame Interpolation", CVPR 2023, arXiv
2211.03456. The same small network runs at every level of an image pyramid, from coarse to fine: it
estimates the motion between the frames after splatting their features to the middle, then
synthesises the frame from what forward warping gives and from the frame of the level before.
Written from a description of the network; parameter names are those of the official checkpoints,
whose licence (CC BY-NC-ND 4.0) forbids to ship them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midframe.models.base import Interpolator, Pad
from midframe.models.blocks import bgr, conv, join, leaky, resize, wide
from midframe.models.flow_init import Init, draw_enlarging, silence, start_seeing, wants_he
from midframe.ops import correlation, splat
from midframe.types import Inputs, Prediction

SIZES = {"small": 0.5, "base": 1.0, "large": 1.5, "LARGE": 2.0}  # small is not a published one
FEATURES = (16, 32, 64)
MOTION = (160, 128, 112, 96, 64)
SYNTHESIS = (32, 64, 128)
RADIUS = 4
GREATEST_LEVELS = 10  # of the image pyramid: what the authors' rule gives for 57,344 pixels
TRAINED_WIDTH = 448  # of Vimeo90K, at which three levels suffice
BENCHMARKS: dict[str, dict[str, int]] = {  # published choices, by how a benchmark's family begins
    "vimeo": {"pyr_level": 3},
    "ucf101": {"pyr_level": 3},
    "snufilm": {"pyr_level": 5},
    "x4k": {"pyr_level": 7, "nr_lvl_skipped": 2},
}


def _prelu(*layers: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    """Put a PReLU with one slope per channel behind each layer."""
    both = [m for layer in layers for m in (layer, nn.PReLU(layer.out_channels))]
    return nn.Sequential(*both)


class FeaturePyramid(nn.Module):
    """Features of one frame: (N, 3, h, w) -> c0 at h, c1 at h/2, c2 at h/4."""

    conv_stage0: nn.Sequential
    conv_stage1: nn.Sequential
    conv_stage2: nn.Sequential

    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        inside = 3
        for stage, width in enumerate(widths):
            first = conv(inside, width, stride=2 if stage else 1)
            rest = [conv(width, width) for _ in range(3)]
            setattr(self, f"conv_stage{stage}", leaky(first, *rest))
            inside = width

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the three scales, finest first."""
        fine = self.conv_stage0(x)
        half = self.conv_stage1(fine)
        return fine, half, self.conv_stage2(half)


class MotionEstimator(nn.Module):
    """Flow between the frames at a quarter of the level's resolution."""

    def __init__(self, feature: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        inside, kernel = (2 * RADIUS + 1) ** 2 + 3 * feature + 4, 1
        for layer, width in enumerate(widths, start=1):
            setattr(self, f"conv_layer{layer}", leaky(conv(inside, width, kernel)))
            inside, kernel = width, 3
        self.conv_layer6 = nn.Sequential(conv(inside, 4))

    def forward(
        self, first: Tensor, second: Tensor, feature: Tensor, flow: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Estimate flow anew from the level before.

        Args:
            first: c2 features (N, C, h, w) of frame 0; second of frame 1.
            second: see ``first``.
            feature: (N, C, h, w) motion features of the level before.
            flow: (N, 4, h, w) 0->1 then 1->0, in pixels of the level, of which h is a quarter.

        Returns:
            flow in the same unit, and the motion features.
        """
        middle = flow * 0.25 * 0.5  # to the temporal middle, in pixels of this grid
        one = splat(first, middle[:, :2], None, "avg", "zeroeps")
        two = splat(second, middle[:, 2:], None, "avg", "zeroeps")
        volume = F.leaky_relu(correlation(one, two, RADIUS), 0.1)
        x = join(volume, one, two, feature, flow.to(feature.dtype))
        for layer in (1, 2, 3, 4, 5):
            x = getattr(self, f"conv_layer{layer}")(x)
        return wide(self.conv_layer6(x)), x


class SynthesisNetwork(nn.Module):
    """The frame from both frames and features, splatted to its time."""

    def __init__(self, feature: tuple[int, int, int], widths: tuple[int, int, int]) -> None:
        super().__init__()
        (c0, c1, c2), (s0, s1, s2) = feature, widths

        def up(inside: int, outside: int) -> nn.Sequential:
            return _prelu(nn.ConvTranspose2d(inside, outside, 4, 2, 1), conv(outside, outside))

        def down(inside: int, outside: int) -> nn.Sequential:
            rest = (conv(outside, outside), conv(outside, outside))
            return _prelu(conv(inside, outside, stride=2), *rest)

        self.encoder_conv = _prelu(conv(19, s0), conv(s0, s0))
        self.encoder_down1 = down(s0 + 2 * c0, s1)
        self.encoder_down2 = down(s1 + 2 * c1, s2)
        self.decoder_up1 = up(s2 + 2 * c2, s1)
        self.decoder_up2 = up(2 * s1, s0)
        self.decoder_conv = _prelu(conv(2 * s0, s0), conv(s0, s0))
        self.pred = conv(s0, 5)

    def forward(
        self, before: Tensor | None, level: Level, t: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Synthesise one level of the frame at t.

        Args:
            before: (B, 3, h, w) the frame of the level before, or None at the coarsest.
            level: frames, features and flow.
            t: (B,).

        Returns:
            frame (B, 3, h, w), the weight of frame 0 (B, 1, h, w), the residual (B, 3, h, w).
        """
        dtype = self.pred.weight.dtype
        at = t.reshape(-1, 1, 1, 1).to(level.flows[0].dtype)
        way = torch.cat((at, at, 1 - at, 1 - at), 1)
        flows = [flow * way for flow in level.flows]
        image, warped = self._warp(level, flows)
        if before is None:
            before = image[0] * (1 - at) + image[1] * at
        seen = (before, *image, *level.frames, flows[0])
        s0 = self.encoder_conv(join(*(x.to(dtype) for x in seen)))
        s1 = self.encoder_down1(join(s0, *warped[0]))
        s2 = self.encoder_down2(join(s1, *warped[1]))
        x = self.decoder_up1(join(s2, *warped[2]))
        x = self.decoder_up2(join(x, s1))
        said = wide(self.pred(self.decoder_conv(join(x, s0))))
        residual = 2 * torch.sigmoid(said[:, :3]) - 1
        mask = _share(torch.sigmoid(said[:, 3:4]) * (1 - at), torch.sigmoid(said[:, 4:]) * at, at)
        merged = image[0] * mask + image[1] * (1 - mask)
        return (merged + residual).clamp(0, 1), mask, residual

    @staticmethod
    def _warp(level: Level, flows: list[Tensor]) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Return both frames splatted, and per scale both features splatted."""
        image: list[Tensor] = []
        warped: list[list[Tensor]] = [[], [], []]
        for side in (0, 1):
            part = slice(2 * side, 2 * side + 2)
            for scale, (feature, flow) in enumerate(zip(level.features[side], flows)):
                warped[scale].append(splat(feature, flow[:, part], None, "avg", "zeroeps"))
            image.append(splat(level.frames[side], flows[0][:, part], None, "avg", "zeroeps"))
        return image, warped


@dataclass
class Level:
    """What one level of the image pyramid knows whatever the time.

    Attributes:
        frames: both, (B, 3, h, w).
        features: of both at h, h/2 and h/4.
        flows: 0->1 and 1->0 (B, 4, ...) at h, h/2 and h/4, each in its own pixels.
    """

    frames: tuple[Tensor, Tensor]
    features: tuple[tuple[Tensor, ...], tuple[Tensor, ...]]
    flows: tuple[Tensor, ...] = ()

    def move(self, flow: Tensor) -> Level:
        """Set the flow (B, 4, h, w), and those of the smaller scales from it."""
        half = resize(flow, 0.5) * 0.5
        self.flows = (flow, half, resize(half, 0.5) * 0.5)
        return self


class UPRNet(Interpolator):
    """The network; see the module's page for the paper.

    Args:
        size: "base", "large" or "LARGE": all widths times 1, 1.5 or 2. "small", half as wide as
            base, is midframe's own: a quarter of the parameters, for processors.
        init: "default" is PyTorch's, as published. "he" starts at no motion and at the average of
            the frames, with features by which places can be told apart, and improves on the average
            within a few hundred steps: see `flow_init.start_seeing`.
    """

    provides: ClassVar[frozenset[str]] = frozenset(
        {"flow", "mask", "residual", "flows_coarse", "frames_coarse"}
    )
    pad = Pad(16, "half", "after")
    casts: ClassVar[bool] = True

    def __init__(
        self,
        size: Literal["small", "base", "large", "LARGE"] = "base",
        init: Init = "default",
    ) -> None:
        super().__init__()
        if size not in SIZES:
            raise ValueError(f"UPR-Net has sizes {', '.join(SIZES)}, not {size!r}")

        def scaled(width: int) -> int:
            return int(width * SIZES[size])

        c0, c1, c2 = map(scaled, FEATURES)
        s0, s1, s2 = map(scaled, SYNTHESIS)
        self.feat_pyramid = FeaturePyramid((c0, c1, c2))
        self.motion_estimator = MotionEstimator(c2, tuple(map(scaled, MOTION)))
        self.synthesis_network = SynthesisNetwork((c0, c1, c2), (s0, s1, s2))
        if wants_he("UPR-Net", init):
            start_seeing(self, self.feat_pyramid)
            draw_enlarging(self.synthesis_network)
            silence(self.motion_estimator.conv_layer6, self.synthesis_network.pred)

    def hints(self, height: int, width: int, benchmark: str | None = None) -> dict[str, Any]:
        """Return the published choice for a benchmark.

        Elsewhere it is that of the authors' demo: three levels at a width of 448, one more per
        octave.
        """
        for family, hints in BENCHMARKS.items():
            if (benchmark or "").startswith(family):
                return dict(hints)
        return {"pyr_level": max(math.ceil(math.log2(width / TRAINED_WIDTH) + 3), 1)}

    def padding(self, pyr_level: int = 3, nr_lvl_skipped: int = 0, **hints: Any) -> Pad:
        """Sizes are multiples of 2 ** (pyr_level + 1); ValueError for levels that do not fit."""
        both = pyr_level, nr_lvl_skipped
        whole = all(isinstance(x, int) and not isinstance(x, bool) for x in both)
        if not whole or not 0 <= nr_lvl_skipped < pyr_level <= GREATEST_LEVELS:
            raise ValueError(
                f"UPR-Net takes whole numbers, pyr_level >= 1 and <= {GREATEST_LEVELS}, and "
                f"0 <= nr_lvl_skipped < pyr_level, not {pyr_level} and {nr_lvl_skipped}"
            )
        return replace(self.pad, multiple=2 ** (pyr_level + 1))

    def forward(
        self, x: Inputs, pyr_level: int = 3, nr_lvl_skipped: int = 0, **hints: Any
    ) -> Prediction:
        """Interpolate at every ``x.t``; motion and features are computed once for all of them.

        Args:
            x: two frames; height and width must be multiples of ``2 ** (pyr_level + 1)``.
            pyr_level: levels of the image pyramid: 3 in training, 5 for SNU-FILM, 7 for 4K.
            nr_lvl_skipped: of the finest levels: their motion is that of the level above, and only
                the finest is synthesised; 2 for 4K.
            **hints: options of other models; ignored.

        Returns:
            Frame (clamped to [0, 1]), flow 0->1 and 1->0 (the same for every t), the weight of
            frame 0, residual; frames and flows of the coarser levels.

        Raises:
            ValueError: for sizes or levels that do not fit.
        """
        self.check_size(x, pyr_level=pyr_level, nr_lvl_skipped=nr_lvl_skipped)
        pair = tuple(bgr(frame) for frame in x.pair)
        levels = self._levels(pair, pyr_level, nr_lvl_skipped)
        # One time after the other: the finest level fills a processor with one frame, and on a CPU
        # seven at once take twice as long as one by one, since nothing stays in its caches.
        made = [self._synthesise(levels, t) for t in x.t.unbind(1)]
        return self._prediction(levels, made)

    def _levels(self, pair: tuple[Tensor, ...], count: int, skipped: int) -> list[Level]:
        """Return the levels, coarsest first: all that serves every time."""
        flow = feature = None
        levels = []
        for number in reversed(range(skipped, count)):
            level = self._level(pair, number)
            flow, feature = self._motion(level, flow, feature)
            levels.append(level.move(resize(flow, 4.0)))
        if skipped:
            assert flow is not None  # fewer levels are skipped than there are
            scale = 2.0**skipped
            finest = resize(resize(flow, scale) * scale, 4.0)
            levels.append(self._level(pair, 0).move(finest))
        return levels

    def _synthesise(self, levels: list[Level], t: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """Return the frames of all levels at t (B,), finest first, mask and residual."""
        frames: list[Tensor] = []
        before = None
        for level in levels:
            if frames:
                before = resize(frames[0], level.frames[0].shape[-1] / frames[0].shape[-1])
            frame, mask, residual = self.synthesis_network(before, level, t)
            frames.insert(0, frame)
        return frames, mask, residual

    def _level(self, pair: tuple[Tensor, ...], number: int) -> Level:
        """Return the frames at 1 / 2 ** number of their size, resized in one step, and features."""
        both = resize(torch.cat(pair), 0.5**number)
        features = self.feat_pyramid(both.to(self.dtype))
        first, second = both.chunk(2)
        of_first, of_second = zip(*(scale.chunk(2) for scale in features))
        return Level((first, second), (of_first, of_second))

    def _motion(
        self, level: Level, flow: Tensor | None, feature: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Estimate flow (B, 4, h/4, w/4) and motion features from those of the level before."""
        first, second = (features[-1] for features in level.features)
        if flow is None or feature is None:
            flow = level.frames[0].new_zeros(first.shape[0], 4, *first.shape[-2:])
            feature = torch.zeros_like(first)
        else:
            # the features are doubled like the flow: so are the published weights trained
            flow, feature = resize(flow, 2.0) * 2, resize(feature, 2.0) * 2
        return self.motion_estimator(first, second, feature, flow)

    @staticmethod
    def _prediction(
        levels: list[Level], made: list[tuple[list[Tensor], Tensor, Tensor]]
    ) -> Prediction:
        frames, masks, residuals = zip(*made)
        pictures = [torch.stack(times, 1).flip(2) for times in zip(*frames)]  # RGB

        def shared(y: Tensor) -> Tensor:
            y = y.reshape(y.shape[0], 1, 2, 2, *y.shape[-2:])
            return y.expand(-1, len(made), -1, -1, -1, -1)

        flows = [shared(level.flows[0]) for level in reversed(levels)]
        return Prediction(
            frame=pictures[0],
            flow=flows[0],
            flow_kind="forward",
            mask=torch.stack(masks, 1),
            residual=torch.stack(residuals, 1).flip(2),
            frames_coarse=tuple(pictures[1:]),
            flows_coarse=tuple(flows[1:]),
        )


def _share(first: Tensor, second: Tensor, t: Tensor) -> Tensor:
    """Return first / (first + second), and 1 - t where both are zero.

    The published form divides there and gives NaN, which masks that underflow have been seen to do.
    """
    total = first + second
    empty = total == 0
    return torch.where(empty, 1 - t, first / torch.where(empty, 1.0, total))
