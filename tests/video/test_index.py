"""Times of frames: exact where a rate explains what containers have rounded, else as they are."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from midframe.video.index import Index, Times, even_times, nice, times_of

FILM = Fraction(24000, 1001)
MILLI = Fraction(1, 1000)


def index(times: list[Fraction], unit: Fraction) -> Index:
    ticks = np.array([round(time / unit) for time in times], np.int64)
    return Index(unit, ticks, ticks[:1])


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (Fraction(7001, 146), Fraction(48000, 1001)),
        (Fraction(19001, 317), Fraction(60000, 1001)),
        (Fraction(24000, 1001), Fraction(24000, 1001)),
        (Fraction(24_000_001, 1_000_000), Fraction(24)),
        (Fraction(49, 2), Fraction(49, 2)),
        (Fraction(1, 3), Fraction(1, 3)),
    ],
)
def test_rates_that_were_rounded(said, meant):
    assert nice(said) == meant


@pytest.mark.parametrize(
    "rate", [24, 25, 30, 60, 120, Fraction(24000, 1001), Fraction(60000, 1001)]
)
def test_milliseconds_are_a_rate(rate):
    rate = Fraction(rate)
    made = [i / rate for i in range(500)]
    times = times_of(index(made, MILLI), Fraction(0), [])
    assert times.rate == rate and list(times) == made
    assert all((time * times.grid).denominator == 1 for time in times)
    rough = [rate.limit_denominator(120)]  # a container's guess, where ticks cannot tell
    assert times_of(index(made[:4], MILLI), Fraction(0), [*rough]).rate is not None


def test_a_rate_that_only_nearly_fits_is_none():
    film = [i / Fraction(24000, 1001) for i in range(300)]
    film[200] += Fraction(1, 250)
    times = times_of(index(film, MILLI), Fraction(0), [Fraction(24000, 1001)])
    assert times.rate is None and times[200] == Fraction(round(film[200] * 1000), 1000)
    dropped = [i / Fraction(25) for i in range(40) if i != 17]
    assert times_of(index(dropped, MILLI), Fraction(0), [Fraction(25)]).rate is None


def test_strange_rates_of_exact_containers_are_kept():
    rate = Fraction(17)
    made = [i / rate for i in range(50)]
    assert times_of(index(made, Fraction(1, 17)), Fraction(0), []).rate == rate
    fine = [Fraction(i * 907, 15360) for i in range(50)]
    times = times_of(index(fine, Fraction(1, 15360)), Fraction(0), [])
    assert times.rate == Fraction(15360, 907) and list(times) == fine


def test_a_start_is_taken_away_and_kept_exact():
    made = [Fraction(7, 5) + i / Fraction(24000, 1001) for i in range(100)]
    times = times_of(index(made, Fraction(1, 90000)), Fraction(7, 5), [Fraction(24000, 1001)])
    assert (
        times.rate == Fraction(24000, 1001) and times[0] == 0 and times[1] == Fraction(1001, 24000)
    )
    negative = [time - Fraction(3, 2) for time in made]
    assert times_of(index(negative, MILLI), Fraction(0), [])[0] < 0


def test_times_are_a_sequence():
    times = even_times(10, Fraction(30000, 1001))
    assert len(times) == 10 and times[-1] == times[9] == Fraction(9009, 30000)
    assert list(times[2:4]) == [times[2], times[3]]
    with pytest.raises(IndexError):
        times[10]
    one = Times(np.array([5]), MILLI)
    assert list(one) == [Fraction(1, 200)] and one.grid == 1000


def test_millions_of_times_take_little_memory():
    times = times_of(
        Index(
            Fraction(1, 90000), np.arange(3_000_000, dtype=np.int64) * 1500, np.zeros(0, np.int64)
        ),
        Fraction(0),
        [Fraction(60)],
    )
    assert times.rate == 60 and times[2_999_999] == Fraction(2_999_999, 60)
