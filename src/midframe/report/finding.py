"""Where results are: folders that hold one, and folders above them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from midframe.benchmark.compare import JSON
from midframe.errors import UserError
from midframe.report.records import Entry, Speed
from midframe.report.results import read_folder, read_speed

_FOLDERS_MOST = 20_000  # that are looked into
_DEEPEST = 8
_SPEED = "speed*.json"  # what counts as a result of speed in a folder that is searched


def read(paths: Sequence[Path]) -> tuple[list[Entry], list[Speed]]:
    """Return all results in some folders and files, each once.

    Raises:
        UserError: for a path without any result, or naming the file that is wrong.
    """
    entries: list[Entry] = []
    speeds: list[Speed] = []
    seen: set[Path] = set()
    for path in paths:
        found = list(_search(path))
        if not found:
            raise UserError(
                f"{path}: no result is there; give folders that midframe evaluate has written "
                f"({JSON}), folders above them, or JSON files of midframe speed"
            )
        for place in found:
            real = place.resolve()
            if real in seen:
                continue
            seen.add(real)
            if place.is_dir():
                entries += read_folder(place)
            else:
                speeds.append(read_speed(place))
    return entries, _told_apart(speeds)


def _told_apart(speeds: Sequence[Speed]) -> list[Speed]:
    """Return speeds of which those of one model and setting say which file they are of."""
    same: dict[tuple[str, str], list[Speed]] = defaultdict(list)
    for speed in speeds:
        same[speed.model, speed.setting].append(speed)
    found = []
    for speed in speeds:
        alike = same[speed.model, speed.setting]
        stems = {other.file.stem for other in alike}
        name = speed.file.stem if len(stems) == len(alike) else str(speed.file.with_suffix(""))
        found.append(replace(speed, apart=name) if len(alike) > 1 else speed)
    return found


def _search(path: Path) -> Iterator[Path]:
    """Yield folders with a summary and files of speed, below a path or the path itself."""
    if path.is_file():
        yield path.parent if path.name == JSON else path
        return
    if not path.is_dir():
        raise UserError(f"{path}: no such file or folder")
    for count, (place, folders, files) in enumerate(os.walk(path)):
        if count >= _FOLDERS_MOST:
            raise UserError(f"{path}: more than {_FOLDERS_MOST} folders; name the results' own")
        here = Path(place)
        if JSON in files:
            yield here
            folders.clear()  # what lies within belongs to this result
            continue
        yield from sorted(found for found in here.glob(_SPEED) if found.is_file())
        deep = len(here.relative_to(path).parts)
        folders[:] = sorted(f for f in folders if not f.startswith(".")) if deep < _DEEPEST else []
