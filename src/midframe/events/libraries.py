"""AEDAT4 through the libraries that know it: the only file that imports them.

All of it is native code that trusts its input, so it runs in a process of its own, see
`midframe.events.process`. What comes out is raw: nothing has been checked.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

# how events travel between processes; the times in microseconds, p 0 (OFF) or 1 (ON)
EVENT = np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "i1")])


class Frame(NamedTuple):
    """A frame: its time in microseconds, (h, w) or (h, w, 3) uint8 grey or RGB."""

    time: int
    image: np.ndarray


class Wanted(NamedTuple):
    """Which stream to read: its number, its name, and how many before it have this name."""

    number: int
    name: str
    before: int = 0


Packets = Iterator[np.ndarray | Frame]  # events as EVENT, and frames
READERS = ("dv_processing", "aedat", "dv")
INSTALL = "pip install 'midframe[events]'"
HOW = {
    "dv_processing": INSTALL,
    "aedat": "pip install aedat",
    "dv": "pip install dv (AGPL-3.0; it needs Python 3.11 or older)",
}


def is_installed(reader: str) -> bool:
    """Return whether a reader can be imported here, without doing so."""
    if find_spec(reader) is None:
        return False
    return reader != "dv" or sys.version_info < (3, 12) or find_spec("imp") is not None


def load(reader: str) -> None:
    """Import a reader, so that processes forked from this one have it already."""
    import_module(reader)


def packets(reader: str, path: str, events: Wanted | None, frames: Wanted | None) -> Packets:
    """Yield what is in two streams of a file, each in its own order.

    Args:
        reader: one of `READERS`.
        path: of an AEDAT4 file.
        events: the stream of events, or None for none.
        frames: the stream of frames, or None for none.
    """
    read: dict[str, Callable[[str, Wanted | None, Wanted | None], Packets]] = {
        "dv_processing": _by_dv_processing,
        "aedat": _by_aedat,
        "dv": _by_dv,
    }
    return read[reader](path, events, frames)


def _by_dv_processing(path: str, events: Wanted | None, frames: Wanted | None) -> Packets:
    from datetime import timedelta

    import dv_processing

    recording = dv_processing.io.MonoCameraRecording(path)
    while events and (batch := recording.getNextEventBatch(events.name)) is not None:
        yield _events(batch.numpy(), "timestamp", "polarity")
    while frames and (frame := recording.getNextFrame(frames.name)) is not None:
        exposure = frame.exposure // timedelta(microseconds=1)
        # its time is where the exposure begins, or the frame's own where no exposure is known
        yield _frame(_middle(frame.timestamp, frame.timestamp, exposure), frame.image, "bgr")


def _by_aedat(path: str, events: Wanted | None, frames: Wanted | None) -> Packets:
    import aedat

    for packet in aedat.Decoder(path):
        number = packet["stream_id"]
        if events and number == events.number and "events" in packet:
            array = packet["events"]
            yield _events(array, "t", "on" if "on" in (array.dtype.names or ()) else "p")
        elif frames and number == frames.number and "frame" in packet:
            frame = packet["frame"]
            begin, end = frame["exposure_begin_t"], frame["exposure_end_t"]
            yield _frame(_middle(frame["t"], begin, end - begin), frame["pixels"], frame["format"])


def _by_dv(path: str, events: Wanted | None, frames: Wanted | None) -> Packets:
    import dv

    with dv.AedatFile(path) as file:
        if events:
            for array in file.numpy_packet_iterator(_name_in_dv(events)):
                yield _events(array, "timestamp", "polarity")
        for frame in file[_name_in_dv(frames)] if frames else ():
            begin, end = frame.timestamp_start_of_exposure, frame.timestamp_end_of_exposure
            yield _frame(_middle(frame.timestamp, begin, end - begin), frame.image, "bgr")


def _name_in_dv(wanted: Wanted) -> str:
    return f"{wanted.name}_{wanted.before}" if wanted.before else wanted.name


def _middle(time: int, begin: int, exposure: int) -> int:
    """Return a frame's time: the middle of its exposure where that is known.

    Recorders differ in what they call a frame's time (DV the middle, dv-processing the begin), and
    libraries in what they show of it; begin and end of the exposure is what all three know.
    """
    return begin + max(exposure, 0) // 2 if begin > 0 else time


def _events(array: np.ndarray, time: str, polarity: str) -> np.ndarray:
    found = np.empty(len(array), EVENT)
    for name, given in zip(EVENT.names or (), (time, "x", "y", polarity)):
        # sides are unsigned in one library and signed in others: the same 16 bits
        found[name] = array[given].astype(EVENT[name], casting="unsafe")
    return found


def _frame(time: int, image: np.ndarray, order: str) -> Frame:
    """Bring an image to (h, w) grey or (h, w, 3) RGB, from BGR or RGB, with or without alpha."""
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    elif image.ndim == 3 and image.shape[2] in (3, 4):
        image = image[..., :3] if order.upper().startswith("RGB") else image[..., 2::-1]
    if image.dtype != np.uint8:
        raise TypeError(f"a frame of {image.dtype}")
    return Frame(int(time), np.ascontiguousarray(image))


def write(path: str, height: int, width: int, packets: Iterable[np.ndarray | Frame]) -> None:
    """Write an AEDAT4 file with a stream of events and one of frames, by dv-processing.

    Args:
        path: of the file.
        height: rows of the sensor.
        width: columns of the sensor.
        packets: `EVENT` arrays and frames, each of the two in order of time.
    """
    import dv_processing

    config = dv_processing.io.MonoCameraWriter.Config("midframe")
    config.addEventStream((width, height))
    config.addFrameStream((width, height))
    writer: Any = dv_processing.io.MonoCameraWriter(path, config)
    for packet in packets:
        if isinstance(packet, Frame):
            image = packet.image if packet.image.ndim == 2 else packet.image[..., ::-1]
            writer.writeFrame(dv_processing.Frame(packet.time, np.ascontiguousarray(image)))
            continue
        store = dv_processing.EventStore()
        for t, x, y, p in packet.tolist():
            store.push_back(t, x, y, bool(p))
        writer.writeEvents(store)
    del writer  # only this brings everything to the disk
