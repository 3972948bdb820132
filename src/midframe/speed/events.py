"""How fast events become bins: the published counts and a voxel grid, against their plain forms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from midframe.errors import UserError
from midframe.events.bins import edges, signed_counts, voxel_grid
from midframe.events.records import Events
from midframe.speed.turns import milliseconds, ratio, turns

MARKERS = "<!-- bench events -->", "<!-- end of bench events -->"
HEADING = "## Events into bins"
SENSORS = ((240, 180), (346, 260), (1280, 720))
_NOW = 1_603_766_999_005_259  # recordings count microseconds since 1970
_SPAN = 160_000
_BINS = 9  # of the voxel grid


def bench_events(
    count: int = 1_000_000,
    sensors: tuple[tuple[int, int], ...] = SENSORS,
    rounds: int = 7,
    seed: int = 0,
) -> dict[str, Any]:
    """Time both representations of random events against a plain form, in turns.

    The plain form looks at all events for each bin and adds them up by `np.add.at`, as the
    published code does in PyTorch. Both sides' results are held against each other first.

    Args:
        count: events, evenly spread over the sensor and the eight bins.
        sensors: (width, height) of each.
        rounds: timed turns.
        seed: of the events.

    Returns:
        What can be written as JSON: of each sensor and representation the median wall and processor
        time of either side in ms, and how many times as fast ours is.

    Raises:
        UserError: for no events or rounds.
    """
    if count < 1 or rounds < 1:
        raise UserError(f"--count {count}, --rounds {rounds}: at least 1")
    rows = []
    for width, height in sensors:
        for name, calls in _sides(_random(count, width, height, seed), width, height).items():
            ours, plain = (call() for call in calls.values())  # also the warm-up
            if not np.allclose(ours, plain, atol=1e-3):
                raise RuntimeError(f"{name} on {width}x{height}: the two sides differ")
            wall, busy = turns(calls, rounds)
            rows.append(
                {
                    "what": name,
                    "sensor": f"{width}x{height}",
                    "ms": {side: milliseconds(wall[side]) for side in calls},
                    "cpu_ms": {side: milliseconds(busy[side]) for side in calls},
                    "speed": ratio(wall, "plain", "ours"),
                    "speed_cpu": ratio(busy, "plain", "ours"),
                }
            )
    return {"benchmark": "events", "count": count, "rounds": rounds, "rows": rows}


def _random(count: int, width: int, height: int, seed: int) -> Events:
    rng = np.random.default_rng(seed)
    return Events(
        np.sort(rng.integers(0, _SPAN, count)) + _NOW,
        rng.integers(0, width, count).astype(np.int16),
        rng.integers(0, height, count).astype(np.int16),
        rng.choice(np.array([-1, 1], np.int8), count),
    )


def _sides(
    events: Events, width: int, height: int
) -> dict[str, dict[str, Callable[[], np.ndarray]]]:
    around = edges(_NOW, _NOW + _SPAN // 2, _NOW + _SPAN)
    stop = _NOW + _SPAN
    return {
        "counts": {
            "ours": lambda: signed_counts(events, around, height, width),
            "plain": lambda: _plain_counts(events, around, height, width),
        },
        "voxel grid": {
            "ours": lambda: voxel_grid(events, _NOW, stop, _BINS, height, width),
            "plain": lambda: _plain_grid(events, _NOW, stop, height, width),
        },
    }


def _plain_counts(events: Events, around: np.ndarray, height: int, width: int) -> np.ndarray:
    out = np.zeros((len(around) - 1, height, width), np.float32)
    for frame, start, stop in zip(out, around, around[1:]):
        inside = (events.t >= start) & (events.t < stop)
        np.add.at(frame, (events.y[inside], events.x[inside]), events.p[inside])
    return out.clip(-10, 10).astype(np.int8)


def _plain_grid(events: Events, start: int, stop: int, height: int, width: int) -> np.ndarray:
    out = np.zeros((_BINS, height, width), np.float32)
    place = (events.t - start) * ((_BINS - 1) / (stop - start))
    first = place.astype(np.int64)
    share = (place - first).astype(np.float32)
    np.add.at(out, (first, events.y, events.x), events.p * (1 - share))
    np.add.at(out, (np.minimum(first + 1, _BINS - 1), events.y, events.x), events.p * share)
    return out


def markdown(found: dict[str, Any]) -> str:
    """Return a measurement, with its ``environment``, as a table."""
    return "\n".join(_lines(found))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    where = found["environment"]
    made = f"{where.get('date')}, revision {where.get('revision') or 'unknown'}"
    version = where.get("versions", {}).get("numpy")
    yield f"**{where.get('processor')}; one thread**. numpy {version}. {made}."
    yield ""
    heads = ("ours, ms", "plain, ms", "times as fast", "by processor")
    yield f"| {found['count']:,} events into | sensor | {' | '.join(heads)} |"
    yield f"|---|---|{'---:|' * len(heads)}"
    for row in found["rows"]:
        times = [f"{row['ms'][side]:g}" for side in ("ours", "plain")]
        ratios = [f"{row[key]:.1f}" for key in ("speed", "speed_cpu")]
        yield f"| {' | '.join([row['what'], row['sensor'], *times, *ratios])} |"
