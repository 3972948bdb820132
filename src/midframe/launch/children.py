"""The processes that a training starts on its machine end with it, however it ends."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import lightning as L
from lightning.pytorch.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h
_GRACE = 5.0  # seconds in which those that fail by the same error say so and end


def end_with_parent(parent: int | None = None) -> None:
    """Let the system end this process when the one that started it has gone, even by a kill.

    Else it would wait for that one: on GPUs for half an hour, holding their memory.

    Args:
        parent: the one that started it, where that is known; it may have gone already.
    """
    if not sys.platform.startswith("linux"):
        return
    here = os.getppid()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != here or (parent is not None and _is_gone(parent)):  # meanwhile
        os.kill(os.getpid(), signal.SIGKILL)


def _is_gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is there, and not ours to signal
        return False
    return False


def end_children(trainer: L.Trainer) -> None:
    """End the processes that Lightning started for a training that has failed here.

    They may wait for this one. Lightning's watch over them is ended as well: it would kill this
    process while it writes down what has happened.
    """
    launcher = trainer.strategy.launcher
    if not isinstance(launcher, _SubprocessScriptLauncher):
        return
    children = list(launcher.procs)
    launcher.procs.clear()  # what is watched
    until = time.monotonic() + _GRACE
    for child in children:
        try:
            child.wait(max(until - time.monotonic(), 0.01))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
