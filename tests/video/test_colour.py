"""YUV to RGB and back: the published conversion, the standards' numbers, nothing lost."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_yuv import GOLDEN, random_frame

from midframe.errors import UserError
from midframe.video.colour import (
    MATRICES,
    RANGES,
    Colour,
    as_published,
    common_residue,
    levels,
    published_colour,
    residue,
    to_rgb,
    to_yuv,
    usual_colour,
)
from midframe.video.yuv import CHROMAS, DEPTHS, YuvFormat, YuvFrame

formats = st.builds(
    YuvFormat,
    st.integers(1, 7),
    st.integers(1, 7),
    st.sampled_from(DEPTHS),
    st.sampled_from(CHROMAS),
)
colours = st.builds(Colour, st.sampled_from(MATRICES), st.sampled_from(RANGES))
LUMA = {
    "bt601": (0.299, 0.587, 0.114),
    "bt709": (0.2126, 0.7152, 0.0722),
    "bt2020": (0.2627, 0.678, 0.0593),
}


def one_pixel(form, y, u, v):
    kind = form.dtype.newbyteorder("=")
    return YuvFrame(form, tuple(np.full(s, c, kind) for s, c in zip(form.shapes, (y, u, v))))


def defined(rgb, form, colour):
    """The definition in the standards, in float64, of one colour."""
    kr, kg, kb = LUMA[colour.matrix]
    r, g, b = (float(c) for c in rgb)
    y = kr * r + kg * g + kb * b
    u, v = (b - y) / (2 - 2 * kb), (r - y) / (2 - 2 * kr)
    bits = 2.0**form.depth
    if colour.range == "full":
        return y * (bits - 1), u * (bits - 1) + bits / 2, v * (bits - 1) + bits / 2
    return tuple(c * bits / 256 for c in (16 + 219 * y, 128 + 224 * u, 128 + 224 * v))


@pytest.mark.parametrize("case", GOLDEN)
def test_the_published_conversion(golden, case):
    with np.load(golden("stmfnet/yuv.npz")) as data:
        raw, rgb = data[f"{case}/raw"], data[f"{case}/rgb"]
    form = YuvFormat(16, 8, int(case.split("bit")[0]), case[-3:])
    kinds = [np.prod(shape) for shape in form.shapes]
    for samples, expected in zip(raw.reshape(3, -1), rgb):
        parts = np.split(samples, np.cumsum(kinds)[:2])
        frame = YuvFrame(form, tuple(p.reshape(s) for p, s in zip(parts, form.shapes)))
        assert np.array_equal(as_published(frame), expected)
        floats = to_rgb(frame, published_colour(form))
        assert np.array_equal(floats, expected.transpose(2, 0, 1) / np.float32(255))


def test_the_published_conversion_refuses_what_it_cannot():
    for form in (YuvFormat(4, 4, 8, "422"), YuvFormat(5, 4), YuvFormat(4, 3, 10)):
        with pytest.raises(UserError, match="the published conversion knows"):
            as_published(random_frame(form))
    as_published(random_frame(YuvFormat(4, 6)))


@pytest.mark.parametrize(
    ("colour", "depth", "rgb", "yuv"),
    [
        (Colour("bt601"), 8, (1, 1, 1), (235, 128, 128)),
        (Colour("bt601"), 8, (1, 0, 0), (81, 90, 240)),
        (Colour("bt709"), 8, (1, 0, 0), (63, 102, 240)),
        (Colour("bt709"), 10, (0, 0, 1), (127, 960, 471)),
        (Colour("bt2020"), 10, (0, 1, 0), (658, 189, 100)),
        (Colour("bt709", "full"), 8, (1, 1, 1), (255, 128, 128)),
        (Colour("bt709", "full"), 16, (0, 0, 0), (0, 32768, 32768)),
        (Colour("bt601", "full"), 8, (0, 1, 0), (150, 44, 21)),
    ],
)
@pytest.mark.parametrize("chroma", CHROMAS)
def test_the_standards_levels(colour, depth, rgb, yuv, chroma):
    form = YuvFormat(3, 3, depth, chroma)
    picture = np.broadcast_to(np.array(rgb, np.float32)[:, None, None], (3, 3, 3))
    assert [set(p.ravel()) for p in to_yuv(picture, form, colour).planes] == [{c} for c in yuv]


@settings(max_examples=60, deadline=None)
@given(formats, colours, st.tuples(*[st.floats(0, 1)] * 3))
def test_conversion_follows_the_definition_and_rounds(form, colour, rgb):
    picture = np.broadcast_to(
        np.array(rgb, np.float32)[:, None, None], (3, form.height, form.width)
    )
    exact = defined(np.float32(rgb), form, colour)
    for plane, value in zip(levels(picture, form, colour), exact):
        assert np.abs(plane - value).max() < 2e-6 * form.peak + 1e-4
    frame = to_yuv(picture, form, colour)
    for plane, value in zip(frame.planes, exact):
        top = min(value, form.peak)
        assert np.abs(plane.astype(float) - top).max() <= 0.5 + 2e-6 * form.peak + 1e-4
    # and back: as far off as half a level of each makes it
    back = to_rgb(frame, colour)
    assert np.abs(back - picture).max() < 2.0 / (2**form.depth - 1) + 1e-5


@settings(max_examples=60, deadline=None)
@given(formats, colours, st.integers(0, 99))
def test_what_rgb_can_hold_comes_back_bit_by_bit(form, colour, seed):
    rng = np.random.default_rng(seed)
    # colours well inside of RGB: there chroma of blocks is no loss, either
    y, u, v = (
        np.rint((0.5 + rng.uniform(-span, span, shape)) * form.peak).astype(
            form.dtype.newbyteorder("=")
        )
        for shape, span in zip(form.shapes, (0.1, 0.08, 0.08))
    )
    frame = YuvFrame(form, (y, u, v))
    back = to_yuv(to_rgb(frame, colour), form, colour)
    assert back.tobytes() == frame.tobytes()


@settings(max_examples=60, deadline=None)
@given(formats, st.one_of(colours, st.none()), st.integers(0, 99))
def test_with_its_residue_every_frame_comes_back_bit_by_bit(form, colour, seed):
    if colour is None:  # 8 bits, cut off
        if form.chroma == "422" or form.width % 2 or form.height % 2:
            return
        colour = published_colour(form)
    frame = random_frame(form, seed)
    rgb = to_rgb(frame, colour)
    assert rgb.dtype == np.float32 and rgb.min() >= 0 and rgb.max() <= 1
    beyond = residue(frame, rgb, colour)
    back = to_yuv(rgb, form, colour, common_residue(beyond, beyond))
    assert back.tobytes() == frame.tobytes()


def test_a_residue_of_one_frame_alone_is_not_added():
    one, two = (np.array([[a]], np.float32) for a in (3.0, 5.0))
    zero, less = np.zeros((1, 1), np.float32), -two
    shared = common_residue((one, one, one), (two, zero, less))
    assert [float(plane[0, 0]) for plane in shared] == [3.0, 0.0, 0.0]
    assert float(common_residue((less,) * 3, (-one,) * 3)[0][0, 0]) == -3.0


def test_ten_bits_are_kept():
    form, colour = YuvFormat(64, 1, 10, "444"), Colour("bt709")
    ramp = np.arange(400, 464, dtype=np.uint16)[None]
    grey = np.full((1, 64), 512, np.uint16)
    rgb = to_rgb(YuvFrame(form, (ramp, grey, grey)), colour)
    assert len(np.unique(rgb[1])) == 64
    assert np.allclose(rgb, (ramp - 64) / 876, atol=1e-6)


def test_every_pixel_has_the_chroma_of_its_block():
    form, colour = YuvFormat(5, 3), Colour("bt601", "full")
    u = np.array([[100, 120, 140], [150, 130, 110]], np.uint8)
    frame = YuvFrame(form, (np.full((3, 5), 128, np.uint8), u, np.full((2, 3), 128, np.uint8)))
    blue = to_rgb(frame, colour)[2]
    expected = 128 / 255 + 1.772 * (u[[0, 0, 1]][:, [0, 0, 1, 1, 2]] - 128.0) / 255
    assert np.allclose(blue, expected, atol=1e-6)
    sharp = np.zeros((3, 3, 5), np.float32)
    sharp[2, 0, 0] = 1  # one blue pixel of a block: a quarter of the chroma
    assert to_yuv(sharp, form, colour).planes[1][0, 0] == round(128 + 0.5 * 255 / 4)


def test_full_range_agrees_with_opencv():
    form, colour = YuvFormat(16, 16, 8, "444"), Colour("bt601", "full")
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    y, v, u = np.moveaxis(cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb).astype(int), -1, 0)
    ours = to_yuv(picture.transpose(2, 0, 1) / np.float32(255), form, colour).planes
    assert max(np.abs(a - b).max() for a, b in zip(ours, (y, u, v))) <= 1


def test_usual_colours_and_misspelt_ones():
    assert usual_colour(YuvFormat(1280, 720)) == Colour("bt709", "limited")
    assert usual_colour(YuvFormat(720, 576)) == Colour("bt601", "limited")
    for args in (("bt600",), ("bt709", "some")):
        with pytest.raises(UserError, match="give bt601, bt709, bt2020; limited or full"):
            Colour(*args)
