"""How a model works on large frames: whole, with flow at half the size, or block by block."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from midframe.models.base import Interpolator, Pad
from midframe.models.tiles import Tiled
from midframe.models.wrapper import Wrapper
from midframe.speed.memory import ran_out
from midframe.types import Inputs, Prediction

BLOCKS = (
    2048,
    1536,
    1024,
    768,
    512,
    384,
    256,
)  # sides in pixels; smaller ones see too little motion
_PLANES = 4 * 3  # bytes of a pixel of a picture in float32


@dataclass(frozen=True)
class Way:
    """How a model is called.

    Attributes:
        block: side of the blocks that it works on, in pixels; None: whole frames.
        hints: of every call.
    """

    block: int | None = None
    hints: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.block is not None:
            return f"in overlapping blocks of {self.block} pixels"
        if self.hints:
            hints = ", ".join(f"{name} {value}" for name, value in self.hints.items())
            return f"with flow at reduced size ({hints})"
        return "on whole frames"

    def applied(self, model: Interpolator) -> Interpolator:
        """Return the model as it works this way, its hints aside."""
        return model if self.block is None else Tiled(model, self.block)

    def pixels(self, model: Interpolator, height: int, width: int) -> int:
        """Return of how many pixels a call of the network is, padding included."""
        hints = model.hints_for(height, width, **self.hints)
        if self.block is not None:
            height, width = min(height, self.block), min(width, self.block)
        left, right, top, bottom = model.padding(**hints).amounts(height, width)
        return (height + top + bottom) * (width + left + right)


class Need(NamedTuple):
    """Memory of a call, as a straight line.

    Attributes:
        fixed: bytes, whatever the size.
        pixel: bytes for each pixel of the padded frame or block.
    """

    fixed: float
    pixel: float

    def of(self, way: Way, model: Interpolator, height: int, width: int, times: int = 1) -> int:
        """Return the bytes of a call with frames of a size, those of whole frames included.

        Args:
            way: how the model works.
            model: knows its padding and how many frames it reads.
            height: of the frames.
            width: of the frames.
            times: frames that a call makes.
        """
        size = way.pixels(model, height, width)
        frames = 0 if way.block is None else (2 * model.context + 3 * times) * height * width
        return round(self.fixed + self.pixel * size + _PLANES * frames)


def ladder(model: Interpolator, height: int, width: int) -> list[Way]:
    """Return the ways for frames of a size, the best first; each takes less memory than the last.

    Args:
        model: whose `Interpolator.reduced_hints` may say how it estimates flow at half the size.
        height: of the frames.
        width: of the frames.
    """
    ways = [Way()]
    reduced = model.reduced_hints(height, width)
    if reduced and not set(reduced) & set(model.fixed_hints):
        ways.append(Way(hints=reduced))
    longest = max(height, width)
    # a block that is hardly smaller than the frame saves nothing
    return ways + [Way(block) for block in BLOCKS if block <= 0.8 * longest]


def choose(ways: Sequence[Way], room: float, need: Callable[[Way], int]) -> tuple[int, bool]:
    """Return the number of the first way that fits, and whether one does: else the last.

    Args:
        ways: see `ladder`.
        room: bytes that a call may take.
        need: says how many it takes; asked only as far as is necessary.
    """
    for number, way in enumerate(ways):
        if need(way) <= room:
            return number, True
    return len(ways) - 1, False


class Fitting(Wrapper):
    """A model that goes on in a way that takes less memory when there is none left.

    Args:
        model: any; shared, not copied.
        ways: see `ladder`.
        at: number of the way to begin with.
        changed: told each time that another way is taken.

    Attributes:
        at: number of the way that calls are made in.
    """

    def __init__(
        self,
        model: Interpolator,
        ways: Sequence[Way],
        at: int = 0,
        changed: Callable[[Fitting], object] = lambda fitting: None,
    ) -> None:
        super().__init__(model)
        self.ways, self.changed = tuple(ways), changed
        self.at = at

    @property
    def way(self) -> Way:
        """How calls are made."""
        return self.ways[self.at]

    @torch.no_grad()
    def interpolate(
        self, x: Inputs, *, pad: Pad | None = None, benchmark: str | None = None, **hints: Any
    ) -> Prediction:
        """Predict frames of any size, see `Interpolator.interpolate`.

        Raises:
            RuntimeError: where memory suffices in no way, or not for a batch, which its maker can
                make smaller.
        """
        while True:
            way = self.way
            call = way.applied(self.model).interpolate
            try:
                return call(x, pad=pad, benchmark=benchmark, **{**way.hints, **hints})
            except (RuntimeError, MemoryError) as error:
                last = self.at + 1 == len(self.ways)
                if last or x.frames.shape[0] > 1 or not ran_out(error):
                    raise
            # here the error has gone, and with it what its frames held on to
            if x.frames.device.type == "cuda":
                torch.cuda.empty_cache()
            self.at += 1
            self.changed(self)
