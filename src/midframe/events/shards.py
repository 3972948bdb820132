"""Recordings in shards: some tens of frames and their events in an .npz file, and a manifest.

Any frame and any span of events are found without reading the whole. Nothing is pickled; a folder
that has its final name is complete.
"""

from __future__ import annotations

import shutil
import uuid
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from midframe.errors import UserError
from midframe.events.check import COLUMNS, check_recording
from midframe.events.manifest import (
    AGAIN,
    EVENT_BYTES,
    MANIFEST,
    Manifest,
    Shard,
    manifest_of,
    read_manifest,
)
from midframe.events.npz import read_npz, write_npz
from midframe.events.records import Events, Recording
from midframe.files import aside_of, write_json

_FRAMES = 32  # of a shard, at most
_BYTES = 64 << 20  # of a shard, about
_CACHED = 4  # shards that a process keeps in memory


@dataclass(frozen=True)
class Shards:
    """A recording in a folder of shards, see `open_shards`.

    It can be pickled and compared; files are opened when they are needed, and a process keeps the
    few that it used last.

    Attributes:
        folder: where it is.
    """

    folder: str

    @property
    def times(self) -> np.ndarray:
        """(N,) int64 times of the frames in microseconds, absolute, rising; not to be changed."""
        return self._manifest.times

    @property
    def height(self) -> int:
        """Rows of the sensor."""
        return self._manifest.height

    @property
    def width(self) -> int:
        """Columns of the sensor."""
        return self._manifest.width

    @property
    def count(self) -> int:
        """How many frames there are."""
        return len(self._manifest.times)

    @property
    def colour(self) -> bool:
        """Whether frames have colours."""
        return self._manifest.colour

    @property
    def about(self) -> Mapping[str, Any]:
        """What the manifest says: source, counts, time origin and more."""
        return self._manifest.content

    def frame(self, number: int) -> np.ndarray:
        """Return a frame (H, W, 3) uint8 RGB, grey ones with three channels alike.

        Raises:
            UserError: if its shard is missing or damaged.
            IndexError: if there is no such frame.
        """
        manifest = self._manifest
        if not 0 <= number < len(manifest.times):
            raise IndexError(f"{self.folder}: no frame {number} of {len(manifest.times)}")
        place = bisect_right(manifest.firsts, number) - 1
        frame = self._arrays(place)["frames"][number - manifest.shards[place].first]
        return frame if manifest.colour else np.repeat(frame[..., None], 3, 2)

    def events(self, start: int, stop: int) -> Events:
        """Return the events with start <= t < stop in microseconds, absolute; not to be changed.

        Raises:
            UserError: if a shard is missing or damaged.
        """
        manifest = self._manifest
        first = max(bisect_right(manifest.starts, start) - 1, 0)
        parts = []
        for place in range(first, len(manifest.shards)):
            if manifest.starts[place] >= stop and place > 0:
                break
            if manifest.shards[place].events:
                arrays = self._arrays(place)
                events = Events(*(arrays[name] for name, _ in COLUMNS))
                parts.append(events.between(start, stop))
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return Events.empty()
        return Events(*(np.concatenate([getattr(p, n) for p in parts]) for n, _ in COLUMNS))

    @property
    def _manifest(self) -> Manifest:
        path = Path(self.folder, MANIFEST)
        try:
            changed = path.stat().st_mtime_ns
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); {AGAIN}") from error
        return read_manifest(path, changed)

    def _arrays(self, place: int) -> dict[str, np.ndarray]:
        return _read_shard(self.folder, self._manifest.key, place)


def open_shards(folder: str | Path) -> Shards:
    """Return a recording that `write_shards` wrote; its manifest is looked at, its shards later.

    Raises:
        UserError: if there is no manifest, or it is damaged or of another version.
    """
    found = Shards(str(folder))
    _ = found.count
    return found


def is_shards(folder: str | Path) -> bool:
    """Return whether a folder is a recording in shards."""
    return Path(folder, MANIFEST).is_file()


def find_shards(root: str | Path) -> list[Path]:
    """Return the folders of all recordings below one, itself included, in order of their names."""
    return sorted(path.parent for path in Path(root).rglob(MANIFEST))


def write_shards(
    recording: Recording,
    folder: str | Path,
    *,
    source: Mapping[str, Any] | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """Write a recording into a new folder; one that is there and holds a recording is replaced.

    Args:
        recording: to be written.
        folder: appears when it is complete.
        source: what is known of the file it is from, for the manifest.
        notes: what was left out of it, a line each, for the manifest.

    Returns:
        The manifest.

    Raises:
        UserError: if the recording is none, or the folder can't be written or holds other things.
    """
    folder = Path(folder)
    check_recording(recording, recording.source or str(folder))
    if folder.exists() and not is_shards(folder) and not _is_empty(folder):
        raise UserError(f"{folder}: is there already and no recording; give another folder")
    aside = aside_of(folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}"))
    try:
        aside.mkdir(parents=True)
        shards = []
        for number, (frames, part) in enumerate(_pieces(recording)):
            arrays = {name: getattr(recording.events, name)[part] for name, _ in COLUMNS}
            arrays["frames"] = recording.frames[frames]
            file, start = f"{number:05d}.npz", _start(recording, frames, part)
            counts = len(arrays["frames"]), len(arrays["t"])
            write_npz(aside / file, arrays)
            shards.append(Shard(file, start, frames.start, *counts))
        content = manifest_of(recording, shards, source, notes)
        write_json(aside / MANIFEST, content)
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return content


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _pieces(recording: Recording) -> Iterator[tuple[slice, slice]]:
    """Yield the frames and events of each shard: so many frames, or so many bytes.

    A shard begins at a frame, or within the events after a frame where these alone are too many.
    """
    frame_bytes = recording.height * recording.width * (3 if recording.frames.ndim == 4 else 1)
    frames, events, size = slice(0, 0), slice(0, 0), 0
    for more, part in _units(recording):
        added = (more.stop - more.start) * frame_bytes + (part.stop - part.start) * EVENT_BYTES
        if size and (size + added > _BYTES or more.stop - frames.start > _FRAMES):
            yield frames, events
            frames, events, size = more, part, 0
        frames, events = slice(frames.start, more.stop), slice(events.start, part.stop)
        size += added
    yield frames, events


def _units(recording: Recording) -> Iterator[tuple[slice, slice]]:
    """Yield each frame with the events up to the next one, cut where they are too many.

    Events before the first frame are with it.
    """
    t, most = recording.events.t, _BYTES // EVENT_BYTES
    stops = [*np.searchsorted(t, recording.times[1:]).tolist(), len(t)]
    start = 0
    for number, stop in enumerate(stops):
        frame = slice(number, min(number + 1, len(recording.times)))
        while stop - start > most:
            # no time may be in two shards
            until = int(np.searchsorted(t, t[start + most - 1], side="right"))
            yield frame, slice(start, until)
            frame, start = slice(frame.stop, frame.stop), until
        if frame.stop > frame.start or stop > start:
            yield frame, slice(start, stop)
        start = stop


def _start(recording: Recording, frames: slice, events: slice) -> int:
    """Return a time that no event or frame of a shard is before, and all of the last shard are."""
    first = [recording.times[frames]] if frames.stop > frames.start else []
    if not first or frames.start == 0:  # whose events may begin before it
        first.append(recording.events.t[events])
    return min((int(times[0]) for times in first if len(times)), default=0)


@lru_cache(maxsize=_CACHED)
def _read_shard(folder: str, key: tuple[str, int], place: int) -> dict[str, np.ndarray]:
    """Read a shard; what it holds is known from the manifest before anything is allocated."""
    manifest = read_manifest(Path(key[0]), key[1])
    shard = manifest.shards[place]
    tail = (3,) if manifest.colour else ()
    expected = {name: (np.dtype(dtype), (shard.events,)) for name, dtype in COLUMNS}
    shape = (shard.frames, manifest.height, manifest.width, *tail)
    path = Path(folder, shard.file)
    arrays = read_npz(path, {**expected, "frames": (np.dtype(np.uint8), shape)})
    for array in arrays.values():
        array.flags.writeable = False
    times = manifest.times[shard.first : shard.first + shard.frames]
    events = Events(*(arrays[name] for name, _ in COLUMNS))
    check_recording(
        Recording(events, arrays["frames"], times, manifest.height, manifest.width), str(path)
    )
    return arrays
