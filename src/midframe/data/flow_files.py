"""Flow fields in files of any format, by their suffix, and a field that needs no file.

| suffix | format | unknown flow |
|---|---|---|
| .flo | Middlebury, FlyingChairs, Sintel: float32 | values above 1e9 |
| .pfm | FlyingThings3D: float32, three channels or two, rows from the bottom up | as given |
| .png | KITTI: 16 bits, 1/64 px within +-512 px, a third channel says what is known | NaN |
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from midframe.data.io import (
    LARGEST,
    FloFile,
    check_box,
    cut,
    header_size,
    is_cut_off,
    unreadable,
    write_bytes,
    write_flow,
)
from midframe.data.records import Box, Source
from midframe.errors import UserError

_PFM = re.compile(rb"(P[Ff])\s+(\d{1,7})\s+(\d{1,7})\s+([-+]?[0-9.]+(?:[eE][-+]?\d+)?)\s")
_PFM_HEAD = 128  # bytes in which the header must lie
_UNKNOWN = 1e9
_KITTI_ZERO, _KITTI_STEPS = 2**15, 64


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


class _PfmHead(NamedTuple):
    height: int
    width: int
    channels: int
    dtype: str
    start: int


@dataclass(frozen=True, slots=True)
class PfmFile:
    """A flow field as a portable float map: (h, w, 2) float32, x then y, in pixels.

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
        return np.ascontiguousarray(rows, dtype=np.float32)

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


@dataclass(frozen=True, slots=True)
class KittiFile:
    """A flow field as KITTI's 16-bit PNG: (h, w, 2) float32, x then y, NaN where not known.

    u = (R - 2^15) / 64, v = (G - 2^15) / 64, known where B is not 0.
    """

    path: str

    def size(self) -> tuple[int, int]:
        """Return (height, width) from the header."""
        size = header_size(self.path)
        if size is None or not (0 < size[0] < LARGEST and 0 < size[1] < LARGEST):
            raise self._foreign()
        return size

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return (h, w, 2) float32, the whole or the part inside ``box``."""
        import cv2

        box = box or Box(0, 0, *self.size())
        check_box(box, self.size(), self.path)
        try:
            data = Path(self.path).read_bytes()
        except OSError as error:
            raise unreadable(self.path, error) from error
        if is_cut_off(data):
            raise UserError(f"{self.path}: cut off after {len(data)} bytes; copy it again")
        try:
            raw: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error as error:  # more pixels than it is willing to decode
            raise self._foreign() from error
        if raw is None or raw.dtype != np.uint16 or raw.ndim != 3 or raw.shape[2] != 3:
            raise self._foreign()
        part = cut(raw, box)  # in the order B, G, R
        flow = (part[..., 2:0:-1].astype(np.float32) - _KITTI_ZERO) / _KITTI_STEPS
        flow[part[..., 0] == 0] = np.nan
        return flow

    def _foreign(self) -> UserError:
        return UserError(f"{self.path}: not a flow field of KITTI (a PNG of 3 channels of 16 bits)")


def open_flow(path: str | Path) -> Source:
    """Return the reader of a flow file by its suffix: .flo, .pfm or .png (KITTI).

    Raises:
        UserError: for another suffix.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _READERS:
        raise _unknown_suffix(path, suffix)
    return _READERS[suffix](str(path))


def write_any_flow(path: str | Path, flow: np.ndarray) -> None:
    """Write (h, w, 2) flow in pixels in the format that the suffix names, aside and renamed.

    Unknown flow (above 1e9 or not finite) is kept as such by .png and .flo; .pfm holds any value.

    Raises:
        UserError: for another suffix, or flow that the format cannot hold.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _READERS:
        raise _unknown_suffix(path, suffix)
    {".flo": write_flow, ".pfm": write_pfm, ".png": write_kitti}[suffix](path, flow)


def write_pfm(path: str | Path, flow: np.ndarray) -> None:
    """Write (h, w, 2) flow as a .pfm of three channels, the third 0, in this machine's order."""
    _check_flow(flow, "write_pfm")
    height, width = flow.shape[:2]
    scale = "-1.0" if sys.byteorder == "little" else "1.0"
    data = np.zeros((height, width, 3), np.float32)
    data[..., :2] = flow[::-1]
    write_bytes(path, f"PF\n{width} {height}\n{scale}\n".encode() + data.tobytes())


def write_kitti(path: str | Path, flow: np.ndarray) -> None:
    """Write (h, w, 2) flow as KITTI's PNG, rounded to 1/64 px; see `KittiFile`.

    Raises:
        UserError: if known flow is beyond the format's +-512 px.
    """
    import cv2

    _check_flow(flow, "write_kitti")
    with np.errstate(invalid="ignore"):
        known = (np.abs(flow) <= _UNKNOWN).all(-1)
    steps = np.rint(np.where(known[..., None], flow, 0.0) * float(_KITTI_STEPS)) + _KITTI_ZERO
    if steps.min(initial=0) < 0 or steps.max(initial=0) > 2**16 - 1:
        largest = float(np.abs(flow[known]).max())
        raise UserError(
            f"{path}: flow of {largest:.0f} px does not fit KITTI's format (512 px); use .flo"
        )
    raw = np.concatenate([known[..., None], steps[..., ::-1]], -1).astype(np.uint16)
    raw[~known] = 0
    done, data = cv2.imencode(".png", raw)
    if not done:
        raise UserError(f"{path}: the flow field could not be encoded; use .flo")
    write_bytes(path, data.tobytes())


def _check_flow(flow: np.ndarray, name: str) -> None:
    if flow.ndim != 3 or flow.shape[2] != 2:
        raise ValueError(f"{name} takes (h, w, 2), got {flow.shape}")


def _unknown_suffix(path: str | Path, suffix: str) -> UserError:
    return UserError(f"{path}: no flow format is called '{suffix}'; there are .flo, .pfm and .png")


_READERS: dict[str, Callable[[str], Source]] = {".flo": FloFile, ".pfm": PfmFile, ".png": KittiFile}
