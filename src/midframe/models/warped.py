"""Frames moved along given motion to the target times: what the event model sees, and a baseline.

Motion is the forward flow 0->t and 1->t; who makes it is the subject of `midframe.models.motion`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from midframe.models.average import blend
from midframe.models.base import Interpolator, Pad
from midframe.models.blocks import per_time, wide
from midframe.ops import splat
from midframe.types import Inputs, Prediction


def moved(x: Inputs, frames: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Splat two pictures of each sample to every target time: the average of what lands.

    Args:
        x: with motion.
        frames: (B, C, H, W) at times 0 and 1.

    Returns:
        (B * T, C, H, W) of each; exactly 0 where nothing lands.

    Source: Yu et al., "Training Weakly Supervised Video Frame Interpolation with Events", ICCV
    2021; the bilinear average of `midframe.ops.splat`.
    """
    assert x.motion is not None
    times = x.t.shape[1]
    pictures = torch.cat([per_time(wide(frame), times) for frame in frames])
    flow = wide(torch.cat(x.motion.flatten(0, 1).unbind(1)))
    first, second = splat(pictures, flow, mode="avg", normalize="zeroeps").chunk(2)
    return first, second


def mixed(x: Inputs, first: Tensor, second: Tensor, reached: tuple[Tensor, Tensor]) -> Tensor:
    """Average moved frames by time; a pixel that one does not reach is taken from the other.

    Args:
        x: the inputs that were moved, whose plain average fills what neither reaches.
        first: (B * T, 3, H, W), frame 0 at the target times.
        second: the same of frame 1.
        reached: (B * T, 1, H, W) 1 where anything of frames 0 and 1 lands, else 0.

    Returns:
        (B * T, 3, H, W).
    """
    t = x.t.reshape(-1, 1, 1, 1).to(first.dtype)
    # never zero, so that at t = 0 frame 1 still fills what frame 0 leaves open
    share0, share1 = (1 - t).clamp(min=1e-3) * reached[0], t.clamp(min=1e-3) * reached[1]
    total = share0 + share1
    empty = total == 0
    frame = (share0 * first + share1 * second) / torch.where(empty, 1.0, total)
    return torch.where(empty, blend(x).flatten(0, 1).to(frame.dtype), frame)


def warped_average(x: Inputs) -> Tensor:
    """Return both frames moved to ``x.t`` and averaged, see `mixed`: (B, T, 3, H, W)."""
    ones = torch.ones_like(x.frames[:, 0, :1])
    first, second = moved(x, tuple(torch.cat((f, ones), 1) for f in x.pair))  # type: ignore[arg-type]
    frame = mixed(x, first[:, :3], second[:, :3], (first[:, 3:].round(), second[:, 3:].round()))
    return frame.unflatten(0, x.t.shape)


class Warped(Interpolator):
    """`warped_average` as a model: what motion alone gives, a floor for models that see it."""

    needs: ClassVar[frozenset[str]] = frozenset({"motion"})
    trainable: ClassVar[bool] = False
    pad = Pad(1)

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        """Splat the two frames along ``x.motion`` and average them."""
        self.check_given(x)
        return Prediction(warped_average(x))
