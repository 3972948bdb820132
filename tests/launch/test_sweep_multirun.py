"""``train -m`` from the command line to the end, with processes that only pretend to train."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from tiny import TINY

from midframe.engine.compose import compose
from midframe.launch import check, multirun, train_job
from midframe.launch.runs import identity
from midframe.launch.slots import Room, Slots
from midframe.launch.sweep_jobs import FAILED, FINISHED, Job
from midframe.launch.sweeps import Sweep
from midframe.launch.tasks import train_main

Result = Callable[[Job], float | int]


class Ends:
    """Processes that have ended when they are first looked at.

    Args:
        result: of a job: its metric, or as an integer its exit code.
    """

    def __init__(self, result: Result) -> None:
        self.result = result
        self.started: list[list[str]] = []

    def __call__(self, job: Job, gpus: Sequence[str], cores: int) -> Ends.Process:
        self.started.append(job.overrides)
        job.begin("fake")
        return Ends.Process(job, self.result(job))

    class Process:
        def __init__(self, job: Job, result: float | int) -> None:
            self.job, self.result = job, result

        def poll(self) -> int:
            if isinstance(self.result, int):
                return self.result
            ended = Job.read(self.job.folder)
            ended.end(FINISHED, metric="val/psnr", value=self.result, run=f"/r/{ended.number}")
            return 0

        def send_signal(self, number: int, /) -> None: ...


def pretend(monkeypatch: pytest.MonkeyPatch, result: Result, gpus: int = 0) -> Ends:
    ends = Ends(result)
    fake = functools.partial(Slots, start=ends, pause=lambda: None)
    monkeypatch.setattr(multirun, "Slots", fake)
    monkeypatch.setattr(multirun, "visible_gpus", lambda: tuple(map(str, range(gpus))))
    return ends


def many(runs: Path, *words: str) -> int:
    return train_main(["-m", *TINY, f"paths.runs={runs}", *words])


def lr_of(job: Job) -> float:
    (word,) = [x for x in job.overrides if x.startswith("optimizer.lr=")]
    return float(word.partition("=")[2])


def only_sweep(runs: Path) -> Sweep:
    (folder,) = (runs / "sweeps").iterdir()
    return Sweep.read(folder)


def test_every_combination_is_a_job_that_trains_its_own_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = pretend(monkeypatch, lambda job: 30 + lr_of(job))
    words = ["model=ifrnet_s,upr", "optimizer.lr=0.1,0.2"]
    assert many(tmp_path, *words) == 0
    assert len(ends.started) == 4
    sweep = only_sweep(tmp_path)
    models = [OmegaConf.load(job.config).model.name for job in sweep.jobs]
    assert sorted(models) == ["ifrnet_s", "ifrnet_s", "upr", "upr"]
    assert sweep.folder.name.startswith("model+lr-")
    said = capsys.readouterr().out
    assert "4 jobs: 4 finished" in said and "best: job" in said and "val/psnr 30.2000" in said

    assert many(tmp_path, *reversed(words), "logger=[csv]") == 0  # the same sweep
    assert len(ends.started) == 4 and only_sweep(tmp_path).folder == sweep.folder


def test_a_job_is_the_run_of_the_single_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, lambda job: 1.0)
    assert many(tmp_path, "seed=1,2", "name=x-${now:%Y}", "model=upr") == 0
    job = only_sweep(tmp_path).jobs[1]
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    cfg = train_job.load(job.config)
    assert cfg.name.startswith("x-2")  # what only the launching process knows is filled in
    assert HydraConfig.get().overrides.task == job.overrides
    single = compose([*job.overrides, f"name={cfg.name}"])
    assert identity(cfg) == identity(single)
    assert not list(check.find_problems(cfg))


def test_failed_ones_are_tried_again_and_finished_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, lambda job: -9 if lr_of(job) == 0.1 else 30.0)
    words = ["optimizer.lr=0.1,0.2"]
    assert many(tmp_path, *words) == 1
    states = [job.state for job in only_sweep(tmp_path).jobs]
    assert states == [FAILED, FINISHED]
    said = capsys.readouterr().out
    assert "job 0 failed: killed by SIGKILL" in said and "go on" in said

    ends = pretend(monkeypatch, lambda job: 31.0)
    assert many(tmp_path, *words) == 0
    assert [lr_of(Job(tmp_path, x)) for x in ends.started] == [0.1]
    assert only_sweep(tmp_path).jobs[0].tries == 2


def test_what_cannot_work_is_told_by_job_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = pretend(monkeypatch, lambda job: 1.0)
    assert many(tmp_path, "data.crop=32,33", "model=ifrnet_s,nosuch") == 2
    said = capsys.readouterr().err
    assert "3 of 4 jobs cannot work, so none was started" in said
    assert "job 1 (data.crop=32 model=nosuch), 3 (" in said and "there is no model=nosuch" in said
    assert "job 2 (data.crop=33 model=ifrnet_s): crop 33 is no multiple" in said
    assert not ends.started and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["seed=1,2", "run.dir=/tmp/x"], "one folder for several jobs"),
        (["seed=1,2", "resume=/tmp/x"], "would let all jobs go on from there"),
        (["seed=1,2", "trainer.num_nodes=2"], "launcher=slurm"),
        (["seed=1,2", "trainer=ddp_cpu", "hydra/launcher=basic"], "leave hydra/launcher=... out"),
    ],
)
def test_what_cannot_work_in_a_multirun(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    pretend(monkeypatch, lambda job: 1.0)
    assert many(tmp_path, *words) == 2
    assert said in capsys.readouterr().err


def test_gpus_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Job2:
        def __init__(self, accelerator: str, devices: int) -> None:
            node = {"accelerator": accelerator, "devices": devices, "num_nodes": 1}
            self.cfg = OmegaConf.create({"trainer": node})
            self.processes = devices

    pretend(monkeypatch, lambda job: 1.0, gpus=4)
    runner = multirun.Multirun(None, None, None)  # type: ignore[arg-type]
    assert runner.room == Room(("0", "1", "2", "3")) and runner.room.at_once == 4
    assert not list(runner._problems(Job2("gpu", 4)))  # type: ignore[arg-type]
    assert "takes 8 GPUs, and there are 4" in next(runner._problems(Job2("auto", 8)))  # type: ignore[arg-type]
    assert runner._gpus(Job2("cpu", 8)) == 0  # type: ignore[arg-type]
    chosen = multirun.Multirun(None, None, None, gpus=[2, 3], at_once=1)  # type: ignore[arg-type]
    assert chosen.room == Room(("2", "3"), 1)


def test_jobs_of_the_cpu_run_one_at_a_time_beside_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, lambda job: 1.0, gpus=4)
    assert many(tmp_path, "seed=1,2", "trainer=cpu") == 0
    assert "2 jobs, 1 at a time on the CPU" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("gpus=[7]", "gpus=[7]: give a list of GPUs, each once, such as [0,1]; there are 0, 1"),
        ("gpus='0,1'", "gpus=0,1: give a list of GPUs"),
        ("gpus=[0,0]", "each once"),
        ("at_once=0", "at_once=0: give a whole number from 1 on"),
        ("at_once=many", "at_once=many: give a whole number"),
    ],
)
def test_room_that_there_is_not(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    said: str,
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    pretend(monkeypatch, lambda job: 1.0, gpus=2)
    assert many(tmp_path, "seed=1,2", f"hydra.launcher.{words}") == 2
    assert said in capsys.readouterr().err


def test_one_gpu_needs_no_list(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, lambda job: 1.0, gpus=2)
    assert multirun.Multirun(None, None, None, gpus=1).room == Room(("1",))  # type: ignore[arg-type]


def test_what_cannot_work_may_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The models and losses of which one pair does not fit: UPR has no features to compare."""
    ends = pretend(monkeypatch, lambda job: 1.0)
    words = ["model=ifrnet_s,upr", "loss=ifrnet,charbonnier"]
    assert many(tmp_path, *words) == 2
    assert "hydra.sweeper.skip=true leaves them out" in capsys.readouterr().err
    assert many(tmp_path, *words, "hydra.sweeper.skip=true") == 0
    said = capsys.readouterr().out
    assert "1 of 4 jobs cannot work and are left out" in said and "3 jobs: 3 finished" in said
    assert len(ends.started) == 3 and ["loss=ifrnet", "model=upr"] not in [
        sorted(x for x in one if x.startswith(("model=", "loss="))) for one in ends.started
    ]
    assert many(tmp_path, "model=nosuch,nosuch2", "hydra.sweeper.skip=true") == 2


def test_the_same_settings_twice_are_one_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = pretend(monkeypatch, lambda job: 1.0)
    assert many(tmp_path, "seed=1,1", "logger=[csv],[]") == 0
    assert len(ends.started) == 1 and len(only_sweep(tmp_path).jobs) == 1


def test_check_of_a_multirun_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ends = pretend(monkeypatch, lambda job: 1.0)
    assert check.main(["-m", *TINY, f"paths.runs={tmp_path}", "seed=1,2"]) == 0
    said = capsys.readouterr().out
    assert said.count("names and options are right") == 2 and "seed=2" in said
    assert not ends.started and not list(tmp_path.iterdir())


def test_resume_never_is_a_new_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, lambda job: 1.0)
    for _ in range(2):
        assert many(tmp_path, "seed=1,2", "resume=never") == 0
    first, second = sorted((tmp_path / "sweeps").iterdir())
    assert second.name == f"{first.name}-2"


def test_a_run_that_finished_without_its_launcher_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, lambda job: -9)
    assert many(tmp_path, "seed=1,2") == 1
    run = tmp_path / "run-1"
    run.mkdir()
    (run / "run.json").write_text(json.dumps({"status": "finished"}))
    (run / "metrics.csv").write_text("step,val/psnr\n1,20\n2,19\n")
    only_sweep(tmp_path).jobs[0].save(run=str(run))
    ends = pretend(monkeypatch, lambda job: 1.0)
    assert many(tmp_path, "seed=1,2") == 0
    assert len(ends.started) == 1
    assert only_sweep(tmp_path).jobs[0].value == 20.0
