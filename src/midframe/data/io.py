"""Pictures and flow fields in files: reading whole or in part, and writing without half files."""

from __future__ import annotations

import os
import re
import struct
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from midframe.data.records import Box
from midframe.errors import UserError

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_GAP = rb"(?:\s|#[^\n]*\n)+"
_PPM = re.compile(rb"P6" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,5})\s")
_HEAD = 1024  # bytes in which a PPM's header, comments included, must lie
_FLO = struct.Struct("<4sii")
LARGEST = 100_000  # pixels on a side; beyond it a header is not believed


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A picture in a file (PNG, JPEG and what else OpenCV decodes), read as RGB uint8."""

    path: str

    def size(self) -> tuple[int, int]:
        """Return (height, width); PNG, JPEG and PPM from the header, others by decoding."""
        return header_size(self.path) or _decode(self.path).shape[:2]

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return (h, w, 3) uint8 RGB; raises `UserError` for a missing, cut off or foreign file."""
        picture = _decode(self.path)
        if box is None:
            return picture
        check_box(box, picture.shape[:2], self.path)
        # a copy: a view would keep the whole picture in memory
        return cut(picture, box).copy()


@dataclass(frozen=True, slots=True)
class FloFile:
    """A flow field in the Middlebury .flo format: (h, w, 2) float32, x then y, in pixels.

    Values above 1e9 mark unknown flow in that format and are returned as they are.
    """

    path: str

    def size(self) -> tuple[int, int]:
        """Return (height, width) from the header, after checking the file's length against it."""
        try:
            with Path(self.path).open("rb") as file:
                head = file.read(_FLO.size)
                length = os.fstat(file.fileno()).st_size
        except OSError as error:
            raise unreadable(self.path, error) from error
        if len(head) < _FLO.size:
            raise UserError(f"{self.path}: cut off, it has {length} bytes; write it again")
        magic, width, height = _FLO.unpack(head)
        if magic != b"PIEH" or not (0 < width < LARGEST and 0 < height < LARGEST):
            raise UserError(
                f"{self.path}: not a .flo file (it does not begin with PIEH and a size)"
            )
        expected = _FLO.size + 8 * width * height
        if length != expected:
            what = "cut off" if length < expected else "too long"
            raise UserError(
                f"{self.path}: {what}, {width}x{height} flow takes {expected} bytes and it has "
                f"{length}; write it again"
            )
        return height, width

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return (h, w, 2) float32; only the rows of ``box`` are read."""
        height, width = self.size()
        box = box or Box(0, 0, height, width)
        check_box(box, (height, width), self.path)
        start = _FLO.size + 8 * width * box.top
        rows = np.fromfile(self.path, "<f4", count=2 * width * box.height, offset=start)
        rows = rows.reshape(box.height, width, 2)
        return np.ascontiguousarray(rows[:, box.left : box.left + box.width], dtype=np.float32)


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


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file aside and rename it, so that no reader ever sees half of it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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


def write_flow(path: str | Path, flow: np.ndarray) -> None:
    """Write (h, w, 2) float32 flow in pixels as a .flo file."""
    if flow.ndim != 3 or flow.shape[2] != 2:
        raise ValueError(f"write_flow takes (h, w, 2), got {flow.shape}")
    head = _FLO.pack(b"PIEH", flow.shape[1], flow.shape[0])
    write_bytes(path, head + np.ascontiguousarray(flow, dtype="<f4").tobytes())


def unreadable(path: str, error: OSError) -> UserError:
    """Return the error for the person of a file that cannot be opened or read."""
    if isinstance(error, FileNotFoundError):
        return UserError(f"{path}: no such file")
    return UserError(f"{path}: cannot be read ({error.strerror or error})")


def _decode(path: str) -> np.ndarray:
    import cv2

    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    # some decoders fill what is missing with grey, so the end is looked for first
    if not data or is_cut_off(data):
        raise UserError(f"{path}: the picture is cut off after {len(data)} bytes; copy it again")
    picture: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise UserError(f"{path}: not a picture that can be decoded (damaged, or another format)")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def is_cut_off(data: bytes) -> bool:
    """Whether a PNG, JPEG or PPM ends too soon; of other formats it is not known."""
    if data.startswith(_PNG):
        at = len(_PNG)
        while at + 12 <= len(data):
            length, kind = struct.unpack_from(">I4s", data, at)
            at += 12 + length
            if kind == b"IEND":
                return at > len(data)
        return True
    if data.startswith(_JPEG):
        # neither marker can occur inside coded data; an embedded thumbnail comes before the scan
        return data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda") or b"\xff\xda" not in data
    if data.startswith(b"P6"):
        head = _PPM.match(data[:_HEAD])
        if head is None:
            return len(data) < _HEAD
        width, height, most = (int(number) for number in head.groups())
        return len(data) < head.end() + 3 * width * height * (2 if most > 255 else 1)
    return False


def header_size(path: str) -> tuple[int, int] | None:
    """Return (height, width) from the header of a PNG, JPEG or PPM; None of other pictures."""
    try:
        with Path(path).open("rb") as file:
            head = file.read(24)
            if head.startswith(_PNG) and head[12:16] == b"IHDR" and len(head) == 24:
                width, height = struct.unpack(">II", head[16:24])
                return height, width
            if head.startswith(_JPEG):
                return _jpeg_size(head + file.read(1 << 18))
            if head.startswith(b"P6") and (ppm := _PPM.match(head + file.read(_HEAD))):
                return int(ppm[2]), int(ppm[1])
    except OSError as error:
        raise unreadable(path, error) from error
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        kind = data[at + 1]
        if kind == 0xE1:
            return None  # Exif may turn the picture: let the decoder say
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return height, width
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return None
