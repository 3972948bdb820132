"""Where a loading process stands, told to the process that started it, even while it hangs."""

from __future__ import annotations

import faulthandler
import os
import signal
import time
from pathlib import Path

_NAME = "midframe-stacks"
_WAIT = 2.0  # seconds for a process to write
_offered: list[int] = []  # the file stays open as long as the process


def offer_stacks() -> bool:
    """Let `stacks_of` have the stacks of this process; returns whether this system can.

    Python's own handler writes them into a file in memory on SIGUSR2, whatever the process is
    doing, and no file is left behind.
    """
    if not (hasattr(os, "memfd_create") and hasattr(faulthandler, "register")):
        return False
    if not _offered:
        _offered.append(os.memfd_create(_NAME))
    faulthandler.register(signal.SIGUSR2, file=_offered[0], all_threads=True, chain=False)
    return True


def stacks_of(process: int) -> str:
    """Return the stacks of a process that offers them, or why there are none."""
    file = _file_of(process)
    if file is None:
        return "(it does not offer its stacks)\n"
    try:
        before = file.read_bytes()
        os.kill(process, signal.SIGUSR2)
        end = time.monotonic() + _WAIT
        while time.monotonic() < end:
            time.sleep(0.05)
            found = file.read_bytes()[len(before) :]
            if found and found == file.read_bytes()[len(before) :]:
                return found.decode(errors="replace")
    except OSError as error:
        return f"({error})\n"
    return "(it does not answer: it waits inside of the system, as for a disk that is gone)\n"


def _file_of(process: int) -> Path | None:
    try:
        for link in Path(f"/proc/{process}/fd").iterdir():
            if _NAME in os.readlink(link):  # noqa: PTH115
                return link
    except OSError:
        pass
    return None
