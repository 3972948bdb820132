"""How much memory there is, and how much a model takes: measured once and remembered."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from midframe.errors import UserError
from midframe.files import write_json
from midframe.launch.memory_ways import Need
from midframe.models.base import Interpolator
from midframe.speed import apart

GIB = 2**30
AUTO = "auto"
CACHE = "memory.json"
SIZES = ((256, 192), (512, 384))  # that a model is measured at
_SHARE = {"cpu": 0.8, "cuda": 0.9}  # of what is free, that is taken
_MARGIN = 1.25  # over what was measured: memory in pieces, and what lines leave out


def free(root: Path = Path("/")) -> int | None:
    """Return the bytes of memory that this process may still take; None: unknown.

    The least of what the machine has and what the process's control groups leave to it.

    Args:
        root: where /proc and /sys are.
    """
    found = [_available(root), *_left_in_groups(root)]
    known = [value for value in found if value is not None]
    return min(known, default=None)


def room(memory: str, device: torch.device) -> float | None:
    """Return the bytes that a conversion may take; None: unknown.

    Args:
        memory: "auto", or GiB.
        device: where the model is.

    Raises:
        UserError: for anything else.
    """
    if memory != AUTO:
        return gibibytes(memory) * GIB
    if device.type == "cuda":
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return _SHARE["cuda"] * (torch.cuda.mem_get_info(device)[0] + idle)
    there = free()
    return None if there is None else _SHARE["cpu"] * there


def gibibytes(memory: str) -> float:
    """Return the number of an option, such as 6 or 1.5.

    Raises:
        UserError: for anything that is not above 0.
    """
    try:
        value = float(memory)
    except ValueError:
        value = 0.0
    if not 0 < value < 2**20:
        raise UserError(f"--memory {memory}: give {AUTO}, or a number of GiB such as 6")
    return value


def measured(
    model: Interpolator,
    config: Mapping[str, Any],
    device: torch.device,
    precision: str,
    times: int,
    hints: Mapping[str, Any],
    cache: Path | None = None,
    say: Callable[[str], object] = lambda text: None,
) -> Need | None:
    """Return what a model takes, measured by processes of their own if nothing is remembered.

    Args:
        model: as it is used.
        config: of it, content of conf/model; its weights do not matter.
        device: where it is.
        precision: "fp32" or "bf16".
        times: frames that a call makes.
        hints: of a call.
        cache: a file that remembers; None: that of the user.
        say: told that something is measured.

    Returns:
        The need; None where it could not be measured.
    """
    plain = {key: config[key] for key in ("name", "net", "hints", "motion") if config.get(key)}
    asked = {
        "config": json.loads(json.dumps(plain, default=str)),
        "way": "bf16" if precision == "bf16" else "fp32_channels_last",
        "device": "cpu" if device.type == "cpu" else f"{device.type}:{device.index or 0}",
        "times": [(k + 1) / (times + 1) for k in range(times)],
        "hints": dict(hints),
        "warmup": 0,
        "rounds": 1,
    }
    cache = cache or folder() / CACHE
    name = _name(asked)
    rows = _remembered(cache).get(name)
    if rows is None:
        say(f"measuring the memory of {model.title}, once")
        rows = []
        for size in SIZES:
            row = _row(asked, model, size)
            if row is None:
                return None
            rows.append(row)
        with suppress(OSError):  # it is measured anew next time
            write_json(cache, {**_remembered(cache), name: rows})
    return line(rows)


def line(rows: Sequence[Sequence[float]]) -> Need:
    """Return a line through two measurements (pixels, bytes), with a margin, that never falls."""
    (few, small), (many, large) = rows
    pixel = max((large - small) / (many - few), 0.0)
    fixed = max(large - pixel * many, 0.0)
    return Need(_MARGIN * fixed, _MARGIN * pixel)


def folder() -> Path:
    """Return the user's folder for what can be found out again."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "midframe"


def _name(asked: Mapping[str, Any]) -> str:
    facts = json.dumps([asked, torch.__version__, SIZES], sort_keys=True)
    return f"{asked['config'].get('name', 'model')} {hashlib.sha256(facts.encode()).hexdigest()}"


def _remembered(cache: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        found = json.loads(cache.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def _row(
    asked: Mapping[str, Any], model: Interpolator, size: tuple[int, int]
) -> list[float] | None:
    """Return pixels, padding included, and bytes at a size."""
    command = [sys.executable, "-m", "midframe.speed.cost_probe"]
    row = apart.run({**asked, "size": size}, command)
    if "peak_bytes" not in row:
        return None
    width, height = size
    chosen = model.hints_for(height, width, **asked["hints"])
    left, right, top, bottom = model.padding(**chosen).amounts(height, width)
    return [(width + left + right) * (height + top + bottom), row["peak_bytes"]]


def _available(root: Path) -> int | None:
    with suppress(OSError, ValueError, IndexError):
        for text in (root / "proc/meminfo").read_text(encoding="ascii").splitlines():
            if text.startswith("MemAvailable:"):
                return 1024 * int(text.split()[1])
    return None


def _left_in_groups(root: Path) -> list[int]:
    """Return what the limits of control groups leave, of this process's and of those above it."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for text in lines:
        controllers, _, path = text.partition(":")[2].partition(":")
        if controllers in ("", "memory"):
            second = not controllers
            base = root / "sys/fs/cgroup" / ("" if second else "memory")
            group = base / path.lstrip("/")
            for place in (group, *(p for p in group.parents if p.is_relative_to(base))):
                left = _left_in(place, second)
                if left is not None:
                    found.append(left)
    return found


def _left_in(group: Path, second: bool) -> int | None:
    names = ("memory.max", "memory.current")
    if not second:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    with suppress(OSError, ValueError):
        limit, used = ((group / name).read_text(encoding="ascii").strip() for name in names)
        if limit == "max" or int(limit) >= 2**60:
            return None
        # pages of files count as used, though they are given up when memory is asked for
        return max(int(limit) - int(used) + _of_files(group), 0)
    return None


def _of_files(group: Path) -> int:
    with suppress(OSError, ValueError):
        for text in (group / "memory.stat").read_text(encoding="ascii").splitlines():
            name, _, value = text.partition(" ")
            if name in ("inactive_file", "total_inactive_file"):
                return int(value)
    return 0
