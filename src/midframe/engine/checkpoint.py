"""When checkpoints are written: the best by a metric, and the last for resuming."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

from midframe.models.weights import BEST, LAST


def best_checkpoint(directory: str, monitor: str = "val/psnr", mode: str = "max") -> Checkpoint:
    """Keep the checkpoint with the best validation value as ``best.ckpt``."""
    return ModelCheckpoint(
        dirpath=directory,
        filename=Path(BEST).stem,
        monitor=monitor,
        mode=mode,
        save_top_k=1,
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )


class LastCheckpoint(Checkpoint):
    """Write ``last.ckpt`` every so many optimizer steps or minutes and at the end; atomically.

    At a step with a validation it is written after the validation, so that a resumed run neither
    repeats nor loses it. Non-finite weights never replace a good checkpoint. Nothing is written
    between the parts of an accumulated batch, since gradients are not in a checkpoint.
    """

    def __init__(self, directory: str, every_steps: int = 100, every_minutes: float = 5.0) -> None:
        self.path = Path(directory) / LAST
        self.every_steps = every_steps
        self.every_minutes = every_minutes
        self._saved = self._seen = 0  # steps
        self._whole = True  # whether no part of a step has been taken
        self._time = time.monotonic()

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._saved = self._seen = trainer.global_step
        self._whole = True
        self._time = time.monotonic()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        self._whole, self._seen = step != self._seen, step
        every = trainer.val_check_batch
        validates = isinstance(every, int) and (trainer.fit_loop.total_batch_idx + 1) % every == 0
        if not (trainer.enable_validation and (validates or step >= trainer.max_steps)):
            self._save(trainer)

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._save(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._save(trainer, due=True)  # only if the validation at the end has not done it

    def _save(self, trainer: L.Trainer, due: bool = False) -> None:
        step = trainer.global_step
        if not self._whole or step == self._saved:
            return
        late = time.monotonic() - self._time > 60 * self.every_minutes
        if trainer.world_size > 1:  # saving is done by all ranks together
            late = bool(trainer.strategy.broadcast(late))
        if not (due or late or step % self.every_steps == 0 or step >= trainer.max_steps):
            return
        if all(bool(torch.isfinite(p).all()) for p in trainer.lightning_module.parameters()):
            for logger in trainer.loggers:
                logger.save()  # what a resumed run will not compute again
            trainer.save_checkpoint(self.path)
            self._saved, self._time = step, time.monotonic()
