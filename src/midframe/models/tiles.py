"""Large frames block by block: any model, with memory that the block bounds and no seams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from math import ceil
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from midframe.errors import UserError
from midframe.models.base import Interpolator, Pad
from midframe.models.wrapper import Wrapper
from midframe.types import Inputs, Prediction

Blend = Literal["cosine", "linear", "mean", "published"]
BLENDS: tuple[Blend, ...] = get_args(Blend)
Places = list[tuple[int, Tensor]]  # where blocks along an axis start, and their weights
_OVERLAP = 64
_BLENDED = ("frame", "flow", "mask", "residual")


class Tiled(Wrapper):
    """A model whose `interpolate` works on overlapping blocks and blends what they give.

    Blocks spread evenly, so all have one size. Where they overlap, their weights rise and fall
    across the whole overlap and sum to one, so there is no seam, and what all blocks agree on comes
    out as it is. Motion that leaves a block is not seen: blocks and overlaps should be larger than
    the motion. Hints are those of the whole frame, whose motion it is.

    With "published", as ST-MFNet's published code does it: the frame is padded by reflection on
    both sides, so that blocks at a stride of block - overlap cover it with one more than would do
    where the stride divides it, and overlaps are the plain mean.

    Args:
        model: any; shared, not copied.
        block: height and width of a block in pixels, raised to what the model takes; frames that
            are smaller are not cut. "published" blocks stay as they are, the model pads each.
        overlap: of neighbouring blocks in pixels, at least; at most half of a block. None: 64
            pixels, or half of a smaller block. Of "published" ones exactly.
        blend: how weights rise across an overlap: "cosine", "linear", or "mean" for the plain mean;
            or "published".

    Raises:
        UserError: for a block or an overlap that do not fit.
    """

    def __init__(
        self,
        model: Interpolator,
        block: int | tuple[int, int],
        overlap: int | None = None,
        blend: Blend = "cosine",
    ) -> None:
        super().__init__(model)
        self.block = (block, block) if isinstance(block, int) else tuple(block)
        if min(self.block) < 1:
            raise UserError(f"block {min(self.block)}: give a number of pixels")
        half = min(self.block) // 2
        self.overlap = min(_OVERLAP, half) if overlap is None else overlap
        self.blend: Blend = blend
        if not 0 <= self.overlap <= half:
            raise UserError(
                f"overlap {overlap}: give a number of pixels from 0 to {half}, half of the block"
            )
        if blend not in BLENDS:
            raise UserError(f"blend {blend}: give {', '.join(BLENDS)}")
        self.provides = model.provides & set(_BLENDED)  # type: ignore[misc]

    @property
    def settings(self) -> dict[str, Any]:
        """All that a number may depend on, as plain data for the record."""
        return {"block": list(self.block), "overlap": self.overlap, "blend": self.blend}

    @torch.no_grad()
    def interpolate(
        self, x: Inputs, *, pad: Pad | None = None, benchmark: str | None = None, **hints: Any
    ) -> Prediction:
        """Predict frames of any size, see `Interpolator.interpolate`; no more than a block at once.

        Returns:
            A prediction at the input's size, in float32: frame, and where the model gives them
            flow, mask and residual. Coarse levels and features are left out.
        """
        height, width = x.frames.shape[-2:]
        hints = self.model.hints_for(height, width, benchmark, **hints)
        rows, columns = (
            self._places(size, block, self.model.pad_for(pad, **hints).multiple)
            for size, block in zip((height, width), self.block)
        )
        whole = Pad(mode="reflect", least=(_end(rows), _end(columns)))
        x = _changed(x, whole.apply)
        size = x.frames.shape[-2:]
        total = x.frames.new_zeros(size, dtype=torch.float32)
        blended: dict[str, Tensor] = {}
        kind: str | None = None
        for top, down in rows:
            for left, across in columns:
                here = slice(top, top + len(down)), slice(left, left + len(across))
                part = self.model.interpolate(_cut(x, here), pad=pad, benchmark=benchmark, **hints)
                weight = (down[:, None] * across).to(total.device)
                total[here] += weight
                kind = part.flow_kind
                # a running mean: equal values stay as they are to the bit
                _blend(blended, part, here, weight / total[here], size)
        blended = {name: whole.crop(value, height, width) for name, value in blended.items()}
        flow, mask, residual = (blended.get(name) for name in _BLENDED[1:])
        return Prediction(blended["frame"], flow, kind, mask, residual)

    def _places(self, size: int, block: int, multiple: int) -> Places:
        """Return where blocks lie along an axis of ``size`` pixels, or of more: see `_end`."""
        if self.blend == "published":
            stride = block - self.overlap
            return [(k * stride, torch.ones(block)) for k in range(size // stride + 1)]
        return _weights(size, ceil(block / multiple) * multiple, self.overlap, self.blend)


def _end(places: Places) -> int:
    """Return the size of what blocks along an axis cover."""
    start, weight = places[-1]
    return start + len(weight)


def _changed(x: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    """Return inputs of which everything with pixels, all but the times, is changed."""
    values = {f.name: getattr(x, f.name) for f in fields(x) if f.name != "t"}
    changed: dict[str, Any] = {k: v if v is None else change(v) for k, v in values.items()}
    return replace(x, **changed)


def _cut(x: Inputs, here: tuple[slice, slice]) -> Inputs:
    return _changed(x, lambda values: values[(..., *here)].contiguous())


def _blend(
    blended: dict[str, Tensor],
    part: Prediction,
    here: tuple[slice, slice],
    share: Tensor,
    size: Sequence[int],
) -> None:
    """Move what is known of the whole frame towards a block's by ``share`` (h, w)."""
    for name in _BLENDED:
        new = getattr(part, name)
        if new is None:
            continue
        if name not in blended:
            blended[name] = new.new_zeros(*new.shape[:-2], *size, dtype=torch.float32)
        old = blended[name][..., here[0], here[1]]
        old += share * (new.float() - old)


def _weights(size: int, block: int, overlap: int, blend: Blend) -> Places:
    """Return where the blocks along one axis start, and their weights, before they are normed."""
    if size <= block:
        return [(0, torch.ones(size))]
    count = ceil((size - overlap) / (block - overlap))
    starts = [round(k * (size - block) / (count - 1)) for k in range(count)]
    found = []
    for k, start in enumerate(starts):
        rise = starts[k - 1] + block - start if k else 0
        fall = start + block - starts[k + 1] if k + 1 < count else 0
        weight = _ramp(block, rise, blend) * _ramp(block, fall, blend).flip(0)
        found.append((start, weight))
    return found


def _ramp(block: int, length: int, blend: Blend) -> Tensor:
    """Return weights (block,) that rise over ``length`` pixels to 1 and stay there."""
    if not length or blend == "mean":
        return torch.ones(block)
    rising = ((torch.arange(block) + 0.5) / length).clamp(max=1)
    return rising if blend == "linear" else (1 - torch.cos(torch.pi * rising)) / 2
