"""`midframe.interpolate` on plain arrays and tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import midframe
from midframe.errors import UserError


def _images(height=21, width=33):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(2)]


def test_bytes_in_bytes_out_rounded():
    first, second = _images()
    out = midframe.interpolate("average", first, second, 0.25)
    exact = 0.75 * first.astype(float) + 0.25 * second
    assert out.dtype == np.uint8
    assert out.shape == first.shape
    assert np.abs(out - exact).max() <= 0.5 + 1e-4
    assert abs((out - exact).mean()) < 0.1  # cutting off would lose half a step: -0.37


def test_many_times_are_the_first_axis():
    first, second = _images()
    out = midframe.interpolate("average", first, second, [0.0, 0.5, 1.0])
    assert out.shape == (3, *first.shape)
    assert np.array_equal(out[0], first)
    assert np.array_equal(out[2], second)


@pytest.mark.parametrize("t", [0.5, [0.25, 0.5, 0.75]])
@pytest.mark.parametrize("lead", [(), (2,)])
def test_tensors_keep_their_kind(lead, t):
    model = midframe.create_model("ifrnet_s")
    first, second = torch.rand(*lead, 3, 19, 50), torch.rand(*lead, 3, 19, 50)
    out = midframe.interpolate(model, first, second, t)
    assert out.shape == (*lead, *((3,) if isinstance(t, list) else ()), 3, 19, 50)
    frames = torch.stack((first, second), -4).reshape(-1, 2, 3, 19, 50)
    times = torch.tensor([t if isinstance(t, list) else [t]] * len(frames))
    expected = model.interpolate(midframe.Inputs(frames, times)).frame
    torch.testing.assert_close(out.reshape(expected.shape), expected)


@pytest.mark.parametrize(
    ("first", "second", "t", "words"),
    [
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8), 0.5, "differ"),
        (np.zeros((8, 8, 3), np.uint8), torch.zeros(3, 8, 8), 0.5, "differ"),
        (np.zeros((8, 8, 3)), np.zeros((8, 8, 3)), 0.5, "float64"),
        (np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8), 0.5, "(8, 8)"),
        (torch.zeros(1, 8, 8), torch.zeros(1, 8, 8), 0.5, "(1, 8, 8)"),
        (torch.zeros(3, 8, 8).byte(), torch.zeros(3, 8, 8).byte(), 0.5, "uint8"),
        (torch.zeros(3, 8, 8), torch.zeros(3, 8, 8), 1.5, "1.5"),
        (torch.zeros(3, 8, 8), torch.zeros(3, 8, 8), [], "[]"),
        ("a.png", "b.png", 0.5, "str"),
    ],
)
def test_wrong_input_is_explained(first, second, t, words):
    with pytest.raises(UserError) as caught:
        midframe.interpolate("average", first, second, t)
    assert words in str(caught.value)
