"""Several times between two frames: one call for all of them against a call for each, in turns."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from midframe.benchmark.model_probe import example, label
from midframe.errors import UserError
from midframe.models.base import Interpolator
from midframe.models.inference import Precision, for_inference
from midframe.models.zoo import create_model
from midframe.types import Inputs

START, END = "<!-- bench anytime -->", "<!-- end of bench anytime -->"
HEADING = "## Several times between two frames"
NOISE = 1e-4  # of frames in [0, 1]: rounding in another order, carried through a network
Call = Callable[[], Tensor]


def bench_anytime(
    model: str | Interpolator = "upr",
    size: tuple[int, int] = (448, 256),
    times: int = 7,
    *,
    weights: str | Path | None = None,
    precision: Precision = "fp32",
    rounds: int = 5,
    threads: int | None = None,
) -> dict[str, Any]:
    """Time one call for several frames against one call for each of them.

    Frames are at i / (times + 1): 7 times make eight times the frame rate. Both ways take turns
    round by round, so that what else the machine does weighs on both alike: trust the ratios more
    than the milliseconds.

    Args:
        model: a name, or a model to copy.
        size: width and height of the frames; `Interpolator.interpolate` pads them.
        times: how many frames are made between the two.
        weights: for a model given by name.
        precision: of the weights, see `for_inference`.
        rounds: timed turns.
        threads: of PyTorch; None leaves its setting.

    Returns:
        What can be written as JSON: of either way the median wall and processor time in ms;
        ``speed``, how many times as fast the one call is, by the clock and of the processor;
        the largest difference between their frames and whether it is no more than rounding.

    Raises:
        UserError: for less than two times, or a model that knows only the middle.
    """
    if times < 2 or rounds < 1:
        raise UserError(f"--times {times}, --rounds {rounds}: at least 2 times and 1 round")
    base = create_model(model, weights) if isinstance(model, str) else model
    if base.times != "any":
        raise UserError(f"{type(base).__name__} knows only t = 0.5: there is nothing to share")
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        calls = _calls(for_inference(base, precision), size, times)
        together, apart = (call() for call in calls.values())  # also the warm-up
        wall, busy = _turns(list(calls.values()), rounds)
    finally:
        torch.set_num_threads(before)
    difference = float((together - apart).abs().max())
    return {
        "model": model if isinstance(model, str) else type(model).__name__,
        "size": label(size),
        "times": times,
        "precision": precision,
        "threads": threads or before,
        "rounds": rounds,
        "ways": {
            name: {"ms": _ms(wall[i]), "cpu_ms": _ms(busy[i])} for i, name in enumerate(calls)
        },
        "speed": _ratio(wall),
        "speed_cpu": _ratio(busy),
        "max_difference": float(f"{difference:.1e}"),
        "equal": difference <= (NOISE if precision == "fp32" else 100 * NOISE),
    }


def _calls(model: Interpolator, size: tuple[int, int], times: int) -> dict[str, Call]:
    """Return both ways to make the frames (1, T, 3, H, W)."""
    frames = example(model, size).frames
    at = torch.arange(1, times + 1)[None] / (times + 1)

    def together() -> Tensor:
        return model.interpolate(Inputs(frames, at)).frame

    def apart() -> Tensor:
        singles = [model.interpolate(Inputs(frames, t)).frame for t in at.split(1, 1)]
        return torch.cat(singles, 1)

    return {"one call": together, f"{times} calls": apart}


def _turns(calls: Sequence[Call], rounds: int) -> tuple[list[list[float]], list[list[float]]]:
    """Time all calls round by round; wall and processor time in seconds, call by call."""
    wall: list[list[float]] = [[] for _ in calls]
    busy: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for i, call in enumerate(calls):
            start, start_busy = time.perf_counter(), time.process_time()
            call()
            wall[i].append(time.perf_counter() - start)
            busy[i].append(time.process_time() - start_busy)
    return wall, busy


def _ms(seconds: Sequence[float]) -> float:
    return round(1e3 * statistics.median(seconds), 1)


def _ratio(seconds: Sequence[Sequence[float]]) -> float:
    """Return how many times as fast the one call is, by rounds: slow spells then hit both."""
    return round(statistics.median(apart / one for one, apart in zip(*seconds)), 3)


def markdown(found: dict[str, Any]) -> str:
    """Return measurements, ``{"environment": ..., "models": [...]}``, as a table."""
    return "\n".join(_lines(found))


def replaced(text: str, table: str) -> str:
    """Put the table into a text, in place of the one before or at the end."""
    block = f"{START}\n{table}\n{END}"
    kept = re.compile(re.escape(START) + ".*?" + re.escape(END), re.DOTALL)
    if kept.search(text):
        return kept.sub(lambda _: block, text)
    heading = "" if HEADING in text else f"{HEADING}\n\n"
    return f"{text.rstrip()}\n\n{heading}{block}\n".lstrip()


def _lines(found: dict[str, Any]) -> Iterator[str]:
    where, rows = found["environment"], found["models"]
    made = f"{where.get('date')}, revision {where.get('revision') or 'unknown'}"
    version = where.get("versions", {}).get("torch")
    yield f"**{where.get('processor')}; {rows[0]['threads']} threads**. torch {version}. {made}."
    yield ""
    heads = ("one call, ms", "a call each, ms", "times as fast", "by processor", "differ by")
    yield f"| model | frames | {' | '.join(heads)} |"
    yield f"|---|---|{'---:|' * len(heads)}"
    for row in rows:
        times = [f"{way['ms']:g}" for way in row["ways"].values()]
        ratios = [f"{row[key]:.2f}" for key in ("speed", "speed_cpu")]
        what = f"{row['times']} of {row['size']} {row['precision']}"
        cells = [f"`{row['model']}`", what, *times, *ratios, f"{row['max_difference']:g}"]
        yield f"| {' | '.join(cells)} |"
