"""What measuring commands leave behind: JSON, and tables in texts. Needs the standard library."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from midframe.errors import UserError
from midframe.files import new_folder, write_bytes
from midframe.speed.marked import placed


def show_json(found: Mapping[str, Any], save: str | None) -> None:
    """Print a result, and keep it in a file if one is named."""
    print(json.dumps(found, indent=1))
    if save is not None:
        save_json(Path(save), found)


def save_json(path: Path, found: Mapping[str, Any]) -> None:
    """Keep a result for people to read and compare."""
    write(path, f"{json.dumps(found, indent=1, ensure_ascii=False)}\n".encode())


def put_table(path: Path, markers: tuple[str, str], table: str, heading: str) -> None:
    """Rewrite a table in a text, which is made if there is none; see `marked.placed`."""
    path = path.resolve()  # a link stays one
    before = read(path) if path.exists() else b""
    write(path, placed(before, *markers, table, str(path), heading))


def read(path: Path) -> bytes:
    """Read a file; `UserError` if that is not possible."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def write(path: Path, data: bytes) -> None:
    """Write a file and say so; `UserError` if that is not possible."""
    try:
        write_bytes(path, data)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    print(f"wrote {path}", file=sys.stderr)


@contextmanager
def whole(folder: Path) -> Iterator[Path]:
    """Give a folder to fill that takes the place of ``folder`` when all went well.

    Raises:
        UserError: if none can be made there.
    """
    with ExitStack() as stack:
        try:
            aside = stack.enter_context(new_folder(folder))
        except OSError as error:
            raise UserError(f"cannot write beside {folder}: {error.strerror}") from error
        yield aside
