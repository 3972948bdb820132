"""Whether weights are those that a training ended with, or their moving average (EMA)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

AVERAGED = ".ema"  # before the suffix of a file's name: model.ema.onnx
KEY = "averaged"  # "true" or "false" in the metadata of a .safetensors file
# What a checkpoint holds beside the average, which is its ``state_dict`` (Lightning's names).
_BESIDE = ("current_model_state", "averaging_state")
_LONGEST = 1 << 24  # bytes of the metadata that are read


def is_averaged(path: Path) -> bool:
    """Return whether the weights that `midframe.models.weights.load_weights` takes are averaged.

    So they are in the checkpoints of a run with ``callbacks=[default,ema]``, in what `midframe
    release` makes of one, and in files that say so by `AVERAGED`. Of other files nobody knows, and
    of those that cannot be read: False.
    """
    if path.with_suffix("").suffix == AVERAGED:
        return True
    try:
        if path.suffix == ".safetensors":
            return bool(_metadata(path).get(KEY) == "true")
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # as many types as there are kinds of damage; who loads the file tells of it
        return False
    return isinstance(content, dict) and all(key in content for key in _BESIDE)


def _metadata(path: Path) -> Any:
    """Return the words that a .safetensors file begins with: a length, and as much JSON."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(min(size, _LONGEST))).get("__metadata__", {})
