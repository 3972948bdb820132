"""What a video says about itself besides its frames: colour, shape of pixels, rotation, HDR."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from midframe.video.colour import HD_HEIGHT, Colour, Matrix
from midframe.video.format import Format

UNSPECIFIED = 2  # of matrix, primaries and transfer; 0 of range
# Numbers of ITU-T H.273, table 4, by the matrix that comes nearest among ours.
_MATRICES: dict[int, Matrix] = {
    **{1: "bt709", 4: "bt601", 5: "bt601", 6: "bt601", 7: "bt709", 9: "bt2020", 10: "bt2020"},
    **{14: "bt2020"},
}
_OWN = {1, 5, 6, 9, UNSPECIFIED, 0}  # those that are exactly ours
_NUMBERS: dict[Matrix, int] = {"bt601": 6, "bt709": 1, "bt2020": 9}
_MASTERING, _LIGHT, _DYNAMIC = "MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL", "DYNAMIC_HDR"
_DOLBY = "DOVI"
LIMITED, FULL = 1, 2  # AVCOL_RANGE_*


@dataclass(frozen=True)
class Mastering:
    """The display that a film was graded on (SMPTE ST 2086).

    Attributes:
        primaries: x and y of red, green and blue.
        white: x and y.
        luminance: least and greatest, in candela per square metre.
    """

    primaries: tuple[tuple[Fraction, Fraction], ...]
    white: tuple[Fraction, Fraction]
    luminance: tuple[Fraction, Fraction]


@dataclass(frozen=True)
class Tags:
    """What is said of all frames of a video.

    Attributes:
        codec: FFmpeg's name of it, such as "h264"; "" of raw video and pictures.
        container: FFmpeg's names of it, such as "mov,mp4,m4a,3gp,3g2,mj2".
        aspect: width of a pixel by its height; None: not said.
        display: matrix of nine numbers that turns frames upright, None: they are.
        rotation: of that, degrees counter-clockwise.
        range: of colours, as FFmpeg numbers it: 0 not said, 1 limited, 2 full.
        matrix: as ITU-T H.273 numbers it, as are the next two; 2: not said.
        primaries: what red, green and blue are.
        transfer: how numbers become light.
        mastering: of HDR.
        light: of HDR, greatest light of a pixel and greatest mean of a frame.
        interlaced: whether frames consist of two fields.
        bit_rate: of the video, in bits a second, 0: not said.
        metadata: of the file, such as its title.
        metadata_video: of the video stream, such as its language.
    """

    codec: str = ""
    container: str = ""
    aspect: Fraction | None = None
    display: tuple[int, ...] | None = None
    rotation: float = 0.0
    range: int = 0
    matrix: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    mastering: Mastering | None = None
    light: tuple[int, int] | None = None
    interlaced: bool = False
    bit_rate: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    metadata_video: Mapping[str, str] = field(default_factory=dict)


def tags_of(container: Any, stream: Any, picture: Any) -> tuple[Tags, list[str]]:
    """Return the tags of a stream by its first frame, and notes of what is not kept."""
    notes, sides = [], _sides(picture)
    display = None
    if "DISPLAYMATRIX" in sides and len(sides["DISPLAYMATRIX"]) == 36:
        display = struct.unpack("=9i", sides["DISPLAYMATRIX"])
    if any(name.startswith((_DYNAMIC, _DOLBY)) for name in sides):
        notes.append("dynamic HDR (HDR10+, Dolby Vision) is left out; what is static is kept")
    matrix = picture.colorspace
    if picture.format.is_rgb or matrix == 0:
        matrix = 0 if picture.format.is_rgb else UNSPECIFIED
    elif matrix not in _OWN:
        notes.append("the colour matrix is a rare one; models see colours that are slightly off")
    if picture.interlaced_frame:
        notes.append("interlaced: fields are taken for frames; deinterlace the video first")
    ratio = stream.sample_aspect_ratio
    return (
        Tags(
            stream.codec_context.codec.canonical_name,
            container.format.name,
            ratio if ratio and ratio > 0 else None,
            display,
            float(picture.rotation),
            _range(picture),
            matrix,
            picture.color_primaries,
            picture.color_trc,
            _mastering(sides.get(_MASTERING, b"")),
            _light(sides.get(_LIGHT, b"")),
            bool(picture.interlaced_frame),
            int(stream.codec_context.bit_rate or 0),
            dict(container.metadata),
            dict(stream.metadata),
        ),
        notes,
    )


def colour_of(tags: Tags, form: Format) -> Colour:
    """Return what the numbers of frames mean; where nothing is said, what is usual."""
    usual: Matrix = "bt709" if form.height >= HD_HEIGHT else "bt601"
    if form.family == "gray" and tags.range == 0:
        return Colour(usual, "full")
    return Colour(_MATRICES.get(tags.matrix, usual), "full" if tags.range == FULL else "limited")


def number_of(matrix: Matrix) -> int:
    """Return the number of a matrix in ITU-T H.273."""
    return _NUMBERS[matrix]


def _sides(picture: Any) -> dict[str, bytes]:
    try:
        return {side.type.name: bytes(side) for side in picture.side_data}
    except ValueError:
        return {}  # of a kind that PyAV does not know, and then it gives none at all


def _range(picture: Any) -> int:
    return FULL if picture.format.name.startswith("yuvj") else int(picture.color_range)


def _mastering(data: bytes) -> Mastering | None:
    """Read FFmpeg's AVMasteringDisplayMetadata: ten fractions and two flags."""
    if len(data) < 88:
        return None
    numbers = struct.unpack_from("=22i", data)
    if not (numbers[20] and numbers[21]) or 0 in numbers[1:20:2]:
        return None
    parts = [Fraction(n, d) for n, d in zip(numbers[0:20:2], numbers[1:20:2])]
    primaries = tuple((parts[i], parts[i + 1]) for i in (0, 2, 4))
    return Mastering(primaries, (parts[6], parts[7]), (parts[8], parts[9]))


def _light(data: bytes) -> tuple[int, int] | None:
    return struct.unpack_from("=2I", data) if len(data) >= 8 else None
