"""What a run directory tells of its starts, its machine and its code, and what it never does."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import datetime
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from midframe.launch import difference as module
from midframe.launch import machine
from midframe.launch.difference import difference
from midframe.launch.record import ended, hardware, packages, started

CFG = OmegaConf.create({"seed": 3, "data": {"seed": 4}})


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a committed file in a folder and a file that may hold secrets."""
    top = tmp_path / "code"
    (top / "inside").mkdir(parents=True)
    (top / "inside" / "a.py").write_text("FACTOR = 1\n")
    (top / ".env").write_text("A=1\n")
    git(top, "init", "-q")
    git(top, "add", ".")
    git(top, "commit", "-qm", "a")
    return top


def test_without_a_change_there_is_no_diff(repository: Path) -> None:
    found, patch = difference([repository / "inside", repository])
    revision = git(repository, "rev-parse", "--short=12", "HEAD").strip()
    about = {"revision": revision, "diff_cut": False, "untracked": 0, "untracked_names": []}
    assert (found, patch) == ({str(repository): about}, "")


def test_the_diff_makes_the_commit_what_was_run(repository: Path, tmp_path: Path) -> None:
    (repository / "inside/a.py").write_text("FACTOR = 2\n")
    (repository / "new.py").write_text("CONTENT\n")
    (repository / ".env").write_text("A=TOKEN\n")
    found, patch = difference([repository / "inside"])
    assert found[str(repository)]["untracked_names"] == ["new.py"]
    assert "CONTENT" not in patch and "TOKEN" not in patch
    copy = tmp_path / "copy"
    git(tmp_path, "clone", "-q", str(repository), str(copy))
    (tmp_path / "diff.patch").write_text(patch)
    git(copy, "apply", str(tmp_path / "diff.patch"))
    assert (copy / "inside/a.py").read_text() == "FACTOR = 2\n"


def test_a_long_diff_and_many_files_are_cut_and_it_is_said(repository: Path) -> None:
    (repository / "inside/a.py").write_text("".join(f"line {i}\n" for i in range(1000)))
    for i in range(module._NAMED + 5):
        (repository / f"{i}.txt").touch()
    found, patch = difference([repository], longest=500)
    about = found[str(repository)]
    assert about["diff_cut"] and about["untracked"] == module._NAMED + 5
    assert len(about["untracked_names"]) == module._NAMED
    assert 300 < len(patch) < 700 and patch.endswith("\n")


def test_what_git_does_not_know_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert difference([tmp_path]) == ({}, "")
    monkeypatch.setenv("PATH", "")  # no git at all
    assert difference([Path(__file__).parent]) == ({}, "")


def test_each_start_is_kept_with_its_step_and_its_own_diff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patches = iter(["one\n", "one\n", "two\n", ""])
    monkeypatch.setattr("midframe.launch.record.difference", lambda folders: ({}, next(patches)))
    record: dict[str, Any] = {"id": "a b"}
    for step in (0, 20, 40, 60):
        record |= started(tmp_path, record, step, CFG)
        record |= ended(record, "interrupted", step + 10)
    assert [one["step"] for one in record["starts"]] == [0, 20, 40, 60]
    assert [one["steps"] for one in record["starts"]] == [10, 30, 50, 70]
    files = [one["diff"] for one in record["starts"]]
    assert files == ["diff.patch", "diff.patch", "diff-40.patch", None]
    assert (tmp_path / "diff.patch").read_text() == "one\n"
    assert (tmp_path / "diff-40.patch").read_text() == "two\n"
    assert record["seeds"] == {"run": 3, "data": 4} and record["status"] == "interrupted"


def test_a_start_that_was_killed_lasted_until_the_checkpoint_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("midframe.launch.record.difference", lambda folders: ({}, ""))
    record = started(tmp_path, {"id": "a"}, 0, CFG)
    record["starts"][0]["time"] = "2026-01-02T03:04:05"
    (tmp_path / "last.ckpt").touch()
    written = datetime(2026, 1, 2, 5, 4, 5)
    os.utime(tmp_path / "last.ckpt", (written.timestamp(),) * 2)
    for _ in range(2):  # the second is killed before it writes one of its own
        record |= started(tmp_path, record, 20, CFG)
    first, second, third = record["starts"]
    assert (first["ended"], first["status"], first["steps"]) == (written.isoformat(), "killed", 20)
    assert second["ended"] == second["time"] and "ended" not in third


def test_the_id_for_wandb_is_kept_and_no_other_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("midframe.launch.record.difference", lambda folders: ({}, ""))
    first = started(tmp_path, {"id": "quick-ab"}, 0, CFG)
    assert first["wandb"].startswith("quick-ab-") and len(first["wandb"]) == 17
    again = started(tmp_path, {"id": "quick-ab", **first}, 10, CFG)
    assert again["wandb"] == first["wandb"]
    assert started(tmp_path, {"id": "quick-ab"}, 0, CFG)["wandb"] != first["wandb"]
    assert len(started(tmp_path, {"id": "x" * 300}, 0, CFG)["wandb"]) <= 64


def test_all_packages_are_listed() -> None:
    lines = packages().splitlines()
    assert f"torch=={metadata.version('torch')}" in lines and lines == sorted(lines, key=str.lower)


def test_the_hardware_is_told_in_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    found = hardware()
    assert found["memory_gib"] > 0.5 and found["processor"] and found["usable_cores"] >= 1
    cards = [
        SimpleNamespace(name=f"Card {i}", total_memory=24 * 2**30, major=9, minor=0) for i in (0, 1)
    ]
    fake = SimpleNamespace(
        is_available=lambda: True, device_count=lambda: 2, get_device_properties=cards.__getitem__
    )
    monkeypatch.setattr(torch, "cuda", fake)
    monkeypatch.setattr(machine, "driver", lambda: "580.1")
    found = hardware()
    assert found["gpus"][1] == {"name": "Card 1", "memory_gib": 24.0, "capability": "9.0"}
    assert found["driver"] == "580.1"
    json.dumps(found)
