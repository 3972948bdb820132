"""The folder of a result: what may be written over there, and what must not stay from before."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from midframe.benchmark.compare import CSV, JSON, json_file
from midframe.benchmark.journal import JOURNAL, is_journal, journals
from midframe.benchmark.pictures import FLOW, IMAGES, SUBMISSION, TRUTH
from midframe.benchmark.report import MARKDOWN
from midframe.errors import UserError
from midframe.files import remove_leftovers

PICTURES = (IMAGES, TRUTH, FLOW, SUBMISSION)


def check(folder: Path) -> None:
    """Raise `UserError` where files that a result would replace are no evaluation's."""
    found = [path for path in journals(folder / JOURNAL) if not is_journal(path)]
    lock = (folder / JOURNAL).with_suffix(".lock")
    if lock.is_file() and lock.stat().st_size:
        found.append(lock)
    if (folder / JSON).exists():
        if record_in(folder) is None:
            found.append(folder / JSON)
    elif not has_journal(folder):
        found += [folder / name for name in (CSV, MARKDOWN) if (folder / name).exists()]
    if found:
        names = ", ".join(path.name for path in found)
        raise UserError(
            f"out={folder} holds other files ({names}), which a result would replace; give an "
            "empty folder"
        )


def has_journal(folder: Path) -> bool:
    """Return whether an interrupted evaluation can go on there."""
    return any(is_journal(path) for path in journals(folder / JOURNAL))


def record_in(folder: Path) -> dict[str, Any] | None:
    """Return the summary of the result in a folder, None where there is none."""
    try:
        record = json_file(folder / JSON)
    except UserError:
        return None
    return record if isinstance(record.get("protocol"), dict) else None


def clear(folder: Path) -> None:
    """Remove the result in a folder, its pictures too; what else is there stays."""
    for name in PICTURES:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
    for name in (CSV, MARKDOWN, JSON):  # the summary last: it tells whose the others are
        (folder / name).unlink(missing_ok=True)


def clear_others(parent: Path, keep: Iterable[str]) -> None:
    """Remove the results in a folder of folders but for some names."""
    kept = set(keep)
    for folder in parent.iterdir() if parent.is_dir() else ():
        own = record_in(folder) is not None or has_journal(folder)
        if folder.name in kept or folder.is_symlink() or not own:
            continue
        clear(folder)
        for path in journals(folder / JOURNAL):
            if is_journal(path):
                path.unlink()
        (folder / JOURNAL).with_suffix(".lock").unlink(missing_ok=True)
        with suppress(OSError):  # of a folder that holds something else
            folder.rmdir()


def tidy(folder: Path) -> None:
    """Remove what a killed run has left half-written in a result."""
    remove_leftovers(folder)
    for name in PICTURES:
        inside = folder / name
        for part in (inside, *inside.rglob("*")) if inside.is_dir() else ():
            if part.is_dir():
                remove_leftovers(part)
