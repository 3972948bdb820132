"""Middlebury: 12 scenes with a true middle frame ("other"), 8 whose truth only its website has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from midframe.data.io import ImageFile, Unknown
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


EVALUATION = (
    "Mequon",
    "Schefflera",
    "Urban",
    "Teddy",
    "Backyard",
    "Basketball",
    "Dumptruck",
    "Evergreen",
)
EVALUATION_TREE = """\
  middlebury_eval/
    eval-data/Mequon/frame10.png frame11.png  ...        (or the 8 scenes directly here)
The data set is the evaluation part of the Middlebury optical flow benchmark, in colour (Baker et \
al., IJCV 2011); two frames of each scene are enough."""


@serves("middlebury_eval", (1,), "another benchmark, such as vimeo_septuplet")
def evaluation(
    root: Path | None, split: str = "test", context: int = 1, *, on_error: OnError = "raise"
) -> Sequence[Clip]:
    """Index the scenes that the website measures: inputs frame10 and frame11, target unknown.

    The targets read as zeros (`midframe.data.io.Unknown`), and no metric may look at them.

    Args:
        root: the folder that holds ``eval-data``, or one folder per scene.
        split: "test", the only one.
        context: 1.
        on_error: "skip" leaves out scenes that are not there and counts them, "raise" stops.

    Raises:
        UserError: if the folder is missing or holds none of the scenes, or not all and ``on_error``
            is "raise".
    """
    need_split("middlebury_eval", split, ("test",))
    root = need(root, EVALUATION_TREE)
    found: list[Clip] = []
    missing: list[str] = []
    for scene in EVALUATION:
        folder = next((f for f in (root / "eval-data" / scene, root / scene) if f.is_dir()), None)
        paths = [str(folder / f"frame{i}.png") for i in (10, 11)] if folder else []
        if paths and all(Path(path).is_file() for path in paths):
            frames = (ImageFile(paths[0]), Unknown(paths[0]), ImageFile(paths[1]))
            found.append(Clip(scene, frames, (0, 2), (1,), group=scene))
        else:
            missing.append(scene)
    count = report_missing(
        "middlebury_eval", missing, len(EVALUATION), EVALUATION_TREE, root, on_error
    )
    return PartialClips(found, count)
