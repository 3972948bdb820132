"""data=clips: any folder of videos or frame folders, cut into shots and split by clip."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from midframe.data.cutting import Cutting, Ends, Shot, cut_clips, hash_share, hold_out
from midframe.data.layouts.folders import PICTURES, need, pictures
from midframe.data.records import Clip
from midframe.data.shots import Footage, frame_folder, load_or_cut, video
from midframe.errors import UserError
from midframe.video.media import SUFFIXES

SPLITS = ("train", "val")
_LEAST_PICTURES = 3  # a folder with fewer is no frame folder
_TREE = """\
  clips/
    holiday.mp4  street.mov  ...              videos, in any folders below
    walk/0001.png 0002.png ...                or folders of frames, named in their order"""


def clips(
    root: Path | None,
    split: str,
    context: int = 1,
    *,
    cache: str | Path,
    max_side: int | None = None,
    gap: int = 2,
    stride: int = 1,
    step: int = 1,
    motion: float = 12.0,
    ends: Ends = "replicate",
    val_share: float = 0.1,
    on_error: Literal["raise", "skip"] = "raise",
) -> Sequence[Clip]:
    """Return the moving clips of all videos and frame folders below ``root``.

    Videos and frame folders are decoded into shards once. Scene cuts end a clip, repeated frames
    and still clips are dropped. Whole videos are held out, chosen by their names alone; a single
    video is split by its shots.

    Args:
        root: a folder, or one video file.
        split: "train" or "val".
        context: frames on each side of the gap, any number.
        cache: where the shards are kept.
        max_side: frames are reduced to this; None keeps their size.
        gap: frames from one input to the next; those in between are targets.
        stride: every how many-th frame is used; 2 doubles the motion.
        step: frames from the beginning of a clip to that of the next.
        motion: clips with less are dropped as still, see `Cutting`.
        ends: of a shot, for four inputs: "replicate" or "drop", see `Cutting`.
        val_share: of the videos that is held out.
        on_error: "skip" leaves out unreadable videos and counts them, "raise" stops.

    Raises:
        UserError: if there is nothing to read, naming what cannot be read, or nothing moves.
    """
    if split not in SPLITS:
        raise UserError(f"data clips has no split '{split}'; there are {', '.join(SPLITS)}")
    if on_error not in ("raise", "skip") or not 0 < val_share < 1:
        raise UserError(
            f"data.layout: on_error={on_error} is raise or skip, val_share={val_share} lies "
            "between 0 and 1"
        )
    how = Cutting(gap, stride, step, motion, ends)
    shots = load_or_cut(
        find_footage(need(root, _TREE), max_side),
        Path(cache),
        settings={"max_side": max_side},
        title="decoding videos",
        on_error=on_error,
    )
    found = {
        name: [clip for shot in one for clip in cut_clips(shot, context, how)]
        for name, one in shots.items()
    }
    if not any(found.values()):
        reach = stride * gap * (2 * context - 1 if ends == "drop" else 1) + 1
        raise UserError(
            f"{root}: no clip of {reach} moving frames in {len(shots)} videos; add longer videos "
            "or set data.layout.motion or data.layout.gap lower"
        )
    useful = [name for name, some in found.items() if some]
    if len(useful) == 1:
        sides = _parts(f"{root}: {useful[0]}", shots[useful[0]], context, val_share, how)
        return sides[SPLITS.index(split)]
    held = _held_out(useful, val_share)
    chosen = [name for name in useful if (name in held) == (split == "val")]
    return [clip for name in chosen for clip in found[name]]


def _parts(
    name: str, shots: Sequence[Shot], context: int, val_share: float, how: Cutting
) -> list[list[Clip]]:
    """Return the clips of the two sides of one video, as `SPLITS` orders them."""
    sides = hold_out(shots, val_share, how)
    cut = [[clip for shot in side for clip in cut_clips(shot, context, how)] for side in sides]
    if not all(cut):
        raise UserError(
            f"{name} is the one video with clips, and too short to hold a part of it out; add a "
            f"second one, or change data.layout.gap={how.gap}, data.layout.stride={how.stride} or "
            f"data.layout.val_share={val_share}"
        )
    return cut


def find_footage(root: Path, max_side: int | None = None) -> list[Footage]:
    """Return the videos and frame folders at and below a folder, in the order of their names.

    Raises:
        UserError: if the folder is empty, or holds neither.
    """
    if root.is_file():
        return [video(root.stem, root, max_side)]
    footage: list[Footage] = []
    for place, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        folder = Path(place)
        for file in sorted(f for f in files if f.lower().endswith(SUFFIXES) and f[0] != "."):
            path = folder / file
            footage.append(video(path.relative_to(root).as_posix(), path, max_side))
        if sum(f.lower().endswith(PICTURES) for f in files) >= _LEAST_PICTURES:
            name = folder.relative_to(root).as_posix() if folder != root else folder.name
            footage.append(frame_folder(name, [folder / f for f in pictures(folder)], max_side))
    if not footage:
        raise UserError(
            f"{root}: no video ({' '.join(SUFFIXES)}) and no folder of frames in it; set "
            f"data.root to a folder like\n{_TREE}"
        )
    return sorted(footage, key=lambda one: one.name)


def _held_out(names: Sequence[str], share: float) -> set[str]:
    """Return which videos are held out, by hashes of their names: a new video moves no other."""
    order = sorted(names, key=hash_share)
    held = {name for name in order if hash_share(name) < share} or {order[0]}
    if len(held) == len(order):
        held.discard(order[-1])
    return held
