"""Writing files aside and renaming them: what has its final name is complete."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_LEFTOVER = re.compile(r".*\.(?P<host>[^.]+)-(?P<process>\d+)\.part")
_DAY = 24 * 3600.0  # seconds


def aside_of(path: Path) -> Path:
    """Return where this process writes what ``path`` becomes when it is complete.

    The name tells host and process, by which `remove_leftovers` knows what nobody will finish.
    """
    return path.with_name(f"{path.name}.{_host()}-{os.getpid()}.part")


def remove_leftovers(folder: Path) -> None:
    """Delete what processes that are gone have left half-written in a folder.

    Whether one is gone can be asked on its host alone: what those of another one, which may have
    failed, began to write is deleted when nothing was added for a day.
    """
    for path in list(folder.glob("*.part")):
        match = _LEFTOVER.fullmatch(path.name)
        if match is None:
            continue
        here = match["host"] == _host()
        if _is_running(int(match["process"])) if here else _age(path) < _DAY:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file, in a folder that is made if need be, so that no reader ever sees half of it.

    Processes and threads may write the same file at once: the last one's is there in the end. If
    it fails, a file that was there before is still there.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}"))
    try:
        aside.write_bytes(data)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a folder to fill, beside ``path``, which takes its place whole when all went well.

    If anything fails, nothing is left of it, and what was there before stays.

    Raises:
        OSError: if none can be made there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    try:
        yield aside
        aside.chmod(0o755)  # as mkdir makes it; mkdtemp keeps others out
        if path.is_dir():
            shutil.rmtree(path)
        aside.rename(path)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def write_text(path: str | Path, text: str) -> None:
    """Write text as UTF-8, line ends as they are; see `write_bytes`."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, content: Any) -> None:
    """Write a json file without blanks, for programs to read; see `write_bytes`."""
    write_text(path, json.dumps(content, separators=(",", ":")))


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _host() -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname())[:40]


def _age(path: Path) -> float:
    """Return for how many seconds nothing was written to a file, or to anything in a folder."""
    inside = path.rglob("*") if path.is_dir() else ()
    try:
        return time.time() - max(one.stat().st_mtime for one in (path, *inside))
    except FileNotFoundError:  # it was renamed meanwhile
        return 0.0


def _is_running(process: int) -> bool:
    if os.name != "posix":
        return True  # elsewhere the question itself would end the process
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
