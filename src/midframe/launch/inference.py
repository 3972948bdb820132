"""From options to a model that is ready to predict, for all commands that do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from midframe.errors import UserError
from midframe.models import zoo
from midframe.models.base import Interpolator
from midframe.models.weights import UNTRAINED, chosen_weights

PRECISIONS = ("fp32", "bf16")


def resolve_device(device: str, rank: int | None = None) -> torch.device:
    """Turn "auto", "cpu", "cuda" or "cuda:1" into a device that is there.

    Args:
        device: what was asked for; "auto" is a GPU where there is one.
        rank: number of this process on its machine, where several share its GPUs in turn: "cuda"
            and "auto" then mean this process's own.

    Raises:
        UserError: for another name, or a GPU that is not there.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        device = "cuda" if gpus else "cpu"
    if device == "cuda" and gpus and rank is not None:
        return torch.device("cuda", rank % gpus)
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"device={device} is not known; use auto, cpu or cuda") from error
    if found.type not in ("cpu", "cuda"):
        raise UserError(f"device={device} is not supported; use auto, cpu or cuda")
    if found.type == "cuda" and (found.index or 0) >= gpus:
        raise UserError(f"device={device}: there are {gpus} CUDA devices here; use auto or cpu")
    return found


def load_model(
    config: Mapping[str, Any],
    weights: str | None,
    device: torch.device,
    *,
    precision: str = "fp32",
    option: str = "weights=",
) -> Interpolator:
    """Build a model with its weights on a device, ready for inference.

    Args:
        config: content of conf/model; its own ``weights`` count where ``weights`` is None, see
            `chosen_weights`.
        weights: a file, a run directory, None, or "none" for untrained ones.
        device: where to put it.
        precision: "fp32" or "bf16", see `midframe.models.inference.for_inference`.
        option: how this command's option for weights is written, for messages.

    Raises:
        UserError: for an unknown precision, if a model that learns gets no weights, or weights do
            not fit.
    """
    if precision not in PRECISIONS:
        raise UserError(f"precision={precision} is not known; use {' or '.join(PRECISIONS)}")
    path = chosen_weights(weights, config)
    model = zoo.build({**config, "weights": path})
    if model.trainable and path is None and UNTRAINED not in (weights, config.get("weights")):
        raise UserError(
            f"model {config.get('name')} needs trained weights: {option}FILE "
            f"(official ones: see `midframe models` and conf/model), "
            f"or {option}{UNTRAINED} to run it untrained"
        )
    return zoo.for_inference(model, "bf16" if precision == "bf16" else "fp32").to(device)
