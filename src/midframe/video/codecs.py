"""Which encoders there are, what they hold, and how they are told quality and speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from midframe.errors import UserError, known_names
from midframe.video.format import Format, format_of_pixels
from midframe.video.tags import Mastering, Tags

SPEEDS = ("fast", "medium", "slow")


@dataclass(frozen=True)
class Encoder:
    """An encoder of FFmpeg.

    Attributes:
        codec: FFmpeg's name of what it makes.
        name: of the encoder.
        scale: its option for quality; "" where it has none.
        quality: its best and worst values, and what is used unless another is asked for; small
            numbers are good ones.
        speeds: options by speed.
        lossless: options that lose nothing; None: it cannot. Empty: it never loses anything.
        even: whether sides must be even where chroma is halved.
        options: always set.
        pixels: the only pixel formats to use; empty: all that it says.
        least: shortest side of a frame.
    """

    codec: str
    name: str
    scale: str = "crf"
    quality: tuple[int, int, int] = (0, 51, 16)
    speeds: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    lossless: Mapping[str, str] | None = None
    even: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    pixels: Sequence[str] = ()
    least: int = 1


def _presets(option: str, *values: str) -> dict[str, dict[str, str]]:
    return {speed: {option: value} for speed, value in zip(SPEEDS, values)}


_FREE = "2000M"  # bits a second, of encoders whose rate would otherwise decide
_VP9 = {"row-mt": "1", "b": "0", "tile-columns": "1"}
_VPX = {
    speed: {"deadline": "good", "cpu-used": used} for speed, used in zip(SPEEDS, ("6", "4", "2"))
}
ENCODERS = (
    Encoder(
        *("h264", "libx264", "crf", (0, 51, 16), _presets("preset", "veryfast", "medium", "slow")),
        lossless={"qp": "0"},
        even=True,
    ),
    Encoder(
        *("hevc", "libx265", "crf", (0, 51, 18), _presets("preset", "ultrafast", "medium", "slow")),
        lossless={"x265-params": "lossless=1"},
        even=True,
        options={"x265-params": "log-level=error"},
        pixels=[f"yuv{c}p{d}" for c in (420, 422, 444) for d in ("", "10le", "12le")]
        + ["gbrp", "gbrp10le", "gbrp12le", "gray", "gray10le", "gray12le"],
    ),
    Encoder(
        *("av1", "libsvtav1", "crf", (1, 63, 22), _presets("preset", "10", "7", "4")),
        least=48,  # of less than 32 it never ends
    ),
    Encoder("vp9", "libvpx-vp9", "crf", (0, 63, 20), _VPX, {"lossless": "1"}, options=_VP9),
    Encoder("vp8", "libvpx", "crf", (4, 63, 8), _VPX, options={"b": "50M"}),
    Encoder("mpeg4", "mpeg4", "qmin", (1, 31, 2), options={"bf": "0", "b": _FREE}),
    Encoder(
        *("mjpeg", "mjpeg", "qmin", (1, 31, 2)),
        options={"b": _FREE},
        pixels=("yuv420p", "yuv422p", "yuv444p"),
    ),
    Encoder("prores", "prores_ks", "", options={"vendor": "apl0"}),
    Encoder("ffv1", "ffv1", "", lossless={}, options={"level": "3", "slicecrc": "1"}),
    Encoder("qtrle", "qtrle", "", lossless={}, pixels=("rgb24", "argb")),
    Encoder("png", "png", "", lossless={}),
)
# What each container takes, the usual first. Codecs that others often cannot play come last.
CONTAINERS: dict[str, tuple[str, tuple[str, ...]]] = {
    ".mp4": ("mp4", ("h264", "hevc", "av1", "vp9", "mpeg4")),
    ".m4v": ("mp4", ("h264", "hevc", "av1", "mpeg4")),
    ".mov": ("mov", ("h264", "hevc", "prores", "qtrle", "png", "mpeg4", "mjpeg")),
    ".mkv": (
        "matroska",
        ("h264", "hevc", "av1", "vp9", "ffv1", "prores", "mpeg4", "vp8", "mjpeg"),
    ),
    ".webm": ("webm", ("vp9", "av1", "vp8")),
    ".avi": ("avi", ("mpeg4", "h264", "ffv1", "mjpeg")),
}
_ALPHA_BESIDE = ("matroska", "webm")  # of VP8 and VP9 it is a second stream beside packets
LOSSLESS_CODECS = {
    *("ffv1", "qtrle", "png", "apng", "huffyuv", "ffvhuff", "utvideo", "rawvideo", "v210"),
    *("magicyuv", "lagarith", "flashsv", "gif"),
}


def encoder_for(name: str) -> Encoder:
    """Return an encoder by its name or its codec's: h264, libx264, h265, av1, prores ...

    Raises:
        UserError: for another, or one that this build of PyAV has not.
    """
    plain = name.lower().replace(".", "").replace("-", "")
    alias = {"h265": "hevc", "x264": "h264", "x265": "hevc", "avc": "h264", "mpeg4": "mpeg4"}
    plain = alias.get(plain, plain)
    for encoder in ENCODERS:
        if plain in (encoder.codec, encoder.name.replace("-", "")):
            if not there(encoder):
                raise UserError(
                    f"codec {name}: this build of PyAV lacks its encoder {encoder.name}; choose "
                    f"one of {', '.join(e.codec for e in ENCODERS if there(e))}"
                )
            return encoder
    raise UserError(f"codec {name}: not known; {known_names(name, [e.codec for e in ENCODERS])}")


@cache
def _formats(name: str) -> tuple[str, ...]:
    import av
    from av.codec.codec import UnknownCodecError

    try:
        codec = av.Codec(name, "w")
    except UnknownCodecError:
        return ()
    return tuple(form.name for form in codec.video_formats or ())


def there(encoder: Encoder) -> bool:
    """Whether this build of PyAV has an encoder."""
    return bool(_formats(encoder.name))


def held(encoder: Encoder, form: Format) -> list[tuple[Format, str]]:
    """Return the formats that an encoder takes of this size, with the names of their pixels."""
    found: dict[Format, str] = {}
    for name in encoder.pixels or _formats(encoder.name):
        if name.startswith(("yuvj", "nv", "pal", "mono", "rgb555", "yaf", "grayf", "gbrpf")):
            continue
        planar = format_of_pixels(name, form.width, form.height)
        if planar not in found or planar.pixel_format == name:
            found[planar] = name
    return list(found.items())


def loss(form: Format, other: Format) -> tuple[int, ...]:
    """Return what is lost from one format to another, gravest first: alpha, bits, family, chroma.

    What is gained for nothing comes last, so that the least is the nearest.
    """
    family = 0
    if form.family != other.family:
        family = {"rgb": 2, "gray": 1, "yuv": 9 if other.family == "gray" else 1}[form.family]
    grey = form.family == "gray"
    return (
        int(form.alpha and not other.alpha),
        max(0, form.depth - other.depth),
        family,
        0 if grey else _thinner(form, other),
        max(0, other.depth - form.depth),
        _thinner(other, form),
        int(other.alpha and not form.alpha),
    )


def nearest(encoder: Encoder, form: Format, muxer: str) -> tuple[Format, str]:
    """Return the format nearest to one that an encoder takes, and the name of its pixels.

    Args:
        encoder: that takes it.
        form: what there is.
        muxer: container that it is for, which may have no place for transparency.
    """
    known = held(encoder, form)
    if encoder.name.startswith("libvpx") and muxer not in _ALPHA_BESIDE:
        known = [(other, name) for other, name in known if not other.alpha]
    return min(known, key=lambda item: loss(form, item[0]))


def options_of(
    encoder: Encoder,
    form: Format,
    tags: Tags,
    *,
    quality: int | None,
    speed: str,
    lossless: bool,
) -> dict[str, str]:
    """Return the options of an encoder.

    Args:
        encoder: to be told.
        form: of what it is given.
        tags: HDR that goes into the stream.
        quality: on its own scale; None: its usual.
        speed: one of `SPEEDS`.
        lossless: whether nothing may be lost.

    Raises:
        UserError: for values that it does not know.
    """
    if speed not in SPEEDS:
        raise UserError(f"speed {speed}: {known_names(speed, SPEEDS)}")
    found = {**encoder.options, **encoder.speeds.get(speed, {})}
    if lossless:
        if encoder.lossless is None:
            able = ", ".join(e.codec for e in ENCODERS if e.lossless is not None)
            raise UserError(f"codec {encoder.codec} cannot be lossless; these can: {able}")
        for name, value in encoder.lossless.items():
            found[name] = f"{found[name]}:{value}" if name.endswith("-params") else value
    elif encoder.scale:
        best, worst, usual = encoder.quality
        if quality is not None and not best <= quality <= worst:
            raise UserError(
                f"quality {quality}: {encoder.codec} takes {best} (best) to {worst} (worst)"
            )
        found[encoder.scale] = str(usual if quality is None else quality)
        if encoder.scale == "qmin":
            found["qmax"] = found["qmin"]
    elif quality is not None:
        raise UserError(f"quality {quality}: {encoder.codec} knows none")
    if encoder.name == "prores_ks":
        found["profile"] = "4444" if form.chroma == "444" else "hq"
        found["alpha_bits"] = "16" if form.alpha else "0"
    for name, value in hdr_options(encoder, tags).items():
        found[name] = f"{found[name]}:{value}" if found.get(name) else value
    return found


def hdr_options(encoder: Encoder, tags: Tags) -> dict[str, str]:
    """Return the options by which an encoder puts static HDR metadata into its stream."""
    if encoder.name not in _HDR:
        return {}
    option, mastering, light, written = _HDR[encoder.name]
    parts = []
    if tags.mastering:
        parts.append(f"{mastering}={written(tags.mastering)}")
    if tags.light:
        parts.append(f"{light}={tags.light[0]},{tags.light[1]}")
    return {option: ":".join(parts)} if parts else {}


def _in_units(display: Mastering) -> str:
    """Write a display in units of 0.00002 of chromaticity and 0.0001 cd/m2, as SEI has it."""
    red, green, blue = (f"({round(x * 50000)},{round(y * 50000)})" for x, y in display.primaries)
    white = f"({round(display.white[0] * 50000)},{round(display.white[1] * 50000)})"
    least, most = (round(value * 10000) for value in display.luminance)
    return f"G{green}B{blue}R{red}WP{white}L({most},{least})"


def _in_numbers(display: Mastering) -> str:
    red, green, blue = (f"({float(x):.5f},{float(y):.5f})" for x, y in display.primaries)
    white = f"({float(display.white[0]):.5f},{float(display.white[1]):.5f})"
    least, most = (float(value) for value in display.luminance)
    return f"G{green}B{blue}R{red}WP{white}L({most:.4f},{least:.4f})"


# by encoder: its option, the names of both tags there, and how it wants a display
_HDR = {
    "libx265": ("x265-params", "master-display", "max-cll", _in_units),
    "libx264": ("x264-params", "mastering-display", "cll", _in_units),
    "libsvtav1": ("svtav1-params", "mastering-display", "content-light", _in_numbers),
}


def _thinner(form: Format, other: Format) -> int:
    """Return how many times fewer samples of chroma the other has, in both directions, plus."""
    return sum(max(0, theirs // ours - 1) for ours, theirs in zip(form.steps, other.steps))
