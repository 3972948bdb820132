"""Xiph: 8 clips of 4K video, resized to 2K or cropped to their centres, for evaluation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from midframe.data.layouts.folders import (
    FrameType,
    OnError,
    need,
    need_size,
    need_split,
    pictures,
    report_missing,
    serves,
    subfolders,
)
from midframe.data.parts import CentreHalf, Resized
from midframe.data.records import Clip, PartialClips
from midframe.errors import UserError

TREE = """\
  xiph/
    Tango-001.png Tango-002.png ... Tango-100.png       (8 clips in one folder)
    BoxingPractice-001.png ...
  or a folder per clip:
    Tango/001.png 002.png ...
The clips are those of Netflix in Xiph's collection of test media, 4096x2160, their first 100 \
frames, as 'Softmax Splatting for Video Frame Interpolation' (Niklaus and Liu, CVPR 2020) chose \
them."""
Mode = Literal["2k", "4k"]
CLIPS = 8


@serves("xiph", (1,), "another benchmark, such as vimeo_septuplet")
def clips(
    root: Path | None,
    split: str = "test",
    context: int = 1,
    *,
    mode: Mode,
    size: Sequence[int] = (2160, 4096),
    frames: int = 100,
    on_error: OnError = "raise",
) -> Sequence[Clip]:
    """Index the triplets: frames 2, 4 ... 98 from those before and after them.

    Args:
        root: holds the frames as <clip>-<number>.png, or one folder of frames per clip; numbers
            begin at 1.
        split: "test".
        context: 1.
        mode: "2k" resizes frames by area to half of both sides, "4k" takes their centre, half as
            high and wide; both are 2048x1080.
        size: height and width that the frames in the files must have.
        frames: of each clip that are used, from the first on; 49 of 100 are predicted.
        on_error: "skip" leaves out triplets and clips that are not whole and counts them, "raise"
            stops.

    Raises:
        UserError: if the folder is missing or holds no clip, one is not whole, or frames have
            another size.
    """
    need_split("xiph", split, ("test",))
    if mode not in get_args(Mode):
        raise UserError(f"data xiph has no mode '{mode}'; there are {', '.join(get_args(Mode))}")
    root = need(root, TREE)
    videos = _videos(root)
    if not videos:
        raise UserError(f"{root}: no clip in it; set data.root to a folder like\n{TREE}")
    read, targets = _reader(mode, size), range(2, frames, 2)
    found: list[Clip] = []
    missing = [f"clip {i + 1} of {CLIPS}" for i in range(len(videos), CLIPS) for _ in targets]
    for name, files in videos.items():
        need_size(next(iter(files.values())), size, "Xiph at 4K")
        for number in targets:
            paths = [files.get(i, "") for i in (number - 1, number, number + 1)]
            if all(paths):
                part = tuple(read(path) for path in paths)
                found.append(Clip(f"{name}/{number:03d}", part, (0, 2), (1,), group=name))
            else:
                missing.append(f"{name} {number:03d}")
    listed = len(found) + len(missing)
    return PartialClips(found, report_missing("xiph", missing, listed, TREE, root, on_error))


def _videos(root: Path) -> dict[str, Mapping[int, str]]:
    """Return the paths of the frames of each clip by their numbers."""
    found: dict[str, dict[int, str]] = defaultdict(dict)
    for name in pictures(root):
        clip, _, number = Path(name).stem.rpartition("-")
        if clip and number.isdecimal():
            found[clip][int(number)] = str(root / name)
    for folder in subfolders(root):
        for name in pictures(folder):
            if Path(name).stem.isdecimal():
                found[folder.name][int(Path(name).stem)] = str(folder / name)
    return {name: found[name] for name in sorted(found)}


def _reader(mode: Mode, size: Sequence[int]) -> FrameType:
    height, width = size
    return CentreHalf if mode == "4k" else lambda path: Resized(path, height // 2, width // 2)
