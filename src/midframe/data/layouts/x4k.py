"""X-TEST of X4K1000FPS: 15 scenes of 33 frames at 4K, for x8 evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from midframe.data.io import ImageFile
from midframe.data.layouts.folders import (
    FrameType,
    OnError,
    need,
    need_size,
    need_split,
    report_missing,
    serves,
    subfolders,
)
from midframe.data.parts import Resized
from midframe.data.records import Clip, PartialClips
from midframe.errors import UserError

TREE = """\
  x4k_test/
    Type1/TEST01_003_f0433/0000.png 0001.png ... 0032.png       (5 scenes of each of 3 types, here
    Type2/...  Type3/...                                         or below test/)
The data set is X-TEST, the test part of X4K1000FPS of 'XVFI: eXtreme Video Frame Interpolation' \
(Sim et al., ICCV 2021)."""
_LAST = 32  # the frame that is the second input
_FACTOR = 8


@serves("x4k", (1,), "another benchmark, such as vimeo_septuplet")
def scenes(
    root: Path | None,
    split: str = "test",
    context: int = 1,
    *,
    size: Sequence[int] = (2160, 4096),
    halved: bool = False,
    on_error: OnError = "raise",
) -> Sequence[Clip]:
    """Index the scenes: frames 0 and 32 are the inputs, every fourth between them a target.

    Args:
        root: holds one folder per type with one folder of frames per scene, or ``test`` does.
        split: "test".
        context: 1.
        size: height and width that the frames in the files must have.
        halved: resize them by area to half of both sides, 2048x1080.
        on_error: "skip" leaves out scenes that lack one of the nine frames and counts them,
            "raise" stops.

    Raises:
        UserError: if the folder is missing or holds no scene, one is not whole, or frames have
            another size.
    """
    need_split("x4k", split, ("test",))
    root = need(root, TREE)
    base = root / "test" if (root / "test").is_dir() else root
    folders = [scene for kind in subfolders(base) for scene in subfolders(kind)]
    if not folders:
        raise UserError(f"{root}: no scene in it; set data.root to a folder like\n{TREE}")
    read = _half_of(size) if halved else ImageFile
    found: list[Clip] = []
    missing: list[str] = []
    for folder in folders:
        paths = [folder / f"{i:04d}.png" for i in range(0, _LAST + 1, _LAST // _FACTOR)]
        name = f"{folder.parent.name}/{folder.name}"
        if all(path.is_file() for path in paths):
            need_size(str(paths[0]), size, "X-TEST")
            frames = tuple(read(str(path)) for path in paths)
            found.append(Clip(name, frames, (0, _FACTOR), tuple(range(1, _FACTOR)), group=name))
        else:
            missing.append(name)
    count = report_missing("x4k", missing, len(folders), TREE, root, on_error)
    return PartialClips(found, count)


def _half_of(size: Sequence[int]) -> FrameType:
    height, width = size
    return lambda path: Resized(path, height // 2, width // 2)
