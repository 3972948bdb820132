"""The processes that share a benchmark: who does what, and how all learn what came out."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch.distributed as dist

from midframe.errors import UserError

T = TypeVar("T")
# One process may wait for another as long as a benchmark lasts. Milliseconds that fit 32 bits.
PATIENCE = datetime.timedelta(days=20)


class Ended(SystemExit):
    """Another process has failed and said why; this one ends without a word."""


@dataclass(frozen=True)
class _Failure:
    text: str


class Team:
    """One process by itself, and what a group of several looks like.

    Attributes:
        rank: number of this process, from 0 on; the first one writes results and prints.
        size: how many there are.
    """

    rank = 0
    size = 1

    def claims(self, count: int) -> Iterator[int]:
        """Yield numbers below ``count``: each goes to one process, as soon as it asks for more."""
        yield from range(count)

    def exchange(self, value: T) -> list[T]:
        """Return what all processes give, by their ranks; all must call it."""
        return [value]


ALONE = Team()


class Group(Team):
    """Several processes that meet at a store; work is shared by a counter in it.

    It is joined when it is first needed, so that processes may prepare in the meantime. No matter
    what they compute on, they speak by gloo, which notices when one of them dies.

    Args:
        rank: of this process.
        size: how many there are.
        connect: returns the store once all can be reached.
    """

    def __init__(self, rank: int, size: int, connect: Callable[[], dist.Store]) -> None:
        self.rank, self.size = rank, size
        self._connect = connect
        self._store: dist.Store | None = None
        self._round = 0
        self.over = False

    @property
    def joined(self) -> bool:
        """Whether the others were met."""
        return self._store is not None

    def join(self) -> dist.Store:
        """Meet the others, once."""
        if self._store is None:
            store = self._connect()
            try:
                dist.init_process_group(
                    "gloo",
                    store=dist.PrefixStore("group", store),
                    rank=self.rank,
                    world_size=self.size,
                    timeout=PATIENCE,
                )
            except RuntimeError as error:
                raise UserError(f"process {self.rank} cannot meet the others: {error}") from error
            self._store = store
        return self._store

    def claims(self, count: int) -> Iterator[int]:
        """Yield numbers below ``count`` that no other process has; none once one has failed."""
        store = self.join()
        self._round += 1  # in step with the others, who make the same calls
        while True:
            try:
                number = count if store.add("failed", 0) else store.add(f"work{self._round}", 1) - 1
            except RuntimeError as error:
                raise self._gone() from error
            if number >= count:
                return
            yield number

    def exchange(self, value: T) -> list[T]:
        """Return what all give; where one has failed, all end and the first says why."""
        found = self._gather(value)
        failures = [one.text for one in found if isinstance(one, _Failure)]
        if failures:
            self.over = True
            if self.rank == 0:
                raise UserError(failures[0])
            raise Ended(2)
        return found

    def fail(self, text: str) -> None:
        """Tell the others why they have to end; returns when they know."""
        if not self.over:
            self.over = True
            self.join().add("failed", 1)
            self._gather(_Failure(text))

    def leave(self) -> None:
        """Part from the others, whether they are still there or not."""
        self.over = True
        if self.joined:
            self._store = None
            dist.destroy_process_group()

    def _gather(self, value: Any) -> list[Any]:
        self.join()
        found: list[Any] = [None] * self.size
        try:
            dist.all_gather_object(found, value)
        except RuntimeError as error:
            raise self._gone() from error
        return found

    def _gone(self) -> UserError:
        self.over = True
        return UserError(
            f"another process of this evaluation has died (this is number {self.rank} of "
            f"{self.size}); the same command goes on where it stopped"
        )
