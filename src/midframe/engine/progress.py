"""What training prints: a bar on a terminal, plain lines elsewhere, and validation results."""

from __future__ import annotations

import sys
import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, ProgressBar, RichProgressBar


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
    """Print each validation beside the frame average on the same samples."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero and not trainer.sanity_checking:
            minutes = (time.monotonic() - self._started) / 60
            line = validation_line(trainer.global_step, trainer.callback_metrics, minutes)
            bar = trainer.progress_bar_callback
            if isinstance(bar, RichProgressBar):
                bar.print(line)
            else:
                print(line, flush=True)


def validation_line(step: int, metrics: Any, minutes: float) -> str:
    """One line with model and frame average for PSNR, SSIM and IE."""

    def pair(name: str, digits: int) -> str:
        model, floor = (
            float(metrics.get(f"val/{name}{x}", float("nan"))) for x in ("", "_average")
        )
        return f"{model:.{digits}f} (average {floor:.{digits}f}, {model - floor:+.{digits}f})"

    return (
        f"step {step:>6} | {minutes:5.1f} min | PSNR {pair('psnr', 2)} dB | "
        f"SSIM {pair('ssim', 4)} | IE {pair('ie', 3)}"
    )


class Lines(ProgressBar):
    """A plain line every few seconds, for logs and pipes."""

    def __init__(self, seconds: float = 10.0) -> None:
        super().__init__()
        self.seconds = seconds
        self._last = 0.0

    def disable(self) -> None:
        """Lightning calls this on all ranks but the first, which prints."""

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not trainer.is_global_zero:
            return
        now = time.monotonic()
        first = trainer.global_step == 1 and self._last == 0.0
        if not first and now - self._last < self.seconds:
            return
        self._last = now
        values = self.get_metrics(trainer, pl_module)
        shown = [
            f"{k.removeprefix('train/')} {_short(v)}" for k, v in values.items() if k != "v_num"
        ]
        print(
            f"step {trainer.global_step:>6}/{trainer.max_steps} | {' | '.join(shown)}", flush=True
        )


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def progress_bar() -> Callback:
    """A rich bar on a terminal, plain lines otherwise."""
    return RichProgressBar(leave=True) if sys.stdout.isatty() else Lines()
