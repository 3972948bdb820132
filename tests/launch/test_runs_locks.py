"""Locks of folders: who has one, what a killed process leaves, file systems without any."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from midframe.launch import locks

HOLDER = """
import os, sys, time
from pathlib import Path
from midframe.launch import locks
lock = locks.take(Path(sys.argv[1]))
child = os.fork()
if child == 0:
    time.sleep(300)  # as a process that loads data, which notices late that its parent is gone
print(child, flush=True)
time.sleep(300)
"""


def test_a_forked_process_does_not_keep_the_folder_of_a_killed_one(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        try:
            assert locks.is_held(tmp_path) and locks.take(tmp_path) is None
            holder.send_signal(signal.SIGKILL)
            holder.wait()
            lock = locks.take(tmp_path)
            assert lock is not None and Path(f"/proc/{child}").exists()
        finally:
            os.kill(child, signal.SIGKILL)


def test_who_only_asks_takes_nothing_from_who_comes_at_that_moment(tmp_path: Path) -> None:
    """`midframe runs` in a loop must not make a training start a run beside its own."""
    locks.take(tmp_path).close()  # type: ignore[union-attr]
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            locks.is_held(tmp_path)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            lock = locks.take(tmp_path)
            assert lock is not None
            lock.close()
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_the_lock_of_a_folder_that_was_removed_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner removes a run in which nothing was learnt, while another waits at the door."""
    folder = tmp_path / "run"
    real, seen = locks.fcntl.flock, []

    def flock(file: Any, how: int) -> None:
        if not seen:
            seen.append(file)
            shutil.rmtree(folder)  # between open and lock
        real(file, how)

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    lock = locks.take(folder)
    monkeypatch.undo()
    assert lock is not None and lock is not seen[0] and locks.is_held(folder)
    assert locks.take(folder) is None
    lock.close()


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    first = locks.take(tmp_path)
    assert first is not None
    threading.Timer(0.3, first.close).start()
    began = time.monotonic()
    second = locks.take(tmp_path, wait=20)
    assert second is not None and time.monotonic() - began < 10
    assert locks.take(tmp_path, wait=0.1) is None
    second.close()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_told_of_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: int,
) -> None:
    def flock(file: Any, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    for name in ("a", "b"):
        assert locks.take(tmp_path / name) is not None
        assert not locks.is_held(tmp_path / name)
    said = capsys.readouterr().err
    assert said.count("has no locks") == 1 and str(tmp_path) in said


def test_another_fault_is_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(file: Any, how: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with pytest.raises(OSError, match="broken"):
        locks.take(tmp_path)
