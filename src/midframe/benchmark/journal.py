"""Rows of a benchmark in a file that grows image by image, so that a killed run can go on."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from midframe.errors import UserError
from midframe.files import write_bytes


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

    Nothing is written before the first row; `add` raises `UserError` if the folder cannot be
    written, or another process writes it.

    Args:
        path: a .jsonl file; its first line holds the key.
        key: everything that decides the rows' values.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path, self.key = path, key
        self._rows = {row.key: row for row in _read(path, key)}
        self._file: IO[str] | None = None
        self._lock: IO[str] | None = None

    def find(self, subset: str, name: str) -> Row | None:
        """Return the row of an image, if it is done."""
        return self._rows.get(f"{subset}/{name}")

    def add(self, rows: Iterable[Row]) -> None:
        """Append rows; they survive a kill once this returns."""
        file = self._file or self._open()
        for row in rows:
            self._rows[row.key] = row
            file.write(_line(row) + "\n")
        file.flush()

    def close(self, *, discard: bool = False) -> None:
        """Close the file, and remove it once its rows stand in the final result."""
        if self._file is not None:
            self._file.close()
        if discard:
            self.path.unlink(missing_ok=True)
            self._lock_path.unlink(missing_ok=True)
        if self._lock is not None:
            self._lock.close()

    @property
    def _lock_path(self) -> Path:
        return self.path.with_suffix(".lock")

    def _open(self) -> IO[str]:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = self._lock_path.open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f"another process is evaluating into {self.path.parent}") from error
        except OSError as error:
            raise UserError(
                f"cannot write into {self.path.parent}: {error}; set out=DIR"
            ) from error
        # Written anew, since a killed run may have left half a line at the end.
        lines = [json.dumps({"key": self.key}), *(_line(row) for row in self._rows.values())]
        write_bytes(self.path, ("\n".join(lines) + "\n").encode())
        self._file = self.path.open("a")
        return self._file


def _line(row: Row) -> str:
    return json.dumps(asdict(row))


def _read(path: Path, key: str) -> list[Row]:
    if not path.is_file():
        return []
    records: list[dict[str, Any]] = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break  # cut off by a kill
    if not records or records[0] != {"key": key}:
        return []
    return [Row(**record) for record in records[1:]]
