"""A multirun and a search whose jobs are jobs of a real Slurm."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cluster import ROOT, Slurm, until
from hold import at
from trainings import ALONE, RECIPE, SEED, TINY, TOGETHER, assert_ends_like, record

pytest.importorskip("submitit", reason="submitit is not installed: pip install 'midframe[slurm]'")
pytestmark = [pytest.mark.slow, pytest.mark.slurm]

SIZES = ["launcher=slurm", "launcher.cpus_per_task=1", "launcher.time=10", "launcher.mem=0"]
TWO_STEPS = ["trainer.max_steps=2", "trainer.val_check_interval=2"]


def start(slurm: Slurm, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "train.py", "-m", *SIZES, *words],
        cwd=ROOT, env=slurm.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    """Return what a command shows."""
    shown, _ = process.communicate(timeout=240)
    assert process.returncode == code, shown
    return shown


def folder_of(runs: Path) -> Path:
    (folder,) = (runs / "sweeps").iterdir()
    return folder


def jobs_of(runs: Path) -> list[dict[str, Any]]:
    files = sorted(folder_of(runs).glob("jobs/*/job.json"))
    return [json.loads(file.read_text()) for file in files]


def number(job: dict[str, Any]) -> str:
    """Return what Slurm calls a job."""
    return str(job["place"]).removeprefix("slurm ")


def test_one_job_is_requeued_and_one_cancelled_and_the_same_command_ends_it(
    slurm: Slurm, tmp_path: Path, whole: Path
) -> None:
    runs = tmp_path / "runs"
    words = [*RECIPE, *ALONE, f"seed={SEED},{SEED + 1}", f"paths.runs={runs}"]
    words += at(3, f"{tmp_path}/held${{seed}}")
    first = start(slurm, *words)
    for seed in (SEED, SEED + 1):
        until((tmp_path / f"held{seed}").exists, "step 3 of both")
    one, two = jobs_of(runs)
    slurm.call("scancel", number(two))
    slurm.call("scancel", "--signal=USR1", number(one))  # as ahead of a time limit
    shown = ended(first, 1)
    assert "job 1  stopped" in shown and "1 finished, 1 left" in shown
    assert slurm.show(number(one))["Restarts"] == "1"
    one, two = jobs_of(runs)
    assert one["state"] == "finished" and one["value"] and one["tries"] == 2
    assert two["state"] == "stopped" and "cancelled" in two["error"]
    assert_ends_like(Path(one["run"]), whole, resumes=1)

    ended(start(slurm, *words))
    same, again = jobs_of(runs)
    assert same == one and again["state"] == "finished"
    assert again["run"] == two["run"] and record(Path(again["run"]))["resumes"] == 1
    assert len([path for path in runs.iterdir() if path.name != "sweeps"]) == 2


def test_a_command_that_does_not_wait_tells_later_how_jobs_stand(
    slurm: Slurm, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    words = [*TINY, *TOGETHER, *TWO_STEPS, "seed=3", f"paths.runs={runs}"]
    assert "1 jobs: 1 left" in ended(start(slurm, *words, "launcher.wait=false"))
    places = [job["place"] for job in jobs_of(runs)]
    shown = ended(start(slurm, *words))
    assert "1 jobs: 1 finished" in shown, "the same command waits for the jobs that there are"
    assert [job["place"] for job in jobs_of(runs)] == places, "nothing was submitted twice"
    (log,) = folder_of(runs).glob("jobs/*/log.txt")
    assert log.read_text().count("device  CPU x 2") == 1
    assert "1 jobs: 1 finished" in ended(start(slurm, *words, "launcher.wait=false"))


def test_a_search_whose_trial_was_cancelled_goes_on_with_it(slurm: Slurm, tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="Optuna is not installed: pip install 'midframe[sweep]'")
    runs, held = tmp_path / "runs", tmp_path / "held"
    words = [*TINY, *ALONE, *TWO_STEPS, "sweep=optuna_lr", "hydra.sweeper.n_trials=3"]
    words += ["launcher.at_once=2", f"paths.runs={runs}", *at(1, held)]
    first = start(slurm, *words)
    until(held.exists, "the first step of one of two")
    slurm.call("scancel", held.read_text())
    shown = ended(first)
    assert "2 trials ended, 0 of them failed" in shown and "1 were stopped" in shown
    before = jobs_of(runs)
    assert sorted(job["state"] for job in before) == ["finished", "finished", "stopped"]
    assert {number(before[0]), number(before[1])} == {
        f"{number(before[0]).split('_')[0]}_{x}" for x in (0, 1)
    }, "two at once, as one array"

    shown = ended(start(slurm, *words))
    after = jobs_of(runs)
    assert "3 trials, 2 of them before" in shown and "3 trials ended, 0 of them failed" in shown
    for job, now in zip(before, after, strict=True):
        assert now == job if job["state"] == "finished" else now["run"] == job["run"]
    assert [record(Path(job["run"]))["resumes"] for job in after].count(1) == 1
    rates = {word for job in after for word in job["overrides"] if word.startswith("optimizer.lr=")}
    best = max(job["value"] for job in after)
    assert len(rates) == 3 and f"val/psnr {best:.4f}, by optimizer.lr=" in shown


def test_what_sbatch_refuses_is_told_in_one_line(slurm: Slurm, tmp_path: Path) -> None:
    words = [*TINY, *ALONE, "launcher.partition=nowhere", "seed=1,2", f"paths.runs={tmp_path}"]
    shown = ended(start(slurm, *words), 2)
    (line,) = [x for x in shown.splitlines() if x.startswith("error: ")]
    assert "invalid partition" in line.lower()


def test_with_accounting_a_requeued_job_is_one_job_as_well(
    slurm_with_accounting: Slurm, tmp_path: Path, whole: Path
) -> None:
    slurm, runs, held = slurm_with_accounting, tmp_path / "runs", tmp_path / "held"
    words = [*RECIPE, *ALONE, f"seed={SEED}", f"paths.runs={runs}", *at(3, held)]
    first = start(slurm, *words)
    until(held.exists, "step 3")
    (job,) = jobs_of(runs)
    slurm.call("scancel", "--signal=USR1", number(job))
    assert "1 jobs: 1 finished" in ended(first)
    (job,) = jobs_of(runs)
    assert job["tries"] == 2
    assert_ends_like(Path(job["run"]), whole, resumes=1)

    def written() -> bool:
        told = ("sacct", "-n", "-X", "-D", "-P", "-j", number(job), "-o", "State,ExitCode")
        lives = slurm.call(*told).splitlines()
        return [x.split("|")[0] for x in lives] == ["REQUEUED", "COMPLETED"]

    until(written, "both lives in the database", 30)
