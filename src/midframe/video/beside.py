"""Two frames in one, side by side: the input as it was shown, and what was made of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from midframe.video.format import Format
from midframe.video.frame import Frame


def wide(form: Format) -> Format:
    """Return the format of two frames of a format beside each other."""
    return replace(form, width=2 * _half(form))


def beside(left: Frame, right: Frame) -> Frame:
    """Return two frames of one format in one; of an odd width, each lacks its last column."""
    form = wide(right.format)
    whole = _half(right.format)
    half = replace(right.format, width=whole).shapes
    planes = tuple(
        np.concatenate((one[:, : shape[1]], other[:, : shape[1]]), 1)
        for one, other, shape in zip(left.planes, right.planes, half)
    )
    return Frame(form, planes, right.colour)


def _half(form: Format) -> int:
    """Return a width whose chroma fits exactly."""
    step = {"411": 4, "410": 4}.get(form.chroma, 2)
    return max(form.width // step * step, step)
