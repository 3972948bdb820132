"""Videos that are pictures: a folder, or a pattern such as frames/%04d.png or 'frames/*.png'."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from midframe.errors import UserError
from midframe.video.colour import Colour
from midframe.video.format import Format
from midframe.video.frame import Frame

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm", ".pnm")
DEEP = (".png", ".tif", ".tiff", ".ppm", ".pgm", ".pnm")  # those that hold 16 bits
CLEAR = (".png", ".tif", ".tiff", ".webp")  # those that hold transparency
LOSSY = (".jpg", ".jpeg")
_NUMBER = re.compile(r"%0?(\d*)d")
_DIGITS = re.compile(r"(\d+)")
_FULL = Colour("bt601", "full")
_PNG = b"\x89PNG\r\n\x1a\n"


def is_pattern(path: Path) -> bool:
    """Whether a name stands for several pictures."""
    return path.suffix.lower() in SUFFIXES and (
        _NUMBER.search(path.name) is not None or any(c in path.name for c in "*?[")
    )


def find(path: Path) -> tuple[list[Path], list[str]]:
    """Return the pictures of a folder or pattern in order of their numbers, and notes.

    Raises:
        UserError: if there are none, or of several kinds.
    """
    notes = []
    if path.is_dir():
        found = [p for p in path.iterdir() if _counts(p)]
        kinds = sorted({p.suffix.lower() for p in found})
        if len(kinds) > 1:
            raise UserError(
                f"{path}: has pictures of several kinds ({', '.join(kinds)}); say which, such as "
                f"'{path}/*{kinds[0]}'"
            )
        where = f"{path}: no pictures in this folder"
    else:
        folder = path.parent
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder")
        number = _NUMBER.search(path.name)
        if number is None:
            found = [p for p in folder.glob(path.name) if _counts(p)]
        else:
            digits = rf"(\d{{{int(number[1])},}})" if number[1] else r"(\d+)"
            start, end = map(re.escape, (path.name[: number.start()], path.name[number.end() :]))
            fits = re.compile(start + digits + end)
            found = [p for p in folder.iterdir() if fits.fullmatch(p.name)]
        where = f"{path}: no picture has such a name"
    if not found:
        raise UserError(f"{where}; known kinds: {', '.join(SUFFIXES)}")
    found.sort(key=_in_order)
    lacking = _lacking(found)
    if lacking:
        notes.append(f"numbers are missing between pictures: {lacking}; they are not made up for")
    return found, notes


@dataclass(frozen=True)
class Pictures:
    """The frames of a video that is pictures.

    Attributes:
        paths: in order.
        form: of all.
    """

    paths: Sequence[Path]
    form: Format
    colour: Colour = _FULL

    def read(self, first: int = 0, last: int | None = None) -> Iterator[Frame]:
        """Yield frames from number ``first`` on, before ``last``; one in memory at a time.

        Raises:
            UserError: for a picture that is damaged, or unlike the first one.
        """
        for path in self.paths[first:last]:
            frame = read_picture(path)
            if frame.format != self.form:
                frame = _alike(path, frame, self.form)
            yield frame


def read_picture(path: Path) -> Frame:
    """Read a picture as it is stored: gray or RGB, 8 or 16 bits, with alpha or not.

    Raises:
        UserError: if it is missing, damaged, or not a picture.
    """
    import cv2

    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    if is_cut_off(data):
        raise UserError(f"{path}: the picture is cut off after {len(data)} bytes; copy it again")
    flags = cv2.IMREAD_UNCHANGED
    if path.suffix.lower() in LOSSY:  # turned as the camera noted, which nothing else has
        flags = cv2.IMREAD_ANYCOLOR
    try:
        image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise UserError(
            f"{path}: not a picture of 8 or 16 bits that can be decoded (damaged, or another kind)"
        )
    image = image[..., None] if image.ndim == 2 else image
    height, width, channels = image.shape
    order = {1: (0,), 2: (0, 1), 3: (2, 1, 0), 4: (2, 1, 0, 3)}[channels]
    planes = tuple(np.ascontiguousarray(image[..., c]) for c in order)
    depth = 8 if image.dtype == np.uint8 else 16
    family = "gray" if channels < 3 else "rgb"
    alpha = channels in (2, 4)
    return Frame(Format(width, height, depth, "444", family, alpha), planes, _FULL)  # type: ignore[arg-type]


def encode_picture(frame: Frame, suffix: str, quality: int | None = None) -> bytes:
    """Return a frame of gray or RGB in the bytes of a picture file.

    Args:
        frame: of 8 or 16 bits, which the kind of file can hold.
        suffix: of the file.
        quality: of lossy kinds, 1 to 100.

    Raises:
        UserError: if it cannot be written as that.
    """
    import cv2

    planes = frame.planes
    if frame.format.family == "gray" and frame.format.alpha:  # as OpenCV writes no such thing
        planes = (planes[0],) * 3 + (planes[1],)
    order = {1: (0,), 3: (2, 1, 0), 4: (2, 1, 0, 3)}[len(planes)]
    image = np.stack([planes[c] for c in order], -1)
    options: list[int] = []
    if suffix in LOSSY:
        options = [cv2.IMWRITE_JPEG_QUALITY, quality or 95]
    elif suffix == ".webp":
        options = [cv2.IMWRITE_WEBP_QUALITY, quality or 101]  # above 100: lossless
    done, data = cv2.imencode(suffix, image, options)
    if not done:
        raise UserError(f"pictures of {frame.format} cannot be written as {suffix}; use .png")
    return data.tobytes()


def name_of(pattern: Path, number: int) -> str:
    """Return the file name of a picture of a pattern with %d, or %04d and the like."""
    return _NUMBER.sub(lambda m: f"{number:0{int(m[1] or 1)}d}", pattern.name, count=1)


def is_cut_off(data: bytes) -> bool:
    """Whether a PNG or JPEG ends too soon, where decoders fill in grey; of others: if empty."""
    if data.startswith(_PNG):
        at = len(_PNG)
        while at + 12 <= len(data):
            length, kind = struct.unpack_from(">I4s", data, at)
            at += 12 + length
            if kind == b"IEND":
                return False
        return True
    if data.startswith(b"\xff\xd8"):
        # neither marker can occur inside coded data; an embedded thumbnail comes before the scan
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda") or b"\xff\xda" not in data
    return not data


def _counts(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and not path.is_dir()


def _in_order(path: Path) -> list[tuple[int, int, str]]:
    """Order names by their numbers: frame2 before frame10."""
    parts = _DIGITS.split(path.name)
    return [(1, int(p), p) if p.isdecimal() else (0, 0, p) for p in parts]


def _lacking(paths: Sequence[Path]) -> str:
    """Return the first gap in the last numbers of names, "" if there is none."""
    last = None
    for path in paths:
        digits = _DIGITS.findall(path.stem)
        if not digits:
            return ""
        number = int(digits[-1])
        if last is not None and number > last + 1:
            return f"{last} to {number}"
        last = number
    return ""


def _alike(path: Path, frame: Frame, form: Format) -> Frame:
    """Return a picture in the format of the first one, where nothing is lost by that."""
    size = frame.format.width, frame.format.height
    if size != (form.width, form.height):
        raise UserError(
            f"{path}: {size[0]}x{size[1]} pixels, the first picture has {form.width}x{form.height}"
        )
    planes = frame.planes
    same_depth = frame.format.depth == form.depth
    if same_depth and not frame.format.alpha and frame.format.family == "gray":
        planes = planes * form.colours  # gray written as RGB
        if form.alpha:
            planes = (*planes, np.full_like(planes[0], form.peak))
        return Frame(form, planes, frame.colour)
    if same_depth and not frame.format.alpha and form.alpha and form.family == "rgb":
        return Frame(form, (*planes, np.full_like(planes[0], form.peak)), frame.colour)
    raise UserError(f"{path}: is {frame.format}, the first picture is {form}; make them alike")
