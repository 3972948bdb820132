"""Padding is data: amounts, multiples and the way back."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from midframe.models.base import Pad

PADS = st.builds(
    Pad,
    multiple=st.integers(1, 64),
    mode=st.sampled_from(["zeros", "half", "replicate"]),
    side=st.sampled_from(["after", "both"]),
    least=st.tuples(st.integers(0, 80), st.integers(0, 80)),
)
SIZES = st.integers(1, 90)


@given(PADS, SIZES, SIZES)
def test_crop_undoes_apply_and_sizes_are_the_least_multiples(pad, height, width):
    x = torch.arange(2 * height * width, dtype=torch.float32).reshape(1, 2, height, width)
    padded = pad.apply(x)
    assert torch.equal(pad.crop(padded, height, width), x)
    for got, size, least in zip(padded.shape[-2:], (height, width), pad.least):
        assert got % pad.multiple == 0
        assert got >= max(size, least)
        assert got - pad.multiple < max(size, least)


@given(PADS, SIZES, SIZES)
def test_amounts_lie_on_the_sides_that_are_named(pad, height, width):
    left, right, top, bottom = pad.amounts(height, width)
    if pad.side == "after":
        assert left == top == 0
    else:
        assert 0 <= right - left <= 1
        assert 0 <= bottom - top <= 1


def test_sizes_that_fit_are_left_alone():
    x = torch.rand(1, 2, 3, 32, 48)
    assert Pad(16).apply(x) is x


def test_modes_fill_with_what_they_say():
    x = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    fills = {"zeros": [0, 0], "half": [0.5, 0.5], "replicate": [3, 3], "reflect": [2, 1]}
    for mode, values in fills.items():
        out = Pad(5, mode, "after").apply(x.expand(1, 1, 5, 3))
        assert out[0, 0, 0].tolist() == [1, 2, 3, *values]


@given(st.sampled_from(["after", "both"]), st.integers(1, 40), st.integers(1, 40))
def test_reflection_goes_on_beyond_the_frame_as_numpys(side, height, width):
    pad = Pad(32, "reflect", side)
    x = torch.rand(1, 2, height, width)
    left, right, top, bottom = pad.amounts(height, width)
    expected = np.pad(x.numpy(), ((0, 0), (0, 0), (top, bottom), (left, right)), "reflect")
    assert np.array_equal(pad.apply(x).numpy(), expected)


def test_published_snufilm_padding_of_ifrnet():
    assert Pad(20, "replicate", "both").amounts(110, 150) == (5, 5, 5, 5)
