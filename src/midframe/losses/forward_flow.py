"""What networks that splat learn from flow labels: their flow starts where the labels end."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from midframe.errors import UserError
from midframe.losses.base import precise
from midframe.losses.flow import Labelled, enlarge, mean_of
from midframe.ops import backwarp
from midframe.types import Batch, Prediction


class ForwardFlowSupervision(Labelled):
    """Mean end-point error of flow 0->1 and 1->0 over all levels, in pixels of the full size.

    The labels belong to the target at t: a point seen at x there lies at ``x + (t->0)(x)`` in frame
    0 and at ``x + (t->1)(x)`` in frame 1. So the flow 0->1 of the first place is the difference of
    the two labels, whatever the motion in between, and that is what the prediction, sampled there,
    is held against; 1->0 likewise. A place counts where the frame shows what the target shows,
    since else the point is hidden there or out of the picture.

    Args:
        tolerance: how far the colours of the target and of the frame at that place may differ, in
            the mean over the channels, range [0, 1].
    """

    needs = frozenset({"pred.flow", "target"})
    kind: ClassVar[Literal["backward", "forward"]] = "forward"
    advice: ClassVar[str] = "drop the flow term from loss.terms, or use FlowSupervision"

    def __init__(self, tolerance: float = 0.06) -> None:
        super().__init__()
        if not tolerance > 0:
            raise UserError(f"tolerance={tolerance} of flow supervision must be above 0")
        self.tolerance = tolerance

    @torch.no_grad()
    def trusted(self, known: Tensor, label: Tensor, batch: Batch) -> Tensor:
        """Return where both labels are known and the point is seen in the frame, by direction."""
        assert batch.target is not None
        target, frames = precise(batch.target, batch.inputs.frames)
        half = frames.shape[1] // 2
        pair = frames[:, None, half - 1 : half + 1].expand(-1, label.shape[1], -1, -1, -1, -1)
        # 0 is no colour then, so that what is out of the picture never fits
        seen = backwarp(pair.flatten(0, 2) + 1, label.flatten(0, 2), border="zeros") - 1
        apart = (seen.view_as(pair) - target[:, :, None]).abs().mean(3)
        return known.all(2, keepdim=True) & (apart <= self.tolerance)

    def per_sample(self, pred: Prediction, label: Tensor, known: Tensor) -> Tensor:
        """Return (B,) means over the levels."""
        assert pred.flow is not None
        flows = precise(pred.flow, *pred.flows_coarse)
        wanted = label.flip(2) - label
        way = label.flatten(0, 2)
        total = label.new_zeros(label.shape[0])
        for flow in flows:
            full = flow if flow.shape[-2:] == label.shape[-2:] else enlarge(flow, label)
            there = backwarp(full.flatten(0, 2), way).view_as(label)
            difference = there - wanted
            value = ((difference * difference).sum(3) + 1e-6).sqrt()
            total = total + mean_of(value, known)
        return total / len(flows)
