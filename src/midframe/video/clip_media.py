"""Clips of video files: what a container and its first frames say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

from midframe.errors import UserError
from midframe.plain_text import plain
from midframe.video.clip import LARGEST, USUAL_RATE, Clip, Other, Reading, check_size, told_colour
from midframe.video.format import Format, format_of_pixels
from midframe.video.index import Index, agrees, index_decoded, index_packets, times_of
from midframe.video.native import to_planes
from midframe.video.reader import Media, decoded, opened, reason, video_of
from midframe.video.tags import FULL, LIMITED, Tags, colour_of, number_of, tags_of

_LOOKED_AT = 40  # frames that are decoded to see whether packets tell the truth
_ALPHA_BY_NAME = ("gif",)  # decoded with alpha whether there is any or not
_MOST = Fraction(9, 10)  # of what there should be: less is a file that was cut off
_LONGEST = 200  # characters of a language: anybody may have written the file
_KEPT = ("audio", "subtitle", "attachment", "data", "cover")


@dataclass(frozen=True)
class _Facts:
    """What a container says.

    Attributes:
        start: when the first of all streams begins, in seconds.
        rates: frames a second, the likeliest first.
        guessed: rate of frames that have no times.
        expected: how many frames there should be, 0 if it is not said.
        length: of the whole, in seconds, 0 if it is not said.
        end: of the video, in seconds, 0 if it is not said.
        others: streams.
        chapters: how many there are.
    """

    start: Fraction
    rates: Sequence[Fraction]
    guessed: Fraction
    expected: int
    length: Fraction
    end: Fraction
    others: Sequence[Other]
    chapters: int


def media_clip(path: Path, reading: Reading) -> Clip:
    """Return the clip of a video file; see `clip.open_clip`."""
    with opened(path) as container:
        stream = video_of(path, container)
        context = stream.codec_context
        if context.width * context.height > LARGEST:
            check_size(path, Format(min(context.width, 65_536), min(context.height, 65_536)))
        index, told = index_packets(path, container, stream)
        facts = _facts(container, stream)
    with opened(path) as container:
        stream = video_of(path, container)
        looked = _look(path, container, stream, reading)
        tags, notes = tags_of(container, stream, looked.first)
    form = looked.form
    by_name = tags.codec in _ALPHA_BY_NAME
    if by_name or not (told and agrees(index, looked.times, looked.complete, looked.damaged)):
        rate = reading.rate or facts.guessed
        index, opaque = _all_decoded(path, index, rate, form.alpha and by_name, reading)
        form = form.opaque if opaque else form
    return _clip_of(path, form, tags, index, facts, reading, notes)


def _clip_of(
    path: Path,
    form: Format,
    tags: Tags,
    index: Index,
    facts: _Facts,
    reading: Reading,
    notes: list[str],
) -> Clip:
    colour = told_colour(colour_of(tags, form), reading)
    start = Fraction(0) if index.counted else facts.start
    times = times_of(index, start, facts.rates)
    last = index.duration * index.unit
    if times.rate is not None:
        last = 1 / times.rate
    elif facts.end - start > times[-1]:
        last = facts.end - start - times[-1]
    elif last <= 0:
        last = times[-1] - times[-2] if len(times) > 1 else 1 / facts.guessed
    if reading.matrix and form.family != "rgb":
        tags = replace(tags, matrix=number_of(colour.matrix))
    if reading.range:
        tags = replace(tags, range=FULL if reading.range == "full" else LIMITED)
    end = times[-1] + last
    if index.cut or len(times) < _MOST * facts.expected:
        of = f" of {facts.expected}" if facts.expected > len(times) else ""
        notes.append(f"the file is cut short: {len(times)}{of} frames are there")
    elif end < _MOST * (facts.length - start):
        notes.append(
            f"the pictures end at {float(end):.2f} s of {float(facts.length):.2f} s: the file is "
            "cut short, or its sound is longer"
        )
    source = Media(path, form, colour, index, reading.threads)
    return Clip(
        path, "media", form, colour, times, last, times.rate, source,
        start, tags, facts.others, facts.chapters, [*notes, *index.notes],
    )  # fmt: skip


def _facts(container: Any, stream: Any) -> _Facts:
    rates = (stream.average_rate, stream.guessed_rate, stream.base_rate)
    return _Facts(
        _start(container),
        [rate for rate in rates if rate],
        stream.guessed_rate or USUAL_RATE,
        stream.frames,
        Fraction(container.duration or 0, 1_000_000),
        _end(container, stream),
        _others(container, stream),
        len(container.chapters()),
    )


@dataclass
class _Look:
    """What the first frames say."""

    first: Any
    form: Format
    times: list[int | None]
    complete: bool
    damaged: bool


def _look(path: Path, container: Any, stream: Any, reading: Reading) -> _Look:
    import av

    try:
        broken: list[None] = []
        packets = container.demux(stream)
        pictures = decoded(stream, packets, reading.threads, lambda: broken.append(None))
        first = next(pictures, None)
        if first is None:
            raise UserError(f"{path}: no frame could be decoded; remove it or export it again")
        form = format_of_pixels(first.format.name, first.width, first.height)
        check_size(path, form)
        times = [first.pts, *(p.pts for p in islice(pictures, _LOOKED_AT - 1))]
    except (av.FFmpegError, ValueError) as error:
        raise UserError(f"{path}: the video cannot be decoded ({reason(error)})") from error
    return _Look(first, form, times, len(times) < _LOOKED_AT, bool(broken))


def _all_decoded(
    path: Path, index: Index, rate: Fraction, look_at_alpha: bool, reading: Reading
) -> tuple[Index, bool]:
    """Return the index by decoding everything, and whether all frames are opaque."""
    opaque = look_at_alpha
    with opened(path) as container:
        stream = video_of(path, container)

        def times() -> Iterator[tuple[int | None, int]]:
            nonlocal opaque
            for picture in decoded(stream, container.demux(stream), reading.threads):
                if opaque and "a" in picture.format.name:
                    form = format_of_pixels(picture.format.name, picture.width, picture.height)
                    opaque = bool((_alpha(picture, form) == form.peak).all())
                yield picture.pts, picture.duration

        return index_decoded(times(), index, rate), opaque


def _alpha(picture: Any, form: Format) -> Any:
    return to_planes(picture, form)[-1]


def _others(container: Any, video: Any) -> list[Other]:
    from av.stream import Disposition

    found = []
    for stream in container.streams:
        kind = stream.type
        if kind == "video" and stream.disposition & Disposition.attached_pic:
            kind = "cover"
        if stream.index != video.index and (kind in _KEPT or kind == "video"):
            context = stream.codec_context
            codec = "" if context is None else context.codec.canonical_name
            language = plain(stream.language or "")[:_LONGEST]
            found.append(Other(stream.index, kind, codec, language))
    return found


def _start(container: Any) -> Fraction:
    """Return when the first of all streams begins, if that is later than 0."""
    starts = [
        s.start_time * s.time_base
        for s in container.streams
        if s.start_time is not None and s.time_base and s.type in ("video", "audio")
    ]
    return max(Fraction(0), min(starts, default=Fraction(0)))


def _end(container: Any, stream: Any) -> Fraction:
    """Return when the video ends, of MOV: its packets tell gaps of decoding.

    Its edit list does, in milliseconds as a rule.
    """
    if "mov" not in container.format.name or not stream.duration or stream.start_time is None:
        return Fraction(0)
    return (stream.start_time + stream.duration) * stream.time_base
