"""BVI-DVC as quintuplets of 256x256 pixels: five frames side by side in one picture each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from midframe.data.layouts.folders import (
    OnError,
    need,
    need_split,
    only_the_gap,
    report_missing,
    serves,
)
from midframe.data.parts import Tile
from midframe.data.records import Clip, PartialClips
from midframe.errors import UserError

TREE = """\
  bvidvc/
    quintuplets/00000/quintuplet.png  00001/...      (folders of any name; each picture holds the
                                                      frames 1, 3, 5, 7, 4 from left to right)
The data set is BVI-DVC (Ma et al., 2021), cut into 17,600 quintuplets for ST-MFNet (Danier et \
al., CVPR 2022), whose repository offers them."""
_PICTURE = "quintuplet.png"
_FRAMES = (1, 3, 5, 7, 4)  # as the tiles show them
_IN_TIME = tuple(_FRAMES.index(frame) for frame in sorted(_FRAMES))


@serves("bvidvc", (1, 2), "data=clips")
def quintuplets(
    root: Path | None,
    split: str,
    context: int = 2,
    *,
    val_share: float = 0.0,
    on_error: OnError = "raise",
) -> Sequence[Clip]:
    """Index the quintuplets: inputs 1, 3, 5, 7, target 4.

    Frames 2 and 6 are not there, so a clip's frames are 1, 3, 4, 5, 7.

    Args:
        root: the folder with ``quintuplets``.
        split: "train" or "val".
        context: 2; with 1 the inputs are the frames 3 and 5.
        val_share: of the quintuplets that is held out as "val": the last ones by name, since
            neighbours may be of one video. There is no published split; ST-MFNet trains on all.
        on_error: "skip" leaves out folders without their picture and counts them, "raise" stops.

    Raises:
        UserError: if the folder or a picture is missing, or an option is out of range.
    """
    need_split("bvidvc", split, ("train", "val"))
    if not 0 <= val_share < 1:
        raise UserError(f"data.layout.val_share={val_share}: give a share from 0 to below 1")
    folder = need(need(root, TREE) / "quintuplets", TREE)
    listed = sorted(os.listdir(folder))  # noqa: PTH208  no 17,600 paths
    names = [name for name in listed if not name.startswith(".")]
    if not names:
        raise UserError(f"{folder} is empty; set data.root to a folder like\n{TREE}")
    held = round(val_share * len(names))
    if val_share:
        held = min(max(held, 1), len(names) - 1)
    chosen = names[: len(names) - held] if split == "train" else names[len(names) - held :]
    paths = {name: f"{folder}{os.sep}{name}{os.sep}{_PICTURE}" for name in chosen}
    missing = [name for name, path in paths.items() if not os.path.isfile(path)]  # noqa: PTH113
    count = report_missing("bvidvc", missing, len(chosen), TREE, folder, on_error)
    absent = set(missing)
    found = (_clip(name, path, context) for name, path in paths.items() if name not in absent)
    return PartialClips(found, count)


def _clip(name: str, path: str, context: int) -> Clip:
    frames = tuple(Tile(path, offset, len(_FRAMES)) for offset in _IN_TIME)
    clip = Clip(name, frames, (0, 1, 3, 4), (2,), group=name)
    return clip if context == 2 else only_the_gap(clip)
