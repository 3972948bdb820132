"""Loggers: a csv that survives resuming, and TensorBoard; `wandb_logger` has the third."""

from __future__ import annotations

import csv
import io
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

    Rows from the step on that is resumed from are dropped, since they are computed again. The file
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
        """Load the rows of the first ``step`` steps, which have the numbers from 0 on."""
        if self.path.is_file():
            with self.path.open(newline="") as file:
                for row in csv.DictReader(file):
                    number = int(row.pop("step"))
                    if number < step:
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
    """Event files in ``directory``/tensorboard; earlier ones count up to ``purge_step`` alone.

    Without it the run begins anew, and what a life before has left there counts no more.
    """
    step = purge_step or 0
    return TensorBoardLogger(directory, name="tensorboard", version="", purge_step=step)


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
