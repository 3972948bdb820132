"""YUV to RGB and back without losing bits: matrices, ranges, depths and chroma of fewer samples.

Sources: ITU-R BT.601, BT.709 and BT.2020 (non-constant luminance) for the matrices, BT.2100 for the
levels of full range. Between 420 and 444 every chroma sample stands for its block of pixels, and is
their mean on the way back: what nobody changed comes back as it was, whatever the siting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from midframe.errors import UserError
from midframe.video.yuv import YuvFormat, YuvFrame

Matrix = Literal["bt601", "bt709", "bt2020"]
Range = Literal["limited", "full"]
MATRICES: tuple[Matrix, ...] = get_args(Matrix)
RANGES: tuple[Range, ...] = get_args(Range)
_RED_BLUE: dict[Matrix, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
}
HD_HEIGHT = 720  # untagged video of this height and above is BT.709 by convention

Planes = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Colour:
    """What the numbers of YUV mean.

    Attributes:
        matrix: "bt601" (SD), "bt709" (HD) or "bt2020" (UHD, HDR).
        range: "limited" (8 bit: luma 16 to 235, chroma 16 to 240) or "full".
        published: frames are read in 8 bits through OpenCV, cut off instead of rounded, as
            published evaluations of raw video do it: see `as_published`.
    """

    matrix: Matrix = "bt709"
    range: Range = "limited"
    published: bool = False

    def __post_init__(self) -> None:
        if self.matrix not in MATRICES or self.range not in RANGES:
            raise UserError(
                f"matrix {self.matrix}, range {self.range}: give {', '.join(MATRICES)}; "
                f"{' or '.join(RANGES)}"
            )

    def __str__(self) -> str:
        return f"{self.matrix} {self.range}" + (", read as published" if self.published else "")


def usual_colour(form: YuvFormat) -> Colour:
    """Return what untagged video of this format is by convention."""
    return Colour("bt709" if form.height >= HD_HEIGHT else "bt601")


def published_colour(form: YuvFormat) -> Colour:
    """Return what ST-MFNet's program for raw video takes a format for: full range if it is 444."""
    return Colour("bt601", "full" if form.chroma == "444" else "limited", published=True)


def to_rgb(frame: YuvFrame, colour: Colour) -> np.ndarray:
    """Return a frame as RGB (3, H, W), float32 in [0, 1]; colours that RGB lacks are clipped."""
    if colour.published:
        return np.ascontiguousarray(as_published(frame).transpose(2, 0, 1)) / np.float32(255)
    form = frame.format
    red, blue = _RED_BLUE[colour.matrix]
    (black, luma), (grey, chroma) = _levels(form, colour)
    y, u, v = (plane.astype(np.float32) for plane in frame.planes)
    y = (y - np.float32(black)) * np.float32(1 / luma)
    cb, cr = ((c - np.float32(grey)) * np.float32(1 / chroma) for c in (u, v))
    to_green = -2 / (1 - red - blue)
    shifts = (
        cr * np.float32(2 * (1 - red)),
        cb * np.float32(to_green * blue * (1 - blue)) + cr * np.float32(to_green * red * (1 - red)),
        cb * np.float32(2 * (1 - blue)),
    )
    rgb = np.empty((3, form.height, form.width), np.float32)
    down, right = form.steps
    for out, shift in zip(rgb, shifts):
        if right > 1:  # every pixel takes the chroma sample of its block
            shift = np.repeat(shift, right, 1)[:, : form.width]
        for i in range(down):
            line = y[i::down]
            np.add(line, shift[: len(line)], out=out[i::down])
    return np.clip(rgb, 0, 1, out=rgb)


def levels(rgb: np.ndarray, form: YuvFormat, colour: Colour) -> Planes:
    """Return RGB (3, H, W) in [0, 1] as float32 planes in levels of a format, not yet rounded."""
    red, blue = _RED_BLUE[colour.matrix]
    (black, luma), (grey, chroma) = _levels(form, colour)
    r, g, b = np.asarray(rgb, np.float32)
    y = np.float32(red) * r + np.float32(1 - red - blue) * g + np.float32(blue) * b
    cb, cr = (
        _gathered(c - y, form) * np.float32(chroma / (2 * (1 - own)))
        for c, own in ((b, blue), (r, red))
    )
    return y * np.float32(luma) + np.float32(black), cb + np.float32(grey), cr + np.float32(grey)


def to_yuv(
    rgb: np.ndarray, form: YuvFormat, colour: Colour, residue: Planes | None = None
) -> YuvFrame:
    """Return RGB (3, H, W) in [0, 1] as a frame, rounded to the nearest level.

    Args:
        rgb: what a model made, or `to_rgb`.
        form: of the frame.
        colour: what its numbers shall mean.
        residue: added before rounding, see `common_residue`.
    """
    planes = levels(rgb, form, colour)
    if residue is not None:
        planes = (planes[0] + residue[0], planes[1] + residue[1], planes[2] + residue[2])
    kind = form.dtype.newbyteorder("=")
    y, u, v = (np.clip(np.rint(plane), 0, form.peak).astype(kind) for plane in planes)
    return YuvFrame(form, (y, u, v))


def residue(frame: YuvFrame, rgb: np.ndarray, colour: Colour) -> Planes:
    """Return what a frame has beyond its RGB, in levels: whiter than white, bits cut off."""
    return tuple(a - b for a, b in zip(frame.planes, levels(rgb, frame.format, colour)))


def common_residue(first: Planes, second: Planes) -> Planes:
    """Return what two frames both have beyond RGB: the smaller of each pair, 0 of unlike signs.

    Added to a frame between, still parts keep levels that RGB has not, where frames would flicker
    between clipped and not clipped otherwise, and nothing appears that only one of them has.
    """
    return tuple(
        np.where(a * b > 0, np.where(np.abs(a) < np.abs(b), a, b), np.float32(0))
        for a, b in zip(first, second)
    )


def as_published(frame: YuvFrame) -> np.ndarray:
    """Return RGB (H, W, 3) uint8 as published evaluations of raw video read it.

    More than 8 bits are scaled and cut off before the conversion. 420 is OpenCV's I420, BT.601 in
    limited range; 444 is its YCrCb, BT.601 in full range: the two disagree.

    Raises:
        UserError: for 422, and for 420 of odd sizes.
    """
    import cv2

    form = frame.format
    y, u, v = frame.planes
    if form.depth > 8:
        y, u, v = ((plane / form.peak * 255).astype(np.uint8) for plane in (y, u, v))
    if form.chroma == "444":
        return cv2.cvtColor(np.stack((y, v, u), -1), cv2.COLOR_YCrCb2RGB)
    if form.chroma != "420" or form.width % 2 or form.height % 2:
        raise UserError(
            f"{form}: the published conversion knows 444, and 420 of even sizes; give --matrix"
        )
    whole = np.concatenate([plane.reshape(-1) for plane in (y, u, v)])
    return cv2.cvtColor(whole.reshape(-1, form.width), cv2.COLOR_YUV2RGB_I420)


def luma_levels(form: YuvFormat, colour: Colour) -> tuple[float, float]:
    """Return the level of black, and how many levels there are from it to white."""
    return _levels(form, colour)[0]


def _levels(form: YuvFormat, colour: Colour) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return (level of black, levels to white), (level of grey, levels per unit of chroma)."""
    grey = 2.0 ** (form.depth - 1)
    if colour.range == "full":
        return (0.0, float(form.peak)), (grey, float(form.peak))
    step = 2.0 ** (form.depth - 8)
    return (16 * step, 219 * step), (grey, 224 * step)


def _gathered(plane: np.ndarray, form: YuvFormat) -> np.ndarray:
    """Return the mean of each block of pixels; the last line and column count for what is cut."""
    down, right = form.steps
    if down == right == 1:
        return plane
    plane = np.pad(plane, ((0, -form.height % down), (0, -form.width % right)), mode="edge")
    total = sum(plane[i::down, j::right] for i in range(down) for j in range(right))
    return np.asarray(total, np.float32) / np.float32(down * right)
