"""A job's own process: what it trains, what it notes, and its exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from tiny import TINY

from midframe.engine.compose import compose
from midframe.errors import UserError
from midframe.launch import locks, train_job
from midframe.launch.sweep_jobs import FAILED, FINISHED, STOPPED, Job
from midframe.launch.sweeps import Sweep


def job_of(tmp_path: Path, **objective: Any) -> Job:
    words = [*TINY, f"paths.runs={tmp_path}", "logger=[csv]", "callbacks=none"]
    with Sweep.open(tmp_path / "sweeps" / "s", objective=objective) as sweep:
        job = sweep.job(words, train_job.dump(compose(words), words))
        job.begin()
        return job


def trained(tmp_path: Path, curve: str, end: Any = None) -> Any:
    """A training that leaves a curve, and then returns or raises."""

    def train(cfg: DictConfig) -> Any:
        run = tmp_path / "a-run"
        run.mkdir(exist_ok=True)
        (run / "run.json").write_text(json.dumps({"status": "failed" if end else "finished"}))
        (run / "metrics.csv").write_text(f"step,val/psnr,val/lpips\n{curve}")
        cfg.run.dir = str(run)
        if isinstance(end, BaseException):
            raise end
        return end

    return train


def test_it_trains_and_judges_itself(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    assert train_job.run(job.config) == 0
    job.reload()
    assert job.state == FINISHED and job.metric == "val/psnr" and job.run is not None
    record = json.loads((Path(job.run) / "run.json").read_text())
    assert record["status"] == "finished" and record["command"][-1] == "callbacks=none"
    assert not locks.is_held(job.folder)


@pytest.mark.parametrize(
    ("end", "code", "state", "said"),
    [
        (None, 0, FINISHED, None),
        (75, 75, STOPPED, "goes on from its checkpoint"),
        (UserError("no data"), 2, FAILED, "no data"),
        (KeyboardInterrupt("step 3"), 130, STOPPED, "interrupted; step 3"),
    ],
)
def test_exit_codes(tmp_path: Path, end: Any, code: int, state: str, said: str | None) -> None:
    job = job_of(tmp_path)
    assert train_job.run(job.config, trained(tmp_path, "1,20,\n", end)) == code
    job.reload()
    assert job.state == state and job.run == str(tmp_path / "a-run")
    assert job.error is None if said is None else said in str(job.error)


def test_a_defect_is_noted_and_shown(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    with pytest.raises(ZeroDivisionError):
        train_job.run(job.config, trained(tmp_path, "", ZeroDivisionError("by\nzero")))
    job.reload()
    assert (job.state, job.error) == (FAILED, "ZeroDivisionError: by zero")


@pytest.mark.parametrize(
    ("curve", "objective", "value"),
    [
        ("1,20,0.5\n2,22,0.4\n3,21,0.6\n", {}, 22.0),
        ("1,20,0.5\n2,22,0.4\n3,21,0.6\n", {"take": "last"}, 21.0),
        ("1,20,0.5\n2,22,0.4\n3,21,0.6\n", {"metric": "val/lpips"}, 0.4),
        ("1,20,0.5\n2,22,0.4\n3,21,0.6\n", {"metric": "val/lpips", "goal": "max"}, 0.6),
        ("1,nan,\n2,22,\n", {}, 22.0),
    ],
)
def test_the_value_of_a_run(
    tmp_path: Path, curve: str, objective: dict[str, str], value: float
) -> None:
    job = job_of(tmp_path, **objective)
    assert train_job.run(job.config, trained(tmp_path, curve)) == 0
    assert Job.read(job.folder).value == value


@pytest.mark.parametrize(
    ("curve", "objective", "said"),
    [
        ("1,20,\n2,nan,\n", {}, "val/psnr is nan"),
        ("1,20,\n2,inf,\n", {}, "val/psnr is inf"),
        ("1,20,\n", {"metric": "val/other"}, "has no val/other"),
    ],
)
def test_no_number_is_a_failure(
    tmp_path: Path, curve: str, objective: dict[str, str], said: str
) -> None:
    job = job_of(tmp_path, **objective)
    assert train_job.run(job.config, trained(tmp_path, curve)) == 1
    job.reload()
    assert job.state == FAILED and said in str(job.error) and job.value is None


def test_a_second_try_goes_on_in_the_same_run(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    train_job.run(job.config, trained(tmp_path, "", 75))
    seen = []
    train_job.run(job.config, lambda cfg: seen.append(cfg.run.dir) or 75)
    assert seen == [str(tmp_path / "a-run")]


def test_a_second_try_goes_on_although_the_first_was_to_begin_anew(tmp_path: Path) -> None:
    """A job of Slurm that is requeued reads the same file."""
    job = job_of(tmp_path)
    job.config.write_text(job.config.read_text().replace("resume: auto", "resume: never"))
    seen = []

    def train(cfg: DictConfig) -> int:
        seen.append((cfg.resume, cfg.run.dir))
        (tmp_path / "a-run").mkdir(exist_ok=True)
        job.log.write_text(f"run     {tmp_path / 'a-run'}\nstep 1\n")
        raise SystemExit(9)  # as if it had been killed

    train_job.run(job.config, train)
    job.save(state="running", run=None)
    train_job.run(job.config, train)
    assert seen == [("never", None), ("auto", str(tmp_path / "a-run"))]


def test_what_has_trained_to_its_end_is_judged_and_not_trained(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    train = trained(tmp_path, "1,20,\n")
    with pytest.raises(ZeroDivisionError):  # between its end and the note of it
        train_job.run(job.config, lambda cfg: train(cfg) or 1 / 0)
    job.reload()
    job.save(state="running", value=None)
    assert train_job.run(job.config, lambda cfg: 1 / 0) == 0
    job.reload()
    assert (job.state, job.value, job.run) == (FINISHED, 20.0, str(tmp_path / "a-run"))


def test_a_job_by_hand_is_a_try_of_its_own(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    job.save(started="2020-01-01T00:00:00", state=STOPPED)
    assert train_job.run(job.config, trained(tmp_path, "1,20,\n")) == 0
    job.reload()
    assert (job.tries, job.place) == (2, "by hand") and job.seconds < 3600


def test_a_job_that_is_held_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of(tmp_path)
    lock = locks.take(job.folder)
    with pytest.raises(UserError, match="another process"):
        train_job.run(job.config, trained(tmp_path, ""))
    monkeypatch.setenv(locks.HANDED_ON, "1")  # but for the one that was given the lock
    assert train_job.run(job.config, trained(tmp_path, "1,20,\n")) == 0
    assert lock is not None
    lock.close()


def test_other_ranks_note_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of(tmp_path)
    before = (job.folder / "job.json").read_text()
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert train_job.run(job.config, trained(tmp_path, "1,20,\n")) == 0
    assert (job.folder / "job.json").read_text() == before


def test_several_devices_need_several_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*TINY, "trainer=ddp_cpu"]
    (tmp_path / "c.yaml").write_text(train_job.dump(compose(words), words))
    assert train_job.run(tmp_path / "c.yaml", trained(tmp_path, "")) == 2
    assert "--nproc-per-node 2 -m midframe.launch.train_job" in capsys.readouterr().err
    for name, value in {"SLURM_PROCID": "0", "SLURM_NTASKS": "2"}.items():
        monkeypatch.setenv(name, value)  # of a shell within a job, which is no rank
    assert train_job.run(tmp_path / "c.yaml", trained(tmp_path, "")) == 2


@pytest.mark.parametrize("text", ["[", "a: 1", "- 1", None])
def test_what_is_no_config(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    file = tmp_path / "c.yaml"
    if text is not None:
        file.write_text(text)
    assert train_job.main([str(file)]) == 2
    assert str(file) in capsys.readouterr().err


def test_without_a_file_it_says_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert train_job.main([]) == 2 and train_job.main(["-h"]) == 0
    assert "FILE.yaml" in capsys.readouterr().out


def test_references_stay_so_that_the_identity_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    cfg = compose([*TINY, "name=${oc.env:HOME}", "data.root=${hydra:job.name}"])
    train_job.announce([])
    text = train_job.dump(cfg, ["a=1"])
    raw = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    assert isinstance(raw, dict)
    assert raw["name"] == "${oc.env:HOME}" and raw["data"]["root"] == "train"
    assert raw["hydra"] == {"overrides": {"task": ["a=1"]}}
