"""SNU-FILM: 310 triplets at each of four frame distances by the official lists, for evaluation."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from pathlib import Path

from midframe.data.io import ImageFile
from midframe.data.layouts.folders import (
    OnError,
    need,
    need_split,
    read_list,
    report_missing,
    serves,
)
from midframe.data.records import Clip, PartialClips
from midframe.errors import UserError

_log = logging.getLogger(__name__)
Listing = Callable[[str], Collection[str]]  # the names in a folder
TREE = """\
  snufilm/
    test-easy.txt  test-medium.txt  test-hard.txt  test-extreme.txt      (or in eval_modes/)
    test/GOPRO_test/GOPR0384_11_00/000001.png ...
    test/YouTube_test/0000/00001.png ...
The data set is SNU-FILM of CAIN (Choi et al., AAAI 2020). The paths of its lists begin with \
data/SNU-FILM/test/: all of that may be there, or only what follows data/SNU-FILM/ or all of it."""
SPACING = {"easy": 2, "medium": 4, "hard": 8, "extreme": 16}  # frames from one input to the next
# what may stand before a path in the lists, and need not be there on disk
_PREFIXES = ("", "data/SNU-FILM/", "data/SNU-FILM/test/")


@serves("snufilm", (1, 2), "another benchmark")
def clips(
    root: Path | None, split: str, context: int = 1, *, on_error: OnError = "raise"
) -> Sequence[Clip]:
    """Index one mode: a line of its list names the two frames beside the target, and the target.

    With four inputs, the outer two lie as far from these as these from each other. Where one of
    them is not there, at the ends of a video, there is no clip, as published by ST-MFNet; the log
    says how many.

    Args:
        root: the folder with the lists and the frames.
        split: "easy", "medium", "hard" or "extreme".
        context: 1 or 2.
        on_error: "skip" leaves out listed triplets that are not there and counts them, "raise"
            stops.

    Raises:
        UserError: if the folder, the list or a triplet of it is missing, or a line is no triplet.
    """
    need_split("snufilm", split, SPACING)
    root = need(root, TREE)
    name = f"test-{split}.txt"
    path = next((p for p in (root / name, root / "eval_modes" / name) if p.is_file()), root / name)
    listed = [_triplet(line, path) for line in read_list(need(path, TREE))]
    names = lru_cache(maxsize=None)(_listing)
    prefix = next((p for p in _PREFIXES if _any_there(root, listed, p, names)), "")
    found: list[Clip] = []
    missing: list[str] = []
    ends = 0
    for triplet in listed:
        paths = _around(root, [one.removeprefix(prefix) for one in triplet], SPACING[split])
        if not _all_there(paths[1:4], names):
            missing.append(triplet[1])
        elif context == 1:
            found.append(_clip(paths[1:4]))
        elif _all_there(paths, names):
            found.append(_clip(paths))
        else:
            ends += 1
    count = report_missing("snufilm", missing, len(listed), TREE, root, on_error)
    if ends:
        _log.warning(
            "data snufilm, %s: %d of %d have no frame before or after their video's ends and are "
            "left out, as published",
            *(split, ends, len(listed)),
        )
    return PartialClips(found, count)


def _triplet(line: str, path: Path) -> list[str]:
    paths = line.split()
    if len(paths) != 3 or not Path(paths[0]).stem.isdecimal():
        raise UserError(
            f"{path}: {line[:80]!r} is no line of three numbered pictures, the one before the "
            "target, the target and the one after it"
        )
    return paths


def _around(root: Path, triplet: Sequence[str], spacing: int) -> list[str]:
    """Return the paths of the quintuplet around a triplet, whether its files are there or not."""
    first = Path(triplet[0])
    number, digits = int(first.stem), len(first.stem)
    before, after = (
        str(first.with_name(f"{i:0{digits}d}{first.suffix}"))
        for i in (number - spacing, number + 2 * spacing)
    )
    return [str(root / path) for path in (before, *triplet, after)]


def _clip(paths: Sequence[str]) -> Clip:
    frames = tuple(ImageFile(path) for path in paths)
    inputs, target = ((0, 1, 3, 4), 2) if len(paths) == 5 else ((0, 2), 1)
    place = Path(paths[target])
    video = place.parent.name
    return Clip(f"{video}/{place.stem}", frames, inputs, (target,), group=video)


def _listing(folder: str) -> frozenset[str]:
    """Return the names in a folder; none where there is no such folder."""
    place = Path(folder)
    return frozenset(path.name for path in place.iterdir()) if place.is_dir() else frozenset()


def _all_there(paths: Sequence[str], listing: Listing) -> bool:
    return all(_is_there(path, listing) for path in paths)


def _is_there(path: str, listing: Listing) -> bool:
    folder, _, name = path.rpartition(os.sep)
    return name in listing(folder)


def _any_there(root: Path, listed: Sequence[Sequence[str]], prefix: str, listing: Listing) -> bool:
    return any(_is_there(str(root / one[1].removeprefix(prefix)), listing) for one in listed)
