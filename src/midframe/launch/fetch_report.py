"""What `midframe fetch` tells of a data set: counts, a histogram of motion, example pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from midframe.data.cutting import Cutting, Shot, cut_clips, hold_out
from midframe.data.films import Film
from midframe.files import write_bytes, write_text
from midframe.picture import label, overlay

EDGES = (0, 2, 4, 8, 16, 32, 64, 96, 128, 256)  # pixels over the gap; the last is open
EXAMPLES = 4  # of each kind
WIDTH = 300  # pixels, of an example
_BAR, _ROW, _PAPER, _FULL = 420, 22, (24, 24, 24), (90, 170, 240)


@dataclass(frozen=True)
class Triplet:
    """Three frames in a row of a shot, and what becomes of them.

    Attributes:
        kind: "kept", "still" or "too fast".
        shot: that they are of.
        start: place of the first of them in the shot.
        pixels: how far they move over the gap, see `Shot.speed`.
    """

    kind: str
    shot: Shot
    start: int
    pixels: float


def triplets(shots: Sequence[Shot], motion: float, fastest: float | None) -> list[Triplet]:
    """Return all triplets of shots, still and too fast ones included."""
    found = []
    for shot in shots:
        for start in range(len(shot.frames) - 2):
            step = slice(start + 1, start + 3)
            pixels = sum(shot.speed[step])
            kind = "kept"
            if sum(shot.motion[step]) < motion:
                kind = "still"
            elif fastest is not None and pixels > fastest:
                kind = "too fast"
            found.append(Triplet(kind, shot, start, pixels))
    return found


def write(
    folder: Path,
    films: Sequence[Film],
    shots: Mapping[str, Sequence[Shot]],
    options: Any,
    photographs: Sequence[Film] = (),
) -> Path:
    """Write the report, `README.md` and its pictures, into a folder; returns the page.

    Args:
        folder: is made if need be.
        films: where the shots come from, with their licences.
        shots: of each film by its name, the file's without its ending.
        options: of the layout: motion, fastest, val_share.
        photographs: that were taken out beside the films.
    """
    found = {n: triplets(s, options.motion, options.fastest) for n, s in shots.items()}
    every = [one for some in found.values() for one in some]
    lines = [
        "# data=open: what it is made of\n",
        "| film | frames | shots | triplets | still | too fast | kept | of them held out |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, some in found.items():
        counts = {k: sum(one.kind == k for one in some) for k in ("still", "too fast", "kept")}
        held = _held(shots[name], options)
        frames = sum(len(shot.frames) for shot in shots[name])
        lines.append(
            f"| {name} | {frames:,} | {len(shots[name]):,} | {len(some):,} | {counts['still']:,} "
            f"| {counts['too fast']:,} | {counts['kept']:,} | {held:,} |"
        )
    lines += [
        f"\nFrames are without repeats. Still: the busiest block changes by less than "
        f"{options.motion:g} grey levels from the first to the third. Too fast: 95 % of the pixels "
        f"move up to more than {options.fastest:g} pixels. Whole shots are held out.\n",
        "![Motion of the triplets](motion.png)\n",
        "![Examples: what is kept, still and too fast](examples.png)\n",
        *_licences("film", films),
    ]
    if photographs:
        lines += ["\n## Photographs, for data=synthetic\n", *_licences("photograph", photographs)]
    _save(folder / "motion.png", histogram([one.pixels for one in every if one.kind != "still"]))
    _save(folder / "examples.png", examples(every))
    page = folder / "README.md"
    write_text(page, "\n".join(lines) + "\n")
    print("\n".join(line for line in lines if line.startswith("|")))
    return page


def _licences(title: str, files: Sequence[Film]) -> list[str]:
    rows = [
        f"| {Path(one.file).stem} | {one.licence} | {one.credit} "
        f"| {one.package.name} {one.package.version} |"
        for one in files
    ]
    return [f"| {title} | licence | credit | from |", "|---|---|---|---|", *rows]


def _held(shots: Sequence[Shot], options: Any) -> int:
    how = Cutting(motion=options.motion, fastest=options.fastest)
    _, val = hold_out(shots, options.val_share, how)
    return sum(len(cut_clips(shot, 1, how)) for shot in val)


def histogram(pixels: Sequence[float]) -> np.ndarray:
    """Draw how many triplets move how far; returns a picture (h, w, 3) uint8 RGB."""
    counts, _ = np.histogram(pixels, [*EDGES, np.inf])
    ends = [*(f"{a} to {b}" for a, b in zip(EDGES, EDGES[1:])), f"over {EDGES[-1]}"]
    picture = np.full((_ROW * (len(counts) + 1), _BAR + 260, 3), _PAPER, np.uint8)
    strip = label(picture.shape[1], "pixels over the gap, triplets that are not still")
    picture[: strip.shape[0]] = strip
    for row, (end, count) in enumerate(zip(ends, counts), start=1):
        top = row * _ROW
        line = label(picture.shape[1], f"{end:>10}   {count:,}")
        picture[top : top + line.shape[0]] = line
        length = round(_BAR * count / max(counts.max(), 1))
        picture[top + 3 : top + _ROW - 5, 200 : 200 + length] = _FULL
    return picture


def examples(found: Sequence[Triplet]) -> np.ndarray:
    """Draw some triplets of each kind: first and last frame laid over each other."""
    rows = []
    for kind in ("kept", "still", "too fast"):
        some = [one for one in found if one.kind == kind]
        places = np.linspace(0, len(some) - 1, EXAMPLES + 2).round().astype(int)[1:-1]
        tiles = [_tile(some[place]) for place in places] if some else []
        tiles += [np.full_like(_blank(), 24)] * (EXAMPLES - len(tiles))
        rows += [label(EXAMPLES * WIDTH, f"{kind}: {len(some):,}"), np.concatenate(tiles, 1)]
    return np.concatenate(rows)


def _blank() -> np.ndarray:
    return np.zeros((WIDTH * 9 // 16 + label(WIDTH, "").shape[0], WIDTH, 3), np.uint8)


def _tile(one: Triplet) -> np.ndarray:
    first, last = (one.shot.frames[one.start + i].read() for i in (0, 2))
    both = overlay(first, last)
    height = WIDTH * 9 // 16
    scale = min(WIDTH / both.shape[1], height / both.shape[0])
    size = round(both.shape[1] * scale), round(both.shape[0] * scale)
    tile = np.full((height, WIDTH, 3), 24, np.uint8)
    tile[: size[1], : size[0]] = cv2.resize(both, size, interpolation=cv2.INTER_AREA)
    text = f"{one.shot.name}, frame {one.shot.index[one.start]}: {one.pixels:.0f} px"
    return np.concatenate([tile, label(WIDTH, text)])


def _save(path: Path, picture: np.ndarray) -> None:
    _, data = cv2.imencode(".png", picture[:, :, ::-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, data.tobytes())
