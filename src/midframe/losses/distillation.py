"""Learning from the target and from a teacher's frames at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from midframe.errors import UserError
from midframe.losses.base import Schedule, Term, WeightedSum


class Distillation(WeightedSum):
    """A sum in which terms against the target and terms against a teacher share one factor.

    ``alpha * (terms against the target) + (terms against the teacher)``, which is what ST-MFNet
    Mini's code computes, or the convex ``alpha * (...) + (1 - alpha) * (...)``, which is what its
    help text says. Each term keeps its own weight inside.

    Args:
        terms: as `WeightedSum` takes them; those of `midframe.losses.Against` are the teacher's.
        alpha: factor of the terms against the target, 0 to 1.
        convex: whether the teacher's terms get the factor ``1 - alpha`` instead of 1.

    Raises:
        UserError: for an alpha outside of 0 to 1, or where no term is the teacher's.

    Source: Morris et al., "ST-MFNet Mini: knowledge distillation-driven frame interpolation",
    ICIP 2023.
    """

    def __init__(self, terms: Mapping[str, Any], alpha: float = 0.1, convex: bool = False) -> None:
        check_alpha(alpha)
        super().__init__(terms)
        of_teacher = {name for name, term in self.terms.items() if _is_of_teacher(term)}
        if not of_teacher:
            raise UserError(
                "the loss is a distillation without a term against the teacher; give one "
                "(midframe.losses.Against), or choose another loss=..."
            )
        for name, weight in self.weights.items():
            factor = (1 - alpha if convex else 1.0) if name in of_teacher else alpha
            self.weights[name] = _scaled(weight, float(factor))


def check_alpha(alpha: Any) -> None:
    """Raise `UserError` for what is no share."""
    if not isinstance(alpha, (int, float)) or not 0 <= alpha <= 1:
        raise UserError(f"loss.alpha={alpha}: give a number from 0 to 1")


def _is_of_teacher(term: Any) -> bool:
    return isinstance(term, Term) and "teacher" in term.needs


def _scaled(weight: Schedule, factor: float) -> Schedule:
    return lambda step: factor * weight(step)
