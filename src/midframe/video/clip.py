"""What a video is, without decoding it: a file, raw video, or pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from midframe.errors import UserError
from midframe.video.colour import MATRICES, RANGES, Colour
from midframe.video.format import Chroma, Format
from midframe.video.frame import Frame
from midframe.video.index import Times
from midframe.video.tags import Tags
from midframe.video.yuv import SUFFIX as RAW

LARGEST = 1 << 27  # pixels of a frame: 16384 by 8192
USUAL_RATE = Fraction(25)  # of what says none
PUBLISHED = "published"


class Source(Protocol):
    """Where frames come from."""

    def read(self, first: int = 0, last: int | None = None) -> Iterator[Frame]:
        """Yield frames from number ``first`` on, before ``last``."""
        ...


@dataclass(frozen=True)
class Reading:
    """What a person says about a video that it does not say itself.

    Attributes:
        size: of raw video, (width, height).
        depth: of raw video, bits.
        chroma: of raw video.
        matrix: of colours, in place of what the video says; of raw video also "published", see
            `colour.as_published`.
        range: of colours, likewise.
        rate: frames a second of pictures, raw video and files without times.
        threads: of the decoder, 0: as many as there are processors.
    """

    size: tuple[int, int] | None = None
    depth: int | None = None
    chroma: Chroma | None = None
    matrix: str | None = None
    range: str | None = None
    rate: Fraction | None = None
    threads: int = 0


@dataclass(frozen=True)
class Other:
    """A stream of a file that is not its video.

    Attributes:
        index: of the stream in the file.
        kind: "audio", "subtitle", "attachment", "cover" (a picture), "video" or "data".
        codec: FFmpeg's name of it.
        language: "" if not said.
    """

    index: int
    kind: str
    codec: str
    language: str = ""


@dataclass(frozen=True)
class Clip:
    """A video: what it is, and its frames.

    Attributes:
        path: a file, folder or pattern.
        kind: "media", "raw" or "pictures".
        format: of its frames.
        colour: what their numbers mean.
        times: when each is shown, in seconds from the start of the file (whichever stream starts
            it), exact and ascending.
        last: how long the last frame is shown, in seconds.
        rate: frames a second; None: they vary.
        start: what the file itself calls the time 0 of ``times``, in seconds.
        tags: what it says about itself.
        others: its other streams.
        chapters: how many it has.
        notes: of what is unusual, for people.
        source: of the frames.
    """

    path: Path
    kind: str
    format: Format
    colour: Colour
    times: Times
    last: Fraction
    rate: Fraction | None
    source: Source
    start: Fraction = Fraction(0)
    tags: Tags = Tags()
    others: Sequence[Other] = ()
    chapters: int = 0
    notes: Sequence[str] = field(default_factory=list)

    @property
    def duration(self) -> Fraction:
        """From the first frame's beginning to the last one's end, in seconds."""
        return self.times[-1] + self.last - self.times[0] if len(self.times) else Fraction(0)

    def __len__(self) -> int:
        return len(self.times)

    def read(self, first: int = 0, last: int | None = None) -> Iterator[Frame]:
        """Yield frames from number ``first`` on, before ``last``; one in memory at a time.

        Raises:
            UserError: naming a frame that cannot be decoded.
        """
        return self.source.read(first, last)


def open_clip(path: str | Path, reading: Reading | None = None) -> Clip:
    """Find out what a video is.

    Args:
        path: a file, a folder of pictures, or a pattern such as frames/%04d.png or 'a/*.png'.
        reading: what it does not say itself.

    Raises:
        UserError: if it is not a video, or one that cannot be read; says what to do.
    """
    path, reading = Path(path), reading or Reading()
    from midframe.video.clip_media import media_clip
    from midframe.video.clip_plain import pictures_clip, raw_clip
    from midframe.video.pictures import is_pattern

    if path.is_dir() or (is_pattern(path) and not path.is_file()):
        return pictures_clip(path, reading)
    if path.suffix.lower() == RAW:
        return raw_clip(path, reading)
    return media_clip(path, reading)


def told_colour(colour: Colour, reading: Reading) -> Colour:
    """Return a colour with what a person says in its place."""
    if reading.matrix not in (None, *MATRICES) or reading.range not in (None, *RANGES):
        raise UserError(
            f"matrix {reading.matrix}, range {reading.range}: give {', '.join(MATRICES)}; "
            f"{' or '.join(RANGES)}"
        )
    matrix = next((m for m in MATRICES if m == reading.matrix), colour.matrix)
    return Colour(matrix, next((r for r in RANGES if r == reading.range), colour.range))


def check_size(path: Path, form: Format) -> None:
    """Raise `UserError` for frames that would fill the memory."""
    if form.width * form.height > LARGEST:
        raise UserError(
            f"{path}: frames of {form.width}x{form.height} are too large; reduce the video to "
            f"{LARGEST >> 20} million pixels a frame"
        )
