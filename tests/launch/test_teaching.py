"""Training with a teacher or a critic, from the command line to checkpoints that go on exactly."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from same import assert_same
from tiny import TINY, train

from midframe.engine.build import build_data
from midframe.engine.compose import compose
from midframe.engine.module import VFIModule
from midframe.errors import UserError
from midframe.launch.check import check
from midframe.launch.check_teaching import check_times
from midframe.models.zoo import create_model
from midframe.types import Batch

FOUR = """
import torch
from midframe.models.base import Interpolator
from midframe.types import Prediction

class Four(Interpolator):
    context = 2
    times = "half"

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(()))

    def forward(self, x, **hints):
        return Prediction(self.gain * x.frames.mean(1, keepdim=True))
"""


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a model of four frames, and weights for it and for IFRNet-S."""
    folder = tmp_path_factory.mktemp("teachers")
    (folder / "conf" / "model").mkdir(parents=True)
    (folder / "conf" / "model" / "four.yaml").write_text(
        "# Four frames, averaged\nname: four\nnet: {_target_: four_frames_of_a_test.Four}\n"
    )
    (folder / "four_frames_of_a_test.py").write_text(FOUR)
    torch.save({"gain": torch.tensor(0.5)}, folder / "four.pt")
    torch.save(create_model("ifrnet_s").state_dict(), folder / "ifrnet_s.pt")
    return folder


@pytest.fixture
def project(teachers: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MIDFRAME_PROJECT", str(teachers))
    return teachers


def only_run(runs: Path) -> Path:
    (directory,) = runs.iterdir()
    return directory


def rows_of(runs: Path) -> list[dict[str, str]]:
    """Rows of metrics.csv, without how fast it was."""
    with (only_run(runs) / "metrics.csv").open() as file:
        return [
            {k: v for k, v in row.items() if "samples_per_s" not in k}
            for row in csv.DictReader(file)
        ]


def checkpoint(runs: Path, name: str = "last.ckpt") -> dict[str, Any]:
    return torch.load(only_run(runs) / name, weights_only=True)


@pytest.mark.slow
def test_any_model_teaches_any_other_by_one_command(tmp_path: Path, project: Path) -> None:
    weights = f"teacher.weights={project / 'ifrnet_s.pt'}"
    command = ["teacher=ifrnet_s", weights, "loss=distillation", "trainer.max_steps=2"]
    assert train(tmp_path / "first", *command) == 0
    assert {"train/target", "train/teacher"} <= set(rows_of(tmp_path / "first")[0])
    assert {key.split(".")[0] for key in checkpoint(tmp_path / "first")["state_dict"]} == {"model"}

    # and the student, by its run directory, the next one
    run = only_run(tmp_path / "first")
    command = ["teacher=model", f"teacher.weights={run}", "loss=distillation_convex"]
    assert train(tmp_path / "second", *command, "callbacks=[default,ema]") == 0
    saved = checkpoint(tmp_path / "second")
    keys = [*saved["state_dict"], *saved["current_model_state"]]
    assert {key.split(".")[0] for key in keys} == {"model"}
    parts = rows_of(tmp_path / "second")[0]
    total = float(parts["train/target"]) + float(parts["train/teacher"])
    assert float(parts["train/loss"]) == pytest.approx(total, rel=1e-5)


@pytest.mark.slow
def test_a_teacher_of_four_frames_teaches_a_student_of_two(
    tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    seen: list[Batch] = []
    original = VFIModule.training_step

    def spy(self: VFIModule, batch: Batch, index: int) -> dict[str, Any]:
        out = original(self, batch, index)
        seen.extend((batch, out["batch"]))
        return out

    monkeypatch.setattr(VFIModule, "training_step", spy)
    weights = f"teacher.weights={project / 'four.pt'}"
    assert train(tmp_path, "teacher=four", weights, "loss=distillation") == 0
    assert "4 input frames" in capsys.readouterr().out
    loaded, trained = seen[:2]
    assert loaded.inputs.frames.shape[1] == 4 and trained.inputs.frames.shape[1] == 2
    wanted = 0.5 * loaded.float().inputs.frames.mean(1, keepdim=True)
    torch.testing.assert_close(trained.teacher.frame, wanted)


def config(project: Path, *overrides: str) -> DictConfig:
    weights = f"teacher.weights={project / 'four.pt'}"
    given = ["model=ifrnet_s", "data=synthetic", "teacher=four", "loss=distillation", weights]
    return compose([*given, *overrides])


def test_without_a_mistake_nothing_is_said(project: Path) -> None:
    check(config(project))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.context=1"], "teacher=four reads 4 frames but data.context=1 gives 2; drop"),
        (["data.times=any"], "teacher=four knows only t = 0.5; use data.times=fixed"),
        (["loss=l1"], "no loss term looks at the frames of teacher=four; use loss=distillation"),
        (["teacher.weights=null"], "teacher=four has no weights.*teach nothing"),
        (["teacher.weights=no/such.pt"], "no weights file no/such.pt"),
        (["teacher.precision=fp8"], "fp32 or bf16"),
        (["+teacher.options.a=1"], "no option a"),
        (["teacher=none", "loss=distillation"], "needs teacher.*choose a teacher=NAME"),
        (["loss.alpha=2"], "loss.alpha=2: give a number from 0 to 1"),
        (["model=pwcnet", "loss=pwcnet"], "learns from flow, and teacher=four gives frames"),
        (["loss=stmfnet_gan", "teacher=none", "trainer.accumulate_grad_batches=2"],
         "adversarial trains a network of its own.*accumulate_grad_batches=1"),
        (["loss=stmfnet_gan", "teacher=none", "data.crop=24"], "multiples of 16, not 24"),
        (["optimizer=adamax_steps"], "counts epochs, but the run has none"),
        (["optimizer=adamax", "optimizer.factor=2"], "factor=2 lies between 0 and 1"),
    ],
)  # fmt: skip
def test_mistakes_are_named(project: Path, overrides: list[str], message: str) -> None:
    dropped = any("teacher=none" in x for x in overrides)
    if dropped:
        cfg = compose(["model=ifrnet_s", "data=synthetic", *overrides])
    else:
        cfg = config(project, *overrides)
    with pytest.raises(UserError, match=message):
        check(cfg)


def test_targets_where_a_teacher_cannot_predict_are_named(project: Path) -> None:
    cfg = config(project, "data.layout.factor=4", "data.layout.val_scenes=2")
    with pytest.raises(UserError, match="teacher=four knows only t = 0.5.*0.25, 0.5, 0.75"):
        check_times(cfg, build_data(cfg))
    check_times(cfg := config(project, "data.layout.val_scenes=2"), build_data(cfg))


def test_data_that_cannot_serve_a_teacher_names_it(project: Path, tmp_path: Path) -> None:
    cfg = config(project, "data=vimeo", f"data.root={tmp_path}")
    with pytest.raises(UserError, match=r"septuplet.*\(teacher=four reads 4\)"):
        build_data(cfg)


GAN = ["loss=stmfnet_gan", "callbacks=[default,ema]", "optimizer=adamax"]
GAN += ["optimizer.patience=0", "optimizer.threshold=100", "trainer.gradient_clip_val=1000"]


class Killed(BaseException):
    """Stands for a power cut."""


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    original = VFIModule.training_step

    def training_step(self: VFIModule, batch: Batch, index: int) -> Any:
        if self.global_step == step:
            raise Killed
        return original(self, batch, index)

    monkeypatch.setattr(VFIModule, "training_step", training_step)


@pytest.mark.slow
def test_an_adversarial_run_goes_on_bit_by_bit(tmp_path: Path) -> None:
    steps = "trainer.max_steps=6"
    assert train(tmp_path / "whole", *GAN, steps) == 0
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, 3)
        with pytest.raises(Killed):
            train(tmp_path / "killed", *GAN, steps)
    assert checkpoint(tmp_path / "killed")["global_step"] == 2
    assert train(tmp_path / "killed", *GAN, steps) == 0

    first, second = (checkpoint(tmp_path / name) for name in ("whole", "killed"))
    keys = ("global_step", "state_dict", "current_model_state", "optimizer_states")
    for key in (*keys, "lr_schedulers", "critics", "schedule"):
        assert_same(first[key], second[key], key)
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "killed")

    # steps are the model's; its rate is halved at every validation but the first, before the next
    # step, and the critic's own is not
    assert first["global_step"] == 6
    rates = [float(row["train/lr"]) for row in rows_of(tmp_path / "whole")]
    assert rates == pytest.approx([1e-3] * 4 + [5e-4] * 2)
    (state,), critic = first["optimizer_states"], first["critics"]["adversarial"]["optimizer"]
    assert state["param_groups"][0]["lr"] == pytest.approx(2.5e-4)
    assert critic["param_groups"][0]["lr"] == 1e-3
    assert {int(x["step"]) for x in critic["state"].values()} == {6}, "one step for each"
    assert first["schedule"]["lowered"] == 2

    # both losses are logged, and the checkpoints' weights are the model's alone
    assert {"train/adversarial", "train/adversarial_critic"} <= set(rows_of(tmp_path / "whole")[0])
    for state_dict in (first["state_dict"], first["current_model_state"]):
        assert {key.split(".")[0] for key in state_dict} == {"model"}
    run = only_run(tmp_path / "whole")
    for name in ("best.ckpt", "last.ckpt"):
        create_model("ifrnet_s", weights=run / name)


@pytest.mark.slow
def test_a_distilled_run_goes_on_bit_by_bit(tmp_path: Path, project: Path) -> None:
    command = ["teacher=four", f"teacher.weights={project / 'four.pt'}", "loss=distillation"]
    command += ["optimizer=adamax_steps", "epochs=4", "optimizer.every=1", "trainer.max_steps=5"]
    assert train(tmp_path / "whole", *command) == 0
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, 3)
        with pytest.raises(Killed):
            train(tmp_path / "killed", *command)
    assert train(tmp_path / "killed", *command) == 0
    first, second = (checkpoint(tmp_path / name) for name in ("whole", "killed"))
    for key in ("global_step", "state_dict", "optimizer_states", "lr_schedulers"):
        assert_same(first[key], second[key], key)
    assert rows_of(tmp_path / "whole") == rows_of(tmp_path / "killed")


def test_an_epoch_of_the_data_is_the_interval_of_validation_where_none_is_given(
    tmp_path: Path,
) -> None:
    command = ["epochs=2", "trainer.max_steps=null", "trainer.val_check_interval=null", "loss=l1"]
    assert train(tmp_path, *command, "data.layout.scenes=6") == 0
    rows = rows_of(tmp_path)
    assert [int(row["step"]) for row in rows if row["val/psnr"]] == [2, 5]
    assert json.loads((only_run(tmp_path) / "run.json").read_text())["steps"] == 6


@pytest.mark.slow
def test_an_adversarial_loss_trains_in_bfloat16(tmp_path: Path) -> None:
    command = ["loss=stmfnet_gan", "trainer.precision=bf16-mixed", "trainer.max_steps=2"]
    assert train(tmp_path, *command) == 0
    weights = checkpoint(tmp_path)["critics"]["adversarial"]["weights"]
    floats = [x for x in weights.values() if x.is_floating_point()]
    assert all(x.dtype == torch.float32 and bool(x.isfinite().all()) for x in floats)


TWO_RANKS = {
    "critic": ["loss=stmfnet_gan"],
    "teacher": ["teacher=ifrnet_s", "loss=distillation"],
}


@pytest.mark.slow
@pytest.mark.parametrize("what", TWO_RANKS)
def test_two_ranks_train_together(what: str, tmp_path: Path, project: Path) -> None:
    command = [sys.executable, "-m", "midframe.cli", "train", *TINY, "trainer=ddp_cpu"]
    command += ["trainer.devices=2", f"paths.runs={tmp_path}", *TWO_RANKS[what]]
    if what == "teacher":
        command.append(f"teacher.weights={project / 'ifrnet_s.pt'}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert checkpoint(tmp_path)["global_step"] == 4
