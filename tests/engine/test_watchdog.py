"""A training that hangs ends by itself and says where it stood; one that goes on is left alone."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from midframe.engine import watchdog
from midframe.engine.watchdog import HUNG, Watchdog

PROGRAM = Path(__file__).with_name("hanging.py")


def run(directory: Path, minutes: float, devices: int, where: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(PROGRAM), str(directory), str(minutes), str(devices), where]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=120, cwd=directory
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "sign"),
    [("worker", "training"), pytest.param("validation", "validation", marks=pytest.mark.slow)],
)
def test_data_that_hang_end_the_training_with_the_stacks(
    where: str, sign: str, tmp_path: Path
) -> None:
    (tmp_path / "run.json").write_text('{"id": "a", "status": "running"}')
    done = run(tmp_path, 0.03, 1, where)
    assert done.returncode == HUNG, done.stderr
    assert not (tmp_path / "finished").exists()
    (line,) = [x for x in done.stderr.splitlines() if x.startswith("error")]
    assert "rank 0 made no progress for 0.03 minutes" in line and str(tmp_path / "stacks") in line
    stacks = (tmp_path / "stacks/rank0.txt").read_text()
    assert "wait_for_a_disk_that_is_gone" in stacks and "hanging.py" in stacks
    assert sign in stacks.split("last sign of life:")[1].splitlines()[0]
    assert ("loading process" in stacks) == (where == "worker")
    record = json.loads((tmp_path / "run.json").read_text())
    assert record == {"id": "a", "status": "hung"}, "what else it says is kept"


@pytest.mark.slow  # two processes that import everything, some 15 s
def test_all_ranks_tell_where_they_are_when_one_hangs(tmp_path: Path) -> None:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "stacks/request.json").write_text('{"why": "of a hang before"}')
    done = run(tmp_path, 0.05, 2, "training")
    assert done.returncode == HUNG, done.stderr
    assert "of a hang before" not in done.stderr
    stacks = [(tmp_path / f"stacks/rank{rank}.txt").read_text() for rank in (0, 1)]
    assert "wait_for_a_disk_that_is_gone" in stacks[1]
    assert "wait_for_a_disk_that_is_gone" not in stacks[0] and "hanging.py" in stacks[0]


@pytest.mark.slow  # a process that imports everything
def test_a_training_that_goes_on_ends_as_ever(tmp_path: Path) -> None:
    assert run(tmp_path, 0.5, 1, "nowhere").returncode == 0
    assert (tmp_path / "finished").exists() and not (tmp_path / "stacks").exists()


class Ended(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def dog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A watchdog whose threads are not started, of ten seconds by a clock of its own."""
    found = Watchdog(str(tmp_path), minutes=1 / 6)
    ends: list[str] = []
    found.ends = ends  # type: ignore[attr-defined]

    def end(why: str) -> None:
        ends.append(why)
        raise Ended

    monkeypatch.setattr(found, "_end", end)
    return found


def watched(dog: Any, gaps: list[float], monkeypatch: pytest.MonkeyPatch, beats: int = 0) -> int:
    """Let the thread look after each of these gaps in seconds; returns how often it did."""
    now, looks = [1000.0], iter(gaps)
    taken = []

    def wait(interval: float) -> bool:
        gap = next(looks, None)
        if gap is None:
            return True
        taken.append(gap)
        now[0] += gap
        if beats and len(taken) % beats == 0:
            dog._beat("training", len(taken))
        return False

    dog._stopped = SimpleNamespace(wait=wait)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with contextlib.suppress(Ended):
        dog._watch()
    return len(taken)


def test_only_time_without_a_batch_counts(dog: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert watched(dog, [1.0] * 50, monkeypatch, beats=9) == 50 and not dog.ends
    assert watched(dog, [1.0] * 50, monkeypatch) == 10
    assert dog.ends == ["rank 0 made no progress for 0.167 minutes"]


def test_time_in_which_the_process_was_stopped_does_not_count(
    dog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert watched(dog, [1.0, 3600.0, 1.0, 1.0], monkeypatch) == 4 and not dog.ends


def test_time_in_a_debugger_does_not_count(dog: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    space = {"__name__": "pdb", "f": lambda: watched(dog, [1.0] * 50, monkeypatch)}
    exec("def interact():\n    return f()", space)
    assert space["interact"]() == 50 and not dog.ends  # type: ignore[operator]


def test_zero_minutes_watch_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[Any] = []
    monkeypatch.setattr(watchdog.threading, "Thread", lambda **given: started.append(given))
    Watchdog(str(tmp_path), minutes=0).setup(None, None, "fit")  # type: ignore[arg-type]
    assert not started
