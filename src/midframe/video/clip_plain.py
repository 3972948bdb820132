"""Clips without a container: pictures and raw video, whose times are a rate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from midframe.video.clip import PUBLISHED, USUAL_RATE, Clip, Reading, check_size, told_colour
from midframe.video.colour import Colour, published_colour, usual_colour
from midframe.video.format import Format
from midframe.video.frame import Frame
from midframe.video.index import even_times
from midframe.video.pictures import Pictures, find, read_picture
from midframe.video.tags import FULL, LIMITED, Tags, number_of
from midframe.video.yuv import YuvReader, facts_of_name, format_of


def pictures_clip(path: Path, reading: Reading) -> Clip:
    """Return the clip of a folder or pattern of pictures; see `clip.open_clip`."""
    paths, notes = find(path)
    form = read_picture(paths[0]).format
    check_size(path, form)
    rate = reading.rate or USUAL_RATE
    if reading.rate is None:
        notes.append(f"pictures say no rate; {rate} a second are assumed")
    source = Pictures(paths, form)
    times = even_times(len(paths), rate)
    tags = Tags(range=FULL, matrix=0 if form.family == "rgb" else 2, primaries=1, transfer=13)
    return Clip(
        path, "pictures", form, source.colour, times, 1 / rate, rate, source, tags=tags, notes=notes
    )


@dataclass(frozen=True)
class _Raw:
    """The frames of a raw video."""

    path: Path
    form: Format
    colour: Colour

    def read(self, first: int = 0, last: int | None = None) -> Iterator[Frame]:
        with YuvReader(self.path, self.form) as reader:
            for number in range(first, reader.frames if last is None else min(last, len(reader))):
                yield Frame(self.form, reader.read(number).planes, self.colour)


def raw_clip(path: Path, reading: Reading) -> Clip:
    """Return the clip of a raw video; see `clip.open_clip`."""
    form = format_of(path, reading.size, reading.depth, reading.chroma)
    check_size(path, form)
    notes = []
    with YuvReader(path, form) as reader:
        count, left_over = reader.frames, reader.left_over
    if left_over:
        notes.append(
            f"{left_over} bytes behind the last whole frame are left out; where the picture is "
            "wrong, give size, depth and chroma"
        )
    colour = usual_colour(form)
    if reading.matrix == PUBLISHED:
        colour = published_colour(form)
    else:
        colour = told_colour(colour, reading)
    rate = reading.rate or facts_of_name(path).fps
    if rate is None:
        notes.append(f"raw video says no rate; {USUAL_RATE} frames a second are assumed")
    rate = rate or USUAL_RATE
    tags = Tags(range=FULL if colour.range == "full" else LIMITED, matrix=number_of(colour.matrix))
    source = _Raw(path, form, colour)
    times = even_times(count, rate)
    return Clip(path, "raw", form, colour, times, 1 / rate, rate, source, tags=tags, notes=notes)
