"""A frame of a video as it was stored, as the RGB that models read, and back without loss."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from midframe.video.colour import Colour, common_residue, levels, luma_levels, to_rgb
from midframe.video.format import Format
from midframe.video.yuv import YuvFrame

_NOTHING = 0.01  # of a level: floating point alone makes this of a frame that RGB holds

__all__ = ["Format", "Frame"]


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame as it is stored: what is handed on untouched comes out as it came in.

    Attributes:
        format: of its planes.
        planes: Y, U, V or R, G, B or Y alone, then A if there is alpha: uint8 or, of more than 8
            bits, uint16, of the format's shapes.
        colour: what the numbers of YUV and of gray mean; of RGB, they are full range.
        damaged: whether a decoder had to make up for what was missing of it.
    """

    format: Format
    planes: tuple[np.ndarray, ...]
    colour: Colour = Colour()
    damaged: bool = False

    def rgb(self) -> np.ndarray:
        """Return RGB (3, H, W), float32 in [0, 1]; colours that it lacks are clipped."""
        form = self.format
        if form.family == "yuv":
            y, u, v = self.planes[:3]
            return to_rgb(YuvFrame(form.opaque, (y, u, v)), self.colour)
        if form.family == "rgb":
            picture = np.stack(self.planes[:3]).astype(np.float32)
            return np.multiply(picture, np.float32(1 / form.peak), out=picture)
        black, span = luma_levels(form, self.colour)
        y = (self.planes[0].astype(np.float32) - np.float32(black)) * np.float32(1 / span)
        return np.repeat(np.clip(y, 0, 1, out=y)[None], 3, 0)

    def alpha(self) -> np.ndarray | None:
        """Return opacity (1, H, W), float32 in [0, 1]; None where all is opaque."""
        if not self.format.alpha:
            return None
        return self.planes[-1][None].astype(np.float32) * np.float32(1 / self.format.peak)

    def like(
        self,
        rgb: np.ndarray,
        alpha: np.ndarray | None = None,
        ends: tuple[Frame, Frame] | None = None,
    ) -> Frame:
        """Return a frame of the same kind, rounded to the nearest level.

        Args:
            rgb: (3, H, W) in [0, 1].
            alpha: (1, H, W) in [0, 1]; of formats with alpha, None is opaque.
            ends: the two frames around it: what both have beyond RGB is added, so that where
                nothing moves nothing changes, see `colour.common_residue`.
        """
        form = self.format
        planes = self._levels(np.asarray(rgb, np.float32))
        if ends is not None:
            first, second = (end.beyond for end in ends)
            if first is not None and second is not None:
                both = common_residue(first, second)
                planes = tuple(plane + more for plane, more in zip(planes, both))
        rounded = tuple(self._rounded(plane) for plane in planes)
        if not form.alpha:
            return Frame(form, rounded, self.colour)
        if alpha is None:
            opacity = np.full((form.height, form.width), form.peak, form.sample)
        else:
            opacity = self._rounded(np.asarray(alpha, np.float32)[0] * np.float32(form.peak))
        return Frame(form, (*rounded, opacity), self.colour)

    @cached_property
    def beyond(self) -> tuple[np.ndarray, ...] | None:
        """What the planes have beyond RGB, in levels; None: nothing."""
        if self.format.family == "rgb":
            return None
        colours = self.planes[: self.format.colours]
        rest = tuple(plane - level for plane, level in zip(colours, self._levels(self.rgb())))
        return rest if any(np.abs(plane).max() > _NOTHING for plane in rest) else None

    def same_as(self, other: Frame) -> bool:
        """Whether every sample of two frames of one format is the same."""
        return self.format == other.format and all(map(np.array_equal, self.planes, other.planes))

    def _levels(self, rgb: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return float32 planes in levels, without alpha, not yet rounded."""
        form = self.format
        if form.family == "yuv":
            return levels(rgb, form, self.colour)
        if form.family == "rgb":
            return tuple(plane * np.float32(form.peak) for plane in rgb)
        return (levels(rgb, Format(form.width, form.height, form.depth, "444"), self.colour)[0],)

    def _rounded(self, plane: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(plane), 0, self.format.peak).astype(self.format.sample)
