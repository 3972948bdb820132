"""A training that stands still at a step until it is told to stop, for signals to find it there."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from midframe.engine import stopping
from midframe.launch.slurm import job_id


class Hold(Callback):
    """Makes one step long: it ends when a signal has come; in one life of one training only.

    Of several ranks the last one waits, and the others for it.

    Args:
        file: is made when the step is there, and holds the number of Slurm's job; where there is
            one, nobody waits.
        step: how many optimizer steps are done by then.
    """

    def __init__(self, file: str, step: int) -> None:
        self.file = Path(file)
        self.step = step

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        last = trainer.global_rank == trainer.world_size - 1
        if not last or trainer.global_step != self.step:
            return
        note = self.file.with_name(f"{self.file.name}.{os.getpid()}")
        note.write_text(job_id() or "")
        try:
            os.link(note, self.file)  # whole from the beginning, and only once
        except FileExistsError:
            return
        finally:
            note.unlink()
        while stopping.noted() is None:
            time.sleep(0.02)


def at(step: int, file: Path | str) -> list[str]:
    """Return overrides by which a training waits."""
    words = {"_target_": "hold.Hold", "file": file, "step": step}
    return [f"+callbacks.hold.{key}={value}" for key, value in words.items()]
