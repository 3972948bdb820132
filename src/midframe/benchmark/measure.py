"""One batch: predicted, rounded as the protocol says, measured clip by clip, with pictures."""

from __future__ import annotations

import time
from collections.abc import Sequence

import torch

from midframe.benchmark.journal import Row
from midframe.benchmark.outcome import at
from midframe.benchmark.pictures import Pictures, flow_to_start
from midframe.benchmark.predictor import Predict
from midframe.benchmark.protocol import Protocol
from midframe.errors import UserError
from midframe.types import Batch, Prediction


def keys(protocol: Protocol, clip_id: str, times: Sequence[float]) -> list[str]:
    """Return the ids of a clip's images."""
    return [clip_id if len(protocol.times) == 1 else clip_id + at(t) for t in times]


@torch.no_grad()
def measure(
    predict: Predict, protocol: Protocol, subset: str, batch: Batch, pictures: Pictures | None
) -> list[Row]:
    """Return the rows of a batch, clip by clip in order of time.

    Args:
        predict: from inputs to a prediction.
        protocol: what to measure.
        subset: of the benchmark.
        batch: on the device, frames in [0, 1]; without a target nothing is measured.
        pictures: where to write them, or None.

    Raises:
        UserError: for what a metric refuses, pictures that cannot be written, or too large a batch.
    """
    start = time.perf_counter()
    out = _predicted(predict, protocol, batch)
    frames = out.frame.float()
    seconds = (time.perf_counter() - start) / (frames.shape[0] * frames.shape[1])
    if protocol.quantisation == "uint8":
        frames = frames.clamp(0, 1).mul(255).round().div(255)
    ends = torch.stack(batch.inputs.pair, 1)
    flow = None if pictures is None else flow_to_start(out, batch.inputs.t)
    rows = []
    for i, clip_id in enumerate(batch.ids):
        names = keys(protocol, clip_id, batch.inputs.t[i].tolist())
        target = None if batch.target is None else batch.target[i]
        columns: dict[str, list[float]] = {}
        if target is not None:
            columns = {
                column: protocol.measure(column, frames[i], target, ends[i]).tolist()
                for column in protocol.columns
            }
        for k, name in enumerate(names):
            if pictures is not None:
                truth = None if target is None else target[k]
                moved = None if flow is None else flow[i, k]
                pictures.write(subset, name, frames[i, k], truth, moved)
            values = {column: found[k] for column, found in columns.items()}
            rows.append(Row(name, subset, values, seconds))
    return rows


def _predicted(predict: Predict, protocol: Protocol, batch: Batch) -> Prediction:
    try:
        return predict(batch.inputs)
    except torch.OutOfMemoryError as error:
        height, width = batch.inputs.frames.shape[-2:]
        raise UserError(
            f"benchmark {protocol.name}: out of memory with {len(batch.ids)} clips of "
            f"{width}x{height} at once; give batch=1, or block=512 for the frame in parts"
        ) from error
