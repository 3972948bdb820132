"""Validation: per-image metrics of the model beside the frame average, on the same samples."""

from __future__ import annotations

import torch
from torch import Tensor

from midframe.metrics import PerImage, interpolation_error, psnr, ssim
from midframe.types import Batch, Prediction

METRICS = {
    "psnr": psnr,
    "ssim": ssim,
    "ie": interpolation_error,
}
BASELINE = "_average"


def frame_average(batch: Batch) -> Tensor:
    """The average (B, T, 3, H, W) of the two input frames, weighted by time: the floor."""
    first, second = (frame[:, None] for frame in batch.inputs.pair)
    t = batch.inputs.t[:, :, None, None, None]
    return (1 - t) * first + t * second


class Validation:
    """Collects one row per predicted frame, keyed by sample id and time.

    The keys make the mean independent of order, batch size and number of ranks. The baseline of a
    sample is computed once and kept, since validation samples do not change.
    """

    def __init__(self) -> None:
        self.rows = PerImage()
        self._baseline: dict[str, dict[str, float]] = {}

    def reset(self) -> None:
        """Forget the rows; the baseline stays."""
        self.rows = PerImage()

    @torch.no_grad()
    def add(self, pred: Prediction, batch: Batch) -> None:
        """Measure every predicted frame of a batch that has targets."""
        if batch.target is None:
            return
        times = batch.inputs.t.tolist()
        keys = [f"{name}@{t:.6f}" for name, row in zip(batch.ids, times) for t in row]
        target = batch.target.flatten(0, 1)
        values = _measure(pred.frame.flatten(0, 1).float(), target)
        if any(key not in self._baseline for key in keys):
            floor = _measure(frame_average(batch).flatten(0, 1), target)
            self._baseline.update(zip(keys, floor))
        for key, row in zip(keys, values):
            floor_row = {name + BASELINE: v for name, v in self._baseline[key].items()}
            self.rows.add(key, {**row, **floor_row})

    def means(self) -> dict[str, float]:
        """Mean of every metric over the images of all ranks; empty without images."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            everyone: list[PerImage | None] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(everyone, self.rows)
            merged = PerImage()
            for rows in everyone:
                if rows is not None:
                    merged.merge(rows)
            self.rows = merged
        return self.rows.means()


def _measure(frames: Tensor, target: Tensor) -> list[dict[str, float]]:
    columns = {name: fn(frames, target).tolist() for name, fn in METRICS.items()}
    return [dict(zip(columns, values)) for values in zip(*columns.values())]
