"""Stopping a training on a signal: after a whole step, on all ranks together, with a checkpoint."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint

from midframe.engine import stopping
from midframe.engine.checkpoint import LastCheckpoint


class Preemption(Checkpoint):
    """End a training that SIGUSR1 or SIGTERM asks to stop, so that the same command goes on.

    The step at hand is finished, and its validation if it has one; ``last.ckpt`` is written; then
    `stopping.Stopped` is raised. It is a `Checkpoint` only because Lightning calls those last,
    where a step is complete; in a config it stands behind the `LastCheckpoint` that writes.

    Args:
        every_steps: how often ranks ask one another; a process alone looks after each step.
        patience: seconds that a validation may go on; then it is given up, and the run goes on from
            the last checkpoint that there is, since one between a step and its validation would
            lose the latter.
        requeue: whether a job of Slurm is put into the queue again.
    """

    def __init__(self, every_steps: int = 5, patience: float = 30.0, requeue: bool = True) -> None:
        self.every_steps = every_steps
        self.patience = patience
        self.requeue = requeue
        self._seen = 0
        self._ending: stopping.Stopped | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._seen, self._ending = trainer.global_step, None
        stopping.defer()  # after Lightning has set handlers of its own

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._ending is not None:  # by now the loggers have the last step's row
            raise self._ending

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        whole, self._seen = step != self._seen, step
        every = trainer.val_check_batch
        validates = isinstance(every, int) and (trainer.fit_loop.total_batch_idx + 1) % every == 0
        if not whole or (trainer.enable_validation and validates):
            return
        if trainer.world_size == 1 or step % self.every_steps == 0:
            self._look(trainer, pl_module)

    def on_validation_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        number = stopping.noted()
        if number is not None and self._ending is None and stopping.noted_for() > self.patience:
            raise stopping.Stopped(number, trainer.global_step)  # ranks cannot agree in here

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._look(trainer, pl_module)

    def _look(self, trainer: L.Trainer, pl_module: Any) -> None:
        if self._ending is not None or trainer.global_step >= trainer.max_steps:
            return  # what is done ends by itself
        number = stopping.noted() or 0
        if trainer.world_size > 1:  # a signal may have reached only one of them yet
            mine = torch.tensor(number, device=trainer.strategy.root_device)
            number = int(trainer.strategy.reduce(mine, reduce_op="max"))
        if number:
            for callback in trainer.checkpoint_callbacks:
                if isinstance(callback, LastCheckpoint):
                    callback.on_train_end(trainer, pl_module)
            self._ending = stopping.Stopped(number, trainer.global_step)

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        stopping.defer_no_longer()

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        # What is left is quick: to stop at once would leave the record of the run half written.
        stopping.defer()
