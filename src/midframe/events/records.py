"""Events of a camera whose pixels report changes, and recordings of such events with frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Events:
    """Changes of brightness, in order of time; at equal times in the order of their source.

    Attributes:
        t: (N,) int64 times in microseconds.
        x: (N,) int16 columns from 0 at the left.
        y: (N,) int16 rows from 0 at the top.
        p: (N,) int8 polarity: 1 for brighter (ON), -1 for darker (OFF).
    """

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray

    def __len__(self) -> int:
        return len(self.t)

    @staticmethod
    def empty() -> Events:
        """Return no events."""
        return Events(
            np.empty(0, np.int64),
            np.empty(0, np.int16),
            np.empty(0, np.int16),
            np.empty(0, np.int8),
        )

    def between(self, start: int, stop: int) -> Events:
        """Return the events with start <= t < stop in microseconds, as views."""
        first, last = np.searchsorted(self.t, (start, stop), side="left")
        return Events(
            self.t[first:last], self.x[first:last], self.y[first:last], self.p[first:last]
        )


@dataclass(frozen=True)
class Recording:
    """What an event camera recorded: frames at their times, and all events.

    Attributes:
        events: see `Events`.
        frames: (N, H, W) uint8 grey or (N, H, W, 3) uint8 RGB.
        times: (N,) int64 times of the frames in microseconds, rising.
        height: rows of the sensor.
        width: columns of the sensor.
        source: where it comes from, for messages and for the record.
    """

    events: Events
    frames: np.ndarray
    times: np.ndarray
    height: int
    width: int
    source: str = ""
