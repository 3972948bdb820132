"""Loggers: a csv that survives resuming, TensorBoard, and wandb that never asks."""

from __future__ import annotations

import csv
import io
import os
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from midframe.files import write_text


class MetricsCsv(Logger):
    """One row per logged step in ``metrics.csv``; a resumed run goes on in the same file.

    Rows beyond the step that is resumed from are dropped, since they are computed again. The file
    is replaced as a whole, so a reader never sees half a row.
    """

    def __init__(self, directory: str, flush_every: int = 20) -> None:
        super().__init__()
        self.path = Path(directory) / "metrics.csv"
        self.flush_every = flush_every
        self._rows: dict[int, dict[str, float]] = {}
        self._unsaved = 0

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any) -> None:
        """The run record holds the configuration; nothing to do."""

    def continue_from(self, step: int) -> None:
        """Load the rows of an earlier part of this run, up to ``step``."""
        if self.path.is_file():
            with self.path.open(newline="") as file:
                for row in csv.DictReader(file):
                    number = int(row.pop("step"))
                    if number <= step:
                        self._rows[number] = {k: float(v) for k, v in row.items() if v}

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Merge values into the row of ``step``."""
        values = {k: float(v) for k, v in metrics.items() if k != "epoch"}
        self._rows.setdefault(step or 0, {}).update(values)
        self._unsaved += 1
        if self._unsaved >= self.flush_every:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        """Write the file aside and put it in place."""
        if not self._unsaved:
            return
        names = list(dict.fromkeys(name for row in self._rows.values() for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, ["step", *names])
        writer.writeheader()
        for step, row in sorted(self._rows.items()):
            writer.writerow({"step": step, **row})
        write_text(self.path, text.getvalue())
        self._unsaved = 0

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self.save()


def tensorboard_logger(directory: str, purge_step: int | None = None) -> Logger:
    """Event files in ``directory``/tensorboard; events after ``purge_step`` are superseded."""
    return TensorBoardLogger(directory, name="tensorboard", version="", purge_step=purge_step)


def wandb_logger(directory: str, run_id: str, project: str = "midframe", mode: str = "auto") -> Any:
    """Log to Weights & Biases, online with a key and offline without one.

    Args:
        directory: where wandb keeps its files.
        run_id: the run's id, the same after a resume.
        project: wandb project.
        mode: "online", "offline", or "auto": online if a key is configured.
    """
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    if mode == "auto":
        has_key = wandb.login(prompt=False, verify=False)
        mode = os.environ.get("WANDB_MODE", "online" if has_key else "offline")
    return WandbLogger(
        project=project,
        id=run_id,
        name=run_id,
        save_dir=directory,
        offline=mode == "offline",
        mode=mode,
        resume="allow",
        settings=wandb.Settings(init_timeout=60, console="off", silent=True),
    )


def log_details(logger: Logger, values: Mapping[str, float], step: int) -> None:
    """Send many curves to a logger that shows them by group; a table would get as many columns."""
    if not isinstance(logger, MetricsCsv):
        logger.log_metrics(dict(values), step)


def log_image(logger: Logger, name: str, image: np.ndarray, step: int) -> None:
    """Send an (H, W, 3) uint8 picture to a logger that takes pictures."""
    if isinstance(logger, TensorBoardLogger):
        logger.experiment.add_image(name, image, step, dataformats="HWC")
    elif hasattr(logger, "log_image"):
        logger.log_image(name, [image], step=step)
