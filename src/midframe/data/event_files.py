"""Frames and events of recordings in shards, as `midframe events prepare` writes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from midframe.data.io import check_box
from midframe.data.records import Box
from midframe.events.bins import Polarity, signed_counts
from midframe.events.shards import open_shards


@dataclass(frozen=True)
class RecordedFrame:
    """A frame of a recording: a `Source` of (h, w, 3) uint8 RGB.

    Attributes:
        path: the recording's folder.
        number: of the frame.
    """

    path: str
    number: int

    def size(self) -> tuple[int, int]:
        """Return (height, width)."""
        shards = open_shards(self.path)
        return shards.height, shards.width

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return the frame, or the part inside ``box``."""
        frame = open_shards(self.path).frame(self.number)
        return frame if box is None else _cut(frame, box, self.path)


@dataclass(frozen=True)
class RecordedEvents:
    """Signed counts of a recording's events: a `Source` of (h, w, bins) int8.

    Attributes:
        path: the recording's folder.
        edges: of the bins in microseconds, see `midframe.events.bins.edges`.
        polarity: see `midframe.events.bins.signed_counts`.
    """

    path: str
    edges: tuple[int, ...]
    polarity: Polarity = "unit"

    def size(self) -> tuple[int, int]:
        """Return (height, width)."""
        shards = open_shards(self.path)
        return shards.height, shards.width

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return the counts, or those inside ``box``."""
        shards = open_shards(self.path)
        events = shards.events(min(self.edges), max(self.edges))
        counts = signed_counts(
            events, np.array(self.edges), shards.height, shards.width, self.polarity
        )
        whole = np.moveaxis(counts, 0, -1)
        return whole if box is None else _cut(whole, box, self.path)


def _cut(picture: np.ndarray, box: Box, path: str) -> np.ndarray:
    check_box(box, picture.shape[:2], path)
    top, left, height, width = box
    return picture[top : top + height, left : left + width]
