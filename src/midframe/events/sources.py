"""Recordings in files of either form: AEDAT4, or the .npz of the simulator."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from midframe.errors import UserError
from midframe.events import aedat, single
from midframe.events.aedat import AUTO, Read, read_with
from midframe.events.process import Process
from midframe.events.records import Recording
from midframe.events.single import load_recording, save_recording
from midframe.events.write import write_recording

SUFFIXES = (aedat.SUFFIX, single.SUFFIX)
_READ = 1 << 22


def read_source(process: Process, path: Path, reader: str = AUTO) -> Read:
    """Read a recording.

    Args:
        process: in which AEDAT4 is read.
        path: of an AEDAT4 or an .npz file.
        reader: of AEDAT4, see `midframe.events.aedat.read_recording`.

    Raises:
        UserError: if it is neither, or cannot be read.
    """
    if path.suffix == single.SUFFIX:
        return Read(load_recording(path), "npz")
    if path.suffix != aedat.SUFFIX:
        raise UserError(f"{path}: recordings are *{' or *'.join(SUFFIXES)}")
    return read_with(process, path, reader)


def write_source(recording: Recording, path: Path) -> None:
    """Write a recording in the form that the file's ending says; `UserError` if it can't be."""
    if path.suffix == single.SUFFIX:
        save_recording(recording, path)
    else:
        write_recording(recording, path)


def identity(path: Path) -> dict[str, Any]:
    """Return what a file is known by: its name, bytes and sha256; `UserError` if unreadable."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_READ):
                digest.update(block)
            size = file.tell()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    return {"name": path.name, "bytes": size, "sha256": digest.hexdigest()}
