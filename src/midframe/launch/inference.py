"""From options to a model that is ready to predict, for all commands that do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from midframe.errors import UserError
from midframe.models import zoo
from midframe.models.base import Interpolator

PRECISIONS = ("fp32", "bf16")
_IN_RUNS = ("best.ckpt", "last.ckpt")  # as midframe.engine.checkpoint writes them
UNTRAINED = "none"


def resolve_device(device: str) -> torch.device:
    """Turn "auto", "cpu", "cuda" or "cuda:1" into a device that is there."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"device={device} is not known; use auto, cpu or cuda") from error
    if found.type not in ("cpu", "cuda"):
        raise UserError(f"device={device} is not supported; use auto, cpu or cuda")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"device={device}: there are {torch.cuda.device_count()} CUDA devices here; "
            "use auto or cpu"
        )
    return found


def check_precision(precision: str) -> str:
    """Return the precision, or raise `UserError` naming the known ones."""
    if precision not in PRECISIONS:
        raise UserError(f"precision={precision} is not known; use {' or '.join(PRECISIONS)}")
    return precision


def find_weights(weights: str | None) -> Path | None:
    """Return the weights file that an option means: a file, or the best one of a run directory."""
    if weights in (None, "", UNTRAINED):
        return None
    path = Path(str(weights)).expanduser()
    if not path.is_dir():
        return path
    for name in _IN_RUNS:
        if (path / name).is_file():
            return path / name
    raise UserError(f"weights={path}: no {' or '.join(_IN_RUNS)} in this folder; give a file")


def load_model(
    config: Mapping[str, Any],
    weights: str | None,
    device: torch.device,
    *,
    option: str = "weights=",
    channels_last: bool = False,
) -> Interpolator:
    """Build a model with its weights on a device, in eval mode.

    Args:
        config: content of conf/model; its own ``weights`` count where ``weights`` is None.
        weights: a file, a run directory, None, or "none" for untrained ones.
        device: where to put it.
        option: how this command's option for weights is written, for messages.
        channels_last: memory layout of its parameters.

    Raises:
        UserError: if a model that learns gets no weights, or weights do not fit.
    """
    weights = weights or config.get("weights")
    path = find_weights(weights)
    model = zoo.build({**config, "weights": path})
    if model.trainable and path is None and weights != UNTRAINED:
        raise UserError(
            f"model {config.get('name')} needs trained weights: {option}FILE "
            f"(official ones: see `midframe models` and conf/model), "
            f"or {option}{UNTRAINED} to run it untrained"
        )
    layout = torch.channels_last if channels_last else torch.preserve_format
    return model.to(device, memory_format=layout)
