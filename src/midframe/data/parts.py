"""Frames made of pictures in files: tiles side by side, the centre, a picture made smaller."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from midframe.data.io import ImageFile, check_box, cut, unreadable
from midframe.data.records import Box
from midframe.errors import UserError

_KEPT = 2  # pictures a process keeps decoded: the tiles of a clip are read one after the other


@dataclass(frozen=True, slots=True)
class Tile:
    """One of several pictures of the same width that a file holds side by side.

    The picture is decoded once for all its tiles that are read in a row.

    Attributes:
        path: the file.
        offset: how many tiles stand left of this one.
        tiles: how many there are.
    """

    path: str
    offset: int
    tiles: int

    def size(self) -> tuple[int, int]:
        """Return (height, width) of the tile."""
        height, width = ImageFile(self.path).size()
        if width % self.tiles:
            raise UserError(
                f"{self.path}: {width}x{height} pixels are not {self.tiles} pictures side by side"
            )
        return height, width // self.tiles

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return (h, w, 3) uint8 RGB of the tile, or of the part of it inside ``box``."""
        height, width = self.size()
        place = _within(Box(0, self.offset * width, height, width), box, self.path)
        return cut(_decoded(self.path, _stamp(self.path)), place).copy()


@dataclass(frozen=True, slots=True)
class CentreHalf:
    """The centre of a picture in a file: half of its height and half of its width."""

    path: str

    def size(self) -> tuple[int, int]:
        """Return (height, width) of the centre."""
        height, width = ImageFile(self.path).size()
        return height // 2, width // 2

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return (h, w, 3) uint8 RGB of the centre, or of the part of it inside ``box``."""
        height, width = ImageFile(self.path).size()
        centre = Box(
            (height - height // 2) // 2, (width - width // 2) // 2, height // 2, width // 2
        )
        return ImageFile(self.path).read(_within(centre, box, self.path))


@dataclass(frozen=True, slots=True)
class Resized:
    """A picture in a file, resized by area (OpenCV's INTER_AREA).

    Attributes:
        path: the file.
        height: of the frame, in pixels.
        width: of the frame, in pixels.
    """

    path: str
    height: int
    width: int

    def size(self) -> tuple[int, int]:
        """Return (height, width) of the frame."""
        return self.height, self.width

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return (h, w, 3) uint8 RGB of the frame, or of the part of it inside ``box``."""
        import cv2

        if box is not None:
            check_box(box, self.size(), self.path)
        picture = ImageFile(self.path).read()
        frame = cv2.resize(picture, (self.width, self.height), interpolation=cv2.INTER_AREA)
        return frame if box is None else cut(frame, box).copy()


def _within(outer: Box, box: Box | None, name: str) -> Box:
    """Return the place in the file of a ``box`` of the part ``outer``; None is all of it."""
    if box is None:
        return outer
    check_box(box, (outer.height, outer.width), name)
    return Box(outer.top + box.top, outer.left + box.left, box.height, box.width)


def _stamp(path: str) -> tuple[int, int]:
    """Return what changes when a file is written anew."""
    try:
        facts = Path(path).stat()
    except OSError as error:
        raise unreadable(path, error) from error
    return facts.st_mtime_ns, facts.st_size


@lru_cache(maxsize=_KEPT)
def _decoded(path: str, stamp: tuple[int, int]) -> np.ndarray:
    """Return a whole picture that nobody may write to; ``stamp`` tells it from an older one."""
    picture = ImageFile(path).read()
    picture.setflags(write=False)
    return picture
