"""A frame in another format: what an encoder takes, rounded, changed no more than it must be."""

from __future__ import annotations

import numpy as np

from midframe.video.colour import Colour, luma_levels
from midframe.video.format import Format
from midframe.video.frame import Frame


def fit(frame: Frame, form: Format, colour: Colour) -> Frame:
    """Return a frame in a format, larger by repeated edges where the format is.

    Between YUV of one matrix, planes are scaled one by one, so that nothing is clipped; chroma
    samples stand for their blocks. Whatever cannot be kept is rounded to nearest. Transparency that
    the format lacks is left out, as it is: colours are not mixed with a background.

    Args:
        frame: any.
        form: of the result.
        colour: of the result.
    """
    given = frame.format
    if given == form and frame.colour == colour:
        return frame
    inner = Format(given.width, given.height, form.depth, form.chroma, form.family, form.alpha)
    same_colour = form.family == "rgb" or frame.colour.matrix == colour.matrix
    if given.family == form.family and same_colour:
        planes = _scaled(frame, inner, colour)
    elif form.family == "yuv" and given.family == "gray":
        planes = _grey(frame, inner, colour)
    else:
        whole = Frame(inner, (), colour).like(frame.rgb(), _opacity(frame, inner))
        planes = whole.planes
    if inner != form:
        planes = tuple(_padded(plane, shape) for plane, shape in zip(planes, form.shapes))
    return Frame(form, planes, colour)


def _scaled(frame: Frame, form: Format, colour: Colour) -> tuple[np.ndarray, ...]:
    given, planes = frame.format, []
    colours = given.colours
    for number in range(colours):
        plane = frame.planes[number]
        if number and given.chroma != form.chroma:
            plane = _resampled(plane, given, form)
        chroma = number > 0 and given.family == "yuv"
        old = _span(given, frame.colour, chroma)
        planes.append(_rescaled(plane, old, _span(form, colour, chroma), form))
    if form.alpha:
        alpha = frame.planes[-1] if given.alpha else None
        planes.append(_alpha(alpha, given, form))
    return tuple(planes)


def _grey(frame: Frame, form: Format, colour: Colour) -> tuple[np.ndarray, ...]:
    grey = Format(form.width, form.height, form.depth, "444", "gray", form.alpha)
    planes = _scaled(frame, grey, colour)
    neutral = [np.full(shape, 1 << (form.depth - 1), form.sample) for shape in form.shapes[1:3]]
    return (planes[0], *neutral, *planes[1:])


def _span(form: Format, colour: Colour, chroma: bool) -> tuple[float, float]:
    """Return the level of 0, and how many levels a unit has."""
    if form.family == "rgb":
        return 0.0, float(form.peak)
    black, luma = luma_levels(form, colour)
    if not chroma:
        return black, luma
    grey = 2.0 ** (form.depth - 1)
    return grey, float(form.peak) if colour.range == "full" else 224 * 2.0 ** (form.depth - 8)


def _rescaled(
    plane: np.ndarray, old: tuple[float, float], new: tuple[float, float], form: Format
) -> np.ndarray:
    if old == new and plane.dtype == form.sample:
        return plane
    scale = new[1] / old[1]
    if scale == int(scale) and old[0] * scale == new[0] and plane.dtype.kind == "u":
        return (plane.astype(np.uint32) * int(scale)).astype(form.sample)  # limited range: exact
    level = (plane.astype(np.float64) - old[0]) * scale + new[0]
    return np.clip(np.rint(level), 0, form.peak).astype(form.sample)


def _resampled(plane: np.ndarray, given: Format, form: Format) -> np.ndarray:
    """Return chroma of other steps: each sample is repeated, or the mean of its block."""
    (down, right), (to_down, to_right) = given.steps, form.steps
    height, width = form.height, form.width
    whole = np.repeat(np.repeat(plane, down, 0), right, 1)[:height, :width]
    if (to_down, to_right) == (1, 1):
        return whole
    edge = np.pad(whole, ((0, -height % to_down), (0, -width % to_right)), mode="edge")
    blocks = edge.reshape(edge.shape[0] // to_down, to_down, edge.shape[1] // to_right, to_right)
    return blocks.mean((1, 3), dtype=np.float32)


def _alpha(alpha: np.ndarray | None, given: Format, form: Format) -> np.ndarray:
    if alpha is None:
        return np.full((form.height, form.width), form.peak, form.sample)
    return _rescaled(alpha, (0.0, float(given.peak)), (0.0, float(form.peak)), form)


def _opacity(frame: Frame, form: Format) -> np.ndarray | None:
    return frame.alpha() if form.alpha else None


def _padded(plane: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    more = shape[0] - plane.shape[0], shape[1] - plane.shape[1]
    return np.pad(plane, ((0, more[0]), (0, more[1])), mode="edge") if any(more) else plane
