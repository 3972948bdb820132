"""Middlebury "other": 12 scenes with a true middle frame, for evaluation."""

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
)
from midframe.data.records import Clip, PartialClips

SCENES = (
    "Beanbags",
    "Dimetrodon",
    "DogDance",
    "Grove2",
    "Grove3",
    "Hydrangea",
    "MiniCooper",
    "RubberWhale",
    "Urban2",
    "Urban3",
    "Venus",
    "Walking",
)
TREE = """\
  middlebury_other/
    other-data/Beanbags/frame10.png frame11.png  ...
    other-gt-interp/Beanbags/frame10i11.png  ...
  or all three files of a scene in one folder:
    Beanbags/frame10.png frame10i11.png frame11.png  ...
The data set is the 'other' part of the Middlebury optical flow benchmark (colour, two frames, and \
the interpolation ground truth)."""


@serves("middlebury", (1,), "another benchmark, such as vimeo_septuplet")
def other(
    root: Path | None, split: str = "test", context: int = 1, *, on_error: OnError = "raise"
) -> Sequence[Clip]:
    """Index the scenes: inputs frame10 and frame11, target frame10i11.

    Args:
        root: the folder in the official layout of two parts, or with one folder per scene.
        split: "test", the only one.
        context: 1.
        on_error: "skip" leaves out scenes that are not there and counts them, as its benchmarks
            do, which then report an incomplete result; "raise" stops.

    Raises:
        UserError: if the folder is missing or holds none of the scenes, or not all and ``on_error``
            is "raise".
    """
    need_split("middlebury", split, ("test",))
    root = need(root, TREE)
    found: list[Clip] = []
    missing: list[str] = []
    for scene in SCENES:
        frames, truth = root / "other-data" / scene, root / "other-gt-interp" / scene
        if not frames.is_dir():
            frames = truth = root / scene
        if not frames.is_dir():
            missing.append(scene)
            continue
        paths = (frames / "frame10.png", truth / "frame10i11.png", frames / "frame11.png")
        sources = tuple(ImageFile(str(path)) for path in paths)
        found.append(Clip(scene, sources, (0, 2), (1,), group=scene))
    count = report_missing("middlebury", missing, len(SCENES), TREE, root, on_error)
    return PartialClips(found, count)
