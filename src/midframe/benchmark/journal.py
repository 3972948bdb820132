"""Rows of a benchmark in files that grow image by image, so that a killed run can go on."""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from midframe.errors import UserError
from midframe.files import write_bytes

JOURNAL = "journal.jsonl"
_HEAD_MOST = 4096  # bytes of a first line


@dataclass(frozen=True)
class Row:
    """One predicted image.

    Attributes:
        id: of the image, unique in its subset.
        subset: of the benchmark.
        values: by metric.
        seconds: that the prediction took.
    """

    id: str
    subset: str
    values: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def key(self) -> str:
        """Return a name that is unique in the benchmark."""
        return f"{self.subset}/{self.id}"


class Journal:
    """Append-only rows of one run key; those of another key are not reused.

    Several processes write a file each, beside one another; the first one reads them all, however
    many there were, and puts their rows into its own. Nothing is written before `open` or the
    first row; both raise `UserError` if the folder cannot be written, or is being evaluated into.

    Args:
        path: a .jsonl file; its first line holds the key.
        key: everything that decides the rows' values.
        rank: number of this process among those that share the work.
    """

    def __init__(self, path: Path, key: str, rank: int = 0) -> None:
        self.path = path if rank == 0 else path.with_suffix(f".{rank}{path.suffix}")
        self.key, self.rank = key, rank
        self._rows: dict[str, tuple[str, Row]] = {}
        for one in self._files() if rank == 0 else ():
            self._rows.update((row.key, (batch, row)) for batch, row in _read(one, key))
        self._file: IO[str] | None = None
        self._lock: IO[str] | None = None

    def find(self, subset: str, name: str, batch: str = "") -> Row | None:
        """Return the row of an image, if it is done and was predicted in the same batch."""
        found, row = self._rows.get(f"{subset}/{name}", ("", None))
        return row if found == batch else None

    def add(self, rows: Iterable[Row], batch: str = "") -> None:
        """Append rows; they survive a kill once this returns.

        Args:
            rows: of images.
            batch: names what else was predicted at once, since that may move a number by a hair.
        """
        self.open()
        assert self._file is not None
        try:
            for row in rows:
                self._rows[row.key] = batch, row
                self._file.write(_line(batch, row))
            self._file.flush()
        except OSError as error:
            raise self._unwritable(error) from error

    def open(self) -> None:
        """Begin to write; the first process gathers here what others left."""
        if self._file is not None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.rank == 0:
                self._lock = self._lock_path.open("w")
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Written anew, since a killed run may have left half a line at the end.
            lines = [_line(batch, row) for batch, row in self._rows.values()]
            head = json.dumps({"key": self.key}) + "\n"
            write_bytes(self.path, "".join([head, *lines]).encode())
            for other in self._files() if self.rank == 0 else ():
                if other != self.path:
                    other.unlink()
            self._file = self.path.open("a")
        except BlockingIOError as error:
            raise UserError(f"another process is evaluating into {self.path.parent}") from error
        except OSError as error:
            raise self._unwritable(error) from error

    def close(self, *, discard: bool = False) -> None:
        """Close the file, and remove all once their rows stand in the final result."""
        if self._file is not None:
            file, self._file = self._file, None
            try:
                file.close()
            except OSError as error:  # what is still to be written finds no room
                raise self._unwritable(error) from error
        if discard and self.rank == 0:
            for path in (*self._files(), self._lock_path):
                path.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def _lock_path(self) -> Path:
        return self.path.with_suffix(".lock")

    def _files(self) -> Iterator[Path]:
        return (path for path in journals(self.path) if is_journal(path))

    def _unwritable(self, error: OSError) -> UserError:
        return unwritable(self.path.parent, error)


def journals(path: Path) -> list[Path]:
    """Return the files that are named as the journals of several processes are, in order.

    Args:
        path: that of the first process.
    """
    named = re.compile(rf"{re.escape(path.stem)}(\.\d+)?{re.escape(path.suffix)}")
    found = path.parent.glob(f"*{path.suffix}")
    return sorted(one for one in found if named.fullmatch(one.name))


def is_journal(path: Path) -> bool:
    """Return whether a file begins as every journal does: with the key of a run."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            head = json.loads(file.readline(_HEAD_MOST))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(head, dict) and list(head) == ["key"] and isinstance(head["key"], str)


def unwritable(folder: Path, error: OSError) -> UserError:
    """Return what to tell the person whose folder of results cannot be written."""
    why = error.strerror or error
    return UserError(
        f"cannot write into {folder}: {why}; set out=DIR, or make room: the same command then goes "
        "on where it stopped"
    )


def _line(batch: str, row: Row) -> str:
    return json.dumps({**asdict(row), **({"batch": batch} if batch else {})}) + "\n"


def _read(path: Path, key: str) -> Iterator[tuple[str, Row]]:
    """Yield the rows of a file and their batches, up to where a kill cut it off."""
    records: list[dict[str, Any]] = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    if records and records[0] == {"key": key}:
        for record in records[1:]:
            yield record.pop("batch", ""), Row(**record)
