"""Several times between two frames: one call for all of them against a call for each, in turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from midframe.errors import UserError
from midframe.models.base import Interpolator
from midframe.models.inference import Precision, for_inference
from midframe.models.zoo import create_model
from midframe.speed.frames import example, given, label
from midframe.speed.turns import milliseconds, ratio, turns, using_threads

MARKERS = "<!-- bench anytime -->", "<!-- end of bench anytime -->"
HEADING = "## Several times between two frames"
Calls = dict[str, Callable[[], Tensor]]
NOISE = 1e-4  # of frames in [0, 1]: rounding in another order, carried through a network


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
    calls = _calls(for_inference(base, precision), size, times)
    one, each = calls
    with using_threads(threads) as used:
        together, apart = (call() for call in calls.values())  # also the warm-up
        wall, busy = turns(calls, rounds)
    difference = float((together - apart).abs().max())
    return {
        "model": model if isinstance(model, str) else type(model).__name__,
        "size": label(size),
        "times": times,
        "precision": precision,
        "threads": used,
        "rounds": rounds,
        "ways": {
            name: {"ms": milliseconds(wall[name]), "cpu_ms": milliseconds(busy[name])}
            for name in calls
        },
        "speed": ratio(wall, each, one),
        "speed_cpu": ratio(busy, each, one),
        "max_difference": float(f"{difference:.1e}"),
        "equal": difference <= (NOISE if precision == "fp32" else 100 * NOISE),
    }


def _calls(model: Interpolator, size: tuple[int, int], times: int) -> Calls:
    """Return both ways to make the frames (1, T, 3, H, W)."""
    frames = example(model, size).frames
    at = torch.arange(1, times + 1)[None] / (times + 1)

    def together() -> Tensor:
        return model.interpolate(given(model, frames, at)).frame

    def apart() -> Tensor:
        singles = [model.interpolate(given(model, frames, t)).frame for t in at.split(1, 1)]
        return torch.cat(singles, 1)

    return {"one call": together, f"{times} calls": apart}


def markdown(found: dict[str, Any]) -> str:
    """Return measurements, ``{"environment": ..., "models": [...]}``, as a table."""
    return "\n".join(_lines(found))


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
