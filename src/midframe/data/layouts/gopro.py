"""GoPro: 240 fps videos as frame folders, cut into clips for x8 interpolation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from midframe.data.layouts.folders import (
    OnError,
    need,
    need_split,
    report_missing,
    serves,
    windows,
)
from midframe.data.records import Clip, PartialClips

TREE = """\
  GOPRO_Large_all/
    GOPR0372_07_00/000047.png 000048.png ...        (22 training and 11 test videos, directly
    GOPR0384_11_00/...                               here or under train/ and test/)
The data set is GOPRO_Large_all of 'Deep Multi-scale Convolutional Neural Network for
Dynamic Scene Deblurring' (Nah et al., 2017)."""

# the published split, as "camera_take": parts
_TRAIN = {
    "GOPR0372_07": "00 01",
    "GOPR0374_11": "00 01 02 03",
    "GOPR0378_13": "00",
    "GOPR0379_11": "00",
    "GOPR0380_11": "00",
    "GOPR0384_11": "01 02 03 04",
    "GOPR0385_11": "00",
    "GOPR0386_11": "00",
    "GOPR0477_11": "00",
    "GOPR0857_11": "00",
    "GOPR0868_11": "01 02",
    "GOPR0871_11": "01",
    "GOPR0881_11": "00",
    "GOPR0884_11": "00",
}
_TEST = {
    "GOPR0384_11": "00 05",
    "GOPR0385_11": "01",
    "GOPR0396_11": "00",
    "GOPR0410_11": "00",
    "GOPR0854_11": "00",
    "GOPR0862_11": "00",
    "GOPR0868_11": "00",
    "GOPR0869_11": "00",
    "GOPR0871_11": "00",
    "GOPR0881_11": "01",
}
VIDEOS = {
    split: tuple(f"{take}_{part}" for take, parts in table.items() for part in parts.split())
    for split, table in (("train", _TRAIN), ("test", _TEST))
}


@serves("gopro", (1, 2), "data=clips")
def clips(
    root: Path | None,
    split: str,
    context: int = 1,
    *,
    factor: int = 8,
    on_error: OnError = "raise",
) -> Sequence[Clip]:
    """Index clips of 9 consecutive frames, one every 8 frames, as IFRNet trains and tests on.

    Args:
        root: holds one folder of frames per video, or ``train`` and ``test`` with those inside.
        split: "train" or "test".
        context: 1: the two ends are inputs; 2: two more inputs lie ``factor`` frames outside.
        factor: frames from one input to the next; those between the middle two are targets.
        on_error: "skip" leaves out listed videos that are not there and counts them, "raise" stops.

    Raises:
        UserError: if the folder or a video of the split is missing.
    """
    need_split("gopro", split, VIDEOS)
    root = need(root, TREE)
    found: list[Clip] = []
    missing: list[str] = []
    for name in VIDEOS[split]:
        folder = next((f for f in (root / name, root / split / name) if f.is_dir()), None)
        if folder is None:
            missing.append(name)
        else:
            found += windows(folder, name, context=context, factor=factor, stride=factor)
    count = report_missing("gopro", missing, len(VIDEOS[split]), TREE, root, on_error)
    return PartialClips(found, count)
