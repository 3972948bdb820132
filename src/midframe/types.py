"""The records that travel between data, models, losses and metrics.

Time is normalised to the gap that is filled: its two ends are 0 and 1, so two input frames sit at
times (0, 1) and four at (-1, 0, 1, 2). Target times are a tensor axis T. Frames are RGB in [0, 1].
All records are dataclasses registered as pytrees, so they pass torch.compile, torch.export, DDP and
Lightning's device moves unchanged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

R = TypeVar("R", bound="Record")

UNKNOWN_FLOW = 1e9  # flow of more pixels is not known, as in Middlebury's files


def known_flow(flow: Tensor) -> Tensor:
    """Return which pixels of flow (..., 2, H, W) are known, as bool (..., H, W).

    Data marks unknown flow by NaN in either component; values that are infinite or beyond
    `UNKNOWN_FLOW` count as unknown, too, whoever made the tensor.
    """
    return (flow.abs() <= UNKNOWN_FLOW).all(-3)  # of NaN this is false


@dataclass
class Record:
    """Base of the tensor records: one mapping over all tensors inside."""

    def map(self: R, fn: Callable[[Tensor], Tensor]) -> R:
        """Return a copy with ``fn`` applied to every tensor, however deeply nested."""
        return pytree.tree_map_only(Tensor, fn, self)

    def to(self: R, *args: Any, **kwargs: Any) -> R:
        """Move or convert every tensor, as ``Tensor.to`` does."""
        return self.map(lambda x: x.to(*args, **kwargs))

    def pin_memory(self: R) -> R:
        """Pin every tensor, as a DataLoader asks for before copies to a GPU."""
        return self.map(Tensor.pin_memory)


@dataclass
class Inputs(Record):
    """What a model reads.

    Attributes:
        frames: (B, 2c, 3, H, W) float RGB in [0, 1], in time order; c is the model's context.
        t: (B, T) target times in [0, 1].
        events: (B, T, C, H, W) events around each target time as signed counts in C bins of time,
            see `midframe.events.bins`, or None.
        motion: (B, T, 2, 2, H, W) forward flow 0->t and 1->t in pixels, or None.
        events_ends: (B, 2, C, H, W) the same as ``events`` around times 0 and 1, or None.
    """

    frames: Tensor
    t: Tensor
    events: Tensor | None = None
    motion: Tensor | None = None
    events_ends: Tensor | None = None

    @property
    def pair(self) -> tuple[Tensor, Tensor]:
        """The two frames (B, 3, H, W) at times 0 and 1."""
        middle = self.frames.shape[1] // 2
        return self.frames[:, middle - 1], self.frames[:, middle]

    def around(self, context: int) -> Inputs:
        """Return the inputs with ``context`` frames on each side of the gap, of more of them."""
        middle = self.frames.shape[1] // 2
        if context >= middle:
            return self
        frames = self.frames[:, middle - context : middle + context]
        return dataclasses.replace(self, frames=frames)


@dataclass
class Prediction(Record):
    """What a model returns; fields that it does not provide stay empty.

    Attributes:
        frame: (B, T, 3, H, W) the frames at the target times.
        flow: (B, T, 2, 2, H, W) in pixels; axis 2 is the direction, axis 3 is (x, y).
        flow_kind: "backward" (t->0, t->1) or "forward" (0->1, 1->0); to be said with any flow, and
            taken as "backward" where a model does not, see `goes_forward`.
        mask: (B, T, 1, H, W) weight of frame 0 in [0, 1].
        residual: (B, T, 3, H, W) what is added after blending.
        frames_coarse: frames of coarser pyramid levels, finest first.
        flows_coarse: (B, T, 2, 2, h, w) flows of coarser levels, finest first, each in pixels of
            its own resolution.
        features: (B*T, C, h, w) features of the target time, finest first.
    """

    frame: Tensor
    flow: Tensor | None = None
    flow_kind: str | None = None
    mask: Tensor | None = None
    residual: Tensor | None = None
    frames_coarse: tuple[Tensor, ...] = ()
    flows_coarse: tuple[Tensor, ...] = ()
    features: tuple[Tensor, ...] = ()

    @property
    def goes_forward(self) -> bool:
        """Whether the flow is 0->1 and 1->0, and not t->0 and t->1."""
        return self.flow_kind == "forward"


@dataclass
class SampleMeta(Record):
    """Where a batch comes from: data set name, clip groups, and source sizes (h, w)."""

    dataset: str = ""
    groups: tuple[str, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()


@dataclass
class Batch(Record):
    """What one training or evaluation step works on.

    Attributes:
        inputs: see `Inputs`.
        target: (B, T, 3, H, W) the true frames, or None.
        flow: (B, T, 2, 2, H, W) labels t->0, t->1 in pixels, or None. Where t is 0 or 1, one of
            them is the flow from frame to frame and the other zero. Unknown pixels are NaN; see
            `known_flow`.
        flow_valid: (B,) 1 where the sample has labels (a batch may mix), or None for all.
        teacher: a frozen teacher's prediction, or None.
        ids: one name per sample, unique in the data set.
        meta: where the samples come from.
    """

    inputs: Inputs
    target: Tensor | None = None
    flow: Tensor | None = None
    flow_valid: Tensor | None = None
    teacher: Prediction | None = None
    ids: tuple[str, ...] = ()
    meta: SampleMeta = field(default_factory=SampleMeta)

    def __len__(self) -> int:
        return self.inputs.frames.shape[0]

    def float(self) -> Batch:
        """Return the batch with uint8 frames turned into float32 in [0, 1], on their device.

        Counts of events, which are int8, become the same numbers in float32.
        """

        def convert(x: Tensor) -> Tensor:
            if x.dtype == torch.uint8:
                return x.float().div_(255.0)
            return x.float() if x.dtype == torch.int8 else x

        return self.map(convert)


@dataclass
class LossOutput(Record):
    """A loss and its parts: ``total`` is the scalar to minimise, ``terms`` the weighted parts."""

    total: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)


_STATIC = ("flow_kind", "ids", "meta")  # no tensors inside: part of the tree's structure


def _to_json(context: tuple[Any, ...]) -> Any:
    return [dataclasses.asdict(v) if isinstance(v, SampleMeta) else v for v in context]


def _from_json(value: Any) -> Any:
    """Undo `_to_json` and what JSON does to tuples, so that a saved program's inputs still fit."""
    if isinstance(value, dict):
        return SampleMeta(**{k: _from_json(v) for k, v in value.items()})
    return tuple(_from_json(v) for v in value) if isinstance(value, list) else value


def _register(cls: type[Record]) -> None:
    names = [f.name for f in dataclasses.fields(cls)]
    static = [n for n in names if n in _STATIC]
    tensors: list[str] = []
    for name in (n for n in names if n not in _STATIC):
        # torch.export replaces names as text: "events_ends" before "events", which begins it
        longer = (i for i, other in enumerate(tensors) if name.startswith(f"{other}_"))
        tensors.insert(next(longer, len(tensors)), name)

    def flatten(x: Record) -> tuple[list[Any], Any]:
        return [getattr(x, n) for n in tensors], tuple(getattr(x, n) for n in static)

    def flatten_with_keys(x: Record) -> tuple[list[Any], Any]:
        keyed = [(pytree.GetAttrKey(n), getattr(x, n)) for n in tensors]
        return keyed, tuple(getattr(x, n) for n in static)

    def unflatten(values: Any, context: Any) -> Record:
        return cls(**dict(zip(tensors, values)), **dict(zip(static, context)))

    pytree.register_pytree_node(
        cls,
        flatten,
        unflatten,
        serialized_type_name=f"midframe.types.{cls.__name__}",
        to_dumpable_context=_to_json,
        from_dumpable_context=_from_json,
        flatten_with_keys_fn=flatten_with_keys,
    )


for _cls in (Inputs, Prediction, Batch, LossOutput):
    _register(_cls)
