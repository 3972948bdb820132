"""Losses on flow t->0 and t->1, by exact flow or by pseudo labels of a flow network."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from midframe.errors import UserError
from midframe.losses.base import Term, precise
from midframe.types import Batch, Prediction

if TYPE_CHECKING:
    from midframe.models.base import Interpolator

_log = logging.getLogger(__name__)
UNKNOWN = 1e9  # flow beyond it is not known, by Middlebury's convention


def adaptive_charbonnier(difference: Tensor, weight: Tensor | float) -> Tensor:
    """(d^2 + eps^2)^(w/2) with eps = 10^(-(10w-1)/3), elementwise.

    w = 1 is the Charbonnier norm with eps 1e-3, w = 0 the constant 1 that nothing is learnt from.

    Source: IFRNet, "task-oriented flow distillation", eq. 8 and 9.
    """
    weight = torch.as_tensor(weight, dtype=difference.dtype, device=difference.device)
    epsilon = 10.0 ** (-(10.0 * weight - 1.0) / 3.0)
    return (difference * difference + epsilon * epsilon) ** (weight / 2.0)


class _Labelled(Term):
    """A term on labels that a batch, or some samples of it, may lack."""

    uses = frozenset({"flow"})

    def __init__(self) -> None:
        super().__init__()
        self._seen = False

    def forward(self, pred: Prediction, batch: Batch, model: Interpolator) -> Tensor:
        """Return the mean over the samples with labels; without any, a zero with a gradient."""
        if pred.flow_kind == "forward":
            raise UserError(
                f"{type(self).__name__} needs flow t->0 and t->1, but {type(model).__name__} "
                "predicts flow between the frames; drop the flow term from loss.terms"
            )
        self._tell(batch)
        if batch.flow is None:
            (anchor,) = precise(self._anchor(pred))
            return 0.0 * anchor.flatten()[0]
        (label,) = precise(batch.flow)
        if batch.flow_valid is None:
            return self.per_sample(pred, label).mean()
        valid = batch.flow_valid.to(label.dtype)
        # What stands in place of a label may be anything, and 0 * NaN is NaN.
        label = torch.where(valid.view(-1, 1, 1, 1, 1, 1) > 0, label, torch.zeros_like(label))
        return (self.per_sample(pred, label) * valid).sum() / valid.sum().clamp(min=1.0)

    def per_sample(self, pred: Prediction, label: Tensor) -> Tensor:
        """Return (B,) values for labels (B, T, 2, 2, H, W)."""
        raise NotImplementedError

    @staticmethod
    def _anchor(pred: Prediction) -> Tensor:
        value = pred.flows_coarse[-1] if pred.flows_coarse else pred.flow
        assert value is not None
        return value

    def _tell(self, batch: Batch) -> None:
        """Say once that labels are missing; only the first batch is looked at (it costs a sync)."""
        if self._seen:
            return
        self._seen = True
        if batch.flow is None or (
            batch.flow_valid is not None and not bool((batch.flow_valid > 0).any())
        ):
            _log.warning(
                "no flow labels in the first batch: %s is zero wherever they are missing "
                "(teacher=dis computes some)",
                type(self).__name__,
            )


class FlowDistillation(_Labelled):
    """IFRNet's task-oriented distillation of the coarse flows.

    Each coarse flow, brought to full size, is held against the labels by `adaptive_charbonnier`
    with w = exp(-strength * EPE of the finest flow): where the finest flow, which serves the
    frame, disagrees with the label, the label counts less. The finest flow itself only gives w.
    Summed over levels and the two directions.

    Args:
        strength: 0.3 in the paper.
    """

    needs = frozenset({"pred.flow", "pred.flows_coarse"})

    def __init__(self, strength: float = 0.3) -> None:
        super().__init__()
        self.strength = strength

    def per_sample(self, pred: Prediction, label: Tensor) -> Tensor:
        """Return (B,) sums over levels and directions."""
        assert pred.flow is not None
        finest = precise(pred.flow.detach())[0]
        error = torch.linalg.vector_norm(finest - label, dim=3, keepdim=True)
        weight = torch.exp(-self.strength * error)
        total = label.new_zeros(label.shape[0])
        for flow in precise(*pred.flows_coarse):
            value = adaptive_charbonnier(_enlarge(flow, label) - label, weight)
            total = total + 2.0 * value.flatten(1).mean(1)  # the mean is over both directions
        return total


class FlowSupervision(_Labelled):
    """Mean end-point error over all levels, in pixels of the full size.

    Every level is held against the label averaged down to its size, in one unit, and the levels
    are averaged by their weights: a value of 1 means that flows are off by about one pixel, at any
    size and number of levels. For pre-training on exact flow, or as a plain distillation.

    Args:
        norm: "epe", sqrt(dx^2 + dy^2 + 1e-6), or "l1", |dx| + |dy|.
        level_weights: of the finest flow, then of the coarse ones, finest first; None: all 1.
            A shorter list leaves out the coarsest levels.
    """

    needs = frozenset({"pred.flow"})

    def __init__(
        self,
        norm: Literal["epe", "l1"] = "epe",
        level_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if norm not in ("epe", "l1"):
            raise UserError(f"flow supervision has norm epe or l1, not {norm!r}")
        if level_weights is not None and not sum(level_weights) > 0:
            raise UserError(f"level_weights {list(level_weights)} leave no level to supervise")
        self.norm = norm
        self.level_weights = None if level_weights is None else [float(w) for w in level_weights]

    def per_sample(self, pred: Prediction, label: Tensor) -> Tensor:
        """Return (B,) weighted means over the levels."""
        assert pred.flow is not None
        flows = precise(pred.flow, *pred.flows_coarse)
        weights = self.level_weights or [1.0] * len(flows)
        if len(weights) > len(flows):
            raise UserError(f"{len(weights)} level_weights for {len(flows)} levels of flow")
        total = label.new_zeros(label.shape[0])
        for weight, flow in zip(weights, flows):
            if weight == 0:
                continue
            difference = flow * _scale(flow, label) - _shrink(label, flow)
            if self.norm == "epe":
                value = ((difference * difference).sum(3) + 1e-6).sqrt()
            else:
                value = difference.abs().sum(3)
            total = total + weight * value.flatten(1).mean(1)
        return total / sum(weights)


class MultiScaleEPE(Term):
    """PWC-Net's loss of a flow network: end-point errors of all its levels.

    For every pair of frames and each level l: alpha_l times the sum over the level's pixels of
    ``(|flow - label| + epsilon)^q``, in the network's unit; the mean is over the pairs of a batch,
    both directions counted. Labels are averaged down to a level over those of its pixels that are
    known, and a coarse pixel counts by their share. Unknown are pixels that are not finite or
    beyond 1e9, and samples that ``flow_valid`` leaves out.

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
            flow = forward_flow(level, batch.inputs.t) * (_scale(level, batch.flow) / self.unit)
            target, share = _known_mean(label, known, flow)
            total = total + alpha * (self._per_pair(flow - target, share) * counts).sum()
        return total / counts.sum().clamp(min=1.0)

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
        if pred.flow_kind != "forward":
            raise UserError(
                f"MultiScaleEPE is for flow networks, but {type(model).__name__} predicts flow "
                "from the frames between; use FlowSupervision"
            )
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
    known = (label.abs() <= UNKNOWN).all(2)  # of NaN, too, this is false
    label = torch.where(known[:, :, None], label, torch.zeros_like(label))
    counts = ((t == 0) | (t == 1)).to(label.dtype)
    if batch.flow_valid is not None:
        counts = counts * (batch.flow_valid[:, None] > 0)
    return label, known.to(label.dtype), counts


def _known_mean(label: Tensor, known: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Average labels (B, T, 2, H, W), 0 where unknown, down to the size of ``like``.

    Returns:
        The mean of the known pixels (B, T, 2, h, w), and their share (B, T, h, w).
    """
    size = like.shape[-2:]
    if label.shape[-2:] == size:
        return label, known
    share = F.interpolate(known, size=size, mode="area")
    mean = F.interpolate(label.flatten(0, 1), size=size, mode="area").unflatten(0, label.shape[:2])
    return mean / share.clamp(min=1e-6)[:, :, None], share


def _scale(flow: Tensor, like: Tensor) -> Tensor | float:
    """Return the factor, or (2, 1, 1) factors, from pixels of ``flow`` to pixels of ``like``."""
    across, down = (like.shape[i] / flow.shape[i] for i in (-1, -2))
    if across == down:
        return across  # no constant to send to the device
    return flow.new_tensor([across, down]).view(2, 1, 1)


def _enlarge(flow: Tensor, like: Tensor) -> Tensor:
    """Resize flow (B, T, 2, 2, h, w) bilinearly to the size of ``like``, in its pixels."""
    flat = flow.reshape(-1, 2, *flow.shape[-2:])
    with torch.autocast(flow.device.type, enabled=False):
        flat = F.interpolate(flat, size=like.shape[-2:], mode="bilinear", align_corners=False)
    return flat.reshape(*flow.shape[:4], *like.shape[-2:]) * _scale(flow, like)


def _shrink(label: Tensor, like: Tensor) -> Tensor:
    """Average a label down to the size of ``like``; its values stay in full-size pixels."""
    if label.shape[-2:] == like.shape[-2:]:
        return label
    flat = F.interpolate(label.flatten(0, 2), size=like.shape[-2:], mode="area")
    return flat.reshape(*label.shape[:4], *like.shape[-2:])
