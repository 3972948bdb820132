"""The event model, stage 1: a frame at any time from warped frames and the events around it.

Yu, Zhang, Liu, Zou, Chen, Liu and Ren, "Training Weakly Supervised Video Frame Interpolation with
Events", ICCV 2021. Written from a description of the network; parameter names are those of the
official checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midframe.models.base import Interpolator, Pad
from midframe.models.blocks import lacking, wide
from midframe.models.warped import mixed, moved
from midframe.models.wevi_parts import GROUPS, LEVELS, FuseNet, UNet, draw_published
from midframe.types import Inputs, Prediction

Base = Literal["none", "warped"]
MULTIPLE = 16
CHANNELS = (32, 64, 128, 256, 256)


class EventInterpolator(Interpolator):
    """The network; see the module's page for the paper.

    Both frames are splatted to the target time along ``motion``; one U-Net sees them, one the
    events around that time, and a third network fuses the features of both. It works on frames in
    [-1, 1], in which what nothing reaches is 0: mid grey. Any size will do: what the network sees
    is padded with zeros at the bottom and right, as published.

    Args:
        channels: of both U-Nets' encoders at H, H/2, H/4, H/8 and H/16; multiples of 4.
        bins: of the events.
        base: "none" as published; "warped" adds the network's output, which then begins at zero,
            to the average of the warped frames: a start for short runs.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"events", "motion"})
    pad = Pad(1)
    casts: ClassVar[bool] = True
    state_names: ClassVar[Mapping[str, str]] = MappingProxyType({"Generator": ""})

    def __init__(
        self, channels: Sequence[int] = CHANNELS, bins: int = 8, base: Base = "none"
    ) -> None:
        super().__init__()
        if len(channels) != LEVELS or any(c < GROUPS or c % GROUPS for c in channels):
            raise ValueError(f"channels={list(channels)}: give {LEVELS} multiples of {GROUPS}")
        if base not in get_args(Base):
            raise ValueError(f"base is {' or '.join(get_args(Base))}, not {base!r}")
        self.bins, self.base = bins, base
        self.eventUnet = UNet(bins, channels)
        self.frameUnet = UNet(6, channels)
        self.fuseNet = FuseNet(channels)
        draw_published(self)
        if base == "warped":
            nn.init.zeros_(self.fuseNet.ItStage1[-1].weight)  # type: ignore[arg-type]

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        """Interpolate at every ``x.t``; the frame is not clamped.

        Args:
            x: two frames of any size with motion and events, see `Inputs`.
            **hints: options of other models; ignored.

        Raises:
            UserError: without events or motion.
        """
        frame = self.staged(x)[0]
        return Prediction(((frame + 1) / 2).unflatten(0, x.t.shape))

    def staged(self, x: Inputs) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the frames (B * T, 3, H, W) in [-1, 1] and features at H/4, H/2 and H.

        The features, (B * T, C, h, w), are those of H and W as next multiples of 4.
        """
        self.check_given(x)
        assert x.events is not None
        self.check_bins(x.events)
        ends = tuple(2 * wide(frame) - 1 for frame in x.pair)
        if self.base == "warped":  # ones tell where anything lands
            ends = tuple(torch.cat((end, torch.ones_like(end[:, :1])), 1) for end in ends)
        first, second = moved(x, (ends[0], ends[1]))
        seen = torch.cat((first[:, :3], second[:, :3]), 1)
        frame, features = self.render(seen, x.events.flatten(0, 1))
        if self.base == "warped":
            reached = (first[:, 3:].round(), second[:, 3:].round())
            one, two = ((y[:, :3] + 1) / 2 for y in (first, second))
            frame = frame + 2 * mixed(x, one, two, reached) - 1
        return frame, features

    def render(self, warped: Tensor, events: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return a frame (N, 3, H, W) in [-1, 1] and features at H/4, H/2 and H.

        Args:
            warped: (N, 6, H, W) both frames at the target time in [-1, 1], any size.
            events: (N, bins, H, W) signed counts around that time.
        """
        height, width = warped.shape[-2:]
        right, bottom = (lacking(size, MULTIPLE) for size in (width, height))
        # a single value at H/16 has no statistics; without a branch, which no recorder keeps
        right += MULTIPLE // torch.sym_max(torch.sym_max(width, height), MULTIPLE) * MULTIPLE
        sides = (0, right, 0, bottom)
        seen, counts = (F.pad(y.to(self.dtype), sides) for y in (warped, events))
        frame, features = self.fuseNet(self.eventUnet(counts), self.frameUnet(seen))
        rows, columns = ((size + 3) // 4 for size in (height, width))
        cut = [y[..., : rows * k, : columns * k] for y, k in zip(features, (1, 2, 4))]
        return wide(frame)[..., :height, :width], tuple(cut)

    def check_bins(self, events: Tensor) -> None:
        """Raise ValueError for events (..., C, H, W) of another number of bins."""
        if events.shape[-3] != self.bins:
            raise ValueError(f"events have {events.shape[-3]} bins, the model has {self.bins}")
