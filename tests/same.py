"""What a run leaves behind, compared to the last bit."""

from __future__ import annotations

from csv import DictReader
from pathlib import Path
from typing import Any

import torch


def only(runs: Path) -> Path:
    """Return the run directory that is alone there."""
    (run,) = (path for path in runs.iterdir() if path.is_dir())
    return run


def state_of(path: Path) -> dict[str, Any]:
    """What a checkpoint holds, but where the loop says how often it was begun."""
    state = torch.load(path, weights_only=True)
    del state["loops"]
    for kept in state["callbacks"].values():
        for key in ("dirpath", "best_model_path", "kth_best_model_path", "best_k_models"):
            kept.pop(key, None)
    return state


def rows_of(run: Path) -> list[dict[str, str]]:
    """Return the rows of metrics.csv without what depends on the machine's speed."""
    with (run / "metrics.csv").open() as file:
        return [{k: v for k, v in x.items() if "samples_per_s" not in k} for x in DictReader(file)]


def assert_same(a: object, b: object, where: str = "") -> None:
    """Fail where two nested values differ, saying where."""
    if isinstance(a, torch.Tensor):
        assert isinstance(b, torch.Tensor) and torch.equal(a, b), where
    elif isinstance(a, dict):
        assert isinstance(b, dict) and list(a) == list(b), where
        for key in a:
            assert_same(a[key], b[key], f"{where}.{key}")
    elif isinstance(a, (list, tuple)):
        assert isinstance(b, (list, tuple)) and len(a) == len(b), where
        for i, (x, y) in enumerate(zip(a, b)):
            assert_same(x, y, f"{where}[{i}]")
    else:
        assert a == b, where
