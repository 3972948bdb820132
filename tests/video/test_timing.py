"""Times of a conversion: exact, ascending, through the frames of the input, as long as it."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midframe.errors import UserError
from midframe.video.index import Times
from midframe.video.timing import Request, Schedule, parse_rate, parse_ratio, parts, said_rate

FILM, NTSC = Fraction(24000, 1001), Fraction(30000, 1001)
RATES = st.sampled_from([FILM, NTSC, Fraction(25), Fraction(30), Fraction(60), Fraction(1000, 33)])
FACTORS = st.sampled_from([Fraction(f) for f in ("2", "3", "8", "5/2", "3/2", "64", "7/3")])


def at_rate(rate: Fraction, count: int, start: Fraction = Fraction(0)) -> list[Fraction]:
    return [start + k / rate for k in range(count)]


@st.composite
def clips(draw):
    """Times of a video of a steady or a variable rate, and how long its last frame is shown."""
    if draw(st.booleans()):
        rate = draw(RATES)
        start = Fraction(draw(st.integers(0, 3)), 7)
        return at_rate(rate, draw(st.integers(1, 40)), start), 1 / rate
    steps = draw(st.lists(st.integers(1, 500), max_size=30))
    times = [Fraction(draw(st.integers(0, 100)), 1000)]
    for step in steps:
        times.append(times[-1] + Fraction(step, 1000))
    return times, Fraction(draw(st.integers(1, 500)), 1000)


@st.composite
def requests(draw):
    slow = Fraction(draw(st.sampled_from([1, 1, 2, 4])))
    kind = draw(st.sampled_from(["factor", "fps", "times"]))
    if kind == "factor":
        return Request(factor=draw(FACTORS), slow=slow)
    if kind == "fps":
        return Request(fps=draw(st.sampled_from([Fraction(10), FILM, Fraction(60)])), slow=slow)
    inner = draw(st.sets(st.fractions(Fraction(1, 50), Fraction(49, 50)), min_size=1, max_size=5))
    return Request(times=tuple(sorted(inner)), slow=slow)


@settings(deadline=None)
@given(clips(), requests(), st.booleans())
def test_times_ascend_are_exact_and_last_as_long(clip, request_, tail):
    times, last = clip
    last = last if tail else Fraction(0)
    schedule = Schedule(times, last, request_)
    moments = list(schedule)
    assert len(moments) == len(schedule) >= 1
    assert all(a.pts < b.pts and a.position <= b.position for a, b in zip(moments, moments[1:]))
    assert all(0 <= m.position <= len(times) - 1 for m in moments)
    assert moments[0] == (0, request_.slow * times[0])
    for m in moments:  # shown when the input is there: by the definition, without the code's own
        gap = floor(m.position)
        there = times[gap]
        if m.position > gap:
            there += (m.position - gap) * (times[gap + 1] - times[gap])
        if m.position < len(times) - 1:
            assert m.pts == request_.slow * there
        else:  # the last one once more
            assert m.pts >= request_.slow * times[-1]
    end = request_.slow * (times[-1] + last)
    assert moments[-1].pts < end if tail else moments[-1].pts <= end
    if request_.fps is not None:
        assert all(b.pts - a.pts == 1 / request_.fps for a, b in zip(moments, moments[1:]))
        assert end - moments[-1].pts <= 1 / request_.fps
    assert schedule.duration == end - request_.slow * times[0]


@settings(deadline=None)
@given(clips(), requests())
def test_whole_positions_are_frames_of_the_input_at_their_times(clip, request_):
    times, last = clip
    schedule = Schedule(times, last, request_)
    shown = {m.pts / request_.slow: m.position for m in schedule}
    for number, time in enumerate(times):
        if time in shown:  # hit exactly: unchanged
            assert shown[time] == number
    if request_.times is not None or (request_.factor and request_.factor.denominator == 1):
        assert all(time in shown for time in times)


@settings(deadline=None)
@given(clips(), requests(), st.integers(1, 60))
def test_parts_cover_everything_once_and_begin_with_frames(clip, request_, frames):
    times, last = clip
    schedule = Schedule(times, last, request_)
    found = parts(schedule, frames)
    assert [p.number for p in found] == list(range(len(found)))
    assert [found[0].start, *(p.end for p in found)] == [*(p.start for p in found), len(schedule)]
    for p in found:
        assert len(p) > 0
        assert all(p.first <= m.position < p.stop for m in schedule[p.start : p.end])


@pytest.mark.parametrize("rate", [FILM, NTSC, Fraction(60000, 1001)])
@pytest.mark.parametrize("factor", ["2", "4", "5/2"])
def test_rates_of_film_and_television_stay_exact(rate, factor):
    factor = Fraction(factor)
    request = Request(factor=factor)
    schedule = Schedule(at_rate(rate, 1001), 1 / rate, request)
    assert request.rate_of(rate) == rate * factor
    assert all(m.pts == k / (rate * factor) for k, m in enumerate(schedule))
    assert schedule[len(schedule) - 1].pts == (len(schedule) - 1) / (rate * factor)
    assert all(m.position == min(k / factor, Fraction(1000)) for k, m in enumerate(schedule))


def test_duration_of_the_last_frame_is_kept_by_repeating_it():
    schedule = Schedule(at_rate(Fraction(25), 4), Fraction(1, 25), Request(factor=Fraction(2)))
    assert [m.position * 2 for m in schedule] == [0, 1, 2, 3, 4, 5, 6, 6]
    raw = Schedule(at_rate(Fraction(25), 4), Fraction(0), Request(factor=Fraction(2)))
    assert [m.position * 2 for m in raw] == list(range(7))


def test_slow_motion_lasts_longer_at_the_same_rate():
    times = at_rate(FILM, 10, Fraction(1, 2))
    request = Request(factor=Fraction(4), slow=Fraction(4))
    schedule = Schedule(times, 1 / FILM, request)
    assert request.rate_of(FILM) == FILM and len(schedule) == 40
    steps = {b.pts - a.pts for a, b in zip(schedule[:-1], schedule[1:])}
    assert steps == {1 / FILM} and schedule[0].pts == 2
    assert schedule.duration == 40 / FILM
    at60 = Schedule(times, 1 / FILM, Request(fps=Fraction(60), slow=Fraction(4)))
    assert at60[60].pts - at60[0].pts == 1 and at60[60].position == FILM / 4


def test_fps_of_a_variable_rate_follows_the_clock():
    times = [Fraction(k, 100) for k in (0, 4, 14, 16, 30)]
    schedule = Schedule(times, Fraction(1, 10), Request(fps=Fraction(50)))
    assert len(schedule) == 20
    assert [m.position for m in schedule[:9]] == [
        *(0, Fraction(1, 2), 1, Fraction(6, 5), Fraction(7, 5), Fraction(8, 5), Fraction(9, 5)),
        *(2, 3),
    ]
    assert [m.position for m in schedule[15:]] == [4] * 5  # 0.30 to 0.38


def test_fewer_frames_than_there_are():
    schedule = Schedule(at_rate(Fraction(60), 60), Fraction(1, 60), Request(fps=Fraction(30)))
    assert [m.position for m in schedule] == list(range(0, 60, 2))


def test_an_hour_takes_no_time_to_plan():
    class Hour(list):
        def __len__(self):
            return 24 * 3600

        def __getitem__(self, k):
            return Fraction(k) / FILM

    schedule = Schedule(Hour(), 1 / FILM, Request(fps=Fraction(60)))
    assert len(schedule) == 216216 and schedule[216215].pts == Fraction(216215, 60)


def test_what_is_asked_for_must_fit():
    for bad in (
        {},
        {"factor": Fraction(2), "fps": Fraction(60)},
        {"factor": Fraction(1)},
        {"factor": Fraction(1000)},
        {"fps": Fraction(0)},
        {"times": ()},
        {"times": (Fraction(1, 2), Fraction(1, 4))},
        {"times": (Fraction(0),)},
        {"factor": Fraction(2), "slow": Fraction(1, 2)},
    ):
        with pytest.raises(UserError):
            Request(**bad)
    with pytest.raises(UserError, match="no frame"):
        Schedule([], Fraction(1), Request(factor=Fraction(2)))
    for text in ("x", "1/0", "-1", "0", "1e9"):
        with pytest.raises(UserError, match="such as 60"):
            parse_rate(text)
    for text in ("x", "1", "1/0", "1/2", "300"):
        with pytest.raises(UserError, match="such as 5/2"):
            parse_ratio(text)


def test_rates_and_factors_as_people_write_them():
    assert parse_rate("60") == 60 and parse_rate("60000/1001") == Fraction(60000, 1001)
    assert parse_rate("29.97") == NTSC and parse_rate("12.5") == Fraction(25, 2)
    assert parse_ratio("5/2") == parse_ratio("2.5") == Fraction(5, 2)
    assert said_rate(FILM) == "23.976 (24000/1001)" and said_rate(Fraction(60)) == "60"
    assert said_rate(Fraction(25, 2)) == "12.5"
    assert Request(times=(Fraction(1, 2),)).rate_of(FILM) == 2 * FILM
    assert Request(times=(Fraction(1, 4),)).rate_of(FILM) is None
    assert Request(factor=Fraction(2)).rate_of(None) is None


@settings(deadline=None)
@given(clips(), requests(), st.booleans())
def test_spacings_are_those_of_all_frames(clip, request_, tail):
    times, last = clip
    schedule = Schedule(times, last if tail else Fraction(0), request_)
    moments = [schedule[n] for n in range(len(schedule))]
    assert list(schedule) == moments
    assert schedule.spacings() == Counter(m.position.denominator for m in moments)


@settings(deadline=None)
@given(RATES, st.integers(1, 40), requests(), st.booleans())
def test_a_film_is_counted_without_going_through_it(rate, count, request_, tail):
    times = Times(np.arange(count), 1 / rate, rate=rate)
    schedule = Schedule(times, 1 / rate if tail else Fraction(0), request_)
    positions = [schedule[n].position for n in range(len(schedule))]
    assert schedule.spacings() == Counter(p.denominator for p in positions)
    for moment in schedule if request_.fps else ():  # by another way: the gap that is searched
        gap = bisect_right(times, moment.pts / request_.slow) - 1
        assert floor(moment.position) == min(max(gap, 0), count - 1)
