"""The simplest baseline: the average of the two frames, weighted by time."""

from __future__ import annotations

from typing import Any, ClassVar

from midframe.models.base import Interpolator, Pad
from midframe.types import Inputs, Prediction


class Average(Interpolator):
    """``(1 - t) * frame0 + t * frame1``: what every model has to beat."""

    provides: ClassVar[frozenset[str]] = frozenset({"flow", "mask"})
    trainable: ClassVar[bool] = False
    pad = Pad(1)

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        """Blend the two frames; flow is zero and the mask is 1 - t."""
        first, second = (frame[:, None] for frame in x.pair)
        batch, times = x.t.shape
        t = x.t[:, :, None, None, None].to(first.dtype)
        height, width = first.shape[-2:]
        return Prediction(
            frame=(1 - t) * first + t * second,
            flow=first.new_zeros(batch, times, 2, 2, height, width),
            flow_kind="backward",
            mask=(1 - t).expand(batch, times, 1, height, width),
        )
