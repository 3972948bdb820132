"""Locks of folders, which end with their process, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import sys
import time
import weakref
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import IO

NAME = ".lock"
# Set for a process that was given the lock of its folder by the one that started it.
HANDED_ON = "MIDFRAME_LOCK_HANDED_ON"
# Seconds in which a file system elsewhere notices that a machine with a lock has died.
LEASE = 180.0
_ASKED = 0.4  # seconds: one who asks `is_held` has it for a moment, longer where cores are few
# What file systems without locks say: Lustre without the option flock, NFS without its daemon.
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)
_taken: weakref.WeakSet[IO[str]] = weakref.WeakSet()


def take(folder: Path, wait: float = 0.0) -> IO[str] | None:
    """Take a folder, which is made if need be, for this process; None where another one has it.

    Close what is returned to let go. Processes that this one forks do not keep it. On a file system
    without locks everybody gets it, and a line says so.

    Args:
        folder: which one.
        wait: seconds to wait for the other one to end.

    Raises:
        OSError: if nothing can be written there.
    """
    until = time.monotonic() + max(wait, _ASKED)
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / NAME).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            if time.monotonic() > until:
                return None
            time.sleep(1.0 if until - time.monotonic() > 2.0 else 0.02)
            continue
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                lock.close()
                raise
            _tell_of_no_locks(str(folder.parent), str(error.strerror))
        if _is_there(folder, lock):
            _forget_in_forks()
            _taken.add(lock)
            return lock
        lock.close()  # who had it has removed the folder meanwhile


def _is_there(folder: Path, lock: IO[str]) -> bool:
    """Whether a lock is that of the folder as everybody else sees it."""
    try:
        return os.path.samestat(os.fstat(lock.fileno()), (folder / NAME).stat())
    except OSError:
        return False


@lru_cache(maxsize=1)
def _forget_in_forks() -> None:
    """Let forked processes, as those that load data are, close the locks of this one.

    Else they would keep the folder for the seconds in which they outlive a killed training, and the
    same command would start a run beside.
    """

    def close() -> None:
        for lock in list(_taken):
            with suppress(OSError, ValueError):
                lock.close()

    os.register_at_fork(after_in_child=close)


@lru_cache(maxsize=8)
def _tell_of_no_locks(where: str, reason: str) -> None:
    print(
        f"note: the file system of {where} has no locks ({reason}), so nothing keeps two processes "
        "out of one folder; do not start the same command twice at once",
        file=sys.stderr,
        flush=True,
    )


def is_held(folder: Path) -> bool:
    """Whether a process has the folder; False of one that cannot be asked."""
    try:
        file = os.open(folder / NAME, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait for ever
    except OSError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return False
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(file)
    return False
