"""Writing AEDAT4 recordings by dv-processing, in a process of its own.

On a full disk the library ends its process; so it is not the user's.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from midframe.errors import UserError
from midframe.events import container
from midframe.events.aedat import SUFFIX, choose_reader
from midframe.events.check import check_recording
from midframe.events.libraries import EVENT, Frame
from midframe.events.process import Ended, Process
from midframe.events.records import Recording
from midframe.files import aside_of

_PACKET = 8192  # events


def write_recording(recording: Recording, path: str | Path) -> None:
    """Write a recording as an AEDAT4 file, which every reader takes.

    Args:
        recording: frames, grey or RGB, are stored with the times they have.
        path: of the file, ending in .aedat4; it is complete when it appears.

    Raises:
        UserError: if dv-processing isn't installed, the recording is none that a file can hold, or
            the file can't be written.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise UserError(f"{path}: a recording is written to *{SUFFIX}")
    choose_reader("dv_processing")
    check_recording(recording, str(path))
    if min([0, *recording.times[:1], *recording.events.t[:1]]) < 0:
        raise UserError(f"cannot write {path}: AEDAT4 holds no times before 0; shift them")
    # a folder, since the library wants a file that ends in .aedat4
    aside = aside_of(path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}"))
    file = aside / f"recording{SUFFIX}"
    request = {"path": str(file.resolve()), "size": (recording.height, recording.width)}
    try:
        aside.mkdir(parents=True)
        with Process() as process:
            process.write(request, _packets(recording))
        container.check_container(file)
        file.replace(path)
    except Ended as error:
        free = shutil.disk_usage(path.parent).free >> 20
        raise UserError(f"cannot write {path}: {error}; {free} MB are free on its disk") from error
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _packets(recording: Recording) -> Iterator[np.ndarray | Frame]:
    """Yield events and frames as time goes."""
    events, start = recording.events, 0
    stops = np.searchsorted(events.t, recording.times).tolist()
    for number, stop in enumerate([*stops, len(events)]):
        for first in range(start, stop, _PACKET):
            part = slice(first, min(first + _PACKET, stop))
            packet = np.empty(part.stop - part.start, EVENT)
            packet["t"], packet["x"], packet["y"] = events.t[part], events.x[part], events.y[part]
            packet["p"] = events.p[part] > 0
            yield packet
        start = stop
        if number < len(stops):
            yield Frame(int(recording.times[number]), recording.frames[number])
