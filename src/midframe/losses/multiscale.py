"""The loss that PWC-Net and its successors are trained with: all levels against exact flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from midframe.errors import UserError
from midframe.losses.base import Term, precise
from midframe.losses.fields import check_kind
from midframe.losses.levels import known_mean, labelled, scale_to
from midframe.types import Batch, Prediction, known_flow

if TYPE_CHECKING:
    from midframe.models.base import Interpolator


class MultiScaleEPE(Term):
    """PWC-Net's loss of a flow network: end-point errors of all its levels.

    For every pair of frames and each level l: alpha_l times the sum over the level's pixels of
    ``(|flow - label| + epsilon)^q``, in the network's unit; the mean is over the pairs of a batch,
    both directions counted. Labels are averaged down to a level over those of its pixels that are
    known, and a coarse pixel counts by their share. Unknown are pixels that `known_flow` says and
    samples that ``flow_valid`` leaves out.

    The flow 0->1 is held against labels at t = 0, 1->0 against those at t = 1; other times do not
    count.

    Source: Sun et al., "PWC-Net", CVPR 2018, eq. 3 and 4; Adam's weight decay stands for the norm.

    Args:
        alphas: of the levels, finest first: 2 to 6 in the paper.
        unit: pixels of the input per unit of the network, 20.
        norm: "l2", or "l1" as the paper fine-tunes.
        q: exponent, 1; 0.4 in fine-tuning, which gives outliers less weight.
        epsilon: 0; 0.01 in fine-tuning.
        reduction: over the pixels of a level: "sum" as published, or "mean", by which the loss
            does not depend on the crop's size.

    Raises:
        UserError: for options out of range; in `forward` if flow does not go from frame to frame,
            or if no label is at the frames' own times.
    """

    needs = frozenset({"flow", "pred.flows_coarse"})

    def __init__(
        self,
        alphas: Sequence[float] = (0.005, 0.01, 0.02, 0.08, 0.32),
        unit: float = 20.0,
        norm: Literal["l2", "l1"] = "l2",
        q: float = 1.0,
        epsilon: float = 0.0,
        reduction: Literal["sum", "mean"] = "sum",
    ) -> None:
        super().__init__()
        if norm not in ("l2", "l1") or reduction not in ("sum", "mean"):
            raise UserError(f"norm is l2 or l1 and reduction sum or mean, not {norm}, {reduction}")
        if not sum(alphas) > 0 or not unit > 0:
            raise UserError(f"alphas {list(alphas)}, unit {unit}: they leave nothing to learn from")
        if not 0 < q <= 1 or epsilon < 0 or (q < 1 and epsilon == 0):
            raise UserError(
                f"q={q}, epsilon={epsilon}: q lies in (0, 1], and below 1 it takes an epsilon "
                "above 0, such as q=0.4, epsilon=0.01"
            )
        self.alphas = [float(alpha) for alpha in alphas]
        self.unit, self.norm, self.q, self.epsilon = float(unit), norm, float(q), float(epsilon)
        self.reduction = reduction
        self._seen = False

    def forward(self, pred: Prediction, batch: Batch, model: Interpolator) -> Tensor:
        """Return the sum over levels, the mean over pairs of frames."""
        self._check(pred, batch, model)
        assert batch.flow is not None
        label, known, counts = ends(batch)
        label = label / self.unit
        total = label.new_zeros(())
        for alpha, level in zip(self.alphas, precise(*pred.flows_coarse)):
            if alpha == 0:
                continue
            flow = forward_flow(level, batch.inputs.t) * (scale_to(batch.flow, level) / self.unit)
            target, share = known_mean(label, known, flow.shape[-2:])
            total = total + alpha * (self._per_pair(flow - target, share) * counts).sum()
        return total / labelled(counts.sum())

    def _per_pair(self, difference: Tensor, share: Tensor) -> Tensor:
        """Return (B, T) sums (or means) over the pixels of (B, T, 2, h, w), weighted by share."""
        length = torch.linalg.vector_norm(difference, ord=2 if self.norm == "l2" else 1, dim=2)
        if self.q != 1.0 or self.epsilon:
            length = (length + self.epsilon) ** self.q
        total = (length * share).sum((-1, -2))
        if self.reduction == "sum":
            return total
        return total / share.sum((-1, -2)).clamp(min=1.0)

    def _check(self, pred: Prediction, batch: Batch, model: Interpolator) -> None:
        advice = "it is for flow networks; use FlowSupervision"
        check_kind(type(self).__name__, "forward", pred, model, advice)
        if len(self.alphas) > len(pred.flows_coarse):
            raise UserError(
                f"{len(self.alphas)} alphas for {len(pred.flows_coarse)} levels of flow; "
                "give loss.terms...alphas one per level, finest first"
            )
        if self._seen:
            return
        self._seen = True  # only the first batch is looked at: it costs a sync
        if not bool(((batch.inputs.t == 0) | (batch.inputs.t == 1)).any()):
            raise UserError(
                f"{type(model).__name__} learns from flow at the frames' own times, t = 0 and "
                f"t = 1, but the labels of {batch.meta.dataset or 'this data'} lie between; use "
                "data=flyingchairs or data=synthetic (pack data for a flow network with "
                "model=pwcnet)"
            )


def forward_flow(flow: Tensor, t: Tensor) -> Tensor:
    """Return of flow 0->1 and 1->0 (B, T, 2, 2, h, w) the one that starts at t: (B, T, 2, h, w)."""
    return torch.where((t == 1)[:, :, None, None, None], flow[:, :, 1], flow[:, :, 0])


def ends(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Return the labels from frame to frame: what starts at t = 0 goes to 1, and the reverse.

    Returns:
        Labels (B, T, 2, H, W) in at least float32, 0 where unknown; which of their pixels are
        known (B, T, H, W); and which (B, T) are at the frames' own times and valid. The last two
        are 0 or 1 in the labels' dtype.
    """
    assert batch.flow is not None
    (flow,), t = precise(batch.flow), batch.inputs.t
    label = torch.where((t == 1)[:, :, None, None, None], flow[:, :, 0], flow[:, :, 1])
    known = known_flow(label)
    label = torch.where(known[:, :, None], label, torch.zeros_like(label))
    counts = ((t == 0) | (t == 1)).to(label.dtype)
    if batch.flow_valid is not None:
        counts = counts * (batch.flow_valid[:, None] > 0)
    return label, known.to(label.dtype), counts
