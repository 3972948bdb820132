"""A sweep of real trainings: one diverges, one is killed, and the same command goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tiny import TINY

from midframe.launch.run_records import RunRecord
from midframe.launch.sweep_jobs import FAILED, FINISHED, STOPPED, Job
from midframe.launch.sweeps import Sweep

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def start(runs: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(ROOT / "train.py"), "-m", *TINY, "logger=[csv]", *words]
    return subprocess.Popen(
        [*command, f"paths.runs={runs}", "trainer.checkpoint_every=1"],
        cwd=runs,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: subprocess.Popen[str], code: int) -> str:
    output, _ = process.communicate(timeout=400)
    assert process.returncode == code, output
    return output


def jobs_of(runs: Path) -> list[Job]:
    (folder,) = (runs / "sweeps").iterdir()
    return Sweep.read(folder).jobs


def record_of(job: Job) -> dict[str, Any]:
    assert job.run is not None
    return RunRecord.read(Path(job.run)).record


def pid_of(job: Job, step: int) -> int:
    """Wait until a job has validated at a step, and return its process."""
    until = time.monotonic() + 200
    while time.monotonic() < until:
        log = job.log.read_text() if job.log.exists() else ""
        if f"step {step:>6} |" in log.rpartition("--- try")[2]:
            break
        time.sleep(0.05)
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if str(job.config).encode() in words and b"midframe.launch.train_job" in words:
            return int(path.parent.name)
    raise AssertionError(job.log.read_text())


def wait_for_jobs(runs: Path, count: int) -> list[Job]:
    until = time.monotonic() + 200
    while time.monotonic() < until:
        if len(list(runs.glob("sweeps/*/jobs/*/job.json"))) == count:
            return jobs_of(runs)
        time.sleep(0.05)
    raise AssertionError("no jobs")


def test_divergence_and_a_kill_are_failures_and_the_rest_goes_on(tmp_path: Path) -> None:
    words = ["optimizer.lr=1e-4,1e30,2e-4", "trainer.max_steps=24", "trainer.val_check_interval=8"]
    process = start(tmp_path, *words)
    first, *_ = wait_for_jobs(tmp_path, 3)
    os.kill(pid_of(first, 8), signal.SIGKILL)
    said = ended(process, 1)
    killed, diverged, good = jobs_of(tmp_path)
    assert [job.state for job in (killed, diverged, good)] == [FAILED, FAILED, FINISHED]
    assert killed.error == "killed by SIGKILL" and "the loss is nan" in str(diverged.error)
    assert "3 jobs: 1 finished, 2 failed" in said and good.value is not None
    finished = (Path(str(good.run)) / "run.json").read_bytes()

    ended(start(tmp_path, *words), 1)
    again, diverged, same = jobs_of(tmp_path)
    assert [job.state for job in (again, diverged, same)] == [FINISHED, FAILED, FINISHED]
    assert again.run == killed.run and again.tries == 2 and same.tries == 1
    assert record_of(again)["resumes"] == 1 and record_of(again)["status"] == "finished"
    assert (Path(str(good.run)) / "run.json").read_bytes() == finished
    runs = {path.name for path in tmp_path.iterdir() if (path / "run.json").is_file()}
    assert len(runs) == 3  # none was begun anew
    wandb = [record_of(job)["id"] for job in (again, diverged, same)]
    assert len(set(wandb)) == 3 and wandb == [Path(str(j.run)).name for j in jobs_of(tmp_path)]


def test_an_interruption_stops_the_jobs_and_the_same_command_goes_on(tmp_path: Path) -> None:
    words = ["seed=1,2", "trainer.max_steps=24", "trainer.val_check_interval=8"]
    process = start(tmp_path, *words)
    first, _ = wait_for_jobs(tmp_path, 2)
    job_process = pid_of(first, 8)
    process.send_signal(signal.SIGINT)
    said = ended(process, 130)
    assert "the same command goes on:" in said and "seed=1,2" in said
    assert not Path(f"/proc/{job_process}").exists()
    assert [job.state for job in jobs_of(tmp_path)] == [STOPPED, "waiting"]

    process = start(tmp_path, *words)
    job_process = pid_of(first, 16)
    process.kill()  # the launcher alone: its job goes on
    process.communicate()
    assert Path(f"/proc/{job_process}").exists() and jobs_of(tmp_path)[0].current == "running"
    ended(start(tmp_path, *words), 0)
    first, second = jobs_of(tmp_path)
    assert first.state == second.state == FINISHED and first.tries <= 3
    assert record_of(first)["resumes"] >= 1 and record_of(second)["resumes"] == 0


def test_wandb_and_tensorboard_of_jobs_share_nothing(tmp_path: Path) -> None:
    words = ["seed=1,2", "trainer.max_steps=2", "logger=[csv,tensorboard,wandb]"]
    words += ["logger.wandb.mode=offline", "hydra.launcher.at_once=2"]
    ended(start(tmp_path, *words), 0)
    one, two = (Path(str(job.run)) for job in jobs_of(tmp_path))
    assert one != two
    for run, other in ((one, two), (two, one)):
        assert len(list(run.glob("wandb/offline-run-*"))) == 1
        assert len(list(run.glob("tensorboard/events*"))) >= 1
        assert run.name in str(*run.glob("wandb/offline-run-*/run-*.wandb"))
        assert other.name not in str(sorted(run.rglob("*")))
    assert not list(tmp_path.glob("wandb")) and not list(tmp_path.glob("tensorboard"))


def test_a_search_of_real_trainings(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    words = ["sweep=optuna_lr", "trainer.max_steps=2"]
    ended(start(tmp_path, *words, "hydra.sweeper.n_trials=1"), 0)
    said = ended(start(tmp_path, *words, "hydra.sweeper.n_trials=2"), 0)
    assert "2 trials, 1 of them before" in said and "best: trial" in said
    assert [job.tries for job in jobs_of(tmp_path)] == [1, 1]
    listed = [sys.executable, "-m", "midframe.cli", "runs", str(tmp_path), "--json"]
    found = json.loads(subprocess.run(listed, capture_output=True, text=True, check=True).stdout)
    assert [run["state"] for run in found["runs"]] == [FINISHED] * 2
    assert found["sweeps"][0]["best"] == max(run["best"] for run in found["runs"])


def test_a_job_of_two_devices(tmp_path: Path) -> None:
    pytest.importorskip("midframe.launch.ranks", reason="ranks that torchrun starts")
    ended(start(tmp_path, "seed=1,2", "trainer=ddp_cpu", "trainer.max_steps=2"), 0)
    for job in jobs_of(tmp_path):
        assert job.state == FINISHED and job.devices == 2
    assert len([x for x in tmp_path.iterdir() if (x / "run.json").is_file()]) == 2
