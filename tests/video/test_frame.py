"""Frames: RGB and back, nothing lost, rounded to nearest, still parts still."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_format import noise

from midframe.video.colour import MATRICES, RANGES, Colour
from midframe.video.fit import fit
from midframe.video.format import Format
from midframe.video.frame import Frame

CHROMAS = ("420", "422", "444", "440", "411", "410")
formats = st.builds(
    Format,
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(8, 16),
    st.sampled_from(CHROMAS),
    st.sampled_from(("yuv", "rgb", "gray")),
    st.booleans(),
)
colours = st.builds(Colour, st.sampled_from(MATRICES), st.sampled_from(RANGES))


@settings(max_examples=150, deadline=None)
@given(formats, colours, st.integers(0, 99))
def test_what_is_predicted_as_it_was_comes_back_bit_by_bit(form, colour, seed):
    frame = Frame(form, noise(form, seed), colour)
    rgb, alpha = frame.rgb(), frame.alpha()
    assert rgb.dtype == np.float32 and rgb.shape == (3, form.height, form.width)
    assert rgb.min() >= 0 and rgb.max() <= 1
    assert (alpha is None) == (not form.alpha)
    assert frame.like(rgb, alpha, (frame, frame)).same_as(frame)


@settings(max_examples=60, deadline=None)
@given(formats, st.floats(0, 1))
def test_levels_are_rounded_to_nearest(form, level):
    colour = Colour("bt709", "full")
    rgb = np.full((3, form.height, form.width), level, np.float32)
    empty = Frame(form, noise(form), colour)
    made = empty.like(rgb, rgb[:1])
    exact = float(np.float32(level)) * form.peak
    assert np.abs(made.planes[0].astype(float) - exact).max() <= 0.5 + 1e-6 * form.peak + 1e-4
    if form.alpha:
        assert np.abs(made.planes[-1].astype(float) - exact).max() <= 0.5 + 1e-6 * form.peak + 1e-4
        assert (empty.like(rgb).planes[-1] == form.peak).all()


def test_gray_of_limited_range_is_black_and_white_at_16_and_235():
    form = Format(3, 1, 8, family="gray")
    frame = Frame(form, (np.array([[16, 235, 126]], np.uint8),), Colour("bt709", "limited"))
    assert np.allclose(frame.rgb()[0, 0], [0, 1, 110 / 219], atol=1e-6)
    full = Frame(form, frame.planes, Colour("bt709", "full"))
    assert np.allclose(full.rgb()[:, 0, 0], 16 / 255)


def level(form: Format, value: float) -> Frame:
    planes = tuple(np.full(s, value, form.sample) for s in form.shapes)
    return Frame(form, planes, Colour("bt709", "limited"))


def test_more_bits_of_limited_range_are_exact():
    small, large = Format(6, 4, 8), Format(6, 4, 10)
    frame = Frame(small, noise(small), Colour())
    wide = fit(frame, large, Colour())
    assert all(np.array_equal(a.astype(int) * 4, b) for a, b in zip(frame.planes, wide.planes))
    assert fit(wide, small, Colour()).same_as(frame)


def test_fewer_bits_are_rounded():
    large, small = Format(5, 1, 10, "444"), Format(5, 1, 8, "444")
    values = np.array([[401, 402, 403, 1023, 64]], np.uint16)
    frame = Frame(large, (values, values, values), Colour())
    assert fit(frame, small, Colour()).planes[0].tolist() == [[100, 100, 101, 255, 16]]


@pytest.mark.parametrize("chroma", CHROMAS[1:4])
def test_chroma_that_is_repeated_comes_back_as_its_mean(chroma):
    small, large = Format(7, 5, 8, "420"), Format(7, 5, 8, chroma)
    frame = Frame(small, noise(small), Colour())
    assert fit(fit(frame, large, Colour()), small, Colour()).same_as(frame)


def test_less_chroma_is_the_mean_of_blocks():
    full, half = Format(3, 2, 8, "444"), Format(3, 2, 8, "420")
    u = np.array([[10, 20, 70], [31, 40, 90]], np.uint8)
    made = fit(Frame(full, (u, u, u), Colour()), half, Colour())
    assert np.array_equal(made.planes[0], u) and made.planes[1].tolist() == [[25, 80]]


def test_range_and_depth_change_together():
    form = Format(2, 1, 8, "444")
    black = Frame(form, tuple(np.full((1, 2), v, np.uint8) for v in (16, 128, 128)), Colour())
    full = fit(black, Format(2, 1, 10, "444"), Colour("bt709", "full"))
    assert [int(p[0, 0]) for p in full.planes] == [0, 512, 512]
    white = Frame(form, tuple(np.full((1, 2), v, np.uint8) for v in (235, 240, 16)), Colour())
    full = fit(white, Format(2, 1, 8, "444"), Colour("bt601", "full"))
    assert int(full.planes[0][0, 0]) != 255  # another matrix: by way of RGB
    full = fit(white, Format(2, 1, 8, "444"), Colour("bt709", "full"))
    assert [int(p[0, 0]) for p in full.planes] == [255, 255, 0]


def test_edges_are_repeated_where_the_format_is_larger():
    form = Format(3, 3, 8, "420")
    frame = Frame(form, noise(form), Colour())
    wide = fit(frame, Format(4, 4, 8, "420"), Colour())
    assert [p.shape for p in wide.planes] == [(4, 4), (2, 2), (2, 2)]
    assert np.array_equal(wide.planes[0][:3, :3], frame.planes[0])
    assert np.array_equal(wide.planes[0][3], wide.planes[0][2])


def test_rgb_and_yuv_turn_into_each_other():
    rgb = Format(4, 2, 8, "444", "rgb", True)
    frame = Frame(rgb, tuple(np.full((2, 4), v, np.uint8) for v in (255, 0, 0, 77)))
    yuv = fit(frame, Format(4, 2, 8, "420", alpha=True), Colour("bt601"))
    assert [int(p[0, 0]) for p in yuv.planes] == [81, 90, 240, 77]
    assert [int(p[0, 0]) for p in fit(yuv, rgb, Colour()).planes][3] == 77
    grey = Format(4, 2, 8, family="gray")
    luma = Frame(grey, (np.full((2, 4), 255, np.uint8),), Colour("bt709", "full"))
    made = fit(luma, Format(4, 2, 8, "420"), Colour("bt709"))
    assert [int(p[0, 0]) for p in made.planes] == [235, 128, 128]
