"""How a video is written: container, codec, samples and units of time, chosen with reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from midframe.errors import UserError, known_names
from midframe.video import codecs, pictures
from midframe.video.clip import Clip
from midframe.video.codecs import CONTAINERS, Encoder
from midframe.video.colour import Colour
from midframe.video.format import Format
from midframe.video.kept import FINEST, colours, losses, pace, time_base
from midframe.video.tags import FULL, Tags
from midframe.video.yuv import SUFFIX as RAW
from midframe.video.yuv import check_name

WRITTEN = (*CONTAINERS, ".gif", ".y4m", RAW)
# Where nothing but the codec can say the shape of pixels, and which codecs do.
_NO_ASPECT = ("matroska", "webm")
_ASPECT_WITHIN = ("h264", "hevc", "mpeg4")
_Y4M_CHROMAS = ("420", "422", "444")
_TURNED_WHEN_SHOWN = ("mp4", "mov", "matroska", "webm")
# What films are edited in stays it, though a decoder says more bits than an encoder takes.
_EDITED_IN = ("prores",)


@dataclass(frozen=True)
class Output:
    """What a person asks of the output.

    Attributes:
        codec: such as "h264", "hevc", "av1", "prores", "ffv1"; None: as the input, or the usual.
        quality: on the codec's own scale, of pictures 1 to 100; None: its usual.
        speed: "fast", "medium" or "slow".
        lossless: whether nothing may be lost.
        chroma: "420", "422" or "444"; None: as the input, and 420 where that was RGB.
        threads: of the encoder, 0: as many as there are processors.
    """

    codec: str | None = None
    quality: int | None = None
    speed: str = "medium"
    lossless: bool = False
    chroma: str | None = None
    threads: int = 0


@dataclass(frozen=True)
class Target:
    """How a video is written.

    Attributes:
        path: of the output.
        kind: "media", "gif", "y4m", "raw" or "pictures".
        muxer: FFmpeg's name of the container, "" if there is none.
        form: of the frames that are encoded.
        colour: what their numbers mean.
        tags: what the output says of itself.
        rate: frames a second; None: they vary.
        base: unit of the times, in seconds.
        pace: the rate, or about what it is, for encoders that weigh bits by time.
        encoder: of "media", else None.
        pixels: name of the pixel format that it takes.
        options: of the encoder.
        threads: of the encoder.
        quality: of pictures.
        words: what was chosen, and what cannot be kept, for people.
    """

    path: Path
    kind: str
    muxer: str
    form: Format
    colour: Colour
    tags: Tags
    rate: Fraction | None
    base: Fraction
    pace: Fraction = Fraction(25)
    encoder: Encoder | None = None
    pixels: str = ""
    options: Mapping[str, str] = ()  # type: ignore[assignment]
    threads: int = 0
    quality: int | None = None
    words: Sequence[str] = ()


def plan_output(
    clip: Clip,
    path: str | Path,
    rate: Fraction | None,
    output: Output | None = None,
    stretch: Fraction = Fraction(1),
    mean: Fraction | None = None,
) -> Target:
    """Choose how to write what is made of a clip.

    Args:
        clip: of the input.
        path: of the output: a file, a pattern such as out/%04d.png, or a folder.
        rate: frames a second, None: they vary.
        output: what is asked for.
        stretch: how many times longer it lasts.
        mean: frames a second of what has no rate; None: as the input.

    Raises:
        UserError: for a kind of file that is not written, and for what does not fit together.
    """
    path, output = Path(path), output or Output()
    if output.lossless and output.quality is not None:
        raise UserError("--quality is of what loses, --lossless loses nothing; give one of them")
    suffix = path.suffix.lower()
    if pictures.is_pattern(path) or path.is_dir() or not suffix:
        return _pictures(clip, path, rate, output)
    if suffix in pictures.SUFFIXES:
        raise UserError(f"{path}: is one picture; give a folder, or a pattern such as out/%04d.png")
    if suffix not in WRITTEN:
        raise UserError(f"{path}: not a kind of video that is written; {_known(suffix)}")
    if suffix in CONTAINERS:
        return _media(clip, path, rate, output, stretch, mean)
    if output.codec is not None:
        raise UserError(
            f"--codec {output.codec}: {suffix} files know no choice of it; leave it out"
        )
    return _plain(clip, path, rate, output, stretch)


def turns(path: str | Path) -> bool:
    """Whether a file of this name can say how players should turn its frames."""
    return CONTAINERS.get(Path(path).suffix.lower(), ("",))[0] in _TURNED_WHEN_SHOWN


def _known(suffix: str) -> str:
    return known_names(suffix, WRITTEN)


def _media(
    clip: Clip,
    path: Path,
    rate: Fraction | None,
    output: Output,
    stretch: Fraction,
    mean: Fraction | None,
) -> Target:
    muxer, usual = CONTAINERS[path.suffix.lower()]
    if muxer == "avi" and rate is None:
        raise UserError(f"{path}: AVI holds constant rates only; give --fps, or write .mkv or .mp4")
    wanted = _wanted(clip.format, output)
    encoder, words = _encoder(clip, path, usual, wanted, output)
    if wanted.family == "rgb" and not output.lossless and encoder.lossless != {}:
        # what loses anyway gets what players expect; more chroma is there to be asked for
        wanted = replace(wanted, family="yuv", chroma="444" if not encoder.scale else "420")
    form, pixels = codecs.nearest(encoder, wanted, muxer)
    colour, tags = colours(clip, form, encoder)
    words += losses(clip, form, colour, encoder)
    if encoder.even and form.family == "yuv" and form.chroma != "444":
        down, right = (2 if step > 1 else 1 for step in form.steps)
        padded = replace(form, width=_up(form.width, right), height=_up(form.height, down))
        if padded != form:
            words.append(
                f"{encoder.codec} takes even sizes: an edge is repeated, "
                f"{form.width}x{form.height} becomes {padded.width}x{padded.height}"
            )
        form = padded
    options = codecs.options_of(
        encoder, form, tags, quality=output.quality, speed=output.speed, lossless=output.lossless
    )
    if muxer == "avi" and encoder.codec == "h264":
        options["bf"] = "0"  # AVI has no times, so frames have to come in order
    if (tags.mastering or tags.light) and not codecs.hdr_options(encoder, tags):
        words.append(f"HDR mastering data are not kept: {encoder.codec} here cannot hold them")
    if tags.aspect not in (None, 1) and muxer in _NO_ASPECT and encoder.codec not in _ASPECT_WITHIN:
        words.append(f"the shape of pixels, {tags.aspect}, is not kept: {encoder.codec} has none")
    how = "lossless" if output.lossless or encoder.lossless == {} else f"{_scale(encoder, options)}"
    words.insert(0, f"{encoder.codec} ({encoder.name}{how and ', ' + how}), {form}")
    base = time_base(clip, rate, stretch, 65_535 if encoder.codec == "mpeg4" else FINEST)
    if muxer == "avi" and rate is not None:
        base = 1 / rate
    return Target(
        path, "media", muxer, form, colour, tags, rate, base, pace(clip, rate, mean), encoder,
        pixels, options,
        output.threads, output.quality, words,
    )  # fmt: skip


def _scale(encoder: Encoder, options: Mapping[str, str]) -> str:
    name = encoder.scale.removesuffix("min")
    return f"{name} {options[encoder.scale]}" if encoder.scale in options else ""


def _wanted(form: Format, output: Output) -> Format:
    """Return what the encoder should take: the input's format, or RGB as players expect it."""
    if output.chroma is not None:
        if output.chroma not in _Y4M_CHROMAS:
            raise UserError(f"chroma {output.chroma}: give one of {', '.join(_Y4M_CHROMAS)}")
        chroma: Any = output.chroma
        return replace(form, family="yuv", chroma=chroma)
    return form


def _encoder(
    clip: Clip, path: Path, usual: Sequence[str], wanted: Format, output: Output
) -> tuple[Encoder, list[str]]:
    """Return the encoder: the one asked for, the input's own, or the first that loses least."""
    suffix = path.suffix.lower()
    if output.codec is not None:
        encoder = codecs.encoder_for(output.codec)
        if encoder.codec not in usual:
            raise UserError(
                f"codec {output.codec}: {suffix} takes {', '.join(usual)}; choose one of these, "
                "or another suffix"
            )
        if min(wanted.width, wanted.height) < encoder.least:
            raise UserError(
                f"{encoder.codec} takes sides of {encoder.least} pixels and more here, not "
                f"{wanted.width}x{wanted.height}; choose another codec"
            )
        return encoder, []
    own, here = clip.tags.codec, {e.codec: e for e in codecs.ENCODERS if codecs.there(e)}
    able = [name for name in usual if name in here]
    names = [own] if own in able else []
    if (own in codecs.LOSSLESS_CODECS or output.lossless) and not names:
        names = [name for name in ("ffv1", "qtrle", "png") if name in able][:1]
        if own in ("", "gif", "rawvideo") and not output.lossless:
            names = []  # files without compression are no wish for lossless ones
    choices = [here[name] for name in dict.fromkeys([*names, *able])]
    choices = [e for e in choices if e.least <= min(wanted.width, wanted.height)]
    if output.lossless:
        choices = [e for e in choices if e.lossless is not None]
    elif not names:  # what loses nothing makes large files: only for those who ask, or have some
        choices = [e for e in choices if e.lossless != {}]
    if not choices:
        kind = "lossless encoder" if output.lossless else "encoder"
        raise UserError(
            f"{path}: this build of PyAV has no {kind} for {suffix}; choose another suffix"
        )

    def lost(encoder: Encoder) -> tuple[int, ...]:
        found = codecs.nearest(encoder, wanted, CONTAINERS[suffix][0])[0]
        alpha, bits, family, chroma = codecs.loss(wanted, found)[:4]
        if not output.lossless and wanted.family != "yuv":
            family = chroma = 0  # RGB becomes YUV without a word to be said of codecs
        return alpha, bits, family, chroma

    best = min(choices, key=lost)
    if names and own in _EDITED_IN and lost(here[own])[0] <= lost(best)[0]:
        best = here[own]
    words = []
    if names and best.codec != names[0]:
        words.append(f"{names[0]} is not used: {best.codec} loses less of {wanted}")
    elif own and own not in able and best.codec != own:
        words.append(f"{own} cannot be written to {suffix} here")
    return best, words


def _plain(
    clip: Clip, path: Path, rate: Fraction | None, output: Output, stretch: Fraction
) -> Target:
    """Choose for files without a codec: .gif, .y4m and .yuv."""
    suffix, given = path.suffix.lower(), clip.format
    words: list[str] = []
    base = 1 / rate if rate is not None else time_base(clip, rate, stretch, FINEST)
    if suffix == ".gif":
        form = Format(given.width, given.height, 8, "444", "rgb", given.alpha)
        words.append("a GIF has 256 colours: frames are not exactly those of the input")
        if rate is not None and rate > 50:
            words.append(f"{rate} frames a second: viewers slow GIFs of more than 50 down")
        base = Fraction(1, 100)
    else:
        if rate is None:
            raise UserError(
                f"{path}: {suffix} files hold constant rates only; give --fps, or write .mkv"
            )
        form = replace(_wanted(given, output), alpha=False)
        if form.family != "yuv" or form.chroma not in _Y4M_CHROMAS or form.depth == 9:
            chroma: Any = form.chroma if form.family == "yuv" else "420"
            if chroma not in _Y4M_CHROMAS:
                chroma = "444"
            form = replace(form, family="yuv", chroma=chroma, depth=max(form.depth, 8))
            form = replace(form, depth=10) if form.depth == 9 else form
        if suffix == RAW:
            check_name(path, form)
    colour, tags = colours(clip, form, None)
    words += losses(clip, form, colour, None)
    words.insert(0, f"{suffix[1:]}, {form}")
    kind = {".gif": "gif", ".y4m": "y4m"}.get(suffix, "raw")
    if clip.others:
        words.append(f"{suffix} files hold nothing but frames: sound and the like are left out")
    return Target(path, kind, "", form, colour, tags, rate, base, pace(clip, rate), words=words)


def _pictures(clip: Clip, path: Path, rate: Fraction | None, output: Output) -> Target:
    """Choose for pictures: PNG in a folder, or what a pattern says."""
    given, words = clip.format, []
    suffix = path.suffix.lower() if pictures.is_pattern(path) else ".png"
    if pictures.is_pattern(path) and pictures.name_of(path, 0) == path.name:
        raise UserError(f"{path}: give a pattern with a number, such as %04d{suffix}")
    if output.codec is not None:
        raise UserError(f"--codec {output.codec} is for videos; the suffix says a picture's kind")
    if output.lossless and suffix in pictures.LOSSY:
        raise UserError(f"{path}: {suffix} is not lossless; use .png")
    deep = given.depth > 8 and suffix in pictures.DEEP
    alpha = given.alpha and suffix in pictures.CLEAR
    family: Any = "gray" if given.family == "gray" and not alpha else "rgb"
    form = Format(given.width, given.height, 16 if deep else 8, "444", family, alpha)
    colour = Colour("bt601", "full")
    words += losses(clip, form, clip.colour if given.family == "yuv" else colour, None)
    words.insert(0, f"pictures ({suffix}), {form}")
    if clip.others:
        words.append("pictures hold no sound and the like: these are left out")
    base = 1 / rate if rate is not None else Fraction(1, FINEST)
    return Target(
        path, "pictures", suffix, form, colour, Tags(range=FULL), rate, base,
        quality=output.quality, words=words,
    )  # fmt: skip


def _up(side: int, step: int) -> int:
    return -(-side // step) * step
