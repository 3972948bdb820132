"""Losses on flow t->0 and t->1, by exact flow or by pseudo labels of a flow network."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from midframe.errors import UserError
from midframe.losses.base import Term, precise
from midframe.losses.fields import check_kind
from midframe.losses.levels import known_mean, labelled, scale_to

# configs of earlier runs name it here
from midframe.losses.multiscale import MultiScaleEPE as MultiScaleEPE
from midframe.types import Batch, Prediction, known_flow

if TYPE_CHECKING:
    from midframe.models.base import Interpolator

_log = logging.getLogger(__name__)


def adaptive_charbonnier(difference: Tensor, weight: Tensor | float) -> Tensor:
    """(d^2 + eps^2)^(w/2) with eps = 10^(-(10w-1)/3), elementwise.

    w = 1 is the Charbonnier norm with eps 1e-3, w = 0 the constant 1 that nothing is learnt from.

    Source: IFRNet, "task-oriented flow distillation", eq. 8 and 9.
    """
    weight = torch.as_tensor(weight, dtype=difference.dtype, device=difference.device)
    epsilon = 10.0 ** (-(10.0 * weight - 1.0) / 3.0)
    return (difference * difference + epsilon * epsilon) ** (weight / 2.0)


class Labelled(Term):
    """A term on labels that a batch, some samples of it, or some of their pixels may lack."""

    reads = frozenset({"flow"})
    kind: ClassVar[Literal["backward", "forward"]] = "backward"  # of the predictions it is for
    advice: ClassVar[str] = "drop the flow term from loss.terms, or use ForwardFlowSupervision"

    def __init__(self) -> None:
        super().__init__()
        self._seen = False

    def forward(self, pred: Prediction, batch: Batch, model: Interpolator) -> Tensor:
        """Return the mean over the samples with labels; without any, a zero with a gradient."""
        check_kind(type(self).__name__, self.kind, pred, model, self.advice)
        self._tell(batch)
        if batch.flow is None:
            (anchor,) = precise(self._anchor(pred))
            labelled(anchor.new_zeros(()))  # another process may have some
            return 0.0 * anchor.flatten()[0]
        (label,) = precise(batch.flow)
        known = known_flow(label)
        if batch.flow_valid is not None:
            known = known & (batch.flow_valid > 0).view(-1, 1, 1, 1, 1)
        # What stands in place of a label may be anything, and 0 * NaN is NaN.
        label = torch.where(known.unsqueeze(3), label, torch.zeros_like(label))
        known = self.trusted(known, label, batch)
        valid = known.flatten(1).any(1).to(label.dtype)
        values = self.per_sample(pred, label, known.to(label.dtype))
        return (values * valid).sum() / labelled(valid.sum())

    def trusted(self, known: Tensor, label: Tensor, batch: Batch) -> Tensor:
        """Return of the known pixels, bool (B, T, 2, H, W), those that something is learnt from."""
        return known

    def per_sample(self, pred: Prediction, label: Tensor, known: Tensor) -> Tensor:
        """Return (B,) means over known pixels.

        Args:
            pred: of the model.
            label: (B, T, 2, 2, H, W) in at least float32, 0 where unknown.
            known: (B, T, 2, H, W), 1 or 0, in the labels' dtype.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define per_sample")

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


class FlowDistillation(Labelled):
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

    def per_sample(self, pred: Prediction, label: Tensor, known: Tensor) -> Tensor:
        """Return (B,) sums over levels and directions."""
        assert pred.flow is not None
        finest = precise(pred.flow.detach())[0]
        error = torch.linalg.vector_norm(finest - label, dim=3, keepdim=True)
        weight = torch.exp(-self.strength * error)
        total = label.new_zeros(label.shape[0])
        for flow in precise(*pred.flows_coarse):
            value = adaptive_charbonnier(enlarge(flow, label) - label, weight).mean(3)
            total = total + 2.0 * mean_of(value, known)  # the mean is over both directions
        return total


class FlowSupervision(Labelled):
    """Mean end-point error over all levels, in pixels of the full size.

    Every level is held against the label averaged down to its size, in one unit; only known pixels
    are averaged, and a coarse pixel counts by their share. The levels are averaged by their
    weights: a value of 1 means that flows are off by about one pixel, at any size and number of
    levels. For pre-training on exact flow, or as a plain distillation.

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

    def per_sample(self, pred: Prediction, label: Tensor, known: Tensor) -> Tensor:
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
            target, share = known_mean(label, known, flow.shape[-2:])
            difference = flow * scale_to(label, flow) - target
            if self.norm == "epe":
                value = ((difference * difference).sum(3) + 1e-6).sqrt()
            else:
                value = difference.abs().sum(3)
            total = total + weight * mean_of(value, share)
        return total / sum(weights)


def enlarge(flow: Tensor, like: Tensor) -> Tensor:
    """Resize flow (B, T, 2, 2, h, w) bilinearly to the size of ``like``, in its pixels."""
    flat = flow.reshape(-1, 2, *flow.shape[-2:])
    with torch.autocast(flow.device.type, enabled=False):
        flat = F.interpolate(flat, size=like.shape[-2:], mode="bilinear", align_corners=False)
    return flat.reshape(*flow.shape[:4], *like.shape[-2:]) * scale_to(like, flow)


def mean_of(values: Tensor, share: Tensor) -> Tensor:
    """Return (B,) means of values (B, T, 2, h, w) weighted by ``share``; 0 where that is zero."""
    total = (values * share).flatten(1).sum(1)
    return total / share.flatten(1).sum(1).clamp(min=1e-6)
