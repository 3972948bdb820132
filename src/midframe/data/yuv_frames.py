"""Frames of raw video as pictures: one frame of a .yuv file, converted to RGB."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from midframe.data.io import check_box, cut
from midframe.data.records import Box
from midframe.errors import UserError
from midframe.video.colour import Colour, to_rgb
from midframe.video.yuv import YuvFormat, YuvReader


@dataclass(frozen=True, slots=True)
class YuvPicture:
    """A frame of a raw video, read as RGB rounded to 8 bits.

    Attributes:
        path: the file.
        number: of the frame, from 0 on.
        form: how frames lie in the file.
        colour: what the numbers mean.
    """

    path: str
    number: int
    form: YuvFormat
    colour: Colour

    def size(self) -> tuple[int, int]:
        """Return (height, width)."""
        return self.form.height, self.form.width

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return (h, w, 3) uint8 RGB, whole or inside ``box``."""
        if box is not None:
            check_box(box, self.size(), self.path)
        with YuvReader(self.path, self.form) as reader:
            if self.number >= reader.frames:
                raise UserError(
                    f"{self.path}: no frame {self.number}, there are {reader.frames}; it was "
                    "longer at first, copy it again"
                )
            rgb = to_rgb(reader.read(self.number), self.colour)
        picture = np.rint(rgb * np.float32(255)).astype(np.uint8).transpose(1, 2, 0)
        return np.ascontiguousarray(picture if box is None else cut(picture, box))
