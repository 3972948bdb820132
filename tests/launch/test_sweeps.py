"""A sweep's folder: who holds it, what its jobs are, and how they ended."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from midframe.errors import UserError
from midframe.launch import locks
from midframe.launch.sweep_jobs import FAILED, FINISHED, RUNNING, STOPPED, WAITING, Job, run_of_log
from midframe.launch.sweeps import Sweep, folder_of


def test_the_same_jobs_in_any_order_are_the_same_sweep(tmp_path: Path) -> None:
    jobs = [["model=a", "seed=1"], ["model=b", "seed=1"]]
    first = folder_of(tmp_path, "model", jobs)
    assert first == folder_of(tmp_path, "model", [["seed=1", "model=b"], ["seed=1", "model=a"]])
    assert first.parent == tmp_path / "sweeps"


@pytest.mark.parametrize(
    "word", ["logger=wandb", "paths.data=/x", "hydra.launcher.at_once=2", "launcher=slurm"]
)
def test_what_says_nothing_about_training_does_not_matter(tmp_path: Path, word: str) -> None:
    assert folder_of(tmp_path, "a", [["seed=1"]]) == folder_of(tmp_path, "a", [["seed=1", word]])


@pytest.mark.parametrize("word", ["callbacks=[default,ema]", "runs=1", "optimizer.lr=1", "~data.x"])
def test_what_changes_training_is_another_sweep(tmp_path: Path, word: str) -> None:
    assert folder_of(tmp_path, "a", [["seed=1"]]) != folder_of(tmp_path, "a", [["seed=1", word]])


def test_a_name_of_any_characters_stays_one_folder(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "../../a b/{c}", [["seed=1"]])
    assert folder.parent == tmp_path / "sweeps" and folder.resolve() == folder


def test_jobs_are_found_again_by_their_overrides(tmp_path: Path) -> None:
    with Sweep.open(tmp_path / "s", command="train -m") as sweep:
        for number, seed in enumerate("12"):
            assert sweep.job([f"seed={seed}", "a=b"], f"seed: {seed}").number == number
        sweep.jobs[0].begin("cpu")
        sweep.jobs[0].end(FINISHED, value=1.5, metric="val/psnr")
    with Sweep.open(tmp_path / "s", command="other") as again:
        job = again.job(["a=b", "seed=1"], "seed: changed")
        assert job.number == 0 and job.value == 1.5 and job.config.read_text() == "seed: 1"
        assert again.job(["a=b", "seed=2"], "seed: new").config.read_text() == "seed: new"
        assert [x.number for x in again.jobs if x.state != FINISHED] == [1]
        assert again.record["command"] == "other" and "started" in again.record


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with Sweep.open(tmp_path / "s"):
        assert Sweep.read(tmp_path / "s").is_held
        with pytest.raises(UserError, match="another process is at work on the sweep"):
            Sweep.open(tmp_path / "s")
    assert not Sweep.read(tmp_path / "s").is_held
    Sweep.open(tmp_path / "s").close()


def test_a_fresh_one_gets_a_number_and_the_newest_goes_on(tmp_path: Path) -> None:
    base = tmp_path / "s"
    names = []
    for fresh in (False, True, False, True, False):
        with Sweep.open(base, fresh=fresh) as sweep:
            names.append(sweep.folder.name)
    assert names == ["s", "s-2", "s-2", "s-3", "s-3"]


def test_where_nothing_can_be_written_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="set paths.runs"):
        Sweep.open(tmp_path / "file" / "s")


def test_what_a_killed_process_began_is_no_job(tmp_path: Path) -> None:
    with Sweep.open(tmp_path / "s") as sweep:
        (sweep.folder / "jobs" / "0").mkdir()
    with Sweep.open(tmp_path / "s") as sweep:
        assert sweep.jobs == [] and sweep.job(["a=1"], "").number == 0


def test_a_job_that_somebody_deleted_lends_its_number_to_nobody_else(tmp_path: Path) -> None:
    with Sweep.open(tmp_path / "s") as sweep:
        for seed in range(3):
            sweep.job([f"seed={seed}"], "")
    shutil.rmtree(tmp_path / "s" / "jobs" / "0")
    with Sweep.open(tmp_path / "s") as sweep:
        assert sweep.job(["seed=2"], "").number == 2
        assert sweep.job(["seed=0"], "").number == 3
        assert sorted(x.overrides for x in sweep.jobs) == [["seed=0"], ["seed=1"], ["seed=2"]]


def job_of(tmp_path: Path) -> Job:
    with Sweep.open(tmp_path / "s") as sweep:
        return sweep.job(["a=1"], "")


def test_running_is_what_is_held(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    assert job.current == WAITING
    job.begin("cpu")
    assert job.current == STOPPED
    lock = locks.take(job.folder)
    assert lock is not None and job.current == RUNNING
    assert locks.take(job.folder) is None
    lock.close()
    assert job.current == STOPPED and not locks.is_held(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("code", "said"),
    [(-9, "killed by SIGKILL"), (139, "killed by SIGSEGV"), (3, "exit code 3"), (None, "is gone")],
)
def test_a_job_that_noted_nothing_has_failed(tmp_path: Path, code: int | None, said: str) -> None:
    job = job_of(tmp_path)
    job.begin()
    job.log.write_text("run     /r/a-12\nstep 1\nrun     /r/a-13, resumed at step 4\nstep 5")
    job.settle(code)
    read = Job.read(job.folder)
    assert read.state == FAILED and said in str(read.error) and read.run == "/r/a-13"


def test_what_a_job_noted_itself_stays(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    job.begin()
    Job.read(job.folder).end(FINISHED, run="/r", value=2.0)  # by its own process
    job.settle(1)
    assert (job.state, job.value, job.tries) == (FINISHED, 2.0, 1)


def test_what_fails_while_it_is_stopped_was_stopped(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    job.begin()
    Job.read(job.folder).end(FAILED, error="a rank is gone")
    job.settle(1, stopped=True)
    assert Job.read(job.folder).state == STOPPED


@pytest.mark.parametrize("text", ["", "[]", "{", '{"state": "odd"}', '{"overrides": 3}'])
def test_a_damaged_job_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.json").write_text(text)
    with pytest.raises(UserError, match=r"job\.json"):
        Job.read(tmp_path)


def test_keys_of_a_newer_version_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(json.dumps({"state": "failed", "later": 1}))
    assert Job.read(tmp_path).state == FAILED


def test_a_log_that_names_no_run(tmp_path: Path) -> None:
    assert run_of_log(tmp_path / "log.txt") is None
    (tmp_path / "log.txt").write_bytes(b"\xff\xfe running   things\nerror: no\n")
    assert run_of_log(tmp_path / "log.txt") is None
