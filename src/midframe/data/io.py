"""Pictures in files: reading whole or in part, and writing without half files."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from midframe.data.records import Box
from midframe.errors import UserError
from midframe.files import write_bytes
from midframe.video.pictures import is_cut_off

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_EXIF = b"Exif\0\0"
_GAP = rb"(?:\s|#[^\n]*\n)+"
_PPM = re.compile(rb"P6" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,5})\s")
_HEAD = 1024  # bytes in which a PPM's header, comments included, must lie
LARGEST = 100_000  # pixels on a side; beyond it a header is not believed


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A picture in a file (PNG, JPEG and what else OpenCV decodes), read as RGB uint8."""

    path: str

    def size(self) -> tuple[int, int]:
        """Return (height, width); PNG, JPEG and PPM from the header, others by decoding."""
        return header_size(self.path) or _read_rgb(self.path).shape[:2]

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return (h, w, 3) uint8 RGB; raises `UserError` for a missing, cut off or foreign file."""
        picture = _read_rgb(self.path)
        if box is None:
            return picture
        check_box(box, picture.shape[:2], self.path)
        # a copy: a view would keep the whole picture in memory
        return cut(picture, box).copy()


@dataclass(frozen=True, slots=True)
class Unknown:
    """A frame that nobody has, in place of the truth where only a website can measure: all zeros.

    Attributes:
        path: a picture of the same size.
    """

    path: str

    def size(self) -> tuple[int, int]:
        """Return (height, width) of the picture that is named."""
        return ImageFile(self.path).size()

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return (h, w, 3) uint8 zeros, as many as the frame or ``box`` has pixels."""
        size = self.size()
        if box is not None:
            check_box(box, size, self.path)
            size = box.height, box.width
        return np.zeros((*size, 3), np.uint8)


def cut(picture: np.ndarray, box: Box) -> np.ndarray:
    """Return the part of ``picture`` (H, W, ...) inside ``box`` as a view."""
    return picture[box.top : box.top + box.height, box.left : box.left + box.width]


def check_box(box: Box, size: tuple[int, int], name: str) -> None:
    """Raise `UserError` naming the file where ``box`` does not lie inside (height, width)."""
    top, left, height, width = box
    inside = top >= 0 and left >= 0 and top + height <= size[0] and left + width <= size[1]
    if not inside or height < 1 or width < 1:
        raise UserError(
            f"{name}: {width}x{height} pixels from column {left}, row {top} do not lie inside "
            f"its {size[1]}x{size[0]} pixels; are all frames of the clip of one size?"
        )


def write_image(path: str | Path, picture: np.ndarray) -> None:
    """Write (h, w, 3) uint8 RGB; the suffix says the format (.png is lossless)."""
    import cv2

    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"write_image takes (h, w, 3) uint8, got {picture.shape} {picture.dtype}")
    suffix = Path(path).suffix
    if not suffix or not cv2.haveImageWriter(f"x{suffix}"):
        raise UserError(f"{path}: cannot write pictures as '{suffix}'; use .png or .jpg")
    done, data = cv2.imencode(suffix, np.ascontiguousarray(picture[..., ::-1]))
    if not done:
        raise UserError(f"{path}: the picture could not be encoded; use .png")
    write_bytes(path, data.tobytes())


def unreadable(path: str, error: OSError) -> UserError:
    """Return the error for the person of a file that cannot be opened or read."""
    if isinstance(error, FileNotFoundError):
        return UserError(f"{path}: no such file")
    return UserError(f"{path}: cannot be read ({error.strerror or error})")


def decode(path: str, flags: int) -> np.ndarray | None:
    """Return a picture as OpenCV decodes it by these flags, B before G before R.

    None stands for a file that is no picture, or says of itself to be too large to be decoded.

    Raises:
        UserError: if the file is missing, cannot be read, or is cut off.
    """
    import cv2

    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    # some decoders fill what is missing with grey, so the end is looked for first
    if not data or _is_cut_off(data):
        raise UserError(f"{path}: the picture is cut off after {len(data)} bytes; copy it again")
    try:
        picture: Any = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return picture


def _read_rgb(path: str) -> np.ndarray:
    import cv2

    picture = decode(path, cv2.IMREAD_COLOR)
    if picture is None:
        raise UserError(f"{path}: not a picture that can be decoded (damaged, or another format)")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _is_cut_off(data: bytes) -> bool:
    """Whether a PNG, JPEG or PPM ends too soon; of other formats it is not known."""
    if data.startswith(b"P6"):
        head = _PPM.match(data[:_HEAD])
        if head is None:
            return len(data) < _HEAD
        width, height, most = (int(number) for number in head.groups())
        return len(data) < head.end() + 3 * width * height * (2 if most > 255 else 1)
    return is_cut_off(data)


def header_size(path: str) -> tuple[int, int] | None:
    """Return (height, width) from the header of a PNG, JPEG or PPM as it will be decoded.

    None stands for other formats, and for headers that cannot be believed.
    """
    try:
        with Path(path).open("rb") as file:
            size = _header_size(file)
    except OSError as error:
        raise unreadable(path, error) from error
    return size if size is not None and 0 < min(size) <= max(size) < LARGEST else None


def _header_size(file: BinaryIO) -> tuple[int, int] | None:
    head = file.read(24)
    if head.startswith(_PNG) and head[12:16] == b"IHDR" and len(head) == 24:
        width, height = struct.unpack(">II", head[16:24])
        return height, width
    if head.startswith(_JPEG):
        return _jpeg_size(head + file.read(1 << 18))
    if head.startswith(b"P6") and (ppm := _PPM.match(head + file.read(_HEAD))):
        return int(ppm[2]), int(ppm[1])
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at, turned = 2, None
    while at + 9 <= len(data) and data[at] == 0xFF:
        kind = data[at + 1]
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return (width, height) if turned else (height, width)
        end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
        if kind == 0xE1 and data.startswith(_EXIF, at + 4) and turned is None:
            try:
                turned = _is_turned(data[at + 4 + len(_EXIF) : end])
            except (struct.error, KeyError):
                return None  # let the decoder say
        at = end
    return None


def _is_turned(exif: bytes) -> bool:
    """Whether a camera's note (a TIFF header and its first directory) lays a picture on its side.

    Source: Exif 2.32, section 4.6.4, tag 0x0112 (orientation).
    """
    order = {b"II": "<", b"MM": ">"}[exif[:2]]
    (start,) = struct.unpack_from(f"{order}I", exif, 4)
    (entries,) = struct.unpack_from(f"{order}H", exif, start)
    for i in range(entries):
        tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, start + 2 + 12 * i)
        if tag == 0x0112:
            return 5 <= value <= 8
    return False
