"""Timing in turns: what else the machine does weighs on all sides alike."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch

from midframe.errors import UserError

Call = Callable[[], Any]
Seconds = dict[str, list[float]]  # of each side, round by round


def turns(calls: Mapping[str, Call], rounds: int) -> tuple[Seconds, Seconds]:
    """Time all calls round by round, without warming up.

    Raises:
        UserError: for no round at all.

    Returns:
        Wall time and the processor time of all threads, in seconds, by the names of the calls.
    """
    if rounds < 1:
        raise UserError(f"--rounds {rounds}: at least 1")
    wall: Seconds = {name: [] for name in calls}
    busy: Seconds = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start, start_busy = perf_counter(), process_time()
            call()
            wall[name].append(perf_counter() - start)
            busy[name].append(process_time() - start_busy)
    return wall, busy


def ratio(times: Mapping[str, Sequence[float]], slow: str, fast: str) -> float:
    """Return how many times as fast ``fast`` is, by rounds: slow spells then hit both."""
    return round(median(a / b for a, b in zip(times[slow], times[fast])), 3)


def milliseconds(seconds: Sequence[float]) -> float:
    """Return the median in ms, in four digits."""
    return float(f"{1e3 * median(seconds):.4g}")


@contextlib.contextmanager
def using_threads(count: int | None) -> Iterator[int]:
    """Let PyTorch use so many threads and give their number; None leaves its setting."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
