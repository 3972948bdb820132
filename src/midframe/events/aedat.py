"""Reading AEDAT4 recordings, as cameras of iniVation and their software write them.

Three libraries read them alike: dv_processing (Apache-2.0), aedat (MIT) and dv (AGPL-3.0).
Damaged files can crash any of them, so they work in a process of their own, and everything that
they give is checked here.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from midframe.errors import UserError, known_names
from midframe.events import container
from midframe.events.container import Container, Stream
from midframe.events.libraries import EVENT, HOW, INSTALL, READERS, Frame, is_installed
from midframe.events.process import Ended, Process
from midframe.events.records import Events, Recording

SUFFIX = ".aedat4"
AUTO = "auto"

_log = logging.getLogger(__name__)
_SPOILT = 0.01  # share of events or frames that may be left out; beyond it a file is damaged
_LATEST = 1 << 60  # microseconds: some 36,000 years, so that sums and differences stay in int64
_ROOM = 1 << 30  # bytes that any file may unpack to
_UNPACKED = 255  # times its size that a larger one may: LZ4 can't do more


@dataclass(frozen=True)
class Read:
    """What was read from a file.

    Attributes:
        recording: what is in it.
        reader: which of `READERS` read it.
        notes: what had to be left out, a line each; empty as a rule.
    """

    recording: Recording
    reader: str
    notes: tuple[str, ...] = ()


def read_recording(path: str | Path, reader: str = AUTO) -> Recording:
    """Read events and frames of an AEDAT4 file.

    A frame's time is the middle of its exposure, where that is known. Where a file has several
    streams of a kind, the first is read. Events and frames whose times go backward, and events
    outside of the sensor, are left out and counted in a warning; more than 1 % of them are an
    error.

    Args:
        path: the file.
        reader: "dv_processing", "aedat", "dv", or "auto" for the first of them that is installed.

    Raises:
        UserError: if the file is missing, foreign, cut short or damaged, with the byte where that
            shows; or if the reader is not installed.
    """
    with Process() as process:
        found = read_with(process, path, reader)
    for note in found.notes:
        _log.warning("%s: %s", path, note)
    return found.recording


def read_with(process: Process, path: str | Path, reader: str = AUTO) -> Read:
    """Read a file as `read_recording`, in a process that serves several."""
    path = Path(path)
    reader = choose_reader(reader)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    found = container.check_container(path)
    events, frames = found.first(container.EVENTS), found.first(container.FRAMES)
    if events is None and frames is None:
        kinds = ", ".join(stream.kind for stream in found.streams)
        raise UserError(f"{path}: neither events nor frames in it, only {kinds or 'nothing'}")
    arrays, images = _packets(process, path, reader, found)
    try:
        return replace(_assembled(path, events, frames, arrays, images), reader=reader)
    except MemoryError as error:
        raise UserError(f"{path}: too large for the memory of this machine") from error


def choose_reader(reader: str = AUTO) -> str:
    """Return which of `READERS` reads; `UserError` if it can't here, with how to install it."""
    if os.name != "posix":
        raise UserError(f"{SUFFIX} is read on Linux and macOS only; bring recordings over as .npz")
    if reader == AUTO:
        for name in READERS:
            if is_installed(name):
                return name
        raise UserError(f"nothing that reads {SUFFIX} is installed: {INSTALL}")
    name = reader.replace("-", "_")
    if name not in READERS:
        raise UserError(f"no reader '{reader}': {known_names(name, (AUTO, *READERS))}")
    if not is_installed(name):
        other = "" if HOW[name] == INSTALL else f", or take reader=auto: {INSTALL}"
        raise UserError(f"the reader {name} is not installed: {HOW[name]}{other}")
    return name


def _packets(
    process: Process, path: Path, reader: str, found: Container
) -> tuple[list[np.ndarray], list[Frame]]:
    """Return what a library gives of a file, unchecked but for how much it is."""
    streams = [found.first(kind) for kind in (container.EVENTS, container.FRAMES)]
    request = {
        "reader": reader,
        "path": str(path.resolve()),
        "bytes": found.size,
        "streams": [s and (s.number, s.name, _before(found, s)) for s in streams],
    }
    arrays: list[np.ndarray] = []
    images: list[Frame] = []
    most, taken = _ROOM + _UNPACKED * found.size, 0
    try:
        for packet in process.read(request):
            if isinstance(packet, Frame):
                images.append(packet)
                taken += packet.image.nbytes
            else:
                arrays.append(packet)
                taken += packet.nbytes
            if taken > most:
                raise Ended(f"it unpacks to more than {most >> 20} MB")
        if streams[1] and len(images) < len(streams[1].offsets):
            raise Ended(f"{len(images)} of {len(streams[1].offsets)} frames came")
    except (Ended, MemoryError) as error:
        where = _where(found, streams, (len(arrays), len(images)))
        raise UserError(
            f"{path}: damaged{where}: {error or 'no memory is left'} (reader {reader}); "
            f"{container.COPY}"
        ) from error
    return arrays, images


def _before(found: Container, stream: Stream) -> int:
    """Return how many streams before this one have its name."""
    earlier = found.streams[: found.streams.index(stream)]
    return sum(other.name == stream.name for other in earlier)


def _where(found: Container, streams: Sequence[Stream | None], got: Sequence[int]) -> str:
    """Say behind which packets reading stopped, by their bytes."""
    if not any(got):
        first = min((s.offsets[0] for s in streams if s and s.offsets), default=found.end)
        return f" in its header, or at or behind byte {first}: nothing could be read"
    parts = []
    for stream, count in zip(streams, got):
        if stream is None or not count:
            continue
        if count < len(stream.offsets):
            parts.append(f"at or behind byte {stream.offsets[count]} ({stream.name})")
    return " " + " and ".join(parts) if parts else f" at or behind byte {found.end}"


def _assembled(
    path: Path,
    events: Stream | None,
    frames: Stream | None,
    arrays: list[np.ndarray],
    images: list[Frame],
) -> Read:
    """Check everything and put it together."""
    height, width = _sensor(path, events, frames, images)
    for number, frame in enumerate(images):
        if frame.image.shape != images[0].image.shape or frame.image.ndim not in (2, 3):
            raise UserError(
                f"{path}: frame {number} of {len(images)} has another form than the first: "
                f"{_form(frame.image)} and {_form(images[0].image)}; {container.COPY}"
            )
    if images and images[0].image.shape[:2] != (height, width):
        raise UserError(
            f"{path}: frames of {_form(images[0].image)} and a sensor of {width}x{height} pixels; "
            "events and frames have to be of one sensor"
        )
    kept, notes = _checked_events(path, arrays, height, width)
    order = np.array([frame.time for frame in images], np.int64)
    good = _rising(order, strictly=True)
    notes += _left_out(path, "frames", good, "their times go backward")
    shape = images[0].image.shape if images else (height, width)
    stack = np.empty((int(good.sum()), *shape), np.uint8)
    for place, number in enumerate(np.flatnonzero(good).tolist()):
        stack[place] = images[number].image
    recording = Recording(kept, stack, order[good], height, width, str(path))
    return Read(recording, "", tuple(notes))


def _sensor(
    path: Path, events: Stream | None, frames: Stream | None, images: list[Frame]
) -> tuple[int, int]:
    for stream in (events, frames):
        if stream is not None and stream.height and stream.width:
            return stream.height, stream.width
    if images and images[0].image.ndim >= 2:
        height, width = images[0].image.shape[:2]
        return int(height), int(width)
    raise UserError(f"{path}: its header does not say how large the sensor is; {container.COPY}")


def _form(image: np.ndarray) -> str:
    size = "x".join(map(str, image.shape[1::-1]))
    return f"{size} pixels{', colour' if image.ndim == 3 else ''}"


def _checked_events(
    path: Path, arrays: list[np.ndarray], height: int, width: int
) -> tuple[Events, list[str]]:
    """Return the events that can be, and what was left out of them."""
    raw = np.concatenate(arrays) if arrays else np.empty(0, EVENT)
    arrays.clear()
    inside = (raw["x"] >= 0) & (raw["x"] < width) & (raw["y"] >= 0) & (raw["y"] < height)
    inside &= (raw["p"] == 0) | (raw["p"] == 1)
    notes = _left_out(path, "events", inside, f"they are outside of the {width}x{height} pixels")
    raw = raw if inside.all() else raw[inside]
    good = _rising(raw["t"])
    notes += _left_out(path, "events", good, "their times go backward")
    raw = raw if good.all() else raw[good]
    t, x, y = (np.ascontiguousarray(raw[name]) for name in ("t", "x", "y"))
    return Events(t, x, y, (2 * raw["p"] - 1).astype(np.int8)), notes


def _rising(times: np.ndarray, strictly: bool = False) -> np.ndarray:
    """Mark the times that don't go behind an earlier one; with ``strictly``, nor stand still."""
    good = (times > -_LATEST) & (times < _LATEST)
    highest = np.maximum.accumulate(np.where(good, times, -_LATEST))
    before = np.concatenate([[-_LATEST], highest[:-1]])[: len(times)]
    return good & ((times > before) if strictly else (times >= before))


def _left_out(path: Path, what: str, good: np.ndarray, why: str) -> list[str]:
    count = len(good) - int(good.sum())
    if not count:
        return []
    text = f"{count} of {len(good)} {what} left out, {why}"
    if count > max(1, _SPOILT * len(good)):
        first = int(np.argmin(good))
        raise UserError(f"{path}: damaged, {text} (from number {first} on); {container.COPY}")
    return [text]
