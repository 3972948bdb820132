"""The manifest of a recording in shards: what there is and where, in json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from midframe.errors import UserError
from midframe.events.check import COLUMNS
from midframe.events.container import LARGEST
from midframe.events.records import Recording

MANIFEST = "manifest.json"
KIND, VERSION = "events", 1
POLARITY = "1 is brighter (ON), -1 is darker (OFF)"
EVENT_BYTES = sum(np.dtype(dtype).itemsize for _, dtype in COLUMNS)
AGAIN = "delete the folder and prepare the recording again"

_MOST = 1 << 34  # bytes of a shard, beyond which a manifest is not believed


@dataclass(frozen=True)
class Shard:
    """What the manifest says of a shard.

    Attributes:
        file: its name.
        start: its events are at this time in microseconds or later, and before the next shard's.
        first: the number of its first frame.
        frames: how many it holds.
        events: how many it holds.
    """

    file: str
    start: int
    first: int
    frames: int
    events: int


def manifest_of(
    recording: Recording,
    shards: Sequence[Shard],
    source: Mapping[str, Any] | None,
    notes: Sequence[str],
) -> dict[str, Any]:
    """Return the manifest of a recording; see `midframe.events.shards.write_shards`."""
    events, times = recording.events, recording.times
    edges = [int(t) for array in (events.t, times) for t in (*array[:1], *array[-1:])]
    return {
        "kind": KIND,
        "version": VERSION,
        "height": recording.height,
        "width": recording.width,
        "colour": recording.frames.ndim == 4,
        "polarity": POLARITY,
        "origin": min(edges, default=0),
        "end": max(edges, default=0),
        "frames": len(times),
        "events": len(events),
        "on": int((events.p > 0).sum()),
        "source": {"name": recording.source, **(source or {})},
        "notes": list(notes),
        "times": times.tolist(),
        "shards": [asdict(shard) for shard in shards],
    }


@dataclass(frozen=True)
class Manifest:
    """A manifest that has been checked; ``key`` tells it from another at the same place."""

    content: Mapping[str, Any]
    key: tuple[str, int]
    height: int
    width: int
    colour: bool
    times: np.ndarray
    shards: tuple[Shard, ...]
    starts: tuple[int, ...]
    firsts: tuple[int, ...]


@lru_cache(maxsize=4096)
def read_manifest(path: Path, changed: int) -> Manifest:
    """Read and check a manifest.

    Args:
        path: of the file.
        changed: when it was written, so that another one at the same place is read anew.

    Raises:
        UserError: if it is missing, damaged or of another version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.get("kind") != KIND:
            raise UserError(f"{path}: not a recording in shards; {AGAIN}")
        if content.get("version") != VERSION:
            raise UserError(
                f"{path}: written by another version of midframe (format {content['version']}, "
                f"here {VERSION}); {AGAIN}"
            )
        shards = tuple(Shard(**one) for one in content["shards"])
        times = np.array(content["times"], np.int64)
        times.flags.writeable = False
        height, width = int(content["height"]), int(content["width"])
        starts, firsts = (tuple(getattr(s, n) for s in shards) for n in ("start", "first"))
        _check_counts(content, shards, times, (height, width))
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise UserError(f"{path}: the manifest is damaged ({error}); {AGAIN}") from error
    colour, key = bool(content["colour"]), (str(path), changed)
    return Manifest(content, key, height, width, colour, times, shards, starts, firsts)


def _check_counts(
    content: Mapping[str, Any],
    shards: Sequence[Shard],
    times: np.ndarray,
    size: tuple[int, int],
) -> None:
    """Raise `ValueError` unless the numbers of a manifest fit each other."""
    numbers = [n for s in shards for n in (s.start, s.first, s.frames, s.events)]
    if not all(type(n) is int for n in numbers) or not all(0 < side <= LARGEST for side in size):
        raise ValueError("a number that cannot be")
    first = 0
    for shard in shards:
        plain = Path(shard.file).name == shard.file
        total = shard.frames * size[0] * size[1] * 3 + shard.events * EVENT_BYTES
        if not plain or shard.first != first or min(shard.frames, shard.events) < 0:
            raise ValueError(f"shard {shard.file} does not follow on the one before")
        if total > _MOST:
            raise ValueError(f"shard {shard.file} claims {total} bytes")
        first += shard.frames
    if times.ndim != 1 or first != len(times) or not (np.diff(times) > 0).all():
        raise ValueError("times of frames that cannot be")
    if sum(shard.events for shard in shards) != content["events"]:
        raise ValueError("another number of events than in its shards")
    if any(a.start > b.start for a, b in zip(shards, shards[1:])):
        raise ValueError("shards that are not in order of time")
