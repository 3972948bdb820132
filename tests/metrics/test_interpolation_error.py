"""IE and NIE on images whose errors and gradients are known."""

from __future__ import annotations

import math

import pytest
import torch

from midframe.metrics import interpolation_error, normalised_interpolation_error


def ramp(slopes: tuple[float, float, float], axis: int = -1, size: int = 16) -> torch.Tensor:
    """A picture (1, 3, size, size) that rises by so many grey levels a pixel, by colour."""
    steps = torch.arange(size, dtype=torch.float64)
    steps = steps.view(1, 1, 1, -1) if axis == -1 else steps.view(1, 1, -1, 1)
    picture = steps * torch.tensor(slopes, dtype=torch.float64).view(1, 3, 1, 1)
    return (picture + torch.zeros(1, 3, size, size)) / 255


def shift(red: float, green: float, blue: float) -> torch.Tensor:
    return torch.tensor([red, green, blue], dtype=torch.float64).view(1, 3, 1, 1) / 255


def test_both_forms_of_a_known_error():
    target = torch.full((1, 3, 8, 8), 100 / 255, dtype=torch.float64)
    pred = target + shift(3, -4, 12)
    assert interpolation_error(pred, target).item() == pytest.approx(19 / 3)
    assert interpolation_error(pred, target, form="rms").item() == pytest.approx(13)
    pred[..., :4] = target[..., :4]
    assert interpolation_error(pred, target).item() == pytest.approx(19 / 6)
    assert interpolation_error(pred, target, form="rms").item() == pytest.approx(13 / math.sqrt(2))


def test_nie_of_flat_truth_is_the_rms():
    target = torch.full((1, 3, 8, 8), 100 / 255, dtype=torch.float64)
    pred = target + shift(3, -4, 12)
    assert normalised_interpolation_error(pred, target).item() == pytest.approx(13)
    assert normalised_interpolation_error(pred, target, epsilon=4).item() == pytest.approx(6.5)


@pytest.mark.parametrize("axis", [-1, -2])
def test_nie_divides_by_the_gradient_of_all_colours(axis):
    # slopes 2, 3 and 6 levels a pixel: |grad|^2 = 49, everywhere, at the border as well
    target = ramp((2, 3, 6), axis)
    pred = target + shift(3, 4, 12)
    expected = 13 / math.sqrt(49 + 1)
    assert normalised_interpolation_error(pred, target).item() == pytest.approx(expected)
    other = normalised_interpolation_error(pred, target, epsilon=15).item()
    assert other == pytest.approx(13 / math.sqrt(64))


def test_nie_takes_the_gradient_of_the_truth_alone_and_both_directions():
    target = torch.full((1, 3, 16, 16), 0.0, dtype=torch.float64)
    pred = target.clone()
    pred[..., ::2] = 10 / 255  # edges of the prediction are errors, no excuse
    assert normalised_interpolation_error(pred, target).item() == pytest.approx(
        math.sqrt(3 * 100 / 2)
    )
    target = ramp((4, 4, 4)) + ramp((3, 3, 3), -2)  # 3 (16 + 9) = 75
    pred = target + shift(2, 2, 2)
    expected = math.sqrt(12 / 76)
    assert normalised_interpolation_error(pred, target).item() == pytest.approx(expected)


def test_both_are_of_8_bits_and_clamped():
    target = torch.full((1, 3, 4, 4), 254.6 / 255)
    pred = torch.full((1, 3, 4, 4), 1.7)
    assert interpolation_error(pred, target, form="rms").item() == 0
    assert normalised_interpolation_error(pred, target).item() == 0
    target = torch.full((1, 3, 4, 4), 100 / 255)
    assert normalised_interpolation_error(target + 0.4 / 255, target).item() == 0


def test_one_value_per_image_whatever_the_batch():
    target = torch.rand(3, 3, 20, 24)
    pred = (target + 0.1 * torch.randn_like(target)).clamp(0, 1)
    for options in ({"form": "rms"}, {}):
        metric = interpolation_error if options else normalised_interpolation_error
        together = metric(pred, target, **options)
        single = [metric(p[None], t[None], **options) for p, t in zip(pred, target)]
        torch.testing.assert_close(together, torch.cat(single))
        low = metric(pred.bfloat16(), target.bfloat16(), **options)
        assert low.dtype == torch.float32 and together.shape == (3,)


def test_what_they_refuse():
    flat = torch.zeros(1, 3, 1, 8)
    with pytest.raises(ValueError, match="2x2"):
        normalised_interpolation_error(flat, flat)
    with pytest.raises(ValueError, match="epsilon=0"):
        normalised_interpolation_error(flat, flat, epsilon=0)
    with pytest.raises(ValueError, match="'mean' or 'rms'"):
        interpolation_error(flat, flat, form="median")
