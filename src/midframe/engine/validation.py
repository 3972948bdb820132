"""Validation: per-image metrics of the model beside the plainest guess, on the same samples.

For frames that is their average, for flow no motion at all.
"""

from __future__ import annotations

import torch
from torch import Tensor

from midframe.metrics import PerImage, epe, fl_all, interpolation_error, psnr, ssim
from midframe.models.average import blend
from midframe.types import Batch, Prediction, known_flow

METRICS = {
    "psnr": psnr,
    "ssim": ssim,
    "ie": interpolation_error,
}
BASELINE = "_average"
Row = dict[str, float]


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
        """Measure frames between the inputs that have targets, and flow that has labels."""
        times = batch.inputs.t.tolist()
        keys = [f"{name}@{t:.6f}" for name, row in zip(batch.ids, times) for t in row]
        rows = self._frames(pred, batch, keys)
        for key, row in _flow_rows(pred, batch, keys).items():
            rows.setdefault(key, {}).update(row)
        for key, row in rows.items():
            self.rows.add(key, row)

    def _frames(self, pred: Prediction, batch: Batch, keys: list[str]) -> dict[str, Row]:
        """Return model's and baseline's frame metrics; a frame that is an input has none."""
        between = ((batch.inputs.t > 0) & (batch.inputs.t < 1)).flatten()
        if batch.target is None or not bool(between.any()):
            return {}
        keys = [key for key, inside in zip(keys, between.tolist()) if inside]
        target = batch.target.flatten(0, 1)[between]
        values = _measure(pred.frame.flatten(0, 1)[between].float(), target)
        if any(key not in self._baseline for key in keys):
            floor = _measure(blend(batch.inputs).flatten(0, 1)[between], target)
            self._baseline.update(zip(keys, floor))
        return {
            key: {**row, **{name + BASELINE: v for name, v in self._baseline[key].items()}}
            for key, row in zip(keys, values)
        }

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


def flow_values(pred: Prediction, batch: Batch) -> tuple[dict[str, Tensor], Tensor] | None:
    """Measure predicted flow against labels: end-point error, and that of no motion beside it.

    Flow t->0 and t->1 is measured in both directions at once. Flow 0->1 and 1->0 is held against
    labels at t = 0 and t = 1. Samples and pixels without a label do not count.

    Args:
        pred: of the batch.
        batch: with or without labels.

    Returns:
        "epe" and "epe_still" in pixels and "fl_all" as a share, (B * T,) each, and which of them
        count; None where there is no flow or no label.
    """
    found = _fields(pred, batch)
    if found is None:
        return None
    flow, label, counts = found
    still = epe(torch.zeros_like(flow), label)
    return {"epe": epe(flow, label), "fl_all": fl_all(flow, label), "epe_still": still}, counts


def mean_epe(pred: Prediction, batch: Batch) -> Tensor | None:
    """Return the mean end-point error of a batch in pixels, without waiting for the device."""
    found = _fields(pred, batch)
    if found is None:
        return None
    flow, label, counts = found
    return torch.where(counts, epe(flow, label), 0.0).sum() / counts.sum()


def _fields(pred: Prediction, batch: Batch) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return predicted flow and labels (B * T, 2, h, w), and which of them count."""
    if pred.flow is None or batch.flow is None:
        return None
    t = batch.inputs.t.flatten()
    flow, label = (x.flatten(0, 1).float() for x in (pred.flow, batch.flow))
    counts = torch.ones_like(t, dtype=torch.bool)
    if pred.goes_forward:
        counts, second = (t == 0) | (t == 1), (t == 1)[:, None, None, None]
        flow = torch.where(second, flow[:, 1], flow[:, 0])
        label = torch.where(second, label[:, 0], label[:, 1])
    else:  # both directions on top of each other, as one field
        flow, label = (torch.cat(x.unbind(1), -2) for x in (flow, label))
    if batch.flow_valid is not None:
        counts = counts & (batch.flow_valid > 0).repeat_interleave(batch.inputs.t.shape[1])
    return flow, label, counts & known_flow(label).flatten(1).any(1)


def _flow_rows(pred: Prediction, batch: Batch, keys: list[str]) -> dict[str, Row]:
    found = flow_values(pred, batch)
    if found is None:
        return {}
    columns, counts = found
    rows = torch.stack(list(columns.values()), 1).tolist()
    return {k: dict(zip(columns, row)) for k, row, c in zip(keys, rows, counts.tolist()) if c}


def _measure(frames: Tensor, target: Tensor) -> list[dict[str, float]]:
    columns = {name: fn(frames, target).tolist() for name, fn in METRICS.items()}
    return [dict(zip(columns, values)) for values in zip(*columns.values())]
