"""What a folder of flow labels says of itself: who made them, how, and which are there."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from midframe.data.records import Clip
from midframe.data.shards import VERSION, read_json
from midframe.errors import UserError
from midframe.files import write_json

MANIFEST = "labels.json"
_OURS = re.compile(r"flow_(t[01]|\d+_\d+)\.(flo|npy)")


def digest(clips: Sequence[Clip]) -> str:
    """Return a hash of which samples there are."""
    found = hashlib.sha256()
    for clip in clips:
        found.update(f"{clip.id}|{clip.inputs}|{clip.targets}\n".encode())
    return found.hexdigest()[:16]


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return what a labels folder says of itself; None where it says nothing."""
    path = Path(folder) / MANIFEST
    return read_json(path, "labels") if path.is_file() else None


def claim(folder: Path, head: Mapping[str, Any], split: str, overwrite: bool = False) -> None:
    """Begin or go on with a labels folder of one teacher, data set and format.

    Args:
        folder: made where there is none.
        head: ``data``, ``options``, ``teacher`` and ``dtype``, which all labels in it share.
        split: that is to be labelled.
        overwrite: delete labels that were made otherwise instead of refusing; labels made in the
            same way are kept, so that a command that was stopped goes on.

    Raises:
        UserError: if it holds labels that were made otherwise, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: the folder cannot be made ({error.strerror})") from error
    new = {"kind": "labels", "version": VERSION, **head, "splits": {}, "clearing": False}
    with locked(folder):
        found = read_manifest(folder)
        if found is None:
            found = _adopt(folder, new, overwrite)
        different = [key for key in head if found.get(key) != head[key]]
        if different and not overwrite:
            raise UserError(
                f"{folder}: holds labels made otherwise ("
                + "; ".join(f"{k}: {tell(found.get(k))}, now {tell(head[k])}" for k in different)
                + "); choose another folder with out=DIR, or replace them with overwrite=true"
            )
        if different or found["clearing"]:
            found = {**new, "clearing": True}  # in case this is stopped
            write_json(folder / MANIFEST, found)
            _clear(folder)
            found["clearing"] = False
        found["splits"].setdefault(split, {"complete": False, "digest": "", "left_out": {}})
        write_json(folder / MANIFEST, found)


def finish(
    folder: Path,
    split: str,
    clips: Sequence[Clip],
    present: Callable[[Clip], Sequence[int]],
    left_out: Mapping[str, Sequence[int]],
) -> int:
    """Write down what is there now, and return how many samples still lack labels.

    Args:
        folder: a claimed labels folder.
        split: that was labelled.
        clips: all of the split, not only those of this process.
        present: says which targets of a clip have labels now.
        left_out: by clip, targets that this process could not read.
    """
    with locked(folder):
        manifest = read_manifest(folder)
        if manifest is None:
            raise UserError(f"{folder / MANIFEST}: was deleted meanwhile; run the command again")
        part = manifest["splits"][split]
        known = {i: set(t) for i, t in part["left_out"].items()}
        for name, targets in left_out.items():
            known[name] = known.get(name, set()) | set(targets)
        lacking, kept = 0, {}
        for clip in clips:
            absent = set(clip.targets) - set(present(clip))
            lacking += len(absent - known.get(clip.id, set()))
            if still := sorted(absent & known.get(clip.id, set())):
                kept[clip.id] = still
        part |= {"complete": lacking == 0, "digest": digest(clips), "left_out": kept}
        write_json(folder / MANIFEST, manifest)
    return lacking


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from changing a folder's description meanwhile."""
    try:
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written to ({error.strerror})") from error
    with file:
        # some network file systems have no locks: then two may collide, and a second call mends it
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _adopt(folder: Path, new: dict[str, Any], overwrite: bool) -> dict[str, Any]:
    """Return the description of a folder that has none, after making sure that it has no labels."""
    if next(_labels_in(folder), None) is None:
        return new
    if not overwrite:
        raise UserError(
            f"{folder}: holds labels of unknown origin (there is no {MANIFEST}); choose another "
            "folder with out=DIR, or replace them with overwrite=true"
        )
    return {**new, "clearing": True}


def _clear(folder: Path) -> None:
    for path in _labels_in(folder):
        path.unlink()


def _labels_in(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names if _OURS.fullmatch(name))


def tell(value: Any) -> str:
    """Return a value of the description as a person reads it."""
    if isinstance(value, Mapping):
        return " ".join(f"{k}={str(v)[:16]}" for k, v in value.items()) or "none"
    return str(value)
