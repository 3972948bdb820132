"""A recording in one .npz file, as the simulator writes it beside AEDAT4."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from midframe.errors import UserError
from midframe.events.check import COLUMNS, check_recording
from midframe.events.npz import forms, read_npz, write_npz
from midframe.events.records import Events, Recording

SUFFIX = ".npz"
VERSION = 1
_NAMES = {"version", "size", "frames", "times", *(name for name, _ in COLUMNS)}


def save_recording(recording: Recording, path: str | Path) -> None:
    """Write a recording as .npz: frames, times, t, x, y, p, and size (height, width).

    Raises:
        UserError: if the recording is none, or the file can't be written.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise UserError(f"{path}: give a file *{SUFFIX}")
    check_recording(recording, str(path))
    arrays = {name: getattr(recording.events, name) for name, _ in COLUMNS}
    arrays |= {"frames": recording.frames, "times": recording.times}
    arrays["size"] = np.array([recording.height, recording.width], np.int64)
    arrays["version"] = np.array([VERSION], np.int64)
    try:
        write_npz(path, arrays, compressed=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def load_recording(path: str | Path) -> Recording:
    """Read what `save_recording` wrote.

    Raises:
        UserError: if the file is missing, damaged or something else.
    """
    path = Path(path)
    found = forms(path)
    if set(found) != _NAMES or found["size"][1] != (2,) or found["version"][1] != (1,):
        raise UserError(f"{path}: not a recording; it holds {', '.join(found) or 'nothing'}")
    arrays = read_npz(path, found)
    if arrays["version"][0] != VERSION:
        raise UserError(f"{path}: of another version of midframe; make it again")
    height, width = (int(side) for side in arrays["size"])
    events = Events(*(arrays[name] for name, _ in COLUMNS))
    recording = Recording(events, arrays["frames"], arrays["times"], height, width, str(path))
    check_recording(recording, str(path))
    return recording
