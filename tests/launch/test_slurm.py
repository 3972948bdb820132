"""What a training asks of Slurm, with commands that only note what they are asked."""

from __future__ import annotations

import os
import signal
import types
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from midframe.engine.stopping import Stopped
from midframe.errors import UserError
from midframe.launch import locks, slurm, slurm_jobs, slurm_queue, slurm_start
from midframe.launch.slurm_jobs import Options
from midframe.launch.slurm_start import place_of
from midframe.launch.sweep_jobs import Job
from midframe.launch.sweeps import Sweep


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the file that scontrol and squeue write their words to."""
    noted = tmp_path / "noted"
    for name in ("scontrol", "squeue"):
        file = tmp_path / name
        file.write_text(f'#!/bin/sh\necho "$@" >> {noted}\ncat {tmp_path}/{name}.says\n')
        file.chmod(0o755)
        (tmp_path / f"{name}.says").write_text("")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    yield noted
    signal.signal(signal.SIGTERM, before)


def test_a_job_is_requeued_when_its_time_is_nearly_over(commands: Path) -> None:
    assert slurm.requeue(Stopped(signal.SIGUSR1, 5)) == "job 77 is requeued"
    assert commands.read_text() == "requeue 77\n"


def test_an_element_of_an_array_is_requeued_alone(
    commands: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "70")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert slurm.requeue(Stopped(signal.SIGUSR1, 5)) == "job 70_3 is requeued"
    assert commands.read_text() == "requeue 70_3\n"


@pytest.mark.parametrize(
    ("state", "time", "again"),
    [
        ("RUNNING", "2026-01-01T00:00:00", True),  # another job takes its place
        ("COMPLETING", "None", False),  # cancelled, or its time is over
        ("CANCELLED", "2026-01-01T00:00:00", False),
        ("RUNNING", "None", False),  # somebody sent it
    ],
)
def test_a_cancelled_job_is_not_requeued_but_a_preempted_one_is(
    state: str, time: str, again: bool, commands: Path
) -> None:
    (commands.parent / "scontrol.says").write_text(f"JobId=77 JobState={state} PreemptTime={time} ")
    said = slurm.requeue(Stopped(signal.SIGTERM, 5))
    assert ("is requeued" in said) == again
    assert ("requeue 77" in commands.read_text()) == again


def test_without_slurm_nothing_is_said(commands: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID")
    assert slurm.requeue(Stopped(signal.SIGUSR1, 5)) == ""
    assert not commands.exists()


def test_a_container_without_scontrol_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    before = signal.getsignal(signal.SIGTERM)
    said = slurm.requeue(Stopped(signal.SIGUSR1, 5))
    signal.signal(signal.SIGTERM, before)
    assert said.startswith("job 77 could not be requeued: scontrol does not run here")


def test_states_are_those_of_the_jobs_asked_for(commands: Path) -> None:
    lines = ["12|COMPLETED|None", "13_0|RUNNING|None", "13_1|PENDING|JobArrayTaskLimit", "9|x|y"]
    (commands.parent / "squeue.says").write_text("\n".join(lines) + "\n")
    found = slurm_queue.states(["12", "13_0", "13_1", "14"])
    assert found == {
        "12": ("COMPLETED", "None"),
        "13_0": ("RUNNING", "None"),
        "13_1": ("PENDING", "JobArrayTaskLimit"),
    }
    assert commands.read_text().endswith("-j 12,13,14\n")


def test_a_place_names_a_job_of_slurm_or_another() -> None:
    array = {"SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "2", "SLURM_JOB_ID": "9"}
    assert slurm_queue.id_of(place_of(array)) == "5_2"
    assert slurm_queue.id_of(place_of({"SLURM_JOB_ID": "9"})) == "9"
    assert slurm_queue.id_of("gpu 0,1") is None and slurm_queue.id_of(None) is None


def test_an_option_that_there_is_not_comes_with_those_there_are() -> None:
    with pytest.raises(UserError, match="launcher.partitoin: did you mean partition"):
        Options.of(OmegaConf.create({"partitoin": "main"}))


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Job]:
    """Give a job that a process of Slurm is to start, which here does not become the training."""
    with Sweep.open(tmp_path / "s") as sweep:
        job = sweep.job(["seed=1"], "seed: 1")
    kept = [os.dup(1), os.dup(2)]
    monkeypatch.setattr(os, "execv", lambda *words: None)
    monkeypatch.setenv(locks.HANDED_ON, "")  # restored afterwards
    for name in ("SLURM_PROCID", "SLURM_ARRAY_JOB_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    yield job
    for number, file in enumerate(kept, 1):
        os.dup2(file, number)
        os.close(file)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])


def test_a_job_of_slurm_is_held_from_its_first_moment(job: Job) -> None:
    slurm_start.start(str(job.folder))
    job.reload()
    assert (job.current, job.place, job.tries) == ("running", "slurm 12", 1)
    assert os.environ[locks.HANDED_ON] == "1"


def test_a_job_that_was_submitted_twice_runs_once(job: Job) -> None:
    lock = locks.take(job.folder)
    assert lock is not None
    with pytest.raises(SystemExit, match="another process is at work"):
        slurm_start.start(str(job.folder))
    lock.close()
    job.end("finished", value=1.0)
    with pytest.raises(SystemExit) as ended:
        slurm_start.start(str(job.folder))
    job.reload()
    assert not ended.value.code and (job.state, job.tries) == ("finished", 0)


def test_what_a_job_notes_while_we_ask_slurm_stays(
    job: Job, commands: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its record is read before squeue is asked, and another machine's files are seen late."""
    (commands.parent / "squeue.says").write_text("12|FAILED|NonZeroExitCode\n")
    job.begin("slurm 12")
    original = slurm_queue.states

    def states(ids: Sequence[str]) -> dict[str, tuple[str, str]]:
        found = original(ids)
        Job.read(job.folder).end("failed", error="the loss is nan")
        return found

    monkeypatch.setattr(slurm_queue, "states", states)
    slurm_jobs.look([job])
    assert job.error == "the loss is nan" == Job.read(job.folder).error
    (commands.parent / "squeue.says").write_text("12|COMPLETED|None\n")
    monkeypatch.setattr(slurm_queue, "states", original)
    job.begin("slurm 12")

    def late(seconds: float) -> None:
        Job.read(job.folder).end("finished", value=2.0)

    monkeypatch.setattr(slurm_jobs.time, "sleep", late)
    slurm_jobs.look([job])
    assert (job.state, job.value) == ("finished", 2.0)


def test_a_job_that_slurm_starts_at_once_is_not_waiting(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")

    def submit(self: object, function: object, folder: str) -> object:
        Job.read(Path(folder)).begin("slurm 12")  # before sbatch has returned here
        return types.SimpleNamespace(job_id="12")

    monkeypatch.setattr("submitit.SlurmExecutor.submit", submit)
    monkeypatch.setattr("submitit.SlurmExecutor.update_parameters", lambda self, **_: None)
    monkeypatch.setattr("submitit.SlurmExecutor.__init__", lambda self, folder: None)
    with Sweep.open(job.folder.parent.parent) as sweep:
        slurm_jobs.submit(sweep, [job], (1, 1, 0), Options())
    found = Job.read(job.folder)
    assert (found.state, found.place, found.tries) == ("running", "slurm 12", 1)
