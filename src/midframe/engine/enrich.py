"""Enrichers: frozen steps that add a field to the batch before the model sees it.

They replace every ``if distilling`` and ``if events`` in a training loop. An enricher runs without
gradient and belongs neither to the trained module nor to its checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch

from midframe.models.dis import create_dis, estimate, grey
from midframe.types import Batch


class Enricher:
    """Adds one field to a batch.

    Attributes:
        needs: fields of the batch that it reads.
        adds: fields of the batch that it fills.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    adds: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, batch: Batch) -> Batch:
        """Return the batch with the field added."""
        raise TypeError(f"{type(self).__name__} does not say what it adds")


class Enrichers:
    """All enrichers of a run, applied in order.

    Not a module, and copied by reference: weight averaging copies the training module, which must
    not copy a teacher.
    """

    def __init__(self, enrichers: Sequence[Enricher] = ()) -> None:
        self.enrichers = list(enrichers)

    def __deepcopy__(self, memo: dict[int, Any]) -> Enrichers:
        return self

    @property
    def adds(self) -> frozenset[str]:
        """Every field that is added."""
        return frozenset().union(*(e.adds for e in self.enrichers))

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Batch:
        for enricher in self.enrichers:
            batch = enricher(batch)
        return batch


class DisFlowLabels(Enricher):
    """Pseudo labels t->0 and t->1 by OpenCV's DIS flow, for samples that have none.

    Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016. On the CPU, about a
    millisecond for a flow of 128x128 pixels; needs the target frame, so for training only.

    Args:
        preset: "ultrafast", "fast" or "medium".

    Raises:
        UserError: for another preset.
    """

    needs = frozenset({"target"})
    adds = frozenset({"flow"})

    def __init__(self, preset: str = "medium") -> None:
        self.estimator = create_dis(preset)

    def __call__(self, batch: Batch) -> Batch:
        """Fill ``batch.flow`` where ``flow_valid`` is 0, or everywhere without labels."""
        if batch.target is None:
            return batch
        known = batch.flow_valid
        if batch.flow is not None and (known is None or bool(known.bool().all())):
            return batch
        target = grey(batch.target)  # (B, T, H, W)
        ends = [grey(frame) for frame in batch.inputs.pair]
        count, times, height, width = target.shape
        flow = np.zeros((count, times, 2, height, width, 2), np.float32)
        for b in range(count):
            for t in range(times):
                for side in range(2):
                    flow[b, t, side] = estimate(self.estimator, target[b, t], ends[side][b])
        labels = torch.from_numpy(flow).permute(0, 1, 2, 5, 3, 4).to(batch.target.device)
        if batch.flow is not None and known is not None:
            keep = known.bool().reshape(-1, 1, 1, 1, 1, 1)
            labels = torch.where(keep, batch.flow, labels)
        return replace(batch, flow=labels.contiguous(), flow_valid=None)
