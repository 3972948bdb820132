"""Hands the loaders of `Data` to Lightning, starting where the run stands."""

from __future__ import annotations

from typing import Any

import lightning as L
from torch.utils.data import DataLoader

from midframe.data.module import Data


class Resumable(DataLoader):
    """A loader whose position is not state but follows from the step it was made for."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to restore."""


class Feed(L.LightningDataModule):
    """Loaders for the trainer: batches are a function of (seed, step), never of history.

    Args:
        data: the data set.
        steps: optimizer steps of the whole run.
        micro_batches: batches per optimizer step (gradient accumulation).
    """

    def __init__(self, data: Data, steps: int, micro_batches: int = 1) -> None:
        super().__init__()
        self.data = data
        self.steps = steps
        self.micro_batches = micro_batches

    def train_dataloader(self) -> DataLoader:
        """Training batches from the trainer's current step on."""
        trainer = self.trainer
        return self.data.train_loader(
            steps=self.steps,
            start_step=trainer.global_step,
            rank=trainer.global_rank,
            world=trainer.world_size,
            micro_batches=self.micro_batches,
        )

    def val_dataloader(self) -> DataLoader:
        """This rank's share of the validation samples, none twice."""
        return self.data.val_loader(rank=self.trainer.global_rank, world=self.trainer.world_size)
