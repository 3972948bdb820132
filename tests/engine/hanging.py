"""A training whose data hang: ``python hanging.py RUN_DIR MINUTES DEVICES WHERE``."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset

from midframe.data.loader import start_worker
from midframe.engine.watchdog import Watchdog

BATCHES = 4


class Pictures(Dataset):
    """Hangs at the third sample; with several ranks only on the last of them."""

    def __init__(self, hangs: bool) -> None:
        self.hangs = hangs

    def __len__(self) -> int:
        return BATCHES

    def __getitem__(self, index: int) -> torch.Tensor:
        if self.hangs and index == 2:
            wait_for_a_disk_that_is_gone()
        return torch.zeros(2)


def wait_for_a_disk_that_is_gone() -> None:
    time.sleep(1000)


class Line(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        return self.layer(batch).sum()

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        self.layer(batch)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)


class Data(L.LightningDataModule):
    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def _loader(self, hangs: bool) -> DataLoader:
        rank, world = self.trainer.global_rank, self.trainer.world_size
        workers = 1 if self.where == "worker" else 0
        data = Pictures(hangs and rank == world - 1)
        return DataLoader(data, num_workers=workers, worker_init_fn=start_worker)

    def train_dataloader(self) -> DataLoader:
        return self._loader(self.where in ("training", "worker"))

    def val_dataloader(self) -> DataLoader:
        return self._loader(self.where == "validation")


def main() -> None:
    directory, minutes, devices, where = sys.argv[1:]
    torch.set_num_threads(1)
    trainer = L.Trainer(
        accelerator="cpu",
        devices=int(devices),
        strategy="ddp" if int(devices) > 1 else "auto",
        max_epochs=1,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        callbacks=[Watchdog(directory, float(minutes))],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Line(), datamodule=Data(where))
    Path(directory, "finished").touch()


if __name__ == "__main__":
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    main()
