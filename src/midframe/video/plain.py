"""Parts become files without a codec: raw video, Y4M, GIF and pictures."""

from __future__ import annotations

import shutil
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np

from midframe.files import aside_of, new_folder, remove_leftovers
from midframe.video import gif, pictures
from midframe.video.format import Format
from midframe.video.tags import FULL
from midframe.video.target import Target
from midframe.video.writer import Part

_PALETTE_FRAMES = 16  # that the colours of a GIF are taken from
_LEAST_DELAY = 2  # hundredths of a second; viewers take 10 for what is less
_OPAQUE = 128  # alpha below this is transparent in a GIF
_Y4M_NAMES = {"420": "420jpeg", "422": "422", "444": "444"}


def write_raw(parts: Sequence[Part], target: Target, path: Path, last: Fraction | None) -> None:
    """Write planes behind each other."""

    def fill(file: IO[bytes]) -> None:
        for part in parts:
            for _, data, _ in part.payloads():
                file.write(data)

    _whole(path, fill)


def write_y4m(parts: Sequence[Part], target: Target, path: Path, last: Fraction | None) -> None:
    """Write YUV4MPEG2: a line of text, then the planes of each frame behind a word."""
    form, tags, rate = target.form, target.tags, target.rate
    assert rate is not None
    chroma = _Y4M_NAMES[form.chroma] if form.depth == 8 else f"{form.chroma}p{form.depth}"
    aspect = tags.aspect or Fraction(0)
    ratio = f"{aspect.numerator}:{aspect.denominator}" if aspect else "0:0"
    full = "FULL" if tags.range == FULL else "LIMITED"
    head = (
        f"YUV4MPEG2 W{form.width} H{form.height} F{rate.numerator}:{rate.denominator} Ip A{ratio} "
        f"C{chroma} XCOLORRANGE={full}\n"
    )

    def fill(file: IO[bytes]) -> None:
        file.write(head.encode())
        for part in parts:
            for _, data, _ in part.payloads():
                file.write(b"FRAME\n" + data)

    _whole(path, fill)


def write_pictures(
    parts: Sequence[Part], target: Target, path: Path, last: Fraction | None
) -> None:
    """Write a folder of pictures, or pictures of a pattern, numbered from 0."""
    every = (data for part in parts for _, data, _ in part.payloads())
    if pictures.is_pattern(path):
        _write_pattern(every, path)
        return
    count = sum(len(part.packets) for part in parts)
    digits = max(6, len(str(count)))
    with new_folder(path.resolve()) as folder:
        for number, data in enumerate(every):
            (folder / f"{number:0{digits}d}.png").write_bytes(data)


def _write_pattern(every: Iterable[bytes], path: Path) -> None:
    """Write all pictures aside before the first gets its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    aside = aside_of(path.with_name(".pictures"))
    aside.mkdir()
    try:
        names = []
        for number, data in enumerate(every):
            names.append(pictures.name_of(path, number))
            (aside / names[-1]).write_bytes(data)
        for name in names:
            (aside / name).replace(path.with_name(name))
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_gif_parts(
    parts: Sequence[Part], target: Target, path: Path, last: Fraction | None
) -> None:
    """Write a GIF: one palette for all, times in hundredths of a second, rounded without drift."""
    form = target.form
    times = [packet.time for part in parts for packet in part.packets]
    shown = times[-1] - times[-2] if len(times) > 1 else 10
    if last is not None:
        shown = round(last / target.base)
    ends = [*times[1:], times[-1] + max(shown, _LEAST_DELAY)]
    delays = [max(_LEAST_DELAY, end - time) for time, end in zip(times, ends)]
    step = max(1, len(times) // _PALETTE_FRAMES)
    chosen = [image for n, (image, _) in enumerate(_images(parts, form)) if n % step == 0]
    made = gif.Palette(chosen[: _PALETTE_FRAMES + 1], clear=form.alpha)

    def fill(file: IO[bytes]) -> None:
        file.write(made.head(form.width, form.height, loop=len(times) > 1))
        for (image, alpha), delay in zip(_images(parts, form), delays):
            clear = None if alpha is None else alpha < _OPAQUE
            file.write(made.frame(image, delay, clear))
        file.write(b"\x3b")

    _whole(path, fill)


def _images(parts: Sequence[Part], form: Format) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yield pictures (h, w, 3) uint8 and their alpha."""
    for part in parts:
        for _, data, _ in part.payloads():
            planes = np.frombuffer(zlib.decompress(data), np.uint8)
            planes = planes.reshape(-1, form.height, form.width)
            yield np.stack(list(planes[:3]), -1), planes[3] if form.alpha else None


def _whole(path: Path, fill: Callable[[IO[bytes]], Any]) -> None:
    """Write a file aside and rename it."""
    final = path.resolve()
    final.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(final.parent)
    aside = aside_of(final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}"))
    try:
        with aside.open("wb") as file:
            fill(file)
        aside.replace(final)
    finally:
        aside.unlink(missing_ok=True)
