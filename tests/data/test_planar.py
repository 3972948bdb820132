"""The fast copy into planes equals NumPy's for every view that augmentations make."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from midframe.data import planar
from midframe.data.planar import to_planes

VIEWS = list(itertools.product((False, True), repeat=4))
BASE = np.random.default_rng(0).integers(0, 256, (9, 13, 3), np.uint8)


def _view(picture, colour, down, across, laid):
    picture = picture[..., ::-1] if colour else picture
    picture = picture[::-1] if down else picture
    picture = picture[:, ::-1] if across else picture
    return picture.swapaxes(0, 1) if laid else picture


@pytest.mark.parametrize("how", VIEWS)
@pytest.mark.parametrize(
    "part", [BASE, BASE[2:7, 3:11], BASE[:6, :6]], ids=["all", "crop", "square"]
)
def test_every_view_of_a_picture(part, how):
    view = _view(part, *how)
    out = np.zeros((3, *view.shape[:2]), np.uint8)
    assert planar._is_fast(view, out)
    to_planes(view, out)
    assert np.array_equal(out, np.moveaxis(view, -1, 0))


@pytest.mark.parametrize(
    "picture",
    [
        BASE.astype(np.float32),
        BASE[..., :2],
        BASE[::2, ::2],
        BASE[:1],
        np.broadcast_to(BASE[:1], BASE.shape),
        BASE.transpose(2, 0, 1).copy().transpose(1, 2, 0),
    ],
    ids=["float", "flow", "stepped", "row", "broadcast", "planar"],
)
def test_anything_else_goes_through_numpy(picture):
    out = np.zeros((picture.shape[2], *picture.shape[:2]), picture.dtype)
    to_planes(picture, out)
    assert np.array_equal(out, np.moveaxis(picture, -1, 0))
