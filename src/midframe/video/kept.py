"""What a way of writing keeps of a clip: colours, samples, times; and what it cannot keep."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import lcm

from midframe.video.clip import Clip
from midframe.video.codecs import Encoder
from midframe.video.colour import HD_HEIGHT, Colour
from midframe.video.format import Format
from midframe.video.tags import FULL, LIMITED, Tags, number_of

FINEST = 1_000_000  # units of time in a second
_MULTIPLES = (720, 120, 24, 12, 4, 2, 1)


def colours(clip: Clip, form: Format, encoder: Encoder | None) -> tuple[Colour, Tags]:
    """Return what numbers of the output mean, and its tags: the input's wherever possible."""
    given, tags, colour = clip.format, clip.tags, clip.colour
    plain = Colour(colour.matrix, colour.range)  # nothing is written "as published"
    full_only = encoder is not None and encoder.codec == "mjpeg"
    if form.family == "rgb":
        return plain, replace(tags, matrix=0, range=FULL)
    if given.family == "rgb":
        hd = form.height >= HD_HEIGHT
        plain = Colour("bt709" if hd else "bt601", "full" if full_only else "limited")
        if tags.primaries == 9:
            plain = replace(plain, matrix="bt2020")
        tags = replace(tags, matrix=number_of(plain.matrix))
    elif full_only:
        plain = replace(plain, range="full")
    elif given.family == "gray" and form.family == "yuv":
        tags = replace(tags, matrix=number_of(plain.matrix) if tags.matrix == 0 else tags.matrix)
    said = FULL if plain.range == "full" else LIMITED
    if said != LIMITED or tags.range or given.family == "rgb":
        tags = replace(tags, range=said)
    return plain, tags


def losses(clip: Clip, form: Format, colour: Colour, encoder: Encoder | None) -> list[str]:
    """Return words for what frames of ``form`` lack of a clip's."""
    given, words = clip.format, []
    name = "this kind of file" if encoder is None else encoder.codec
    if given.alpha and not form.alpha:
        words.append(f"transparency is not kept: {name} has none here")
    if form.depth < given.depth:
        words.append(f"{given.depth} bits become {form.depth}, rounded: {name} holds no more here")
    if given.family == "rgb" and form.family == "yuv":
        words.append(f"RGB becomes YUV {form.chroma}, {colour}")
    elif given.family == "yuv" and form.family == "rgb":
        words.append(f"YUV ({colour}) becomes RGB; not every value has one")
    elif given.family == form.family == "yuv" and form.chroma != given.chroma:
        words.append(f"chroma {given.chroma} becomes {form.chroma}")
    if given.family == "yuv" and form.family == "yuv" and colour.range != clip.colour.range:
        words.append(f"{clip.colour.range} range becomes {colour.range}, as {name} has it")
    return words


def time_base(clip: Clip, rate: Fraction | None, stretch: Fraction, finest: int) -> Fraction:
    """Return a unit that the times of the output are whole numbers of, or finer than eyes see."""
    first = clip.times[0] * stretch if len(clip.times) else Fraction(0)
    if rate is not None:
        exact = lcm(first.denominator, rate.numerator)
        if exact <= finest:
            return Fraction(1, exact)
        return 1 / rate if rate.numerator <= finest else Fraction(1, finest)
    grid = lcm(clip.times.grid, stretch.denominator)
    multiple = next((m for m in _MULTIPLES if grid * m <= finest), 0)
    return Fraction(1, grid * multiple if multiple else finest)


def pace(clip: Clip, rate: Fraction | None, mean: Fraction | None = None) -> Fraction:
    """Return frames a second, about, where they vary: ``mean`` of the output, or the input's."""
    if rate is not None:
        return rate
    if mean is None:
        mean = len(clip) / clip.duration if clip.duration else Fraction(25)
    return min(max(mean, Fraction(1)), Fraction(240)).limit_denominator(1001)
