"""What terms find in a prediction and a batch: which fields there are, and their form.

Whoever writes a model or a term is told here what is wrong with it, by its name, before PyTorch
speaks of sizes that do not broadcast.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, Literal

from torch import Tensor, nn

from midframe.errors import UserError, did_you_mean
from midframe.types import Batch, Prediction

FIELDS = frozenset(
    [field.name for field in fields(Batch)] + [f"pred.{field.name}" for field in fields(Prediction)]
)
KINDS = {"backward": "t->0 and t->1", "forward": "0->1 and 1->0"}
# after (B, T); None: any size
FORMS: dict[str, tuple[int | None, ...]] = {
    "flow": (2, 2, None, None),
    "mask": (1, None, None),
    "residual": (3, None, None),
    "flows_coarse": (2, 2, None, None),
    "frames_coarse": (3, None, None),
}
LEVELS = ("frames_coarse", "flows_coarse", "features")
OF_THE_FRAMES_SIZE = ("flow", "mask", "residual")


def check_needs(where: str, needs: Iterable[str]) -> None:
    """Raise `UserError` if a term needs what neither a batch nor a prediction ever has.

    Args:
        where: names the term.
        needs: see `Term.needs`.
    """
    if isinstance(needs, str):
        raise UserError(
            f"{where}: needs = {needs!r} must be a frozenset of names: frozenset({{{needs!r}}})"
        )
    for need in sorted(set(needs) - FIELDS):
        hint = did_you_mean(need, sorted(FIELDS)) or "see midframe.types"
        raise UserError(
            f"{where} needs {need}, which is no field of Batch nor, as pred.NAME, of Prediction; "
            f"{hint}"
        )


def check_given(
    name: str, needs: Iterable[str], pred: Prediction, batch: Batch, model: nn.Module
) -> None:
    """Raise `UserError` if a field that the term ``name`` needs is empty."""
    for need in sorted(needs):
        place, _, field = need.rpartition(".")
        value = getattr(pred if place == "pred" else batch, field)
        if value is None or (isinstance(value, tuple) and not value):
            giver = type(model).__name__ if place == "pred" else "the batch"
            raise UserError(
                f"the loss term {name} needs {need}, which {giver} does not give; "
                f"drop it with '~loss.terms.{name}'"
            )


def check_prediction(pred: Prediction, batch: Batch, model: nn.Module) -> None:
    """Raise `UserError` if the model's prediction is not of the form that `Prediction` says.

    Only shapes are compared, so that it costs nothing at every step.
    """
    who = type(model).__name__
    if not isinstance(pred, Prediction):
        raise UserError(
            f"{who} returns {type(pred).__name__}; forward must return a midframe.types.Prediction"
        )
    wanted = batch.inputs.t.shape + (3, *batch.inputs.frames.shape[-2:])
    if batch.target is not None:
        wanted = batch.target.shape
    if not isinstance(pred.frame, Tensor):
        raise UserError(f"{who} predicts frame as a {_kind(pred.frame)}; give a tensor")
    if pred.frame.shape != wanted:
        raise UserError(
            f"{who} predicts a frame of shape {_sizes(pred.frame)}, wanted is {tuple(wanted)}: "
            "(B, T, 3, H, W)"
        )
    for name in LEVELS:
        _check_levels(who, name, getattr(pred, name))
    for name, rest in FORMS.items():
        if name in OF_THE_FRAMES_SIZE:
            rest = (*rest[:-2], *wanted[-2:])
        form = (*wanted[:2], *rest)
        value = getattr(pred, name)
        for part in value if isinstance(value, tuple) else () if value is None else (value,):
            if not isinstance(part, Tensor):
                raise UserError(f"{who} predicts {name} as a {_kind(part)}; give a tensor")
            if not _fits(part, form):
                shown = str(form).replace("None", "any")
                raise UserError(f"{who} predicts {name} of shape {_sizes(part)}, wanted is {shown}")
    if pred.flow is not None and pred.flow_kind not in KINDS:
        known = " or ".join(f'"{kind}" ({way})' for kind, way in KINDS.items())
        raise UserError(
            f"{who} predicts flow with flow_kind={pred.flow_kind!r}; its forward must say {known}"
        )


def _check_levels(who: str, name: str, value: Any) -> None:
    """Raise `UserError` for levels that are no tuple of tensors; None is taken for no level."""
    parts = value if isinstance(value, (tuple, list)) else ()
    strange = [part for part in parts if not isinstance(part, Tensor)]
    if strange or not isinstance(value, (tuple, type(None))):
        within = f" with a {_kind(strange[0])} in it" if strange else ""
        raise UserError(
            f"{who} predicts {name} as a {_kind(value)}{within}; give a tuple of tensors, finest "
            "first"
        )
    rows = [part.shape[-2] for part in parts if part.ndim > 1]
    if any(after > before for before, after in zip(rows, rows[1:])):
        raise UserError(
            f"{who} predicts {name} with heights of {', '.join(map(str, rows))}; give the finest "
            "level first"
        )


def check_kind(
    term: str,
    kind: Literal["backward", "forward"],
    pred: Prediction,
    model: nn.Module,
    advice: str,
) -> None:
    """Raise `UserError` with the advice if the term's flow is not what the model predicts."""
    if pred.flow_kind != kind:
        got = KINDS.get(str(pred.flow_kind), f"of flow_kind={pred.flow_kind!r}")
        raise UserError(
            f"{term} needs flow {KINDS[kind]}, but {type(model).__name__} predicts flow {got}; "
            f"{advice}"
        )


def check_value(name: str, value: Any) -> None:
    """Raise `UserError` if what the term ``name`` returned is not one number."""
    if not isinstance(value, Tensor) or value.ndim:
        got = f"the shape {_sizes(value)}" if isinstance(value, Tensor) else type(value).__name__
        raise UserError(
            f"the loss term {name} returns {got}; return a scalar tensor, such as a mean()"
        )


def _kind(value: Any) -> str:
    return type(value).__name__


def _sizes(value: Tensor) -> tuple[int, ...]:
    return tuple(value.shape)


def _fits(value: Tensor, form: tuple[int | None, ...]) -> bool:
    return value.ndim == len(form) and all(
        wanted is None or size == wanted for size, wanted in zip(value.shape, form)
    )
