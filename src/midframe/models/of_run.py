"""Which network a run trained: its directory says so."""

from __future__ import annotations

from os import PathLike
from typing import Any

import yaml

from midframe.models.weights import find_weights

CONFIG = "config.yaml"  # of a run directory: the whole config of its training


def model_of_run(weights: str | PathLike[str] | None) -> dict[str, Any] | None:
    """Return the model that a run trained, for `midframe.models.zoo.build`.

    Its name, net and hints, and what makes its motion where it needs any.

    Args:
        weights: a run directory, or a checkpoint in one.

    Returns:
        None where the weights belong to no run, or its config.yaml cannot be read.

    Raises:
        UserError: for a folder without checkpoints.
    """
    path = find_weights(weights)
    try:
        config = path and yaml.safe_load((path.parent / CONFIG).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    model = config.get("model") if isinstance(config, dict) else None
    if not isinstance(model, dict) or not {"name", "net"} <= model.keys():
        return None
    motion = {"motion": model["motion"]} if "motion" in model else {}
    return {**{key: model.get(key) for key in ("name", "net", "hints")}, **motion}
