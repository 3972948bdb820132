"""End-point error and Fl-all on fields whose errors are known."""

from __future__ import annotations

import pytest
import torch

from midframe.metrics import epe, fl_all, known_flow


def field(x: float, y: float, size: int = 10) -> torch.Tensor:
    return torch.tensor([float(x), float(y)]).view(1, 2, 1, 1).repeat(1, 1, size, size)


def test_epe_of_constant_errors():
    truth = torch.cat([field(1, 2), field(0, 0), field(-5, 7)])
    guess = truth + torch.cat([field(3, 4), field(0, 0), field(0, -0.5)])
    assert epe(guess, truth).tolist() == pytest.approx([5.0, 0.0, 0.5])
    assert epe(guess.bfloat16(), guess.bfloat16()).dtype == torch.float32


def test_epe_is_the_mean_over_known_pixels():
    truth, guess = field(0, 0), field(0, 0)
    guess[..., :5] = 3.0  # 18 ** 0.5 off in the left half
    assert float(epe(guess, truth)) == pytest.approx(18**0.5 / 2)
    truth[..., :4] = 1.7e9
    truth[..., 0, 4] = float("nan")
    assert float(epe(guess, truth)) == pytest.approx(18**0.5 * 9 / 59)
    assert int(known_flow(truth).sum()) == 59
    right = torch.zeros(1, 10, 10, dtype=torch.bool)
    right[..., 5:] = True
    assert float(epe(guess, truth, right)) == 0.0
    truth[:] = -1.7e9
    assert epe(guess, truth).isnan() and fl_all(guess, truth).isnan()


def test_fl_all_takes_both_3_pixels_and_5_percent():
    cases = {2.9: 0.0, 3.1: 1.0}
    for off, expected in cases.items():
        assert float(fl_all(field(10 + off, 0), field(10, 0))) == expected
    assert float(fl_all(field(104.9, 0), field(100, 0))) == 0.0  # 4.9 px are under 5 %
    assert float(fl_all(field(105.1, 0), field(100, 0))) == 1.0
    guess = field(0, 0)
    guess[..., :3, :] = 4.0
    assert float(fl_all(guess, field(0, 0))) == pytest.approx(0.3)
    guess[..., 9, :] = float("nan")  # a guess that is no number is wrong
    assert float(fl_all(guess, field(0, 0))) == pytest.approx(0.4)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="one shape"):
        epe(field(0, 0), field(0, 0, 8))
    with pytest.raises(ValueError, match="flow metrics"):
        epe(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))
