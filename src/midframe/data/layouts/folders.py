"""What layouts share: lists and tables, frame folders and helpful errors."""

from __future__ import annotations

import csv
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import wraps
from inspect import signature
from pathlib import Path
from statistics import median_low
from typing import Any, Literal, TypeVar, cast

from midframe.data.io import ImageFile
from midframe.data.records import Clip, Source
from midframe.errors import UserError

_log = logging.getLogger(__name__)
OnError = Literal["raise", "skip"]
F = TypeVar("F", bound=Callable[..., Sequence[Clip]])
FrameType = Callable[[str], Source]  # makes a frame of the path of its file
_NAMED = 3  # missing entries that a message names
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


def need(path: str | Path | None, tree: str) -> Path:
    """Return a path; `UserError` with the expected ``tree`` where there is no such thing."""
    if path is None:
        raise UserError(f"no folder is given; set data.root to a folder like\n{tree}")
    if not Path(path).exists():
        raise UserError(f"{path}: no such file or folder; set data.root to a folder like\n{tree}")
    return Path(path)


def need_context(name: str, context: int, served: tuple[int, ...], other: str) -> None:
    """Raise `UserError` where a layout cannot serve as many input frames as the model takes."""
    if context not in served:
        frames = " or ".join(str(2 * c) for c in served)
        raise UserError(
            f"data {name} gives {frames} input frames and the model takes {2 * context}; "
            f"use {other}"
        )


def serves(name: str, contexts: tuple[int, ...], other: str) -> Callable[[F], F]:
    """Say of a layout for which numbers of frames on each side it has clips; refuse others.

    A run is checked by what is said here, before anything is read.

    Args:
        name: of the data, for the message.
        contexts: 1 for two input frames, 2 for four.
        other: what to use instead, for the message.
    """

    def refusing(layout: F) -> F:
        form = signature(layout)

        @wraps(layout)
        def checked(*given: Any, **options: Any) -> Sequence[Clip]:
            bound = form.bind(*given, **options)
            bound.apply_defaults()
            need_context(name, bound.arguments["context"], contexts, other)
            return layout(*given, **options)

        checked.serves = (name, contexts, other)  # type: ignore[attr-defined]
        return cast(F, checked)

    return refusing


def refused_context(layout: Any, context: int) -> str:
    """Return why a layout has no clips of so many frames on each side; "" where it may have."""
    name, contexts, other = getattr(layout, "serves", ("", (context,), ""))
    try:
        need_context(name, context, contexts, other)
    except UserError as error:
        return str(error)
    return ""


def need_split(name: str, split: str, known: Iterable[str]) -> None:
    """Raise `UserError` for a split that a layout does not have."""
    if split not in known:
        raise UserError(f"data {name} has no split '{split}'; there are {', '.join(known)}")


def need_size(path: str, size: Sequence[int], what: str) -> None:
    """Raise `UserError` where a picture is not (height, width) pixels large; ``what`` it is of."""
    height, width = ImageFile(path).size()
    if (height, width) != tuple(size):
        raise UserError(
            f"{path}: {width}x{height} pixels, but {what} has {size[1]}x{size[0]}; take its "
            "original frames"
        )


def read_list(path: Path) -> list[str]:
    """Return the lines of a list file without blank ones; `UserError` if it cannot be read."""
    return [line.strip() for line in _text(path).splitlines() if line.strip()]


def read_csv(path: Path, columns: Sequence[str], tree: str) -> list[dict[str, str]]:
    """Return the rows of a comma-separated table with a heading, by the names of its columns.

    Args:
        path: the table; blank lines do not count.
        columns: that every row must fill; others are returned as well.
        tree: the folder that is expected, for the message where there is no such file.

    Raises:
        UserError: if the file is missing or cannot be read, a column is missing or a cell empty,
            naming the line.
    """
    table = csv.DictReader(_text(need(path, tree)).splitlines(), skipinitialspace=True)
    lacking = [name for name in columns if name not in (table.fieldnames or ())]
    if lacking:
        raise UserError(
            f"{path}: its first line must name the columns {', '.join(columns)}; "
            f"there is no {', '.join(lacking)}"
        )
    rows = []
    for row in table:
        cells = {name: (row[name] or "").strip() for name in table.fieldnames or ()}
        for name in columns:
            if not cells[name]:
                raise UserError(f"{path}, line {table.line_num}: the column {name} is empty")
        rows.append(cells)
    return rows


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is no text in UTF-8 ({error}); save it as such") from error


def report_missing(
    name: str, missing: list[str], listed: int, tree: str, root: Path, on_error: OnError
) -> int:
    """Return how many entries of a list are not there, after saying so in the log.

    Raises:
        UserError: if none is there, or one is not and ``on_error`` is "raise".
    """
    if on_error not in ("raise", "skip"):
        raise UserError(f"data.on_error={on_error}: give raise or skip")
    if listed and len(missing) == listed:
        raise UserError(
            f"{root}: none of the {listed} listed entries is there (the first: {missing[0]}); "
            f"set data.root to a folder like\n{tree}"
        )
    if missing:
        first = ", ".join(missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
        what = f"data {name}: {len(missing)} of {listed} listed entries are missing in {root}"
        if on_error == "raise":
            raise UserError(
                f"{what} (the first: {first}); add them, or leave them out with data.on_error=skip"
            )
        _log.warning("%s and left out (the first: %s)", what, first)
    return len(missing)


def pictures(folder: Path) -> list[str]:
    """Return the names of the pictures in a folder in the order of their numbers."""
    names = [path.name for path in folder.iterdir() if path.suffix.lower() in PICTURES]
    return sorted(names, key=_by_number)


def windows(folder: Path, group: str, *, context: int, factor: int, stride: int) -> Iterator[Clip]:
    """Yield clips of consecutive frames of one video, with ``factor`` - 1 frames to predict.

    No clip reaches over frames that are missing, by the numbers in their names; the log says so.

    Args:
        folder: holds the frames, named in their order.
        group: name of the video.
        context: frames on each side; the inputs are ``factor`` frames apart.
        factor: the gap between two inputs, in frames.
        stride: frames from the beginning of a clip to that of the next.
    """
    inputs = tuple(i * factor for i in range(2 * context))
    targets = tuple(range(inputs[context - 1] + 1, inputs[context]))
    for frames in _frames(folder):
        for start in range(0, len(frames) - inputs[-1], stride):
            name = Path(frames[start].path).stem
            part = tuple(frames[start : start + inputs[-1] + 1])
            yield Clip(f"{group}/{name}", part, inputs, targets, group=group)


def subfolders(root: Path) -> list[Path]:
    """Return the folders directly below one, by name; hidden ones don't count."""
    return sorted(path for path in root.iterdir() if path.is_dir() and path.name[0] != ".")


def every_second(
    name: str,
    root: Path | None,
    split: str,
    context: int,
    tree: str,
    source: Callable[[str], FrameType] = lambda folder: ImageFile,
) -> list[Clip]:
    """Return quintuplets of every folder of frames below one: t, t+2, t+4, t+6 and the target t+3.

    They begin at every second frame, from the first one on, and are named by their targets.

    Args:
        name: of the data set, for messages.
        root: holds one folder of frames per sequence.
        split: "test".
        context: 2; with 1 these are the triplets t+2, t+3, t+4 for the same targets.
        tree: the folder that is expected, for the message where there are none.
        source: says by a folder's name as what its files are read.

    Raises:
        UserError: for another split or context, or if no folder has seven frames.
    """
    need_split(name, split, ("test",))
    need_context(name, context, (1, 2), "another benchmark")
    root = need(root, tree)
    found: list[Clip] = []
    for folder in subfolders(root):
        read = source(folder.name)
        for files in _frames(folder):
            frames = tuple(read(file.path) for file in files)
            for start in range(0, len(frames) - 6, 2):
                target = f"{folder.name}/{Path(files[start + 3].path).stem}"
                part = frames[start : start + 7]
                clip = Clip(target, part, (0, 2, 4, 6), (3,), group=folder.name)
                found.append(clip if context == 2 else only_the_gap(clip))
    if not found:
        raise UserError(
            f"{root}: no folder of seven frames; set data.root to a folder like\n{tree}"
        )
    return found


def only_the_gap(clip: Clip) -> Clip:
    """Return a clip without what lies outside of its two middle inputs, for two-frame models."""
    start, end = clip.ends
    return Clip(
        id=clip.id,
        frames=clip.frames[start : end + 1],
        inputs=(0, end - start),
        targets=tuple(target - start for target in clip.targets),
        flow={target - start: pair for target, pair in clip.flow.items()},
        group=clip.group,
    )


def _frames(folder: Path) -> list[list[ImageFile]]:
    """Return the frames of a folder, in runs between which some are missing; the log says where."""
    # one string object per frame, shared by the clips that overlap
    runs = [[ImageFile(f"{folder}{os.sep}{n}") for n in run] for run in _runs(pictures(folder))]
    if len(runs) > 1:
        last, more = Path(runs[0][-1].path).name, len(runs) - 2
        where = last + (f" and at {more} more places" if more else "")
        _log.warning("%s: frames are missing after %s; no clip reaches over that", folder, where)
    return runs


def _runs(names: Sequence[str]) -> list[Sequence[str]]:
    """Split names of frames where the last number in them jumps; one run where some have none.

    The usual step is the median, and a jump more than half as much again: names may be times,
    whose steps differ by rounding.
    """
    found = [re.findall(r"\d+", Path(name).stem) for name in names]
    if len(names) < 2 or not all(found):
        return [names]
    numbers = [int(one[-1]) for one in found]
    steps = [after - before for before, after in zip(numbers, numbers[1:])]
    usual = median_low(steps)
    cuts = [i for i, s in enumerate(steps, 1) if usual > 0 and not 0 < s <= 1.5 * usual]
    return [names[a:b] for a, b in zip([0, *cuts], [*cuts, len(names)])]


def _by_number(name: str) -> list[tuple[int, int | str]]:
    parts = re.split(r"(\d+)", name)
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part]
