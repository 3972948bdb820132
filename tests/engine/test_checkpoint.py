"""Checkpoints: when they are written, and that a run goes on from any of them as if unkilled."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader

from midframe.engine.checkpoint import BEST, LAST, LastCheckpoint, best_checkpoint
from midframe.engine.checkpoint_files import PREVIOUS

PARTS = 2  # of a step's batch


class Small(L.LightningModule):
    """Learns from random numbers that follow from the step, as the runs of midframe do."""

    def __init__(self, steps: int = 12) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layer = torch.nn.Linear(3, 1)
        self.steps = steps

    def train_dataloader(self) -> DataLoader:
        rows = torch.randn(self.steps * PARTS, 4, 3, generator=torch.Generator().manual_seed(2))
        start = self.trainer.global_step * PARTS
        return DataLoader([*rows[start:], *rows[:start]], batch_size=None)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader:
        return DataLoader([torch.zeros(1)], batch_size=None)  # type: ignore[arg-type]

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return (self.layer(batch) - 1).square().mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log("val/psnr", -abs(float(self.global_step) - 4), batch_size=1)  # best at step 4

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.1)


class Killed(Exception):
    """Stands for a power cut: nothing runs after it."""


class Kill(Callback):
    """Ends the process after so many parts of batches; counts from its own start."""

    def __init__(self, parts: int) -> None:
        self.left = parts

    def on_train_batch_start(self, *args: Any) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1


class Written(Callback):
    """Keeps the steps at which last.ckpt was written, as the file says itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.steps: list[int] = []
        self.early = False  # whether it was written before the validation of its step

    def look(self, *args: Any) -> None:
        if self.path.exists():
            step = torch.load(self.path, weights_only=True)["global_step"]
            if [step] != self.steps[-1:]:
                self.steps.append(step)

    on_train_batch_start = look

    def on_validation_start(self, trainer: L.Trainer, *args: Any) -> None:
        self.look()
        self.early |= self.steps[-1:] == [trainer.global_step]


def fit(
    folder: Path, *callbacks: Callback, every: int = 4, minutes: float = 5.0, **options: Any
) -> None:
    """Train in ``folder``, from its last.ckpt if there is one, until the end or `Killed`."""
    module = Small(options.get("max_steps", 12))
    last = folder / LAST
    options = {"max_steps": 12, "accumulate_grad_batches": PARTS, **options}
    options.setdefault("val_check_interval", 100 * PARTS)
    options["check_val_every_n_epoch"] = None
    trainer = L.Trainer(
        **options,
        callbacks=[*callbacks, LastCheckpoint(str(folder), every, minutes)],
        max_epochs=-1,
        accelerator="cpu",
        logger=False,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    checkpoint = str(last) if last.exists() else None
    with contextlib.suppress(Killed):
        trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
    for callback in callbacks:
        if isinstance(callback, Written):
            callback.look()


def state(folder: Path) -> dict[str, Any]:
    return torch.load(folder / LAST, weights_only=True)


pytestmark = pytest.mark.filterwarnings("ignore:.*(workers|interval|not resumable|Checkpoint dir)")


@pytest.mark.parametrize("minutes", [5.0, 0.0], ids=["by steps", "by minutes"])
@pytest.mark.parametrize("lives", [(9, 1), (9, 2, 3), (5, 5, 5), (1, 3)])
def test_a_run_killed_between_parts_of_a_batch_ends_bit_identical(
    tmp_path: Path, lives: tuple[int, ...], minutes: float
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    fit(whole)
    for parts in lives:
        fit(killed, Kill(parts), minutes=minutes)
    fit(killed, minutes=minutes)
    first, second = state(whole), state(killed)
    assert first["global_step"] == second["global_step"] == 12
    for name, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][name])


def test_it_is_written_every_so_many_steps_and_at_the_end(tmp_path: Path) -> None:
    seen = Written(tmp_path / LAST)
    fit(tmp_path, seen, every=5)
    assert seen.steps == [5, 10, 12]
    assert {p.name for p in tmp_path.iterdir()} == {LAST, PREVIOUS}
    assert torch.load(tmp_path / PREVIOUS, weights_only=True)["global_step"] == 10


def test_it_is_written_every_so_many_minutes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Written(tmp_path / LAST)
    clock = [0.0]

    class Minute(Callback):
        """A step takes a minute, so it is time for a checkpoint within a step."""

        def on_train_batch_start(self, *args: Any) -> None:
            clock[0] += 60 / PARTS

    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    fit(tmp_path, Minute(), seen, every=100, minutes=3.25)
    assert seen.steps == [4, 8, 12]


def test_weights_that_are_not_finite_never_replace_a_good_checkpoint(tmp_path: Path) -> None:
    class Spoil(Callback):
        def on_train_batch_start(self, trainer: L.Trainer, module: Small, *args: Any) -> None:
            if trainer.global_step == 6:
                with torch.no_grad():
                    module.layer.bias.fill_(float("nan"))

    fit(tmp_path, Spoil())
    assert state(tmp_path)["global_step"] == 4
    assert all(bool(x.isfinite().all()) for x in state(tmp_path)["state_dict"].values())


def test_at_a_validation_it_holds_what_the_validation_found(tmp_path: Path) -> None:
    best = best_checkpoint(str(tmp_path))
    seen = Written(tmp_path / LAST)
    fit(tmp_path, best, seen, every=4, val_check_interval=4 * PARTS)
    assert seen.steps == [4, 8, 12] and not seen.early
    (kept,) = [x for name, x in state(tmp_path)["callbacks"].items() if "ModelCheckpoint" in name]
    assert float(kept["best_model_score"]) == 0.0
    assert torch.load(tmp_path / BEST, weights_only=True)["global_step"] == 4


def test_an_epoch_that_ends_within_a_batch_is_a_step_all_the_same(tmp_path: Path) -> None:
    seen = Written(tmp_path / LAST)
    fit(tmp_path, seen, every=2, max_steps=6, overfit_batches=1, val_check_interval=2)
    assert seen.steps == [2, 4, 6] and not seen.early


def test_going_on_rewrites_nothing_before_its_first_step(tmp_path: Path) -> None:
    fit(tmp_path, Kill(9))
    before = (tmp_path / LAST).stat().st_mtime_ns
    fit(tmp_path, Kill(2))
    assert (tmp_path / LAST).stat().st_mtime_ns == before


def test_a_run_may_go_on_from_the_best_checkpoint_without_a_lost_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(ModelCheckpoint, "_save_checkpoint", lambda *_: calls.append("file"))
    loggers = [SimpleNamespace(save=lambda: calls.append("rows"))]
    trainer: Any = SimpleNamespace(is_global_zero=True, loggers=loggers, world_size=1)
    best_checkpoint(str(tmp_path))._save_checkpoint(trainer, "best.ckpt")  # type: ignore[attr-defined]
    assert calls == ["rows", "file"]


def test_ranks_ask_one_another_for_the_time_now_and_then(tmp_path: Path) -> None:
    asked = []
    strategy = SimpleNamespace(broadcast=lambda late: asked.append(late))
    callback = LastCheckpoint(str(tmp_path), every_steps=1000, every_minutes=0.0)
    for step in range(1, 41):
        trainer: Any = SimpleNamespace(world_size=2, global_step=step, strategy=strategy)
        callback._is_late(trainer)
    assert asked == [True] * 4  # it waits for the devices
