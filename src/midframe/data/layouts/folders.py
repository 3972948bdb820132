"""What the layouts of published data sets share: lists, frame folders and helpful errors."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from midframe.data.io import ImageFile
from midframe.data.records import Clip
from midframe.errors import UserError

_log = logging.getLogger(__name__)
OnError = Literal["raise", "skip"]
_NAMED = 3  # missing entries that a message names
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


def need(path: Path, tree: str) -> Path:
    """Return ``path``; `UserError` with the expected ``tree`` where there is no such thing."""
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; set data.root to a folder like\n{tree}")
    return path


def need_context(name: str, context: int, served: tuple[int, ...], other: str) -> None:
    """Raise `UserError` where a layout cannot serve as many input frames as the model takes."""
    if context not in served:
        frames = " or ".join(str(2 * c) for c in served)
        raise UserError(
            f"data {name} gives {frames} input frames and the model takes {2 * context}; "
            f"use {other}"
        )


def need_split(name: str, split: str, known: Iterable[str]) -> None:
    """Raise `UserError` for a split that a layout does not have."""
    if split not in known:
        raise UserError(f"data {name} has no split '{split}'; there are {', '.join(known)}")


def read_list(path: Path) -> list[str]:
    """Return the lines of a list file without blank ones."""
    return [line.strip() for line in path.read_text().splitlines() if line.strip()]


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

    Args:
        folder: holds the frames, named in their order.
        group: name of the video.
        context: frames on each side; the inputs are ``factor`` frames apart.
        factor: the gap between two inputs, in frames.
        stride: frames from the beginning of a clip to that of the next.
    """
    # one string object per frame, shared by the clips that overlap
    frames = [ImageFile(f"{folder}{os.sep}{name}") for name in pictures(folder)]
    inputs = tuple(i * factor for i in range(2 * context))
    targets = tuple(range(inputs[context - 1] + 1, inputs[context]))
    for start in range(0, len(frames) - inputs[-1], stride):
        name = Path(frames[start].path).stem
        part = tuple(frames[start : start + inputs[-1] + 1])
        yield Clip(f"{group}/{name}", part, inputs, targets, group=group)


def _by_number(name: str) -> list[tuple[int, int | str]]:
    parts = re.split(r"(\d+)", name)
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts if part]
