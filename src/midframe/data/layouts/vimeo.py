"""Vimeo-90K: triplets and septuplets of 448x256 frames by the official lists."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
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

TRIPLETS = """\
  vimeo_triplet/
    tri_trainlist.txt  tri_testlist.txt
    sequences/00001/0001/im1.png im2.png im3.png  ...
    flow/00001/0001/flow_t0.flo flow_t1.flo  ...     (optional: pseudo labels im2->im1, im2->im3)
The data set is Vimeo-90K of the TOFlow project (Xue et al., 2019): take 'triplet', 33 GB."""

SEPTUPLETS = """\
  vimeo_septuplet/
    sep_trainlist.txt  sep_testlist.txt
    sequences/00001/0001/im1.png ... im7.png  ...
The data set is Vimeo-90K of the TOFlow project (Xue et al., 2019): take 'septuplet', 82 GB."""


@serves("vimeo", (1,), "data=vimeo_septuplet or data=clips")
def triplets(
    root: Path | None, split: str, context: int = 1, *, on_error: OnError = "raise"
) -> Sequence[Clip]:
    """Index the triplets: inputs im1 and im3, target im2.

    Args:
        root: the folder with ``sequences`` and the lists.
        split: "train" (51,313 triplets) or "test" (3,782).
        context: 1.
        on_error: "skip" leaves out listed triplets that are not there and counts them, "raise"
            stops.

    Raises:
        UserError: if the folder, the list or a triplet of it is missing, or the context is not 1.
    """
    root = need(root, TRIPLETS)
    entries, missing = _listed("vimeo", root, split, "tri_{}list.txt", TRIPLETS, on_error)
    clips = (Clip(e, _frames(root, e, 3), (0, 2), (1,), group=e) for e in entries)
    return PartialClips(clips, missing)


@serves("vimeo_septuplet", (1, 2), "data=clips")
def septuplets(
    root: Path | None, split: str, context: int = 1, *, on_error: OnError = "raise"
) -> Sequence[Clip]:
    """Index the septuplets.

    Args:
        root: the folder with ``sequences`` and the lists.
        split: "train" (64,612 septuplets) or "test" (7,824).
        context: 1: inputs im1 and im7, targets im2 to im6 (with ``times=any``, any three of the
            seven); 2: inputs im1, im3, im5, im7, target im4, as ST-MFNet and FLAVR take them.
        on_error: "skip" leaves out listed septuplets that are not there and counts them, "raise"
            stops.

    Raises:
        UserError: if the folder, the list or a septuplet of it is missing, or the context is
            neither 1 nor 2.
    """
    name, lists = "vimeo_septuplet", "sep_{}list.txt"
    root = need(root, SEPTUPLETS)
    entries, missing = _listed(name, root, split, lists, SEPTUPLETS, on_error)
    inputs, targets = ((0, 6), (1, 2, 3, 4, 5)) if context == 1 else ((0, 2, 4, 6), (3,))
    clips = (Clip(e, _frames(root, e, 7), inputs, targets, group=e) for e in entries)
    return PartialClips(clips, missing)


def _frames(root: Path, entry: str, count: int) -> tuple[ImageFile, ...]:
    folder = os.path.join(root, "sequences", *entry.split("/"), "")  # noqa: PTH118  90,000 times
    return tuple(ImageFile(f"{folder}im{i}.png") for i in range(1, count + 1))


def _listed(
    name: str, root: Path, split: str, pattern: str, tree: str, on_error: OnError
) -> tuple[list[str], int]:
    """Return the entries of a list that are there, and how many are not."""
    need_split(name, split, ("train", "test"))
    listed = read_list(need(root / pattern.format(split), tree))
    present = _present(need(root / "sequences", tree), listed)
    missing = [e for e in listed if e not in present]
    count = report_missing(name, missing, len(listed), tree, root, on_error)
    return [e for e in listed if e in present], count


def _present(folder: Path, entries: list[str]) -> set[str]:
    """Return those entries "a/b" that are there; reads each folder "a" once, not 50,000 entries."""
    by_parent = defaultdict(list)
    for entry in entries:
        by_parent[entry.rpartition("/")[0]].append(entry)
    present: set[str] = set()
    for parent, members in by_parent.items():
        path = folder / parent
        if path.is_dir():
            names = set(os.listdir(path))  # noqa: PTH208  no 50,000 paths
            present.update(e for e in members if e.rpartition("/")[2] in names)
    return present
