"""One model measured in the process it has for itself: parameters, operations, time, memory.

``python -m midframe.speed.model_probe '{"name": ...}'`` prints one line of JSON, the last one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import torch

from midframe.errors import UserError
from midframe.models import zoo
from midframe.models.base import Interpolator
from midframe.speed import apart, flops, memory
from midframe.speed.frames import example, label
from midframe.speed.turns import turns

NAMED_AT_MOST = 4
SMALL = (64, 64)  # of the call that loads what is loaded late


def probe(
    name: str, sizes: Sequence[Sequence[int]], rounds: int = 5, threads: int | None = None
) -> dict[str, Any]:
    """Measure a model in float32 on the CPU.

    Args:
        name: one of `zoo.list_models`.
        sizes: (width, height) of the frames to count operations for; time and memory at the first.
        rounds: timed calls, after one that is not.
        threads: of PyTorch; None leaves its setting.

    Returns:
        What can be written as JSON: parameters, weights_bytes, weight_keys, flops and padded by
        size, seconds (the median), seconds_each, processor_seconds, peak_bytes, threads.
        Operations of models that learn nothing are None.

    Raises:
        UserError: if the parameters are not those that the model's yaml states.
    """
    torch.set_num_threads(threads or torch.get_num_threads())
    info = zoo.describe(name)
    model = zoo.create_model(name)
    found: dict[str, Any] = {
        "parameters": check_parameters(model, info),
        "weights_bytes": memory.bytes_of(model),
        "weight_keys": key_names(model, info),
        "threads": torch.get_num_threads(),
    }
    width, height = sizes[0]
    found |= _cost(model, (width, height), rounds)
    # at last: shapes without numbers take another way through PyTorch, and load much for it
    found["padded"] = {label(size): list(padded(model, *size)) for size in sizes}
    counts = {label(s): _operations(model, s) if model.trainable else None for s in sizes}
    return {**found, "flops": counts}


def check_parameters(model: Interpolator, info: Mapping[str, Any]) -> int:
    """Return the number of parameters.

    Raises:
        UserError: if it is not ``parameters`` of the model's yaml, the published number.
    """
    count = sum(x.numel() for x in model.parameters())
    stated = info.get("parameters")
    if stated != count:
        raise UserError(
            f"{info['name']} has {count:,} parameters, but info.parameters in "
            f"conf/model/{info['name']}.yaml says "
            f"{f'{stated:,}' if isinstance(stated, int) else stated}: mend the one that is wrong"
        )
    return count


def key_names(model: Interpolator, info: Mapping[str, Any]) -> str | None:
    """Say whether official weights have the keys that the model has here; None without any."""
    if "https://" not in str(info.get("official_weights")):
        return None
    if len(model.key_names) > NAMED_AT_MOST:
        return "renamed: all"
    names = ", ".join(f"{theirs} -> {ours}" for theirs, ours in model.key_names.items())
    return f"renamed: {names}" if names else "as published"


def padded(model: Interpolator, width: int, height: int, **hints: Any) -> tuple[int, int]:
    """Return width and height of what the network gets for frames of this size."""
    pad = model.padding(**model.hints_for(height, width, **hints))
    left, right, top, bottom = pad.amounts(height, width)
    return width + left + right, height + top + bottom


def _operations(model: Interpolator, size: Sequence[int]) -> dict[str, int]:
    parts = flops.count(model, (size[0], size[1]))
    return {"total": sum(parts.values()), **parts}


def _cost(model: Interpolator, size: tuple[int, int], rounds: int) -> dict[str, Any]:
    """Return the median time of a call, and the weights and what calls add to resident memory."""
    model.interpolate(example(model, SMALL))  # loads and compiles what is loaded and compiled late
    if "cv2" in sys.modules:  # which has threads of its own
        sys.modules["cv2"].setNumThreads(torch.get_num_threads())
    x = example(model, size)
    before = memory.start_of_peak()
    model.interpolate(x)
    wall, busy = (times["it"] for times in turns({"it": lambda: model.interpolate(x)}, rounds))
    return {
        "seconds": round(median(wall), 5),
        "seconds_each": [round(value, 5) for value in wall],
        "processor_seconds": round(median(busy), 5),
        "peak_bytes": memory.bytes_of(model) + max(memory.peak() - before, 0),
    }


def main(argument: str) -> int:
    """Measure what the JSON asks for, print the row or its error as JSON."""
    try:
        row = probe(**json.loads(argument))
    except Exception as error:  # the parent makes a row of it, whatever it is
        row = apart.failure(error)
    print(json.dumps(row), flush=True)
    return 1 if "error" in row else 0


if __name__ == "__main__":
    memory.go_first()
    sys.exit(main(sys.argv[1]))
