"""How far a long command is: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque

WINDOW = 30.0  # seconds over which the rate is measured


class Progress:
    """A bar on a terminal, a plain line every few seconds elsewhere, with rate and time left.

    Use it as a context manager.

    Args:
        title: what the lines begin with.
        total: how much there is to do.
        unit: what is counted.
        bar: False for lines on a terminal as well, where several processes share it.
        seconds: between two lines.
        done: how much was there before, which counts for no rate.

    Attributes:
        done: how much of it is done.
    """

    def __init__(
        self,
        title: str,
        total: int,
        *,
        unit: str = "samples",
        bar: bool = True,
        seconds: float = 10.0,
        done: int = 0,
    ) -> None:
        from rich import get_console
        from rich import progress as rich

        self.title, self.total, self.unit, self.seconds = title, total, unit, seconds
        self.done = done
        now = time.monotonic()
        self._printed = now
        self._marks = deque([(now, done)])  # a time and what was done then, at most one a second
        columns = (
            *(rich.TextColumn("{task.description}"), rich.BarColumn(), rich.MofNCompleteColumn()),
            *(rich.TextColumn("{task.fields[rate]}"), rich.TimeRemainingColumn()),
        )
        self._terminal = bar and get_console().is_terminal and sys.stdout.isatty()
        self._bar = rich.Progress(*columns, disable=not self._terminal)
        self._task = self._bar.add_task(title, total=total, completed=done, rate="")

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, count: int = 1) -> None:
        """Count what is done."""
        if count == 0:
            return
        now = time.monotonic()
        self.done += count
        rate = self._rate(now)
        if self._terminal:
            self._bar.update(self._task, completed=self.done, rate=f"{rate:.1f} {self.unit}/s")
        elif now - self._printed >= self.seconds or self.done == self.total:
            self._printed = now
            minutes = (self.total - self.done) / rate / 60
            print(
                f"{self.title} {self.done}/{self.total} {self.unit} | {rate:.1f} {self.unit}/s | "
                f"{minutes:.1f} min left",
                flush=True,
            )

    def _rate(self, now: float) -> float:
        """Return how much is done a second, of late: what was there already went by in no time."""
        while len(self._marks) > 1 and now - self._marks[0][0] > WINDOW:
            self._marks.popleft()
        since, before = self._marks[0]
        if now - self._marks[-1][0] >= 1:
            self._marks.append((now, self.done))
        return (self.done - before) / max(now - since, 1e-9)
