"""Evaluations by several processes, killed ones, and failing ones: from the command line."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fakes
import pytest

from midframe.benchmark.team import ALONE
from midframe.errors import UserError
from midframe.launch import processes

MODEL = '''
"""The average, which takes its time, and may fail in one of several processes."""
import os, time
from midframe.errors import UserError
from midframe.models.average import Average as Base

class Slow(Base):
    def __init__(self, seconds=0.0, how=""):
        super().__init__()
        self.seconds, self.how, self.calls = seconds, how, 0

    def forward(self, x, **hints):
        self.calls += 1
        time.sleep(self.seconds)
        if self.calls == 2 and os.environ.get("RANK") == "1":
            if self.how == "mend":
                raise UserError("this one can be mended")
            if self.how == "defect":
                raise RuntimeError("this is a defect")
            if self.how == "die":
                os._exit(9)
        return super().forward(x, **hints)
'''
YAML = """\
# The average of two frames, slowly
name: slow
net: {_target_: slow_of_a_test.Slow, seconds: 0.0, how: ""}
"""
RANKS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "SLURM_PROCID", "MASTER_ADDR")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a slow model and seven scenes."""
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "slow.yaml").write_text(YAML)
    (tmp_path / "slow_of_a_test.py").write_text(MODEL)
    fakes.middlebury(tmp_path / "data", 7, size=(24, 32), two_folders=False)
    return tmp_path


def _start(project: Path, *words: str, **env: str) -> subprocess.Popen[str]:
    common = ["benchmark=middlebury_upr", "benchmark.root=data", "device=cpu", "threads=1"]
    given = {k: v for k, v in os.environ.items() if k not in RANKS}
    given |= {"MIDFRAME_PROJECT": str(project), "OMP_NUM_THREADS": "1", **env}
    return subprocess.Popen(
        [sys.executable, "-m", "midframe.cli", "evaluate", "model=slow", *common, *words],
        cwd=project,
        env=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _run(project: Path, *words: str) -> tuple[int, str, str]:
    process = _start(project, *words)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


VOLATILE = ("made", "seconds_per_image", "reused_images")


def _result(folder: Path) -> tuple[list[dict[str, str]], dict]:
    """What a result says but for how long it took."""
    with (folder / "images.csv").open(newline="") as file:
        rows = [{**row, "seconds": ""} for row in csv.DictReader(file)]
    record = json.loads((folder / "summary.json").read_text())
    return rows, {key: value for key, value in record.items() if key not in VOLATILE}


def _files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def _wait_for(folder: Path, lines: int, process: subprocess.Popen[str]) -> None:
    """Wait until so many lines stand in the journals of a folder."""
    end = time.monotonic() + 60
    while sum(len(p.read_bytes().splitlines()) for p in folder.glob("journal*.jsonl")) < lines:
        assert process.poll() is None and time.monotonic() < end, process.communicate()[1]
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("batch", ["1", "2"])
def test_two_processes_give_what_one_gives(project, batch):
    words = ("save_images=true", "beside=[average]", f"batch={batch}")
    for out, devices in (("one", 1), ("two", 2)):
        code, shown, err = _run(project, *words, f"out={out}", f"devices={devices}")
        assert code == 0, err
        assert shown.count("written to") == 1
    for folder in ("", "beside/average"):
        assert _result(project / "one" / folder) == _result(project / "two" / folder)
    assert _files(project / "one") == _files(project / "two")
    assert _result(project / "two")[1]["batch"] == int(batch)


@pytest.mark.slow
def test_a_network_gives_the_same_digits_in_two_processes_with_equal_threads(project):
    words = ("model=ifrnet_s", "weights=none", "beside=[]", "batch=2")
    for out, devices in (("one", 1), ("two", 2)):
        code, _, err = _run(project, *words, f"out={out}", f"devices={devices}")
        assert code == 0, err
    assert _result(project / "one") == _result(project / "two")
    assert _result(project / "one")[1]["threads"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_a_killed_evaluation_ends_as_if_it_had_not_been(project, before, after):
    words = ("model.net.seconds=0.2", "save_images=true", "beside=[average]")
    process = _start(project, *words, "out=killed", f"devices={before}")
    _wait_for(project / "killed", before + 3, process)
    process.send_signal(signal.SIGKILL)  # the one that was started: the others end by themselves
    process.communicate()
    left = sorted((project / "killed").glob("journal*.jsonl"))
    assert len(left) == before and not (project / "killed" / "summary.json").exists()
    with left[-1].open("a") as file:
        file.write('{"id": "Grove2", "sub')
    code, shown, err = _run(project, *words, "out=killed", f"devices={after}")
    assert code == 0 and "measured by an earlier, interrupted run" in shown, err
    assert _run(project, *words, "out=whole")[0] == 0
    for folder in ("", "beside/average"):
        assert _result(project / "killed" / folder) == _result(project / "whole" / folder)
    assert _files(project / "killed") == _files(project / "whole")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("mend", "error: this one can be mended\n"),
        ("defect", "process 1: RuntimeError('this is a defect')"),
        ("die", "another process of this evaluation has died"),
    ],
)
def test_a_failing_process_ends_all_and_says_why_once(project, how, said):
    words = ("model.net.seconds=0.1", f"model.net.how={how}", "out=out", "devices=2")
    code, _, err = _run(project, *words, "beside=[]")
    assert code == 2 and err.count(said) == 1
    assert ("Traceback" in err) == (how == "defect")
    assert not (project / "out" / "summary.json").exists()
    assert list((project / "out").glob("journal*.jsonl"))  # what was done is not lost
    assert _run(project, "model.net.seconds=0.1", "out=out", "beside=[]")[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("by", ["torchrun", "srun"])
def test_processes_of_torchrun_and_srun_are_taken_as_they_are(project, by):
    def env(rank: int) -> dict[str, str]:
        if by == "srun":
            number = str(os.getpid())
            names = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NUM_TASKS", "SLURM_JOB_ID")
            return dict(zip(names, (str(rank), str(rank), "2", number)))
        return {
            **{"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"},
            **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(20000 + os.getpid() % 10000)},
        }

    started = [_start(project, "out=out", "beside=[]", **env(rank)) for rank in range(2)]
    shown = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0], shown
    assert "mean of 7" in shown[0][0] and shown[1][0] == ""
    assert _run(project, "out=alone", "beside=[]")[0] == 0
    assert _result(project / "out") == _result(project / "alone")


def test_how_many_processes_an_option_asks_for(monkeypatch):
    assert processes.count(1, "auto") == processes.count("auto", "cpu") == 1
    assert processes.count(3, "cpu") == 3
    for bad in (0, "two", 1.5, True, None):
        with pytest.raises(UserError, match="whole number from 1 on, or auto"):
            processes.count(bad, "cpu")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert processes.count("auto", "auto") == 4 and processes.count(2, "cuda") == 2
    with pytest.raises(UserError, match="devices=5: there are 4 GPUs here"):
        processes.count(5, "auto")
    with pytest.raises(UserError, match="give device=cuda for several GPUs"):
        processes.count(2, "cuda:1")


def test_what_torchrun_and_srun_say_is_understood(monkeypatch):
    for name in (*RANKS, "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    assert processes.place() is None
    monkeypatch.setenv("SLURM_PROCID", "0")  # of a batch script, which is no rank
    assert processes.place() is None
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "8")
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", "4(x2)")
    monkeypatch.setenv("SLURM_PROCID", "5")
    monkeypatch.setenv("SLURM_LOCALID", "1")
    assert processes.place() == (5, 8, 1, 4)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert processes.place() == (1, 2, 1, 2)
    with (
        pytest.raises(UserError, match="devices=3, but 2 processes were started"),
        processes.together(3, "cpu", []),
    ):
        pass


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu[03-07,9]", "gpu03"),
        ("a1,b[2-3]", "a1"),
        ("one", "one"),
        ("n[03-05,9],m2", "n03"),
        ("a[1,3]b", "a1b"),
        ("x-1", "x-1"),
    ],
)
def test_processes_of_srun_meet_on_the_first_node(monkeypatch, nodes, first):
    monkeypatch.setattr(processes.socket, "gethostbyname", lambda name: name)
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "")  # restored afterwards
    monkeypatch.setenv("SLURM_STEP_NODELIST", nodes)
    monkeypatch.setenv("SLURM_STEP_NUM_NODES", "2")
    monkeypatch.setenv("SLURM_JOB_ID", "5000")
    monkeypatch.setenv("SLURM_STEP_ID", "1")
    assert processes.meeting_point() == (first, 15000 + 5001)
    monkeypatch.setenv("MASTER_ADDR", "")
    monkeypatch.setenv("SLURM_STEP_NUM_NODES", "1")
    assert processes.meeting_point() == ("127.0.0.1", 15000 + 5001)
    monkeypatch.setenv("MASTER_PORT", "first")
    with pytest.raises(UserError, match="MASTER_PORT=first"):
        processes.meeting_point()


def test_one_process_starts_nothing(monkeypatch):
    for name in RANKS:
        monkeypatch.delenv(name, raising=False)
    with processes.together(1, "cpu", []) as team:
        assert team is ALONE
