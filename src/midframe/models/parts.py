"""Parts of a model that are models themselves, as ST-MFNet's PWC-Net, and weights for them alone.

Only where the whole model gets no weights: those would hold the parts' as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from midframe.errors import UserError, known_names
from midframe.files import sha256_of
from midframe.models.base import Interpolator
from midframe.models.weights import UNTRAINED, find_weights, fitting_state

Source = str | PathLike[str] | Mapping[str, Any]


def parts_of(model: nn.Module) -> dict[str, Interpolator]:
    """Return the parts that have checkpoints of their own, by the names of their attributes."""
    return {name: x for name, x in model.named_children() if isinstance(x, Interpolator)}


def given_parts(config: Mapping[str, Any]) -> dict[str, Source]:
    """Return the weights that a model's config names for its parts, without those it leaves open.

    Raises:
        UserError: if ``parts`` is not a mapping of names to weights.
    """
    parts = config.get("parts") or {}
    if not isinstance(parts, Mapping):
        raise UserError(
            f"{_where(config)}: parts={parts} names no part; give model.parts.NAME={parts}"
        )
    return {str(name): x for name, x in parts.items() if x not in (None, "", UNTRAINED)}


def check_names(model: nn.Module, config: Mapping[str, Any]) -> None:
    """Raise `UserError` for weights of parts that the model, as its options make it, has not."""
    known = parts_of(model)
    unknown = [name for name in given_parts(config) if name not in known]
    if unknown:
        raise UserError(
            f"{_where(config)} has no part {', '.join(unknown)} with these options; "
            f"{known_names(unknown, known)}"
        )


def state_of_part(model: nn.Module, name: str, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights for a part under its own keys, from what the config names for it.

    Args:
        model: also one without memory for its weights, see `zoo.build_empty`.
        name: one of `parts_of`.
        config: of the model.

    Raises:
        UserError: if there are none, or they do not fit.
    """
    try:
        return fitting_state(parts_of(model)[name], given_parts(config)[name])
    except UserError as error:
        raise UserError(f"{_where(config)}, part {name}: {error}") from error


def load_parts(model: nn.Module, config: Mapping[str, Any]) -> None:
    """Load the weights that a model's config names for its parts, strictly, in place.

    Raises:
        UserError: for a part that is not there, or weights that do not fit.
    """
    check_names(model, config)
    for name in given_parts(config):
        state = state_of_part(model, name, config)
        parts_of(model)[name].load_state_dict(state, strict=True)


def left_untrained(model: nn.Module, config: Mapping[str, Any]) -> dict[str, Interpolator]:
    """Return the parts that get no weights of their own and learn nothing either."""
    given = given_parts(config)
    return {
        name: part
        for name, part in parts_of(model).items()
        if part.trainable
        and name not in given
        and not any(parameter.requires_grad for parameter in part.parameters())
    }


def overruled(config: Mapping[str, Any]) -> str | None:
    """Return a line on weights of parts that are not read since the whole model has weights."""
    names = ", ".join(given_parts(config))
    return names and f"the whole model's weights win: those of its part {names} are not read"


def digests(weights: Path | None, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the SHA-256 of the files whose weights a model gets, for the record.

    Args:
        weights: the whole model's file, see `midframe.models.weights.chosen_weights`.
        config: the model's; its parts count where there is none.

    Returns:
        ``weights_sha256``, None without a file, and ``parts_sha256`` by name where parts have one;
        ``motion_sha256`` where a network with weights makes the model's motion.
    """
    motion = find_weights((config.get("motion") or {}).get("weights"))
    more = {} if motion is None else {"motion_sha256": sha256_of(motion)}
    if weights is not None:
        return {"weights_sha256": sha256_of(weights), **more}
    files = {name: find_weights(str(source)) for name, source in given_parts(config).items()}
    found = {name: sha256_of(path) for name, path in files.items() if path is not None}
    return {"weights_sha256": None, **({"parts_sha256": found} if found else {}), **more}


def _where(config: Mapping[str, Any]) -> str:
    return f"model {config.get('name', 'model')}"
