"""What a run that goes on knows of its life before: everything that its end depends on."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint
from same import assert_same, only, rows_of, state_of
from tiny import train

from midframe.models.base import Interpolator
from midframe.types import Inputs, Prediction

pytestmark = pytest.mark.slow

HERE = "test_resume_state"
STEPS = ["trainer.max_steps=8", "trainer.val_check_interval=4", "logger=[csv]", "trainer=cpu"]
STEPS += [f"model.net={{_target_: {HERE}.Noisy}}", "~model.net.size", "~model.net.init", "loss=l1"]


class Noisy(Interpolator):
    """Draws from every global generator that there is."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(6, 3, 3, padding=1)
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, x: Inputs, **hints: object) -> Prediction:
        frame = self.drop(self.layer(torch.cat(x.pair, 1)))
        if self.training:
            frame = frame * (1 + random.random() + float(np.random.rand()))  # noqa: NPY002 - meant
        return Prediction(frame[:, None].expand(-1, x.t.shape[1], -1, -1, -1))


class Killed(Exception):
    """Stands for a power cut."""


class Kill(Checkpoint):
    """Ends the training within a hook at a step; a `Checkpoint`, since those are called last."""

    at: ClassVar[tuple[str, int] | None] = None

    def _look(self, hook: str, trainer: L.Trainer) -> None:
        if Kill.at == (hook, trainer.global_step):
            raise Killed

    def on_train_batch_start(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        self._look("start", trainer)

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        self._look("end", trainer)

    def on_validation_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        self._look("validation", trainer)


class Worse(Callback):
    """Lets the validation say what a test wants: best at step 4, ever worse behind."""

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        pl_module.log("val/said", -float(abs(trainer.global_step - 4)))


def train_killed(runs: Path, hook: str, step: int, *words: str, monkeypatch: Any) -> None:
    """Train until a moment, as if the process had been killed there, and to the end."""
    words = (*STEPS, *words, f"+callbacks.kill._target_={HERE}.Kill")
    with monkeypatch.context() as patch:
        patch.setattr(Kill, "at", (hook, step))
        with pytest.raises(Killed):
            train(runs, *words)
    assert train(runs, *words) == 0


PARTS = "trainer.accumulate_grad_batches=2"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happens to."""
    runs = tmp_path_factory.mktemp("whole")
    assert train(runs, *STEPS, PARTS) == 0
    return only(runs)


@pytest.mark.parametrize(
    ("hook", "step"), [("end", 3), ("end", 4), ("end", 6), ("start", 6), ("validation", 4)]
)
def test_chance_and_every_row_are_as_if_nothing_had_happened(
    tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, hook: str, step: int
) -> None:
    train_killed(tmp_path, hook, step, PARTS, monkeypatch=monkeypatch)
    killed = only(tmp_path)
    assert rows_of(killed) == rows_of(whole)
    for name in ("last.ckpt", "best.ckpt", "previous.ckpt"):
        assert_same(state_of(whole / name), state_of(killed / name), name)
    assert not list(killed.glob("*.part"))


BEST_AT_4 = [f"+callbacks.a._target_={HERE}.Worse", "callbacks.best.monitor=val/said"]


@pytest.mark.parametrize("moved", [False, True], ids=["there", "moved"])
def test_a_worse_value_never_replaces_the_best_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: bool
) -> None:
    words = [*STEPS, *BEST_AT_4, "trainer.val_check_interval=2"]
    words.append(f"+callbacks.kill._target_={HERE}.Kill")
    runs = tmp_path / "runs"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Kill, "at", ("start", 5))
        train(runs, *words)
    if moved:
        runs = Path(shutil.move(runs, tmp_path / "elsewhere"))
    assert train(runs, *words) == 0
    assert torch.load(only(runs) / "best.ckpt", weights_only=True)["global_step"] == 4


STOP = ["callbacks=[default,early_stopping]", "callbacks.early_stopping.monitor=val/said"]
STOP += ["callbacks.early_stopping.patience=2", *BEST_AT_4, "trainer.val_check_interval=1"]


def test_early_stopping_counts_on_and_what_it_ended_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train_killed(tmp_path, "start", 5, *STOP, monkeypatch=monkeypatch)
    run = only(tmp_path)
    record = json.loads((run / "run.json").read_text())
    assert (record["status"], record["steps"]) == ("finished", 6)
    assert "stopped early after step 6: val/said has not got better" in capsys.readouterr().out
    more = [*STEPS, *STOP, "callbacks.early_stopping.patience=3", f"resume={run}"]
    assert train(tmp_path, *more) == 0
    assert torch.load(run / "last.ckpt", weights_only=True)["global_step"] == 7


def test_a_run_killed_after_it_was_to_stop_early_ends_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_killed(tmp_path, "validation", 6, *STOP, monkeypatch=monkeypatch)
    assert torch.load(only(tmp_path) / "last.ckpt", weights_only=True)["global_step"] == 6
    assert json.loads((only(tmp_path) / "run.json").read_text())["status"] == "finished"
