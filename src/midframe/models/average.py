"""The simplest baseline: the average of the two frames, weighted by time."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from midframe.models.base import Interpolator, Pad
from midframe.types import Inputs, Prediction


def blend(x: Inputs) -> Tensor:
    """Return ``(1 - t) * frame0 + t * frame1``, (B, T, 3, H, W)."""
    first, second = (frame[:, None] for frame in x.pair)
    t = x.t[:, :, None, None, None].to(first.dtype)
    return (1 - t) * first + t * second


class Average(Interpolator):
    """`blend` as a model: what every other has to beat."""

    provides: ClassVar[frozenset[str]] = frozenset({"flow", "mask"})
    trainable: ClassVar[bool] = False
    pad = Pad(1)

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        """Blend the two frames; flow is zero and the mask is 1 - t."""
        batch, times = x.t.shape
        frame = blend(x)
        height, width = frame.shape[-2:]
        share = (1 - x.t[:, :, None, None, None]).to(frame.dtype)
        return Prediction(
            frame=frame,
            flow=frame.new_zeros(batch, times, 2, 2, height, width),
            flow_kind="backward",
            mask=share.expand(batch, times, 1, height, width),
        )
