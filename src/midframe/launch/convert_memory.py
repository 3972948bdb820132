"""The way a conversion's model works, as memory allows, and that parts of it are made alike."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from contextlib import suppress
from math import ceil
from pathlib import Path
from typing import Any

import torch

from midframe.errors import UserError
from midframe.files import write_json
from midframe.launch import memory_need
from midframe.launch.convert_plan import Task, picture_bytes
from midframe.launch.convert_report import Report
from midframe.launch.memory_ways import Fitting, Need, Way, choose, ladder
from midframe.models.base import Interpolator

WAY = "way.json"  # in a conversion's folder
_TIMES_AT_ONCE = 8  # that a timeline asks for
# bytes of a pixel that no model here exceeds: where as many are free nothing need be measured
_BOUND = {True: Need(2**30, 24_000), False: Need(2**28, 1_000)}


def fitted(
    model: Interpolator,
    device: torch.device,
    job: Task,
    args: argparse.Namespace,
    config: Mapping[str, Any] | None,
    report: Report,
) -> Interpolator:
    """Return a model that works in the way that memory allows, whole frames if possible.

    Args:
        model: any, on ``device``; one that works in blocks already stays as it is.
        device: where it is.
        job: what it is for.
        args: the options of the command: block, memory, precision and devices.
        config: of the model, content of conf/model; None: it cannot be built from one.
        report: takes notes.

    Raises:
        UserError: for options that do not fit together.
    """
    if args.block is not None:
        if args.memory is not None:
            raise UserError("--memory chooses blocks itself; leave out --memory or --block")
        return model
    height, width = job.clip.format.height, job.clip.format.width
    ways = ladder(model, height, width)

    def changed(fitting: Fitting) -> None:
        report.note(f"memory did not suffice: {model.title} goes on {fitting.way}")

    fitting = Fitting(model, ways, changed=changed)
    memory = args.memory or memory_need.AUTO
    room = memory_need.room(memory, device)
    if room is None:
        return fitting
    if device.type == "cpu":  # which all processes share; each has pictures of its own
        room = room / _processes(args) - picture_bytes(job)
    times = _times(model, job)
    bound = _BOUND[model.trainable]
    if not config or not config.get("net") or bound.of(Way(), model, height, width, times) <= room:
        return fitting
    known: dict[str, Need | None] = {}

    def need(way: Way) -> int:
        key = json.dumps(dict(way.hints), sort_keys=True)
        if key not in known:
            arguments = (config, device, args.precision, times, way.hints)
            known[key] = memory_need.measured(model, *arguments, say=report.say)
        found = known[key]
        return 0 if found is None else found.of(way, model, height, width, times)

    fitting.at, fits = choose(ways, room, need)
    if fitting.at:
        report.note(
            f"{model.title} works {fitting.way}: on whole frames it would take about "
            f"{_gib(need(Way()))}, {_gib(room)} may be taken"
        )
    if not fits:
        report.note(f"even so it may take {_gib(need(fitting.way))}")
    return fitting


def settle(model: Interpolator, folder: Path) -> None:
    """Have a model work as it did for earlier parts of a conversion, or in less memory.

    Args:
        model: from `fitted`.
        folder: of the conversion, which remembers the way.
    """
    if not isinstance(model, Fitting):
        return
    file = folder / WAY
    with suppress(OSError, ValueError, KeyError, TypeError):
        found = json.loads(file.read_text(encoding="utf-8"))
        if found["ways"] == [str(way) for way in model.ways]:
            model.at = max(model.at, min(int(found["at"]), len(model.ways) - 1))
    tell = model.changed

    def changed(fitting: Fitting) -> None:
        tell(fitting)
        _keep(fitting, file)

    model.changed = changed
    _keep(model, file)


def _keep(fitting: Fitting, file: Path) -> None:
    with suppress(OSError):  # only that parts may be made in several ways
        write_json(file, {"at": fitting.at, "ways": [str(way) for way in fitting.ways]})


def _times(model: Interpolator, job: Task) -> int:
    """Return how many frames a call makes at most."""
    if model.times == "half":
        return 1
    return max(1, min(_TIMES_AT_ONCE, ceil(len(job.schedule) / len(job.clip)) - 1))


def _gib(size: float) -> str:
    return f"{max(size, 0) / memory_need.GIB:.1f} GiB"


def _processes(args: argparse.Namespace) -> int:
    """Return how many there are on a CPU, where "auto" is one."""
    return int(args.devices) if str(args.devices).isdecimal() else 1
