"""When checkpoints are written: the best by a metric, and the last for resuming."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

from midframe.engine.checkpoint_files import put_in_place
from midframe.errors import UserError
from midframe.files import aside_of
from midframe.models.weights import BEST, LAST

_ASKS = 10  # steps between two looks of ranks at the time


def best_checkpoint(directory: str, monitor: str = "val/psnr", mode: str = "max") -> Checkpoint:
    """Keep the checkpoint with the best validation value as ``best.ckpt``."""
    return BestCheckpoint(
        dirpath=directory,
        filename=Path(BEST).stem,
        monitor=monitor,
        mode=mode,
        save_top_k=1,
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )


class BestCheckpoint(ModelCheckpoint):
    """Lightning's, for one file that keeps its name, and for ranks that fail together."""

    @property
    def state_key(self) -> str:
        """Its name within checkpoints: that of Lightning's own, which earlier runs had."""
        return str(super().state_key).replace(type(self).__qualname__, "ModelCheckpoint", 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Know the best value so far also where the run's directory has another path by now.

        Lightning would forget it, and the next validation would replace the best checkpoint.
        """
        scores = state_dict.get("best_k_models") or {}
        here = Path(str(self.dirpath)) / BEST
        if here.is_file() and len(scores) == 1:
            path, (score,) = str(here), scores.values()
            state_dict = {
                **state_dict,
                **{"dirpath": self.dirpath, "best_k_models": {path: score}},
                **{"best_model_path": path, "kth_best_model_path": path},
            }
        super().load_state_dict(state_dict)
        self.current_score = state_dict.get("current_score")

    def _save_checkpoint(self, trainer: L.Trainer, filepath: str) -> None:
        _save_rows(trainer)  # a run that is killed now may go on from here
        save_together(trainer, lambda: ModelCheckpoint._save_checkpoint(self, trainer, filepath))


class LastCheckpoint(Checkpoint):
    """Write ``last.ckpt`` every so many optimizer steps or minutes and at the end; atomically.

    What was ``last.ckpt`` before becomes ``previous.ckpt``. At a step with a validation it is
    written after the validation, so that a resumed run neither repeats nor loses it. It takes its
    place when the loggers have the row of its step, since a resumed run goes on behind it.
    Non-finite weights never replace a good checkpoint. Nothing is written between the parts of an
    accumulated batch, since gradients are not in a checkpoint.
    """

    def __init__(self, directory: str, every_steps: int = 100, every_minutes: float = 5.0) -> None:
        self.path = Path(directory) / LAST
        self.every_steps = every_steps
        self.every_minutes = every_minutes
        self._saved = self._seen = 0  # steps
        self._whole = True  # whether no part of a step has been taken
        self._time = time.monotonic()
        self._waiting: Path | None = None  # a checkpoint that is to take its place

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._saved = self._seen = trainer.global_step
        self._whole = True
        self._waiting = None
        self._time = time.monotonic()

    def on_train_batch_start(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        self._settle(trainer)  # Lightning logs a step after its on_train_batch_end

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
            self._settle(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._save(trainer, due=True)  # only if the validation at the end has not done it
        self._settle(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        if self._waiting is not None:
            self._waiting.unlink(missing_ok=True)

    def _save(self, trainer: L.Trainer, due: bool = False) -> None:
        step = trainer.global_step
        if not self._whole or step == self._saved:
            return
        due = due or step % self.every_steps == 0 or step >= trainer.max_steps
        if not due and not self._is_late(trainer):
            return
        if all(bool(torch.isfinite(p).all()) for p in trainer.lightning_module.parameters()):
            aside = aside_of(self.path)
            save_together(trainer, lambda: trainer.save_checkpoint(aside))
            self._waiting = aside
            self._saved, self._time = step, time.monotonic()

    def _is_late(self, trainer: L.Trainer) -> bool:
        """Whether the last one was written too long ago; ranks, which save together, agree."""
        late = time.monotonic() - self._time > 60 * self.every_minutes
        if trainer.world_size == 1:
            return late
        if trainer.global_step % _ASKS:  # to ask one another waits for the devices
            return False
        return bool(trainer.strategy.broadcast(late))

    def _settle(self, trainer: L.Trainer) -> None:
        """Put a checkpoint that waits in its place."""
        if self._waiting is None:
            return
        aside, self._waiting = self._waiting, None
        if trainer.is_global_zero:
            _save_rows(trainer)
            put_in_place(aside, self.path.parent)


def _save_rows(trainer: L.Trainer) -> None:
    """Let the loggers write what a run that goes on from a checkpoint will not compute again."""
    if trainer.is_global_zero:
        for logger in trainer.loggers:
            logger.save()


def save_together(trainer: L.Trainer, save: Callable[[], None]) -> None:
    """Save a checkpoint; where that fails on rank 0, which alone writes, all ranks end.

    Raises:
        UserError: on all ranks, for what rank 0 failed by.
    """
    said: str | None = None
    try:
        save()
    except UserError as error:
        said = str(error)
        trainer.strategy.barrier("Trainer.save_checkpoint")  # where the others wait by now
    if trainer.world_size > 1:
        said = trainer.strategy.broadcast(said)
    if said is not None:
        raise UserError(said)
