"""Bringing recordings into shards, several at a time; what is finished is not done again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midframe.errors import UserError
from midframe.events import aedat
from midframe.events.aedat import AUTO, choose_reader
from midframe.events.process import Process
from midframe.events.shards import is_shards, open_shards, write_shards
from midframe.events.sources import SUFFIXES, identity, read_source
from midframe.files import remove_leftovers, write_json

LIST = "recordings.json"


@dataclass(frozen=True)
class Found:
    """A recording to be prepared: its file, and the name under which its shards will be."""

    path: Path
    name: str


@dataclass(frozen=True)
class Prepared:
    """What became of a recording.

    Attributes:
        name: of its folder, within that of all.
        path: of its file.
        made: whether its shards were written now; False if they were there, or if it failed.
        about: its manifest, or None if it failed.
        error: why it failed, or "".
    """

    name: str
    path: Path
    made: bool
    about: dict[str, Any] | None
    error: str = ""


def find_recordings(source: str | Path) -> list[Found]:
    """Return a recording, or all in a folder and the folders in it, in order of their names.

    Shards that were prepared are no recordings to be prepared.

    Raises:
        UserError: if there is none, or two would have the same name.
    """
    source = Path(source)
    if source.is_file():
        if source.suffix not in SUFFIXES:
            raise UserError(f"{source}: recordings are *{' or *'.join(SUFFIXES)}")
        return [Found(source, source.stem)]
    if not source.is_dir():
        raise UserError(f"{source}: no such file or folder")
    found: dict[str, Found] = {}
    for path in sorted(source.rglob("*")):
        if path.suffix not in SUFFIXES or not path.is_file() or path.name.startswith("."):
            continue
        if path.suffix != aedat.SUFFIX and is_shards(path.parent):
            continue
        name = path.relative_to(source).with_suffix("").as_posix()
        if name in found:
            raise UserError(f"{path} and {found[name].path} would get one name; rename one")
        found[name] = Found(path, name)
    if not found:
        raise UserError(f"{source}: no recording (*{' or *'.join(SUFFIXES)}) in this folder")
    return list(found.values())


def prepare(
    found: Sequence[Found],
    out: str | Path,
    *,
    reader: str = AUTO,
    workers: int = 1,
    advance: Callable[[int], None] = lambda count: None,
) -> list[Prepared]:
    """Write the shards of recordings, each into a folder of its name in ``out``.

    Folders that were made of the same file are left as they are. A recording that cannot be read
    leaves nothing and keeps no other from being prepared. ``out`` gets a list of all, `LIST`.

    Args:
        found: see `find_recordings`.
        out: a folder, made if need be.
        reader: of AEDAT4, see `midframe.events.aedat.read_recording`.
        workers: so many at a time; each holds a recording in memory.
        advance: is told of each that is done.

    Returns:
        What became of each, in the order of ``found``.

    Raises:
        UserError: if the reader is not installed, or ``out`` can't be written.
    """
    if workers < 1:
        raise UserError(f"{workers} workers: give 1 or more")
    if any(one.path.suffix == aedat.SUFFIX for one in found):
        reader = choose_reader(reader)
    out = Path(out)
    for folder in dict.fromkeys((out / one.name).parent for one in found):
        _make(folder)
        remove_leftovers(folder)
    outcomes: dict[str, Prepared] = {}
    processes = _Processes()
    pool = ThreadPoolExecutor(workers)
    try:
        waiting = [pool.submit(_prepare, one, out, reader, processes) for one in found]
        for done in as_completed(waiting):
            outcome = done.result()
            outcomes[outcome.name] = outcome
            advance(1)
    finally:
        pool.shutdown(cancel_futures=True)
        processes.close()
    ordered = [outcomes[one.name] for one in found]
    write_json(out / LIST, _list(ordered))
    return ordered


class _Processes:
    """A reading process for each thread."""

    def __init__(self) -> None:
        self._own = threading.local()
        self._all: list[Process] = []

    def get(self) -> Process:
        if not hasattr(self._own, "process"):
            self._own.process = Process()
            self._all.append(self._own.process)
        process: Process = self._own.process
        return process

    def close(self) -> None:
        for process in self._all:
            process.close()


def _prepare(one: Found, out: Path, reader: str, processes: _Processes) -> Prepared:
    folder = out / one.name
    try:
        source = identity(one.path)
        about = _finished(folder, source)
        if about is not None:
            return Prepared(one.name, one.path, False, about)
        read = read_source(processes.get(), one.path, reader)
        source["reader"] = read.reader
        about = write_shards(read.recording, folder, source=source, notes=read.notes)
        return Prepared(one.name, one.path, True, about)
    except UserError as error:
        return Prepared(one.name, one.path, False, None, str(error))


def _finished(folder: Path, source: dict[str, Any]) -> dict[str, Any] | None:
    """Return the manifest of shards that are complete and made of this file, or None."""
    if not is_shards(folder):
        return None
    try:
        about = dict(open_shards(folder).about)
    except UserError:
        return None  # damaged: made anew
    same = about["source"].get("sha256") == source["sha256"]
    there = all((folder / shard["file"]).is_file() for shard in about["shards"])
    return about if same and there else None


def _list(outcomes: Sequence[Prepared]) -> dict[str, Any]:
    keys = ("width", "height", "colour", "frames", "events", "origin", "end", "source", "notes")
    made = [
        {"name": one.name, **{key: one.about[key] for key in keys}} for one in outcomes if one.about
    ]
    failed = [{"name": one.name, "error": one.error} for one in outcomes if one.error]
    return {"kind": "recordings", "version": 1, "recordings": made, "failed": failed}


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}") from error
