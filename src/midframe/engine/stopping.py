"""Signals that ask a training to stop: obeyed at once until it trains, then after a whole step.

SIGUSR1 is what Slurm is told to send ahead of a time limit, SIGTERM what it and people send.
This file imports nothing heavy, so that a program can heed them from its first line on.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Exit code of a training that a signal ended and that can go on (EX_TEMPFAIL of sysexits.h).
STOPPED = 75
SIGNALS = tuple(getattr(signal, x) for x in ("SIGUSR1", "SIGTERM") if hasattr(signal, x))


class Stopped(BaseException):
    """Ends a training that was asked to stop; no ``except Exception`` on its way may hide it.

    Attributes:
        signal: the number of the signal.
        step: the optimizer step after which it stopped, None where training had not begun.
    """

    def __init__(self, number: int, step: int | None = None) -> None:
        super().__init__(number, step)
        self.signal, self.step = number, step

    @property
    def name(self) -> str:
        """Name of the signal, such as SIGUSR1."""
        return signal.Signals(self.signal).name


class _Notes:
    """What was received; one for the process, as signals are."""

    number: int | None = None
    at = 0.0
    waits = False  # whether a signal is noted only, since a training looks for it
    process: int | None = None


_notes = _Notes()


def hold() -> None:
    """Keep SIGUSR1 back until it is `heeded`, for the time of long imports.

    Only threads that start later keep it back as well, so this belongs at a program's beginning.
    """
    if hasattr(signal, "SIGUSR1"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])


@contextmanager
def heeded() -> Iterator[None]:
    """Heed `SIGNALS` within: they raise `Stopped`, or are noted where a training defers them."""
    if threading.current_thread() is not threading.main_thread():  # which receives none
        yield
        return
    before: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
    _notes.number, _notes.waits, _notes.process = None, False, os.getpid()
    _take()
    try:
        if hasattr(signal, "SIGUSR1"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
        yield
    finally:
        _notes.process = None
        for number, handler in before.items():
            # None: set by something that is not Python
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def defer() -> None:
    """Note signals only from now on; also where another has taken their handlers meanwhile."""
    if _notes.process == os.getpid():
        _notes.waits = True
        _take()


def defer_no_longer() -> None:
    """Let signals raise again."""
    _notes.waits = False


def noted() -> int | None:
    """Return the number of the signal that was received while deferred, if any."""
    return _notes.number


def noted_for() -> float:
    """Return for how many seconds one has been noted; 0 for none."""
    return 0.0 if _notes.number is None else time.monotonic() - _notes.at


def _take() -> None:
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, _receive)


def _receive(number: int, frame: FrameType | None) -> None:
    if os.getpid() != _notes.process:  # of a process that was forked off: Slurm signals them all
        return
    if _notes.number is None:
        _notes.number, _notes.at = number, time.monotonic()
        if not _notes.waits:
            raise Stopped(number)
