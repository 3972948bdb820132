"""Clips of pictures in memory."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import cv2
import numpy as np

from midframe.video.frame import Format, Frame

RATE = Fraction(24)


class Reel:
    """A clip of pictures (h, w, 3) uint8 RGB."""

    def __init__(self, images: Sequence[np.ndarray], rate: Fraction = RATE):
        height, width = images[0].shape[:2]
        self.format = Format(width, height, 8, "444", "rgb")
        self.frames = [
            Frame(self.format, tuple(np.ascontiguousarray(p) for p in image.transpose(2, 0, 1)))
            for image in images
        ]
        self.times = [k / rate for k in range(len(images))]

    def read(self, first, last=None):
        yield from self.frames[first:last]


def walk(picture: np.ndarray, step: float, count: int, zoom: float = 1.0) -> list[np.ndarray]:
    """Return views of 160 x 96 pixels of a picture, each ``step`` pixels on, and larger."""
    views = []
    for k in range(count):
        scale = zoom**k
        move = np.float32([[scale, 0, -step * k], [0, scale, -step * k / 3]])
        views.append(cv2.warpAffine(picture, move, (160, 96), flags=cv2.INTER_LINEAR, borderMode=2))
    return views
