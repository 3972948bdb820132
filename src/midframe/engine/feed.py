"""Hands the loaders of `Data` to Lightning, starting where the run stands."""

from __future__ import annotations

import lightning as L
from torch.utils.data import DataLoader

from midframe.data.module import Data


class Feed(L.LightningDataModule):
    """Loaders for the trainer: batches are a function of (seed, step), never of history."""

    def __init__(self, data: Data, trainer: L.Trainer) -> None:
        super().__init__()
        self.data = data
        self.steps = trainer.max_steps
        self.micro_batches = trainer.accumulate_grad_batches

    def train_dataloader(self) -> DataLoader:
        """Training batches from the trainer's current step on."""
        trainer = self.trainer
        return self.data.train_loader(
            steps=self.steps,
            start_step=trainer.global_step,
            rank=trainer.global_rank,
            world=trainer.world_size,
            micro_batches=self.micro_batches,
            pin_memory=self._on_gpu(),
        )

    def val_dataloader(self) -> DataLoader:
        """This rank's share of the validation samples, none twice."""
        trainer = self.trainer
        rank, world = trainer.global_rank, trainer.world_size
        return self.data.val_loader(rank, world, pin_memory=self._on_gpu())

    def _on_gpu(self) -> bool:
        """Return whether batches go to a GPU, which not every machine that has one trains on."""
        return self.trainer.strategy.root_device.type == "cuda"
