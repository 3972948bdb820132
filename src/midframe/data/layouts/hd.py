"""HD: 11 raw videos of three sizes, every second frame of which is predicted, for evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from midframe.data.layouts.folders import (
    OnError,
    need,
    need_split,
    report_missing,
    serves,
    subfolders,
)
from midframe.data.records import Clip, PartialClips
from midframe.data.yuv_frames import YuvPicture
from midframe.errors import UserError
from midframe.video.colour import Colour, Matrix
from midframe.video.yuv import SUFFIX, YuvFormat, YuvReader, facts_of_name

TREE = """\
  hd/
    HD1080p_GT/*.yuv      (4 raw videos, 8 bit 4:2:0, 1920x1080)
    HD720p_GT/*.yuv       (3, 1280x720)
    HD544p_GT/*.yuv       (4, 1280x544)
Folders need 1080p, 720p and 544p in their names. The data set is HD of 'MEMC-Net' (Bao et al., \
TPAMI 2019), whose project offers it, as that of DAIN does."""
VIDEOS = {"1080p": 4, "720p": 3, "544p": 4}
SIZES: Mapping[str, Sequence[int]] = MappingProxyType(
    {"1080p": (1080, 1920), "720p": (720, 1280), "544p": (544, 1280)}
)


@serves("hd", (1,), "another benchmark, such as vimeo_septuplet")
def videos(
    root: Path | None,
    split: str,
    context: int = 1,
    *,
    sizes: Mapping[str, Sequence[int]] = SIZES,
    frames: int = 100,
    matrix: Matrix = "bt709",
    on_error: OnError = "raise",
) -> Sequence[Clip]:
    """Index the frames 1, 3, 5 ... of each video, from those before and after them.

    Args:
        root: holds a folder for every size, with "1080p", "720p" or "544p" in its name.
        split: one of these three.
        context: 1.
        sizes: height and width of the frames of each split.
        frames: of each video that are used, from the first on.
        matrix: what the videos' colours are converted by, limited range.
        on_error: "skip" counts the videos that are not there, "raise" stops.

    Raises:
        UserError: if the folder is missing, there are fewer or more videos than the set has, or the
            name of one says another size.
    """
    need_split("hd", split, VIDEOS)
    root = need(root, TREE)
    folder = next((f for f in subfolders(root) if split in f.name), None)
    there = sorted(p for p in folder.iterdir() if p.suffix == SUFFIX) if folder else []
    listed = VIDEOS[split]
    if len(there) > listed:
        raise UserError(
            f"{folder}: {len(there)} videos, but the set has {listed}; leave only those of it"
        )
    lacking = [f"{split}, video {i + 1} of {listed}" for i in range(len(there), listed)]
    count = report_missing("hd", lacking, listed, TREE, root, on_error)
    height, width = sizes[split]
    form, colour = YuvFormat(width, height), Colour(matrix)
    found: list[Clip] = []
    for path in there:
        _check(path, form)
        with YuvReader(path, form) as reader:
            last = min(frames, reader.frames) - 1
        for number in range(1, last, 2):
            part = tuple(
                YuvPicture(str(path), i, form, colour) for i in range(number - 1, number + 2)
            )
            found.append(Clip(f"{path.stem}/{number:03d}", part, (0, 2), (1,), group=path.stem))
    return PartialClips(found, count)


def _check(path: Path, form: YuvFormat) -> None:
    said = facts_of_name(path).size
    if said not in (None, (form.width, form.height)):
        raise UserError(
            f"{path}: its name says another size than {form.width}x{form.height}, which its "
            "folder has; put it into the folder of its size"
        )
