"""Run directories as others left them: read with care, whatever lies in them."""

from __future__ import annotations

import csv
import math
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from midframe.errors import UserError
from midframe.launch import locks
from midframe.launch.sweep_jobs import RUNNING, STOPPED, read_json

# What runs are compared by, nearest first, and which way is better.
USUAL = {"val/psnr": "max", "val/epe": "min"}
_LOW = ("epe", "fl", "lpips", "dists", "loss", "error", "ie", "mae", "mse", "rmse", "l1")
_MOST = 64 << 20  # bytes of a file that is still read


@dataclass
class RunRecord:
    """A run directory.

    Attributes:
        dir: where it is.
        record: contents of run.json.
        curves: by metric, its value by step; read from metrics.csv, else the last ones of run.json.
    """

    dir: Path
    record: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, dict[int, float]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """Read run.json and metrics.csv.

        Raises:
            UserError: if run.json is not there, or one of them is damaged.
        """
        path = folder / "run.json"
        record = read_json(regular(path))
        curves = read_curves(folder / "metrics.csv")
        for name, value in _mapping(record.get("metrics")).items():
            if name not in curves and isinstance(value, int | float):
                curves[name] = {int(_number(record.get("steps"))): float(value)}
        return cls(folder, record, curves)

    @property
    def state(self) -> str:
        """Running is what a process holds; what says so without one was killed: stopped."""
        if locks.is_held(self.dir):
            return RUNNING
        said = str(self.record.get("status") or STOPPED)
        return STOPPED if said in (RUNNING, "interrupted") else said

    def config(self) -> dict[str, Any]:
        """Return the resolved config, flat: by dotted key.

        Raises:
            UserError: if there is none that can be read.
        """
        path = regular(self.dir / "config.yaml")
        try:
            tree = yaml.safe_load(path.read_text())
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{path} cannot be read: {reason}") from error
        return flat(tree) if isinstance(tree, dict) else {}

    def usual_metric(self) -> str | None:
        """Return the metric that a run of its kind is judged by."""
        found = [name for name in USUAL if name in self.curves]
        found += sorted(name for name in self.curves if name.startswith("val/"))
        return found[0] if found else None

    def best(self, metric: str | None = None, goal: str | None = None) -> tuple[int, float] | None:
        """Return step and value where a metric was best; None where it was never a number."""
        name = metric or self.usual_metric()
        curve = {k: v for k, v in self.curves.get(name or "", {}).items() if math.isfinite(v)}
        if not curve:
            return None
        better = max if (goal or goal_of(str(name))) == "max" else min
        step = better(sorted(curve), key=lambda k: curve[k])
        return step, curve[step]

    def value(
        self, metric: str | None = None, goal: str | None = None, take: str | None = None
    ) -> tuple[str | None, float | None]:
        """Return by what a job is judged, and its value.

        Args:
            metric: a column of metrics.csv; None is the usual one of such a run.
            goal: "max" or "min"; None follows from the metric.
            take: "best" of all steps, which is usual, or "last".

        Returns:
            The metric, and its value: NaN or infinite where it ended so, None where there is none.
        """
        name = metric or self.usual_metric()
        curve = self.curves.get(name or "")
        if not curve:
            return name, None
        last, best = curve[max(curve)], self.best(name, goal)
        usable = best is not None and math.isfinite(last) and take != "last"
        return name, best[1] if best and usable else last


def goal_of(metric: str) -> str:
    """Return "max" or "min": which way a metric is better."""
    if metric in USUAL:
        return USUAL[metric]
    words = metric.lower().replace("/", "_").split("_")
    return "min" if any(word in _LOW for word in words) else "max"


def read_curves(path: Path) -> dict[str, dict[int, float]]:
    """Read metrics.csv: by column and step; nothing where there is no such file.

    Raises:
        UserError: if it is no table by step.
    """
    curves: dict[str, dict[int, float]] = {}
    if not path.exists():
        return curves
    try:
        with regular(path).open(newline="", errors="replace") as file:
            for row in csv.DictReader(file):
                step = int(row.pop("step"))
                for name, text in row.items():
                    if name is not None and isinstance(text, str) and text.strip():
                        curves.setdefault(name, {})[step] = float(text)
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise UserError(f"{path} is not a table of metrics by step: {error}") from error
    return curves


def regular(path: Path) -> Path:
    """Return a path that can be read without harm.

    Raises:
        UserError: if it is a pipe, a device, a folder, enormous, or not there.
    """
    try:
        found = path.stat()
    except (OSError, ValueError) as error:
        raise UserError(f"there is no {path}") from error
    if not stat.S_ISREG(found.st_mode) or found.st_size > _MOST:
        raise UserError(f"{path} is not a file of a run")
    return path


def flat(tree: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Return the leaves of a nested mapping by dotted key; lists are leaves."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{where}.{key}" if where else str(key)
        if isinstance(value, dict) and value:
            leaves.update(flat(value, name))
        else:
            leaves[name] = value
    return leaves


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> float:
    return value if isinstance(value, int | float) and math.isfinite(value) else 0
