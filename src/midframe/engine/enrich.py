"""Enrichers: frozen steps that add a field to the batch before the model sees it.

They replace every ``if distilling`` and ``if events`` in a training loop. An enricher runs without
gradient and belongs neither to the trained module nor to its checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from midframe.engine.teachers import FlowTeacher, FrameTeacher
from midframe.models.motion import Motion
from midframe.types import Batch, Inputs


class Enricher:
    """Adds one field to a batch.

    Attributes:
        needs: fields of the batch that it reads: "target", or what an earlier enricher adds.
        adds: fields of the batch that it fills. A run is checked from these two beforehand.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    adds: ClassVar[frozenset[str]] = frozenset()

    def __call__(self, batch: Batch) -> Batch:
        """Return the batch with the field added."""
        raise TypeError(f"{type(self).__name__} does not say what it adds")

    def validation(self, batch: Batch) -> Batch:
        """Return a batch of validation, as it is unless the model reads what is added."""
        return batch


class Enrichers:
    """All enrichers of a run, applied in order.

    Not a module, and copied by reference: weight averaging copies the training module, which must
    not copy a teacher.

    Args:
        enrichers: each sees what those before it have added.
        context: frames on each side that the model reads; a teacher may have asked the data for
            more, which end here. None leaves all.
    """

    def __init__(self, enrichers: Sequence[Enricher] = (), context: int | None = None) -> None:
        self.enrichers = list(enrichers)
        self.context = context

    def __deepcopy__(self, memo: dict[int, Any]) -> Enrichers:
        return self

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Batch:
        for enricher in self.enrichers:
            batch = enricher(batch)
        return self.narrowed(batch)

    @torch.no_grad()
    def validation(self, batch: Batch) -> Batch:
        """Return a batch of validation with what the model reads, and with no more frames."""
        for enricher in self.enrichers:
            batch = enricher.validation(batch)
        return self.narrowed(batch)

    def narrowed(self, batch: Batch) -> Batch:
        """Return the batch with the frames that the model reads."""
        if self.context is None:
            return batch
        return replace(batch, inputs=batch.inputs.around(self.context))


class TeacherFrames(Enricher):
    """A frozen model's prediction of the same sample, for terms that are held against a teacher.

    Args:
        teacher: what predicts; it takes the frames that it reads from those of the batch.
    """

    adds = frozenset({"teacher"})

    def __init__(self, teacher: FrameTeacher) -> None:
        self.teacher = teacher

    def __call__(self, batch: Batch) -> Batch:
        """Fill ``batch.teacher``."""
        return replace(batch, teacher=self.teacher(batch.inputs))


class MotionOfFrames(Enricher):
    """Forward flow to the target times, for a model that needs it as an input.

    In training it is estimated with the true frame as an input, where there is one. Validation
    knows none: motion is quadratic where a sample has four frames, else linear.

    Args:
        motion: what makes the flow; it keeps its own weights.
    """

    adds = frozenset({"motion"})

    def __init__(self, motion: Motion) -> None:
        self.motion = motion

    def __call__(self, batch: Batch) -> Batch:
        """Fill ``batch.inputs.motion``."""
        if batch.target is None:
            return self.validation(batch)
        made = self.motion.to_target(batch.inputs.pair, batch.target)
        return replace(batch, inputs=replace(batch.inputs, motion=made))

    def validation(self, batch: Batch) -> Batch:
        """Fill ``batch.inputs.motion`` from the input frames alone."""
        made = self.motion.between(batch.inputs)
        return replace(batch, inputs=replace(batch.inputs, motion=made))


class FlowLabels(Enricher):
    """Pseudo labels t->0 and t->1 by a frozen estimator, for samples that have none.

    Needs the target frame, so for training only.

    Args:
        teacher: what estimates the flow; it keeps its own weights.
    """

    needs = frozenset({"target"})
    adds = frozenset({"flow"})

    def __init__(self, teacher: FlowTeacher) -> None:
        self.teacher = teacher

    def __call__(self, batch: Batch) -> Batch:
        """Fill ``batch.flow`` where ``flow_valid`` is 0, or everywhere without labels."""
        if batch.target is None:
            return batch
        known = batch.flow_valid
        if batch.flow is None:
            return replace(batch, flow=self._labels(batch.target, batch.inputs), flow_valid=None)
        if known is None or bool(known.bool().all()):
            return batch
        rows = (known == 0).nonzero().flatten()
        made = self._labels(batch.target[rows], batch.inputs, rows)
        flow = batch.flow.index_copy(0, rows, made.to(batch.flow.dtype))
        return replace(batch, flow=flow, flow_valid=None)

    def _labels(self, target: Tensor, inputs: Inputs, rows: Tensor | None = None) -> Tensor:
        """Return the flow (B, T, 2, 2, H, W) of some rows of a batch."""
        ends = torch.stack(inputs.pair, 1)
        if rows is not None:
            ends = ends[rows]
        count, times = target.shape[:2]
        first = target[:, :, None].expand(-1, -1, 2, -1, -1, -1)
        second = ends[:, None].expand(-1, times, -1, -1, -1, -1)
        flow = self.teacher(first.flatten(0, 2), second.flatten(0, 2))
        return flow.unflatten(0, (count, times, 2)).contiguous()
