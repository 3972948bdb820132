"""Pictures of validation samples for the loggers and the run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only

from midframe.data.io import write_image
from midframe.engine.loggers import log_image
from midframe.picture import training_grid


class Pictures(Callback):
    """After each validation, draw samples from all over the set, as `training_grid` does."""

    def __init__(self, directory: str, rows: int = 4) -> None:
        self.directory = Path(directory) / "pictures"
        self.rows = rows
        self._grid_rows: list[tuple[Any, Any]] = []

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        spread = max(sum(trainer.num_val_batches) // self.rows, 1)
        wanted = trainer.is_global_zero and batch_idx % spread == 0
        if wanted and len(self._grid_rows) < self.rows:
            self._grid_rows.append((outputs["batch"], outputs["pred"]))

    @rank_zero_only
    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        rows, self._grid_rows = self._grid_rows, []
        if not rows:
            return
        grid = training_grid(rows, self.rows)
        step = trainer.global_step
        write_image(self.directory / f"step_{step:07d}.png", grid)
        for logger in trainer.loggers:
            log_image(logger, "validation", grid, step)
