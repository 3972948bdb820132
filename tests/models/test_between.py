"""Frames at several times between two: bisection, weights that ignore the time, the times."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from midframe.errors import UserError
from midframe.models.average import Average
from midframe.models.between import Between, parse_times

DARK, BRIGHT = torch.zeros(3, 8, 8), torch.full((3, 8, 8), 0.96)


class Middle(Average):
    """Knows only the middle."""

    times = "half"

    def forward(self, x, **hints):
        assert (x.t == 0.5).all()
        return super().forward(x)


class Ignores(Average):
    """Does as if it knew every time."""

    trainable = True

    def forward(self, x, **hints):
        x.t = torch.full_like(x.t, 0.5)
        return super().forward(x)


class Counts(Average):
    """Knows how often it was asked."""

    trainable = True
    calls = 0

    def forward(self, x, **hints):
        self.calls += 1
        return super().forward(x)


def _values(between):
    return [float(frame[0, 0, 0]) for frame in between.frames()]


def test_models_of_the_middle_are_bisected_and_say_so():
    between = Between(Middle(), DARK, BRIGHT, parse_times(8))
    assert _values(between) == pytest.approx([0.12 * k for k in range(1, 8)])
    assert "bisection" in between.notes[0]
    assert float(between.middle().frame[0, 0, 0, 0, 0]) == pytest.approx(0.48)
    with pytest.raises(UserError, match=r"t = 1/3 .*factor 2, 4, 8"):
        Between(Middle(), DARK, BRIGHT, parse_times(3)).frames()


def test_weights_that_ignore_the_time_are_noticed():
    between = Between(Ignores(), DARK, BRIGHT, parse_times(4))
    assert _values(between) == pytest.approx([0.24, 0.48, 0.72]) and between.notes
    still = Between(Ignores(), DARK, DARK, parse_times(3))
    assert len(still.frames()) == 2 and not still.notes


def test_every_frame_is_predicted_once():
    model = Counts()
    between = Between(model, DARK, BRIGHT, parse_times(5))
    assert _values(between) == pytest.approx([0.192, 0.384, 0.576, 0.768])
    assert not between.notes
    between.frames()
    between.middle()
    assert model.calls == 5  # four times, and the middle


def test_a_prediction_that_is_not_finite_is_refused():
    between = Between(Average(), DARK, torch.full((3, 8, 8), torch.nan), parse_times(2))
    with pytest.raises(UserError, match="not finite"):
        between.frames()


def test_parse_times():
    assert parse_times(4) == [Fraction(1, 4), Fraction(1, 2), Fraction(3, 4)]
    assert parse_times(2, "0.1") == [Fraction(1, 10)]
    for factor, times in ((1, None), (0, None), (1000, None), (2, "a"), (2, "1/0"), (2, "0.5,0.5")):
        with pytest.raises(UserError):
            parse_times(factor, times)
    for times in ("0,0.5", "0.5,1", "0.5,0.25", "nan", ""):
        with pytest.raises(UserError):
            parse_times(2, times)
