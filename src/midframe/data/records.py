"""What a data layout yields: clips of frames that can be read, and the samples cut from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np


class Box(NamedTuple):
    """A rectangle in pixels: the first row and column, and the size."""

    top: int
    left: int
    height: int
    width: int


class Source(Protocol):
    """One picture (or flow field) that can be read, whole or in part.

    Frames are (h, w, 3) uint8 RGB; flow is (h, w, 2) float32, x then y, in pixels.
    A source is small and picklable; it opens its file when read.
    """

    def size(self) -> tuple[int, int]:
        """Return (height, width) without decoding the picture where that is possible."""
        ...

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return the picture or the part inside ``box``; raises `UserError` naming the file."""
        ...


@dataclass(frozen=True)
class Clip:
    """A run of frames of one shot, from which samples are drawn.

    Attributes:
        id: unique within the data set, such as "00001/0389".
        frames: evenly spaced, in time order.
        inputs: indices of the 2c input frames.
        targets: indices of the frames to predict, between the two middle inputs; in data for flow
            networks, one or both of these inputs, where flow to the other is known.
        flow: per target index, the flow from it to the two middle inputs (t->0, t->1).
        group: the shot or video it comes from; training and validation share none.
    """

    id: str
    frames: tuple[Source, ...]
    inputs: tuple[int, ...]
    targets: tuple[int, ...]
    flow: dict[int, tuple[Source, Source]] = field(default_factory=dict)
    group: str = ""

    def time(self, index: int) -> float:
        """Return the time of frame ``index`` in the gap between the two middle inputs."""
        middle = len(self.inputs) // 2
        start, end = self.inputs[middle - 1], self.inputs[middle]
        return (index - start) / (end - start)


class Listing(list[Clip]):
    """Clips by a list, some of whose entries may have been left out.

    Args:
        clips: those that are there.
        missing: entries of the list that are not there.
    """

    def __init__(self, clips: Iterable[Clip] = (), missing: int = 0) -> None:
        super().__init__(clips)
        self.missing = missing


@dataclass
class Sample:
    """One sample in NumPy, as augmentations see it.

    Attributes:
        frames: (2c, H, W, 3) uint8 RGB input frames.
        target: (T, H, W, 3) uint8 frames to predict, or None.
        t: (T,) float32 their times.
        flow: (T, 2, H, W, 2) float32 flow t->0 and t->1 in pixels (x, y), or None.
        id: the clip's id.
        group: the clip's group.
        size: (height, width) of the clip's frames before any crop.
    """

    frames: np.ndarray
    target: np.ndarray | None
    t: np.ndarray
    flow: np.ndarray | None = None
    id: str = ""
    group: str = ""
    size: tuple[int, int] = (0, 0)


class Ticket(NamedTuple):
    """What a sampler hands to the data set: all randomness of a sample follows from it."""

    epoch: int
    index: int
