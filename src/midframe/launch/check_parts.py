"""Weights of a model's parts: what cannot work, and what a person should know before a run."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from omegaconf import DictConfig

from midframe.engine.build import plain
from midframe.errors import UserError
from midframe.models.base import Interpolator
from midframe.models.parts import (
    check_names,
    given_parts,
    left_untrained,
    overruled,
    state_of_part,
)
from midframe.models.weights import chosen_weights


def find_problems(cfg: DictConfig, model: Interpolator) -> Iterator[str]:
    """Yield what is wrong with ``model.parts``; files are read, since those of parts are small."""
    config = plain(cfg.model)
    try:
        check_names(model, config)
        if chosen_weights(cfg.weights, cfg.model) is not None:
            return
    except UserError as error:
        yield str(error)
        return
    for name in given_parts(config):
        try:
            state_of_part(model, name, config)
        except UserError as error:
            yield str(error)


def remarks(cfg: DictConfig, model: Interpolator) -> list[str]:
    """Return lines on parts whose weights are not read, or that stay as they are without any.

    Args:
        cfg: a config without problems.
        model: what it builds, with or without memory for its weights.
    """
    config = plain(cfg.model)
    if chosen_weights(cfg.weights, cfg.model) is not None:
        line = overruled(config)
        return [f"note: {line}"] if line else []
    learns = "train_flow" in inspect.signature(type(model)).parameters
    lines = []
    for name, part in left_untrained(model, config).items():
        new = "" if name in (config.get("parts") or {}) else "+"
        lines.append(
            f"warning: the {type(part).__name__} of model={cfg.model.name} is untrained and stays "
            f"so: give {new}model.parts.{name}=FILE" + " or model.net.train_flow=true" * learns
        )
    return lines
