"""The files of slurm/ on a real Slurm: ranks that meet, signals, preemption, failing nodes.

Each training ends like one that nothing interrupted: weights, optimizer and curve to the last bit.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cluster import ROOT, Slurm, until
from hold import at
from trainings import (
    ALONE,
    NO_GPU,
    RECIPE,
    SEED,
    TINY,
    TOGETHER,
    assert_ends_like,
    only_run,
    record,
    run_of,
)

pytestmark = [pytest.mark.slow, pytest.mark.slurm]


def test_two_tasks_of_a_node_train_one_run(
    slurm: Slurm, tmp_path: Path, whole_of_two: Path
) -> None:
    log, runs = tmp_path / "log.txt", tmp_path / "runs"
    options = [*NO_GPU, "--ntasks-per-node=2", f"--output={log}"]
    words = [*RECIPE, *TOGETHER, f"seed={SEED}", f"paths.runs={runs}"]
    slurm.wait(slurm.sbatch(*options, "slurm/single_node.sbatch", *words), "COMPLETED")
    assert log.read_text().count("device  CPU x 2") == 1, "one of the two speaks"
    assert_ends_like(only_run(runs), whole_of_two, resumes=0)


def test_ranks_of_two_nodes_stop_together_when_one_is_told_and_go_on_when_requeued(
    slurm: Slurm, tmp_path: Path, whole_of_two: Path
) -> None:
    log, runs, held = tmp_path / "log.txt", tmp_path / "runs", tmp_path / "held"
    options = [*NO_GPU, "--ntasks-per-node=1", f"--output={log}"]
    words = [*RECIPE, *TOGETHER, f"seed={SEED}", f"paths.runs={runs}", *at(3, held)]
    job = slurm.sbatch(*options, "slurm/multi_node.sbatch", *words)
    until(held.exists, "step 3")
    ranks = {env["SLURM_PROCID"]: (env["SLURMD_NODENAME"], pid)
             for pid, env in slurm.processes(job).items() if "SLURM_STEP_ID" in env}  # fmt: skip
    assert ranks["0"][0] == "n0" and ranks["1"][0] == "n1"
    os.kill(ranks["1"][1], signal.SIGUSR1)
    assert slurm.wait(job, "COMPLETED")["Restarts"] == "1"
    text = log.read_text()
    assert text.count("device  CPU x 2") == 2, "one of the two speaks"
    assert text.count("stopped by SIGUSR1 after step 4") == 1 and f"job {job} is requeued" in text
    assert "resumed at step 4" in text
    assert_ends_like(only_run(runs), whole_of_two, resumes=1)


def test_a_time_limit_is_survived(slurm: Slurm, tmp_path: Path, whole: Path) -> None:
    runs, held = tmp_path / "runs", tmp_path / f"held{SEED}"
    (tmp_path / f"held{SEED + 1}").touch()  # the other one of the array never waits
    # Slurm looks at times twice a minute: the signal comes 25 to 55 seconds after the start.
    options = [*NO_GPU, f"--array={SEED},{SEED + 1}", "--time=1", "--signal=USR1@5"]
    words = [*RECIPE, *ALONE, "data.workers=1", f"paths.runs={runs}"]  # workers get it as well
    words += at(3, f"{tmp_path}/held${{seed}}")
    log, other = (tmp_path / f"{number}.txt" for number in (SEED, SEED + 1))
    job = slurm.sbatch(*options, f"--output={tmp_path}/%a.txt", "slurm/array.sbatch", *words)
    until(held.exists, "step 3")
    done = slurm.wait(f"{job}_{SEED}", "COMPLETED")
    text = log.read_text()
    assert int(done["Restarts"]) >= 1 and f"job {job}_{SEED} is requeued" in text
    assert text.count("stopped by SIGUSR1 after step 3") == 1 and "resumed at step 3" in text
    assert "killed by signal" not in text and "TIME LIMIT" not in text
    resumes = record(run_of(log))["resumes"]  # on a slow machine the limit comes again
    assert resumes >= 1
    assert_ends_like(run_of(log), whole, resumes)
    assert slurm.wait(f"{job}_{SEED + 1}", "COMPLETED")["TimeLimit"] == "00:01:00"
    assert run_of(other) != run_of(log) and record(run_of(other))["status"] == "finished"


def test_a_more_urgent_job_takes_the_node_and_the_other_goes_on_after_it(
    slurm: Slurm, tmp_path: Path, whole: Path
) -> None:
    log, runs, held = tmp_path / "log.txt", tmp_path / "runs", tmp_path / "held"
    node = ["--nodelist=n0", "--ntasks-per-node=1", "--exclusive"]
    words = [*RECIPE, *ALONE, f"paths.runs={runs}", *at(3, held)]
    options = [*NO_GPU, *node, f"--array={SEED}", f"--output={log}"]
    job = slurm.sbatch(*options, "slurm/array.sbatch", *words)
    until(held.exists, "step 3")
    urgent = slurm.sbatch("-p", "urgent", *node, f"--output={tmp_path}/urgent", "--wrap=true")
    slurm.wait(urgent, "COMPLETED")
    text = log.read_text()
    assert "stopped by SIGTERM after step 3" in text and "is requeued" in text
    slurm.wait(f"{job}_{SEED}", "COMPLETED")
    assert_ends_like(only_run(runs), whole, resumes=1)


def test_a_cancelled_job_keeps_what_it_has_done_and_the_same_command_goes_on(
    slurm: Slurm, tmp_path: Path, whole: Path
) -> None:
    log, runs, held = tmp_path / "log.txt", tmp_path / "runs", tmp_path / "held"
    options = [*NO_GPU, "--ntasks-per-node=1", f"--output={log}"]
    words = [*RECIPE, *ALONE, f"seed={SEED}", f"paths.runs={runs}", *at(3, held)]
    job = slurm.sbatch(*options, "slurm/single_node.sbatch", *words)
    until(held.exists, "step 3")
    slurm.call("scancel", job)
    assert slurm.wait(job, "CANCELLED")["Restarts"] == "0"
    until(lambda: "is not requeued" in log.read_text(), "its last word")
    assert "stopped by SIGTERM after step 3" in log.read_text()
    again = slurm.sbatch(*options, "slurm/single_node.sbatch", *words)
    slurm.wait(again, "COMPLETED")
    assert "resumed at step 3" in log.read_text()
    assert_ends_like(only_run(runs), whole, resumes=1)


def test_a_run_whose_node_fails_goes_on_from_its_last_checkpoint(
    slurm: Slurm, tmp_path: Path, whole: Path
) -> None:
    log, runs, held = tmp_path / "log.txt", tmp_path / "runs", tmp_path / "held"
    words = [*RECIPE, *ALONE, f"seed={SEED}", f"paths.runs={runs}", *at(3, held)]
    words += ["trainer.checkpoint_every=2"]
    options = [*NO_GPU, "-p", "fragile", "--ntasks-per-node=1", f"--output={log}"]
    job = slurm.sbatch(*options, "slurm/single_node.sbatch", *words)
    until(held.exists, "step 3")
    for pid in [*slurm.daemons(job), *slurm.processes(job)]:  # as if the power had gone
        os.kill(pid, signal.SIGKILL)
    slurm.call("scontrol", "update", "nodename=n2", "state=down", "reason=test")
    slurm.wait(job, "PENDING")
    until(lambda: slurm.comes_back("n2"), "the node")
    slurm.wait(job, "COMPLETED")
    text = log.read_text()
    assert "resumed at step 2" in text and "stopped by" not in text
    assert_ends_like(only_run(runs), whole, resumes=1)


def test_processes_that_nobody_asked_for_are_refused_in_one_line(slurm: Slurm) -> None:
    command = ["srun", "-n2", sys.executable, "train.py", *TINY, *ALONE]
    done = subprocess.run(
        command, cwd=ROOT, env=slurm.env, capture_output=True, text=True, timeout=240
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2 and len(lines) == 1
    assert "2 processes were started, but trainer.devices=1" in lines[0]
