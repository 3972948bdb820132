"""Recordings for tests, drawn at random."""

from __future__ import annotations

import numpy as np

from midframe.events.records import Events, Recording

COLUMNS = ("t", "x", "y", "p")


def drawn(
    events: int = 300,
    frames: int = 4,
    height: int = 24,
    width: int = 32,
    *,
    colour: bool = False,
    start: int = 1_000_000,
    seed: int = 0,
) -> Recording:
    """Return a recording: a frame every 40 ms, events over their time and somewhat more."""
    rng = np.random.default_rng(seed)
    until = start + 40_000 * (frames + 1)
    t = np.sort(rng.integers(max(start - 5_000, 0) if start >= 0 else start, until, events))
    found = Events(
        t,
        rng.integers(0, width, events).astype(np.int16),
        rng.integers(0, height, events).astype(np.int16),
        (2 * rng.integers(0, 2, events) - 1).astype(np.int8),
    )
    shape = (frames, height, width, *((3,) if colour else ()))
    times = start + 40_000 * np.arange(frames, dtype=np.int64)
    images = rng.integers(0, 256, shape, dtype=np.uint8)
    return Recording(found, images, times, height, width, "drawn")


def same_events(a: Events, b: Events) -> bool:
    """Return whether two are equal, types included."""
    pairs = [(getattr(a, name), getattr(b, name)) for name in COLUMNS]
    return all(x.dtype == y.dtype and np.array_equal(x, y) for x, y in pairs)


def assert_same(a: Recording, b: Recording) -> None:
    """Assert that two recordings are equal but for where they come from."""
    assert same_events(a.events, b.events)
    assert a.times.dtype == b.times.dtype and np.array_equal(a.times, b.times)
    assert a.frames.dtype == b.frames.dtype and np.array_equal(a.frames, b.frames)
    assert (a.height, a.width) == (b.height, b.width)
