"""What `midframe runs` says of folders that others left."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from midframe.cli import main
from midframe.launch import locks
from midframe.launch.run_records import RunRecord, goal_of, read_curves
from midframe.launch.runs_table import list_runs, overrides_of
from midframe.launch.sweep_jobs import FAILED, FINISHED, RUNNING, STOPPED
from midframe.launch.sweeps import Sweep


def run_of(runs: Path, name: str, curve: str = "", **record: Any) -> Path:
    folder = runs / name
    folder.mkdir(parents=True)
    said = {
        "status": "finished",
        "started": "2026-01-02T10:00:00",
        "ended": "2026-01-02T10:02:03",
        "command": ["python", "train.py", "model=a", f"seed={name}"],
        "resumes": 0,
        **record,
    }
    (folder / "run.json").write_text(json.dumps(said))
    if curve:
        (folder / "metrics.csv").write_text(f"step,val/psnr,val/lpips,train/loss\n{curve}")
    return folder


def row_of(runs: Path, name: str, **options: Any) -> Any:
    (row,) = [row for row in list_runs(runs, **options).runs if row.name == name]
    return row


def test_a_run_in_a_row(tmp_path: Path) -> None:
    run_of(tmp_path, "a", "0,20,.5,1\n10,25,.3,\n20,24,.2,.1\n", resumes=2)
    row = row_of(tmp_path, "a")
    assert (row.state, row.metric, row.best, row.step, row.steps) == (
        *(FINISHED, "val/psnr", 25.0, 10, 20),
    )
    assert (row.seconds, row.resumes, row.overrides) == (123.0, 2, ["model=a", "seed=a"])
    other = row_of(tmp_path, "a", metric="val/lpips")
    assert (other.best, other.step) == (0.2, 20)  # the lower the better


@pytest.mark.parametrize(
    ("said", "held", "state"),
    [
        ("running", True, RUNNING),
        ("running", False, STOPPED),  # it was killed
        ("finished", False, FINISHED),
        ("failed", False, FAILED),
        ("interrupted", False, STOPPED),
        ("finished", True, RUNNING),  # it goes on for more steps
        ("odd\x1b[2J", False, STOPPED),
    ],
)
def test_states_are_those_of_the_lock(tmp_path: Path, said: str, held: bool, state: str) -> None:
    folder = run_of(tmp_path, "a", status=said)
    lock = locks.take(folder) if held else None
    assert row_of(tmp_path, "a").state == state
    if lock:
        lock.close()


def test_all_starts_of_a_run_count_and_pauses_do_not(tmp_path: Path) -> None:
    starts = [
        {"time": "2026-01-01T00:00:00", "ended": "2026-01-01T00:01:00"},
        {"time": "2026-01-05T00:00:00", "ended": None},
    ]
    folder = run_of(tmp_path, "a", "1,2,3,4\n", starts=starts, status="running")
    import time

    last = time.mktime((2026, 1, 5, 0, 0, 30, 0, 0, -1))
    for name in ("metrics.csv", "run.json"):
        os.utime(folder / name, (last, last))
    assert row_of(tmp_path, "a").seconds == 90.0


def test_numbers_of_runs_without_curves(tmp_path: Path) -> None:
    run_of(tmp_path, "a", metrics={"val/epe": 1.5, "val/psnr": float("nan")}, steps=40)
    row = row_of(tmp_path, "a")
    assert (row.metric, row.best, row.steps) == ("val/psnr", None, 40)
    assert row_of(tmp_path, "a", metric="val/epe").best == 1.5


def sweep_of(runs: Path) -> Sweep:
    with Sweep.open(runs / "sweeps" / "lr-12345678", command="train -m seed=1,2,3,4") as sweep:
        for number in range(4):
            sweep.job([f"seed={number}", "model=a"], "")
        good, killed, bad, _ = sweep.jobs
        run = run_of(runs, "good", "1,20,,\n2,21,,\n")
        good.begin()
        good.end(FINISHED, run=str(run), metric="val/psnr", value=21.0)
        run = run_of(runs, "killed", "1,20,,\n", status="running")
        killed.begin()
        killed.end(FAILED, run=str(run), error="killed by SIGKILL")
        bad.begin()
        bad.end(FAILED, error="no such file")
    return sweep


def test_a_sweep_and_its_jobs(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path)
    run_of(tmp_path, "apart")
    found = list_runs(tmp_path)
    (row,) = found.sweeps
    assert row.jobs == {"waiting": 1, FINISHED: 1, FAILED: 2} and row.state == STOPPED
    assert (row.metric, row.best, row.best_job) == ("val/psnr", 21.0, 0)
    states = {row.job: (row.state, row.error) for row in found.runs if row.sweep}
    assert states == {
        0: (FINISHED, None),
        1: (FAILED, "killed by SIGKILL"),
        2: (FAILED, "no such file"),
        3: ("waiting", None),
    }
    assert row_of(tmp_path, "apart").sweep is None
    with Sweep.open(sweep.folder):
        assert list_runs(tmp_path).sweeps[0].state == RUNNING
    own = list_runs(sweep.folder)  # a sweep's folder by itself
    assert len(own.runs) == 4 and len(own.sweeps) == 1


def test_a_killed_job_that_a_single_command_finished_is_finished(tmp_path: Path) -> None:
    sweep_of(tmp_path)
    path = tmp_path / "killed" / "run.json"
    later = {"status": "finished", "ended": "2999-01-01T00:00:00"}
    path.write_text(json.dumps({**json.loads(path.read_text()), **later}))
    assert row_of(tmp_path, "killed").state == FINISHED
    earlier = {**later, "ended": "2001-01-01T00:00:00"}  # it finished, without a number
    path.write_text(json.dumps({**json.loads(path.read_text()), **earlier}))
    assert row_of(tmp_path, "killed").state == FAILED


def test_filters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep_of(tmp_path)
    run_of(tmp_path, "apart", status="failed")
    assert main(["runs", str(tmp_path), "--state", "failed", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert sorted(x["name"] for x in found["runs"]) == ["-", "apart", "killed"]
    assert main(["runs", str(tmp_path), "--sweep", "lr-", "--state", "finished", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [x["name"] for x in found["runs"]] == ["good"] and found["sweeps"] == []
    assert main(["runs", str(tmp_path), "--state", "sleeping"]) == 2
    assert "waiting, running, finished" in capsys.readouterr().err
    assert main(["runs", str(tmp_path), "--sweep", "none"]) == 2
    assert "there are lr-12345678" in capsys.readouterr().err


def test_the_table_says_shared_words_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_of(tmp_path, "one", "1,20,,\n")
    run_of(tmp_path, "two", "1,22.25,,\n")
    assert main(["runs", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "val/psnr 22.25" in said and "seed=two" in said and "0:02:03" in said
    assert said.count("model=a") == 1 and "all of them: model=a" in said


def test_hostile_folders_are_named_and_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_of(tmp_path, "good", "1,20,,\n")
    for name, text in {
        "half": '{"status": ',
        "list": "[1, 2]",
        "deep": "[" * 100_000,
        "binary": "\x00\x01",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(text)
    run_of(tmp_path, "table", "x,1\n1,not a number,,\n")
    os.mkfifo(run_of(tmp_path, "pipe") / "metrics.csv")
    pipe = run_of(tmp_path, "locked")
    os.mkfifo(pipe / ".lock")  # whoever opened it would wait for ever
    (tmp_path / "folder" / "run.json").mkdir(parents=True)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "sweeps" / "bad").mkdir(parents=True)
    (tmp_path / "sweeps" / "bad" / "sweep.json").write_text("3")
    (tmp_path / "notes").mkdir()  # not a run, and not told
    odd = {"command": 5, "resumes": "x", "starts": [3], "started": 7, "metrics": [], "steps": "y"}
    run_of(tmp_path, "odd", **odd)
    run_of(tmp_path, "colour", command=["train.py", "name=\x1b[31mred\nline"])
    assert main(["runs", str(tmp_path)]) == 0
    said = capsys.readouterr()
    names = ("half", "list", "deep", "binary", "table", "pipe", "folder", "bad")
    assert all(f"skipped {tmp_path}" in said.err and name in said.err for name in names)
    assert said.err.count("skipped") == len(names)
    assert "\x1b" not in said.out and "name=?[31mred?line" in said.out
    assert all(name in said.out for name in ("good", "locked", "odd", "colour"))


def test_no_folder_and_an_empty_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["runs", str(tmp_path / "none")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    monkeypatch.setenv("MIDFRAME_RUNS", str(tmp_path))
    assert main(["runs"]) == 0
    assert capsys.readouterr().out == "no runs\n"
    assert main(["runs", "a", "b"]) == 2


@pytest.mark.parametrize(
    ("name", "goal"),
    [
        ("val/psnr", "max"),
        ("val/ssim", "max"),
        ("val/epe", "min"),
        ("val/lpips", "min"),
        ("train/loss", "min"),
        ("val/ie_average", "min"),
        ("val/fl_all", "min"),
        ("vmaf", "max"),
    ],
)
def test_which_way_a_metric_is_better(name: str, goal: str) -> None:
    assert goal_of(name) == goal


def test_rows_without_a_value_leave_a_gap(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,a,b\n1,2,\n2,,3\n")
    assert read_curves(tmp_path / "metrics.csv") == {"a": {1: 2.0}, "b": {2: 3.0}}
    assert read_curves(tmp_path / "none.csv") == {}
    assert RunRecord(tmp_path).best() is None


def test_overrides_of_any_command() -> None:
    words = ["python", "train.py", "-m", "a=b", "~c", "--config-name=x", "+d.e=1"]
    assert overrides_of(words) == ["a=b", "~c", "+d.e=1"] and overrides_of(None) == []
