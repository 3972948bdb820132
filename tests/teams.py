"""Threads in the place of processes that share a benchmark: what they agree on, without gloo."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from midframe.benchmark.team import Team

T = TypeVar("T")


class Threads(Team):
    """One of several threads; rank and size are those of a group."""

    def __init__(self, rank: int, size: int, barrier: threading.Barrier, shared: dict) -> None:
        self.rank, self.size = rank, size
        self.barrier, self.shared = barrier, shared
        self.round = 0

    def claims(self, count: int) -> Iterator[int]:
        """Yield numbers that no other thread gets; by turns, so that every thread has work."""
        self.round += 1
        yield from range(self.rank, count, self.size)

    def exchange(self, value: T) -> list[T]:
        """Return what all give."""
        self.shared[self.rank] = value
        self.barrier.wait()
        found = [self.shared[rank] for rank in range(self.size)]
        self.barrier.wait()
        return found


def together(size: int, work: Callable[[Team], Any]) -> list[Any]:
    """Return what ``work`` returns to each of so many threads."""
    barrier, shared = threading.Barrier(size, timeout=30), {}

    def one(rank: int) -> Any:
        try:
            return work(Threads(rank, size, barrier, shared))
        except BaseException:
            barrier.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        running = list(itertools.starmap(pool.submit, ((one, rank) for rank in range(size))))
        failed = [x for one in running if (x := one.exception()) is not None]
        broken = [x for x in failed if not isinstance(x, threading.BrokenBarrierError)]
        if failed:
            raise (broken or failed)[0]
        return [one.result() for one in running]
