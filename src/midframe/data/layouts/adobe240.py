"""Adobe240: 240 fps videos, extracted to frame folders, cut into clips for x8 interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from midframe.data.layouts.folders import (
    OnError,
    need,
    need_split,
    read_list,
    report_missing,
    serves,
    windows,
)
from midframe.data.records import Clip, PartialClips
from midframe.errors import UserError

TREE = """\
  adobe240/
    720p_240fps_1/000001.png 000002.png ...         (one folder of frames per video, by its name)
    GOPR9633/...
    train_list.txt  test_list.txt                   (optional: one video a line)
The data set is Adobe240 of 'Deep Video Deblurring for Hand-held Cameras' (Su et al., 2017), the
original high-frame-rate videos; extract their frames first (data=clips takes videos themselves)."""

# the published test videos; all others are for training
TEST = (
    "720p_240fps_1",
    "GOPR9635",
    "GOPR9637a",
    "IMG_0004a",
    "IMG_0015",
    "IMG_0023",
    "IMG_0179",
    "IMG_0183",
)
_VIDEOS = (".mp4", ".mov", ".m4v")


@serves("adobe240", (1, 2), "data=clips")
def clips(
    root: Path | None,
    split: str,
    context: int = 1,
    *,
    factor: int = 8,
    on_error: OnError = "raise",
) -> Sequence[Clip]:
    """Index clips of 9 consecutive frames, one every 8 frames.

    The videos of a split are those of ``<split>_list.txt`` where it is there, else the published
    test videos, and for training all others.

    Args:
        root: holds one folder of frames per video.
        split: "train" or "test".
        context: 1: the two ends are inputs; 2: two more inputs lie ``factor`` frames outside.
        factor: frames from one input to the next; those between the middle two are targets.
        on_error: "skip" leaves out listed videos that are not there and counts them, "raise" stops.

    Raises:
        UserError: if the folder or a listed video is missing, or it holds videos instead of frames.
    """
    need_split("adobe240", split, ("train", "test"))
    root = need(root, TREE)
    names = _names(root, split)
    missing = [name for name in names if not (root / name).is_dir()]
    count = report_missing("adobe240", missing, len(names), TREE, root, on_error)
    found = (
        clip
        for name in names
        if (root / name).is_dir()
        for clip in windows(root / name, name, context=context, factor=factor, stride=factor)
    )
    return PartialClips(found, count)


def _names(root: Path, split: str) -> list[str]:
    listed = root / f"{split}_list.txt"
    if listed.is_file():
        return [Path(line).stem for line in read_list(listed)]
    if split == "test":
        return list(TEST)
    folders = sorted(path.name for path in root.iterdir() if path.is_dir())
    if not folders:
        videos = any(path.suffix.lower() in _VIDEOS for path in root.iterdir())
        what = "holds videos, not frames" if videos else "holds no frame folders"
        raise UserError(f"{root} {what}; set data.root to a folder like\n{TREE}")
    return [name for name in folders if name not in TEST]
