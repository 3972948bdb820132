"""How the samples of a frame lie in memory and files: size, planes, depth, chroma, alpha."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from midframe.errors import UserError

Family = Literal["yuv", "rgb", "gray"]
Chroma = Literal["420", "422", "444", "440", "411", "410"]
FAMILIES: tuple[Family, ...] = get_args(Family)
_STEPS: dict[Chroma, tuple[int, int]] = {
    **{"420": (2, 2), "422": (1, 2), "444": (1, 1)},
    **{"440": (2, 1), "411": (1, 4), "410": (4, 4)},
}
_GREATEST_SIDE = 65_536
_LEAST_DEPTH, _GREATEST_DEPTH = 8, 16

# Depths that FFmpeg has planar pixel formats of, by (family, chroma, alpha).
_ANY = (8, 9, 10, 12, 14, 16)
_KNOWN_DEPTHS: dict[tuple[Family, Chroma, bool], tuple[int, ...]] = {
    **{("yuv", chroma, False): _ANY for chroma in ("420", "422", "444")},  # type: ignore[misc]
    ("yuv", "440", False): (8, 10, 12),
    ("yuv", "411", False): (8,),
    ("yuv", "410", False): (8,),
    ("yuv", "420", True): (8, 9, 10, 16),
    ("yuv", "422", True): (8, 9, 10, 12, 16),
    ("yuv", "444", True): (8, 9, 10, 12, 16),
    ("rgb", "444", False): _ANY,
    ("rgb", "444", True): (8, 10, 12, 14, 16),
    ("gray", "444", False): _ANY,
    ("gray", "444", True): (8, 16),
}


@dataclass(frozen=True)
class Format:
    """How a frame lies in memory, plane by plane.

    Attributes:
        width: of the first plane, in pixels.
        height: of the first plane, in pixels.
        depth: bits a sample, 8 to 16; of every plane.
        chroma: of "yuv", by how much U and V are smaller: "420" halves both sides, "422" the width,
            "440" the height, "411" has a quarter of the width, "410" of both, "444" neither.
        family: "yuv" (planes Y, U, V), "rgb" (R, G, B) or "gray" (Y).
        alpha: whether a last plane A follows, of the first one's size.
    """

    width: int
    height: int
    depth: int = 8
    chroma: Chroma = "420"
    family: Family = "yuv"
    alpha: bool = False

    def __post_init__(self) -> None:
        if not (0 < self.width <= _GREATEST_SIDE and 0 < self.height <= _GREATEST_SIDE):
            raise UserError(
                f"{self.width}x{self.height} pixels: sides are from 1 to {_GREATEST_SIDE}"
            )
        if not _LEAST_DEPTH <= self.depth <= _GREATEST_DEPTH:
            raise UserError(f"depth {self.depth}: give {_LEAST_DEPTH} to {_GREATEST_DEPTH}")
        if self.chroma not in _STEPS:
            raise UserError(f"chroma {self.chroma}: give one of {', '.join(_STEPS)}")
        if self.family not in FAMILIES:
            raise UserError(f"family {self.family}: give one of {', '.join(FAMILIES)}")
        if self.family != "yuv" and self.chroma != "444":
            object.__setattr__(self, "chroma", "444")  # there is none that could be smaller

    def __str__(self) -> str:
        kind = self.chroma if self.family == "yuv" else self.family
        return f"{self.width}x{self.height}, {self.depth} bit, {kind}" + (
            " with alpha" if self.alpha else ""
        )

    @property
    def dtype(self) -> np.dtype:
        """Of a sample in a file."""
        return np.dtype("u1" if self.depth == 8 else "<u2")

    @property
    def sample(self) -> np.dtype:
        """Of a sample in memory."""
        return np.dtype(np.uint8 if self.depth == 8 else np.uint16)

    @property
    def peak(self) -> int:
        """The greatest sample."""
        return 2**self.depth - 1

    @property
    def steps(self) -> tuple[int, int]:
        """How many lines and columns share a chroma sample."""
        return _STEPS[self.chroma]

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of the planes; sides of chroma are rounded up."""
        down, right = self.steps
        whole = self.height, self.width
        chroma = -(-self.height // down), -(-self.width // right)
        colours = (whole,) if self.family == "gray" else (whole, chroma, chroma)
        return (*colours, whole) if self.alpha else colours

    @property
    def frame_bytes(self) -> int:
        """Size of a frame, uncompressed."""
        return sum(height * width for height, width in self.shapes) * self.dtype.itemsize

    @property
    def colours(self) -> int:
        """How many planes there are besides alpha."""
        return 1 if self.family == "gray" else 3

    @property
    def opaque(self) -> Format:
        """The same without alpha."""
        return replace(self, alpha=False)

    @property
    def pixel_format(self) -> str:
        """FFmpeg's name: planar, little endian; gray with alpha is packed, as nothing else is."""
        deep = "" if self.depth == 8 else f"{self.depth}le"
        if self.family == "yuv":
            return f"yuv{'a' if self.alpha else ''}{self.chroma}p{deep}"
        if self.family == "rgb":
            return f"gb{'ra' if self.alpha else 'r'}p{deep}"
        return f"ya{deep or 8}" if self.alpha else f"gray{deep}"

    def storable(self) -> Format:
        """Return the nearest that FFmpeg has a pixel format of, with no fewer bits and planes."""
        chroma = "444" if self.alpha and self.chroma not in ("420", "422") else self.chroma
        depths = _KNOWN_DEPTHS[self.family, chroma, self.alpha]
        deep = next((depth for depth in depths if depth >= self.depth), None)
        if deep is None:  # of 440, 411 and 410
            chroma = "444"
            depths = _KNOWN_DEPTHS[self.family, chroma, self.alpha]
            deep = next(depth for depth in depths if depth >= self.depth)
        return replace(self, depth=deep, chroma=chroma)


def format_of_pixels(name: str, width: int, height: int) -> Format:
    """Return the planar format that holds what a pixel format of FFmpeg holds.

    "nv12" gives 8 bit 420, "bgra" 8 bit RGB with alpha, "p010le" 10 bit 420. Palettes count as RGB
    with alpha; fewer than 8 bits become 8, floating point 16.

    Raises:
        UserError: if it has no samples that can be read, such as those of hardware.
    """
    from av.video.format import VideoFormat

    known = VideoFormat(name)
    parts = known.components
    if not parts:
        raise UserError(f"pixels of the kind {name} cannot be read; re-encode the video")
    alpha = known.has_palette or any(part.is_alpha for part in parts)
    depth = min(_GREATEST_DEPTH, max(_LEAST_DEPTH, *(part.bits for part in parts)))
    if name.startswith("bayer"):
        depth = 8 if name.endswith("8") else 16
    chroma: Chroma = "444"
    if known.is_rgb or known.has_palette or name.startswith("xyz"):
        family: Family = "rgb"
    elif len(parts) < 3:
        family = "gray"
    else:
        family = "yuv"
        steps = known.chroma_height(4), known.chroma_width(4)
        found = (c for c, (down, right) in _STEPS.items() if steps == (4 // down, 4 // right))
        chroma = next(found, "444")
    return Format(width, height, depth, chroma, family, alpha).storable()
