"""What training prints: a bar on a terminal, plain lines elsewhere, and validation results."""

from __future__ import annotations

import sys
import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, ProgressBar
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Speed(Callback):
    """Log samples per second of training, validation left out."""

    def __init__(self) -> None:
        self._started: float | None = None
        self._samples = 0

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._started is None:
            self._started = time.monotonic()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._samples += len(batch) * trainer.world_size
        if trainer.global_step % max(trainer.log_every_n_steps, 1) == 0 and self._started:
            rate = self._samples / max(time.monotonic() - self._started, 1e-9)
            pl_module.log("train/samples_per_s", rate, prog_bar=True)
            self._started, self._samples = None, 0

    def on_validation_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._started, self._samples = None, 0


class ValidationReport(Callback):
    """Print each validation beside the plainest guess on the same samples."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero and not trainer.sanity_checking:
            minutes = (time.monotonic() - self._started) / 60
            line = validation_line(trainer.global_step, trainer.callback_metrics, minutes)
            bar = trainer.progress_bar_callback
            (bar.print if bar else print)(line)


def validation_line(step: int, metrics: Any, minutes: float) -> str:
    """One line with model and frame average for PSNR, SSIM and IE, and the error of flow.

    What was not measured is left out: frames of a flow network, flow without labels.
    """

    def pair(name: str, digits: int) -> str:
        model, floor = (
            float(metrics.get(f"val/{name}{x}", float("nan"))) for x in ("", "_average")
        )
        return f"{model:.{digits}f} (average {floor:.{digits}f}, {model - floor:+.{digits}f})"

    parts = [f"step {step:>6}", f"{minutes:5.1f} min"]
    if "val/psnr" in metrics or "val/epe" not in metrics:
        parts += [f"PSNR {pair('psnr', 2)} dB", f"SSIM {pair('ssim', 4)}", f"IE {pair('ie', 3)}"]
    if "val/epe" in metrics:
        error, still = (float(metrics[f"val/epe{x}"]) for x in ("", "_still"))
        wrong = float(metrics["val/fl_all"])
        parts.append(f"EPE {error:.3f} px (no motion {still:.3f}), {wrong:.1%} off by over 3 px")
    return " | ".join(parts)


class Lines(ProgressBar):
    """A plain line every few seconds, for logs and pipes."""

    def __init__(self, seconds: float = 10.0) -> None:
        super().__init__()
        self.seconds = seconds
        self._last = 0.0

    def disable(self) -> None:
        """Lightning calls this on all ranks but the first, which prints."""

    def print(self, *args: Any, **kwargs: Any) -> None:
        print(*args, flush=True)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.monotonic()
        first = trainer.global_step == 1 and self._last == 0.0
        if trainer.is_global_zero and (first or now - self._last >= self.seconds):
            self._last = now
            values = "  ".join(_values(trainer))
            print(f"step {trainer.global_step:>6}/{trainer.max_steps} | {values}", flush=True)


class Bar(ProgressBar):
    """A rich bar over the steps of the run, and one over each validation.

    Lightning's own counts epochs, of which a run of midframe has a single endless one.
    """

    def __init__(self, seconds: float = 0.5) -> None:
        super().__init__()
        self.seconds = seconds  # between two looks at loss and speed
        self._read = -seconds
        self._progress: Progress | None = None
        self._training = self._validating = TaskID(0)
        self._values = ""

    def disable(self) -> None:
        """Lightning calls this on all ranks but the first, which draws."""

    def print(self, *args: Any, **kwargs: Any) -> None:
        (self._progress.console.print if self._progress else print)(*args)

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[values]}"),
            )
            self._training = self._progress.add_task(
                "training", total=trainer.max_steps, completed=trainer.global_step, values=""
            )
            self._progress.start()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._progress:
            now = time.monotonic()
            if now - self._read >= self.seconds:  # to read a value waits for the device
                self._read, self._values = now, "  ".join(_values(trainer))
            step = trainer.global_step
            self._progress.update(self._training, completed=step, values=self._values)

    def on_validation_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        if self._progress:
            total = sum(trainer.num_val_batches)
            self._validating = self._progress.add_task("validating", total=total, values="")

    def on_validation_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        if self._progress:
            self._progress.advance(self._validating)

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if self._progress:
            self._progress.remove_task(self._validating)

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        self._stop()

    def on_exception(self, trainer: L.Trainer, pl_module: Any, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._progress:
            self._progress.stop()
            self._progress = None


def _values(trainer: L.Trainer) -> list[str]:
    """Loss, PSNR or EPE, and speed as they stand, for a line of progress."""
    shown = (
        ("loss", "loss", ".4f"),
        ("psnr", "PSNR", ".2f"),
        ("epe", "EPE", ".2f"),
        ("samples_per_s", "samples/s", ".1f"),
    )
    metrics = trainer.callback_metrics
    found = [(label, metrics.get(f"train/{key}"), form) for key, label, form in shown]
    return [f"{label} {float(value):{form}}" for label, value, form in found if value is not None]


def progress_bar() -> Callback:
    """A rich bar on a terminal, plain lines otherwise."""
    return Bar() if sys.stdout.isatty() else Lines()
