"""Loss terms and their weighted sum.

A term is one file's class and one line of yaml; its weight, constant or scheduled, belongs to the
sum, so that a command line can change or drop a term without knowing it:
``loss.terms.geometry.weight=0`` or ``~loss.terms.geometry``.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor, nn

from midframe.errors import UserError
from midframe.losses.fields import check_given, check_needs, check_prediction, check_value
from midframe.types import Batch, LossOutput, Prediction

if TYPE_CHECKING:
    from midframe.models.base import Interpolator

_log = logging.getLogger(__name__)
Schedule = Callable[[int], float]
Locate = Callable[[str], Any]


@dataclass(frozen=True)
class Constant:
    """The same weight at every step."""

    value: float

    def __call__(self, step: int) -> float:
        """Return the weight."""
        return float(self.value)


@dataclass(frozen=True)
class Linear:
    """A weight that goes in a straight line from one value to another and stays there.

    Attributes:
        start: the weight up to ``begin_step``.
        end: the weight from ``end_step`` on.
        begin_step: optimizer step at which it begins to change.
        end_step: optimizer step at which it has arrived.
    """

    start: float
    end: float
    begin_step: int
    end_step: int

    def __post_init__(self) -> None:
        if self.end_step <= self.begin_step:
            raise UserError(
                f"a weight cannot go from step {self.begin_step} to step {self.end_step}; "
                "give an end_step behind the begin_step"
            )

    def __call__(self, step: int) -> float:
        """Return the weight at ``step``."""
        way = (step - self.begin_step) / (self.end_step - self.begin_step)
        way = min(max(way, 0.0), 1.0)
        return self.start * (1 - way) + self.end * way


class Term(nn.Module):
    """One part of a loss: ``forward(pred, batch, model) -> scalar``, at least float32.

    Fields are named "target", "flow", "teacher" (of the batch) and "pred.flow",
    "pred.flows_coarse", "pred.features" ... (of the prediction, as in ``model.provides``), so that
    a config can be checked from class attributes alone.

    Attributes:
        needs: fields without which it cannot be computed.
        reads: further fields, which it reads where they are there.
    """

    needs: frozenset[str] = frozenset()
    reads: frozenset[str] = frozenset()

    def forward(self, pred: Prediction, batch: Batch, model: Interpolator) -> Tensor:
        """Return the value for one batch; axes B and T are both averaged over."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    @classmethod
    def needs_of(cls, options: Mapping[str, Any], locate: Locate) -> frozenset[str]:
        """Return what a term built with these options needs, without building it.

        Args:
            options: the term's node of the config: ``_target_`` and arguments.
            locate: turns the ``_target_`` of a nested node into its class.

        Raises:
            UserError: if it names a field that there is not.
        """
        check_needs(cls.__name__, cls.needs)
        return cls.needs

    @classmethod
    def check_files(cls, options: Mapping[str, Any], locate: Locate) -> None:
        """Raise `UserError` where a file that a term with these options reads is not there.

        Nothing is built or read, so that a config can be checked in no time.

        Args:
            options: as in `needs_of`.
            locate: as in `needs_of`.
        """


class Against(Term):
    """Hold a term against a teacher's frame instead of the target: distillation of frames.

    Args:
        source: "teacher", the batch's field with a frozen model's prediction.
        term: any term that needs a target.
    """

    needs = frozenset({"teacher"})

    def __init__(self, source: Literal["teacher"], term: Term) -> None:
        super().__init__()
        if source != "teacher":
            raise UserError(f"a loss term can be held against 'teacher', not {source!r}")
        self.term = term
        self.needs = self._swap(term.needs)

    @staticmethod
    def _swap(needs: frozenset[str]) -> frozenset[str]:
        return (needs - {"target"}) | {"teacher"}

    @classmethod
    def needs_of(cls, options: Mapping[str, Any], locate: Locate) -> frozenset[str]:
        """Return the needs of the inner term, with the teacher in place of the target."""
        inner = options["term"]
        return cls._swap(locate(inner["_target_"]).needs_of(inner, locate))

    @classmethod
    def check_files(cls, options: Mapping[str, Any], locate: Locate) -> None:
        """Raise what the inner term does."""
        inner = options["term"]
        locate(inner["_target_"]).check_files(inner, locate)

    def forward(self, pred: Prediction, batch: Batch, model: Interpolator) -> Tensor:
        """Return the inner term's value on the teacher's frame, through which no gradient goes."""
        assert batch.teacher is not None
        value: Tensor = self.term(pred, replace(batch, target=batch.teacher.frame.detach()), model)
        return value


class WeightedSum(nn.Module):
    """A named sum of terms.

    Args:
        terms: per name the term and its weight, as ``{"weight": 1.0, "term": term}`` or as
            ``(1.0, term)``; the weight is a number or a schedule ``step -> weight``. None drops
            an entry.

    Raises:
        UserError: if no term is left or an entry cannot be understood.
    """

    def __init__(
        self, terms: Mapping[str, Mapping[str, Any] | tuple[float | Schedule, Term] | None]
    ) -> None:
        super().__init__()
        self.terms = nn.ModuleDict()
        self.weights: dict[str, Schedule] = {}
        self._told: frozenset[str] = frozenset()
        for name, entry in terms.items():
            if entry is None:
                continue
            weight, term = _split(name, entry)
            self.terms[name] = term
            self.weights[name] = weight
        if all(isinstance(w, Constant) and w.value == 0 for w in self.weights.values()):
            raise UserError(
                "the loss has no term with a weight other than 0; "
                "give one, such as loss.terms.charbonnier.weight=1, or choose another loss=..."
            )

    def forward(
        self, pred: Prediction, batch: Batch, model: Interpolator, step: int = 0
    ) -> LossOutput:
        """Return the total at this step and its weighted, detached parts by name.

        Terms of weight 0 are not computed and do not appear.

        Raises:
            UserError: if a term misses a field or gives no scalar, if the prediction is not of the
                form that it should be, or if all weights are 0 at this step.
        """
        check_prediction(pred, batch, model)
        total: Tensor | None = None
        parts: dict[str, Tensor] = {}
        for name, module in self.terms.items():
            weight = self.weights[name](step)
            if weight == 0:
                continue
            term = cast(Term, module)
            check_given(name, term.needs, pred, batch, model)
            value = term(pred, batch, model)
            check_value(name, value)
            self._told = self._told | _tell_of_no_gradient(name, value, pred, self._told)
            part = weight * value
            parts[name] = part.detach()
            total = part if total is None else total + part
        if total is None:
            raise UserError(
                f"every loss term has weight 0 at step {step}; change the schedules in loss.terms"
            )
        return LossOutput(total, parts)


def _tell_of_no_gradient(
    name: str, value: Tensor, pred: Prediction, told: frozenset[str]
) -> frozenset[str]:
    """Warn once of a term that the model cannot learn from; only the first batch is looked at.

    One that is exactly 0 is left alone: it had nothing to compare, such as labels.
    """
    if name in told or not pred.frame.requires_grad:
        return frozenset()
    if not value.requires_grad and float(value) != 0:
        _log.warning(
            "the loss term %s gives no gradient: it is cut off from the prediction (by detach(), "
            "item(), rounding, a comparison ...) or reads frozen parts of it alone; mend it, or "
            "drop it with '~loss.terms.%s'",
            *(name, name),
        )
    return frozenset({name})


def precise(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Widen half-precision tensors to float32; wider ones stay as they are."""
    return tuple(x.float() if x.dtype in (torch.bfloat16, torch.float16) else x for x in tensors)


def frames(pred: Prediction, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the predicted and the true frames (B*T, 3, H, W) in at least float32."""
    assert batch.target is not None
    first, second = precise(pred.frame.flatten(0, 1), batch.target.flatten(0, 1))
    return first, second


def _split(name: str, entry: Any) -> tuple[Schedule, Term]:
    unknown = sorted(set(entry) - {"weight", "term"}) if isinstance(entry, Mapping) else []
    if unknown:
        raise UserError(
            f"loss.terms.{name} has no key {', '.join(map(str, unknown))}; known: weight, term"
        )
    weight, term = (
        (entry.get("weight", 1.0), entry.get("term")) if isinstance(entry, Mapping) else entry
    )
    if not isinstance(term, Term):
        raise UserError(
            f"loss.terms.{name}.term is {type(term).__name__}, no loss term; "
            "give a _target_ such as midframe.losses.Charbonnier"
        )
    if "_modules" not in vars(term):
        own = f"{type(term).__name__}.__init__"
        raise UserError(f"loss.terms.{name}.term: {own} must begin with super().__init__()")
    check_needs(f"loss.terms.{name}.term ({type(term).__name__})", term.needs)
    if isinstance(weight, (int, float)) and math.isfinite(weight):
        return Constant(float(weight)), term
    if callable(weight):
        return weight, term
    raise UserError(
        f"loss.terms.{name}.weight is {weight!r}; give a number or a schedule such as "
        "{_target_: midframe.losses.Linear, start: 1, end: 0, begin_step: 0, end_step: 1000} "
        "(and _convert_: all in the loss's file)"
    )
