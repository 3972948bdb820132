"""UCF101 as 379 triplets and as 100 quintuplets, for evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from midframe.data.io import ImageFile
from midframe.data.layouts.folders import (
    OnError,
    need,
    need_split,
    report_missing,
    serves,
    subfolders,
)
from midframe.data.records import Clip, PartialClips
from midframe.errors import UserError

TREE = """\
  ucf101/
    0/frame0.png frame1.png framet.png frame2.png frame3.png      (100 folders of any name)
    1/...
The data set is the part of UCF101 that Quadratic Video Interpolation (Xu et al., NeurIPS 2019) \
and ST-MFNet are tested on."""
TRIPLETS = """\
  ucf101_interp_ours/
    1/frame_00.png frame_01_gt.png frame_02.png      (379 folders of any name)
    2/...
The data set is the part of UCF101 that Deep Voxel Flow (Liu et al., ICCV 2017) is tested on, \
256x256."""
_TRIPLET = ("frame_00", "frame_01_gt", "frame_02")  # in time order
_FRAMES = ("frame0", "frame1", "framet", "frame2", "frame3")  # in time order


@serves("ucf101", (1,), "benchmark=ucf101_quintuplet, which is of other images")
def triplets(
    root: Path | None, split: str = "test", context: int = 1, *, on_error: OnError = "raise"
) -> Sequence[Clip]:
    """Index the triplets: inputs frame_00 and frame_02, target frame_01_gt.

    Args:
        root: the folder that holds one folder per triplet.
        split: "test".
        context: 1.
        on_error: "skip" leaves out folders that lack a picture and counts them, "raise" stops.

    Raises:
        UserError: if the folder is missing or holds no triplet, or one is not whole.
    """
    return _folders(root, split, _TRIPLET, TRIPLETS, on_error)


@serves("ucf101", (1, 2), "another benchmark")
def quintuplets(
    root: Path | None, split: str = "test", context: int = 2, *, on_error: OnError = "raise"
) -> Sequence[Clip]:
    """Index the quintuplets: inputs frame0, frame1, frame2, frame3, target framet.

    Args:
        root: the folder that holds one folder per quintuplet.
        split: "test".
        context: 2; with 1 the inputs are frame1 and frame2, and the outer two need not be there.
        on_error: "skip" leaves out folders that lack a picture and counts them, "raise" stops.

    Raises:
        UserError: if the folder is missing or holds no quintuplet, or one is not whole.
    """
    return _folders(root, split, _FRAMES if context == 2 else _FRAMES[1:4], TREE, on_error)


def _folders(
    root: Path | None, split: str, needed: Sequence[str], tree: str, on_error: OnError
) -> PartialClips:
    """Return a clip of the named pictures of every folder below one."""
    need_split("ucf101", split, ("test",))
    root = need(root, tree)
    folders = subfolders(root)
    if not folders:
        raise UserError(f"{root}: no folder in it; set data.root to a folder like\n{tree}")
    found: list[Clip] = []
    missing: list[str] = []
    for folder in folders:
        paths = [folder / f"{name}.png" for name in needed]
        if all(path.is_file() for path in paths):
            found.append(_clip(folder.name, paths))
        else:
            missing.append(folder.name)
    count = report_missing("ucf101", missing, len(folders), tree, root, on_error)
    return PartialClips(found, count)


def _clip(name: str, paths: Sequence[Path]) -> Clip:
    frames = tuple(ImageFile(str(path)) for path in paths)
    inputs, targets = ((0, 1, 3, 4), (2,)) if len(paths) == 5 else ((0, 2), (1,))
    return Clip(name, frames, inputs, targets, group=name)
