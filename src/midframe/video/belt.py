"""A bounded queue between two threads, which either of them can end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from threading import Condition
from time import perf_counter
from typing import Generic, TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """The other side of a belt has gone without an error of its own to tell."""


class Belt(Generic[T]):
    """Carries things from one thread to another, in order, not more than ``room`` at a time.

    The side that puts calls `close` when there is no more; the side that takes iterates. If one
    fails it gives the other its error: one that puts by ``close(error)``, which is raised behind
    what was put before; one that takes by ``abandon(error)``, which the next `put` raises.

    Args:
        room: how many it holds.

    Attributes:
        waited_to_put: seconds that the side that puts waited for room.
        waited_to_take: seconds that the other side waited for a thing.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.waited_to_put = self.waited_to_take = 0.0
        self._items: deque[T] = deque()
        self._changed = Condition()
        self._closed = False
        self._error: BaseException | None = None  # of the side that puts
        self._gone: BaseException | None = None  # of the side that takes

    def put(self, item: T) -> None:
        """Append; waits for room.

        Raises:
            BaseException: what the side that takes gave up for.
        """
        with self._changed:
            begun = perf_counter()
            while len(self._items) >= self.room and self._gone is None:
                self._changed.wait()
            self.waited_to_put += perf_counter() - begun
            if self._gone is not None:
                raise self._gone
            self._items.append(item)
            self._changed.notify_all()

    def close(self, error: BaseException | None = None) -> None:
        """Say that no more will come, and why if that is an error."""
        with self._changed:
            if not self._closed:
                self._closed, self._error = True, error
            self._changed.notify_all()

    def abandon(self, error: BaseException | None = None) -> None:
        """Say that nothing more will be taken; what is there is dropped."""
        with self._changed:
            if self._gone is None:
                self._gone = error or Stopped()
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        with self._changed:
            begun = perf_counter()
            while not self._items and not self._closed:
                self._changed.wait()
            self.waited_to_take += perf_counter() - begun
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._error is not None:
                raise self._error
            raise StopIteration
