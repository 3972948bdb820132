"""Flow fields in files of any format, by their suffix, and a field that needs no file.

| suffix | format | unknown flow in the file |
|---|---|---|
| .flo | Middlebury, FlyingChairs, Sintel: float32 | values above 1e9 |
| .npy | our own: float16, half of the room; 1/64 px at 16 to 32 px | NaN |
| .pfm | FlyingThings3D: float32, three channels or two, rows from the bottom up | NaN |
| .png | KITTI: 16 bits, 1/64 px within +-512 px, a third channel says what is known | 0 there |

All are read as (h, w, 2) float32, x then y, in pixels, NaN where flow is not known.
"""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from midframe.data.io import LARGEST, check_box, cut, decode, header_size, unreadable
from midframe.data.records import Box, Source
from midframe.errors import UserError
from midframe.files import write_bytes
from midframe.types import UNKNOWN_FLOW

_FLO = struct.Struct("<4sii")
_FLO_UNKNOWN = 1e10  # what Middlebury's own code writes
_HALF_MOST = float(np.finfo(np.float16).max)
_PFM = re.compile(rb"(P[Ff])\s+(\d{1,7})\s+(\d{1,7})\s+([-+]?[0-9.]+(?:[eE][-+]?\d+)?)\s")
_PFM_HEAD = 128  # bytes in which the header must lie
_KITTI_ZERO, _KITTI_STEPS = 2**15, 64


def open_flow(path: str | Path) -> Source:
    """Return the reader of a flow file by its suffix: .flo, .npy, .pfm or .png (KITTI).

    Raises:
        UserError: for another suffix.
    """
    return _format(path).reader(str(path))


def write_flow(path: str | Path, flow: np.ndarray) -> None:
    """Write (h, w, 2) flow in pixels in the format that the suffix names, aside and renamed.

    Unknown flow (not finite, or beyond `UNKNOWN_FLOW`) is kept as such in every format.

    Raises:
        UserError: for another suffix, or flow that the format cannot hold.
        ValueError: for another shape.
    """
    if flow.ndim != 3 or flow.shape[2] != 2:
        raise ValueError(f"write_flow takes (h, w, 2), got {flow.shape}")
    encode = _format(path).encode
    try:
        data = encode(np.where(_is_known(flow), flow, np.nan))
    except UserError as error:
        raise UserError(f"{path}: {error}; use .flo") from error
    write_bytes(path, data)


def to_half(flow: np.ndarray) -> np.ndarray:
    """Return flow in half precision; what is unknown, or does not fit (65504 px), becomes NaN."""
    return np.where(np.abs(flow) < _HALF_MOST, flow, np.nan).astype(np.float16)


def from_half(flow: np.ndarray) -> np.ndarray:
    """Undo `to_half`: a contiguous float32 copy.

    The largest half number, too, becomes NaN: it stands for unknown flow in older files.
    """
    wide = np.array(flow, np.float32, order="C")
    wide[np.abs(wide) >= _HALF_MOST] = np.nan
    return wide


def _is_known(flow: np.ndarray) -> np.ndarray:
    return np.abs(flow) <= UNKNOWN_FLOW  # of NaN this is false


@dataclass(frozen=True, slots=True)
class NoMotion:
    """A flow field of zeros, such as that from a frame to itself."""

    height: int
    width: int

    def size(self) -> tuple[int, int]:
        """Return (height, width)."""
        return self.height, self.width

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return (h, w, 2) float32 zeros."""
        box = box or Box(0, 0, self.height, self.width)
        check_box(box, self.size(), "a field without motion")
        return np.zeros((box.height, box.width, 2), np.float32)


@dataclass(frozen=True, slots=True)
class FloFile:
    """A flow field in the Middlebury .flo format: (h, w, 2) float32, x then y, in pixels."""

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
        return _marked(rows[:, box.left : box.left + box.width])


def _flo_bytes(flow: np.ndarray) -> bytes:
    head = _FLO.pack(b"PIEH", flow.shape[1], flow.shape[0])
    return head + np.nan_to_num(flow.astype("<f4"), copy=False, nan=_FLO_UNKNOWN).tobytes()


def _marked(flow: np.ndarray) -> np.ndarray:
    """Return a contiguous copy in float32 with NaN where flow is unknown."""
    out = np.array(flow, np.float32, order="C")
    out[~_is_known(out)] = np.nan
    return out


@dataclass(frozen=True, slots=True)
class HalfFlow:
    """A flow field in a .npy file: (h, w, 2) float16 there, read as float32; see `to_half`."""

    path: str

    def size(self) -> tuple[int, int]:
        """Return (height, width)."""
        height, width = self._open().shape[:2]
        return height, width

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return (h, w, 2) float32; raises `UserError` naming a missing or damaged file."""
        field = self._open()
        if box is not None:
            check_box(box, field.shape[:2], self.path)
            field = cut(field, box)
        return from_half(field)

    def _open(self) -> np.ndarray:
        try:
            field = np.load(self.path, mmap_mode="r", allow_pickle=False)
        except FileNotFoundError as error:
            raise UserError(f"{self.path}: no such file") from error
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{self.path}: cannot be read ({error}); write it again") from error
        if field.ndim != 3 or field.shape[2] != 2 or field.dtype != np.float16:
            raise UserError(f"{self.path}: not a flow field in half precision; write it again")
        return field


def _half_bytes(flow: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, to_half(flow), allow_pickle=False)
    return file.getvalue()


class _PfmHead(NamedTuple):
    height: int
    width: int
    channels: int
    dtype: str
    start: int


@dataclass(frozen=True, slots=True)
class PfmFile:
    """A flow field as a portable float map.

    Three channels, the third of which is left aside, or two. Byte order and size stand in the
    header; the scale beside the byte order's sign is not applied, as no data set means it.
    """

    path: str

    def size(self) -> tuple[int, int]:
        """Return (height, width) from the header, after checking the file's length against it."""
        return self._head()[:2]

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return (h, w, 2) float32; only the rows of ``box`` are read."""
        height, width, channels, dtype, start = self._head()
        box = box or Box(0, 0, height, width)
        check_box(box, (height, width), self.path)
        row = channels * width
        offset = start + 4 * row * (height - box.top - box.height)  # the last row comes first
        rows = np.fromfile(self.path, dtype, count=row * box.height, offset=offset)
        rows = rows.reshape(box.height, width, channels)[::-1, box.left : box.left + box.width, :2]
        return _marked(rows)

    def _head(self) -> _PfmHead:
        try:
            with Path(self.path).open("rb") as file:
                head = file.read(_PFM_HEAD)
                length = os.fstat(file.fileno()).st_size
        except OSError as error:
            raise unreadable(self.path, error) from error
        found = _PFM.match(head)
        if found is None:
            raise UserError(f"{self.path}: not a .pfm file (no PF, size and scale at its start)")
        width, height = int(found[2]), int(found[3])
        if found[1] != b"PF":
            raise UserError(f"{self.path}: one channel (Pf) is no flow field; is it a disparity?")
        if not (0 < width < LARGEST and 0 < height < LARGEST) or float(found[4]) == 0:
            raise UserError(
                f"{self.path}: not a .pfm file ({width}x{height}, scale {float(found[4]):g})"
            )
        pixels, data = width * height, length - found.end()
        channels = next((c for c in (3, 2) if data == 4 * c * pixels), None)
        if channels is None:
            raise UserError(
                f"{self.path}: {width}x{height} flow takes {12 * pixels} bytes (or {8 * pixels}, "
                f"with two channels) behind the header and it has {data}; write it again"
            )
        order = "<f4" if float(found[4]) < 0 else ">f4"
        return _PfmHead(height, width, channels, order, found.end())


def _pfm_bytes(flow: np.ndarray) -> bytes:
    height, width = flow.shape[:2]
    data = np.zeros((height, width, 3), "<f4")
    data[..., :2] = flow[::-1]
    return f"PF\n{width} {height}\n-1.0\n".encode() + data.tobytes()


@dataclass(frozen=True, slots=True)
class KittiFile:
    """A flow field as KITTI's 16-bit PNG.

    u = (R - 2^15) / 64, v = (G - 2^15) / 64, known where B is not 0.
    """

    path: str

    def size(self) -> tuple[int, int]:
        """Return (height, width) from the header."""
        size = header_size(self.path)
        if size is None:
            raise self._foreign()
        return size

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return (h, w, 2) float32, the whole or the part inside ``box``."""
        import cv2

        box = box or Box(0, 0, *self.size())
        check_box(box, self.size(), self.path)
        raw = decode(self.path, cv2.IMREAD_UNCHANGED)
        if raw is None or raw.dtype != np.uint16 or raw.ndim != 3 or raw.shape[2] != 3:
            raise self._foreign()
        part = cut(raw, box)  # in the order B, G, R
        flow = (part[..., 2:0:-1].astype(np.float32) - _KITTI_ZERO) / _KITTI_STEPS
        flow[part[..., 0] == 0] = np.nan
        return flow

    def _foreign(self) -> UserError:
        return UserError(f"{self.path}: not a flow field of KITTI (a PNG of 3 channels of 16 bits)")


def _kitti_bytes(flow: np.ndarray) -> bytes:
    import cv2

    known = np.isfinite(flow).all(-1)
    steps = np.rint(np.where(known[..., None], flow, 0.0) * float(_KITTI_STEPS)) + _KITTI_ZERO
    if steps.min(initial=0) < 0 or steps.max(initial=0) > 2**16 - 1:
        largest = float(np.abs(flow[known]).max())
        raise UserError(f"flow of {largest:.0f} px does not fit KITTI's format (512 px)")
    raw = np.concatenate([known[..., None], steps[..., ::-1]], -1).astype(np.uint16)
    raw[~known] = 0
    done, data = cv2.imencode(".png", raw)
    if not done:
        raise UserError("the flow field could not be encoded")
    return data.tobytes()


class _Format(NamedTuple):
    reader: Callable[[str], Source]
    encode: Callable[[np.ndarray], bytes]  # of flow that is NaN where not known


FORMATS = {
    ".flo": _Format(FloFile, _flo_bytes),
    ".npy": _Format(HalfFlow, _half_bytes),
    ".pfm": _Format(PfmFile, _pfm_bytes),
    ".png": _Format(KittiFile, _kitti_bytes),
}


def _format(path: str | Path) -> _Format:
    # a plain string: there are 100,000 labels
    suffix = "." + str(path).rpartition(".")[2].lower()
    if suffix not in FORMATS:
        wrong = Path(path).suffix
        raise UserError(f"{path}: no flow format is called '{wrong}'; use {', '.join(FORMATS)}")
    return FORMATS[suffix]
