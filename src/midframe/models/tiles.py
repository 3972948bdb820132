"""Large frames block by block: any model, with memory that the block bounds and no seams."""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from midframe.errors import UserError
from midframe.models.base import Interpolator, Pad
from midframe.types import Inputs, Prediction

Ramp = Literal["cosine", "linear", "flat"]
RAMPS: tuple[Ramp, ...] = get_args(Ramp)
_OVERLAP = 64
_BLENDED = ("frame", "flow", "mask", "residual")
# what says beforehand what a model needs and gives
_FACTS = ("needs", "trainable", "learns", "casts", "idle", "context", "times", "pad", "fixed_hints")


class Tiled(Interpolator):
    """A model whose `interpolate` works on overlapping blocks and blends what they give.

    Blocks spread evenly, so all have one size. Where they overlap, their weights rise and fall
    across the whole overlap and sum to one, so there is no seam, and what all blocks agree on comes
    out as it is. Motion that leaves a block is not seen: blocks and overlaps should be larger than
    the motion. Hints are those of the whole frame, whose motion it is.

    Args:
        model: any; shared, not copied.
        block: height and width of a block in pixels, raised to what the model takes; frames that
            are smaller are not cut.
        overlap: of neighbouring blocks in pixels, at least; at most half of a block. None: 64
            pixels, or half of a smaller block.
        ramp: of the weights: "cosine", "linear", or "flat" for the plain mean.

    Raises:
        UserError: for a block or an overlap that do not fit.
    """

    def __init__(
        self,
        model: Interpolator,
        block: int | tuple[int, int],
        overlap: int | None = None,
        ramp: Ramp = "cosine",
    ) -> None:
        super().__init__()
        self.model = model
        self.block = (block, block) if isinstance(block, int) else tuple(block)
        if min(self.block) < 1:
            raise UserError(f"block {min(self.block)}: give a number of pixels")
        half = min(self.block) // 2
        self.overlap = min(_OVERLAP, half) if overlap is None else overlap
        self.ramp: Ramp = ramp
        if not 0 <= self.overlap <= half:
            raise UserError(
                f"overlap {overlap}: give a number of pixels from 0 to {half}, half of the block"
            )
        if ramp not in RAMPS:
            raise UserError(f"ramp {ramp}: give {', '.join(RAMPS)}")
        facts = {name: getattr(model, name) for name in _FACTS}
        for name, value in {**facts, "provides": model.provides & set(_BLENDED)}.items():
            setattr(self, name, value)
        self.train(model.training)

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        """Call the model as it is: only `interpolate` works by blocks."""
        return self.model(x, **hints)

    def hints(self, height: int, width: int, benchmark: str | None = None) -> dict[str, Any]:
        """Return those of the model."""
        return self.model.hints(height, width, benchmark)

    def padding(self, **hints: Any) -> Pad:
        """Return that of the model."""
        return self.model.padding(**hints)

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
        multiple = self.model.pad_for(pad, **hints).multiple
        rows, columns = (
            _weights(size, ceil(block / multiple) * multiple, self.overlap, self.ramp)
            for size, block in zip((height, width), self.block)
        )
        if len(rows) == len(columns) == 1:
            out = self.model.interpolate(x, pad=pad, benchmark=benchmark, **hints)
            return replace(out, frames_coarse=(), flows_coarse=(), features=())
        total = x.frames.new_zeros(height, width, dtype=torch.float32)
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
                _blend(blended, part, here, weight / total[here], (height, width))
        flow, mask, residual = (blended.get(name) for name in _BLENDED[1:])
        return Prediction(blended["frame"], flow, kind, mask, residual)


def _cut(x: Inputs, here: tuple[slice, slice]) -> Inputs:
    return Inputs(
        x.frames[..., here[0], here[1]].contiguous(),
        x.t,
        x.events if x.events is None else x.events[..., here[0], here[1]].contiguous(),
        x.motion if x.motion is None else x.motion[..., here[0], here[1]].contiguous(),
    )


def _blend(
    blended: dict[str, Tensor],
    part: Prediction,
    here: tuple[slice, slice],
    share: Tensor,
    size: tuple[int, int],
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


def _weights(size: int, block: int, overlap: int, ramp: Ramp) -> list[tuple[int, Tensor]]:
    """Return where the blocks along one axis start, and their weights, before they are normed."""
    if size <= block:
        return [(0, torch.ones(size))]
    count = ceil((size - overlap) / (block - overlap))
    starts = [round(k * (size - block) / (count - 1)) for k in range(count)]
    found = []
    for k, start in enumerate(starts):
        rise = starts[k - 1] + block - start if k else 0
        fall = start + block - starts[k + 1] if k + 1 < count else 0
        weight = _ramp(block, rise, ramp) * _ramp(block, fall, ramp).flip(0)
        found.append((start, weight))
    return found


def _ramp(block: int, length: int, ramp: Ramp) -> Tensor:
    """Return weights (block,) that rise over ``length`` pixels to 1 and stay there."""
    if not length or ramp == "flat":
        return torch.ones(block)
    rising = ((torch.arange(block) + 0.5) / length).clamp(max=1)
    return rising if ramp == "linear" else (1 - torch.cos(torch.pi * rising)) / 2
