"""The simulator's crossing times: cases by hand, a plain loop over levels, and the sum rule."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from midframe.errors import UserError
from midframe.events.records import Events
from midframe.events.simulate import Simulator, concatenate, simulate_recording


def _run(levels, times, **options) -> Events:
    """Feed log intensities, each a number or a picture."""
    simulator = Simulator(**options)
    pictures = [np.atleast_2d(np.asarray(level, float)) for level in levels]
    return concatenate(simulator.advance(p, t) for p, t in zip(pictures, times))


def _esim(levels, times, on, off, refractory=0):
    """The published scan over levels, one pixel, in plain Python."""
    reference, last, found = levels[0], None, []
    for l0, l1, t0, t1 in zip(levels, levels[1:], times, times[1:]):
        if abs(l1 - l0) <= 1e-6:
            continue
        sign, step = (1, on) if l1 > l0 else (-1, off)
        while True:
            level = reference + sign * step
            if not (l0 < level <= l1 if sign > 0 else l1 <= level < l0):
                break
            time = t0 + (level - l0) / (l1 - l0) * (t1 - t0)
            reference = level
            if last is None or time - last >= refractory:
                found.append((time, sign))
                last = time
    return found


def test_a_linear_rise_crosses_at_even_times():
    events = _run([0, 1], [0, 100_000])
    assert events.t.tolist() == [20_000, 40_000, 60_000, 80_000, 100_000]
    assert events.p.tolist() == [1] * 5
    assert [a.dtype for a in (events.t, events.x, events.y, events.p)] == ["i8", "i2", "i2", "i1"]


def test_a_rise_and_fall_has_hysteresis_and_levels_include_the_boundary():
    events = _run([0, 0.35, 0], [0, 50_000, 100_000])
    assert events.t.tolist() == [28_571, 100_000]
    assert events.p.tolist() == [1, -1]
    # backward in time the pictures are the same ones, and the events' polarities too, but not times
    assert (-events.p[::-1]).tolist() == events.p.tolist()
    assert (100_000 - events.t[::-1]).tolist() != events.t.tolist()


def test_nothing_changes_nothing_is_reported():
    assert len(_run([0.3] * 5, range(5))) == 0
    still = np.full((4, 6), 77, np.uint8)
    simulator = Simulator(mismatch=0.03, cutoff_hz=300)
    assert not any(len(simulator.step(still, 1000 * i)) for i in range(20))


def test_changes_too_small_for_a_step_are_not_lost():
    levels = np.arange(25_001) * 9e-7
    events = _run(levels, np.arange(25_001) * 10, threshold_on=0.0105)
    np.testing.assert_allclose(events.t, 10 * np.array([0.0105, 0.021]) / 9e-7, atol=21)


def _is_clear(levels, on, off) -> bool:
    """Whether no picture ends on a level or stays within rounding of the one before."""
    simulator, clear = Simulator(on, off), True
    for number, level in enumerate(levels):
        simulator.advance(np.full((1, 1), level), number)
        way = level - simulator._reference[0]
        clear &= number == 0 or min(abs(way), abs(way - on), abs(way + off)) > 1e-6
        clear &= number == 0 or abs(level - levels[number - 1]) > 1e-5
    return clear


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.floats(-3, 3), min_size=2, max_size=8),
    st.floats(0.05, 0.6),
    st.floats(0.05, 0.6),
    st.integers(0, 4000),
)
def test_one_pixel_is_the_published_scan(levels, on, off, refractory):
    times = [1_603_766_999_000_000 + 10_000 * i for i in range(len(levels))]
    assume(_is_clear(levels, on, off))
    expected = _esim(levels, times, on, off, refractory)
    options = {"threshold_on": on, "threshold_off": off, "refractory_us": refractory}
    events = _run(levels, times, **options)
    assert np.all(np.diff(events.t) >= refractory)
    if refractory == 0:  # else a period may be missed by the rounding to whole microseconds
        assert events.p.tolist() == [p for _, p in expected]
        np.testing.assert_allclose(events.t - times[0], [t - times[0] for t, _ in expected], atol=2)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(2, 9),
    st.floats(0.05, 0.5),
    st.floats(0.05, 0.5),
    st.floats(0, 0.05),
)
def test_the_sum_of_events_is_the_change_within_a_threshold(seed, count, on, off, mismatch):
    rng = np.random.default_rng(seed)
    levels = rng.normal(0, rng.uniform(0.01, 2), (count, 5, 7)).cumsum(0)
    simulator = Simulator(on, off, mismatch=mismatch, seed=seed)
    parts = [simulator.advance(level, 1000 * i) for i, level in enumerate(levels)]
    sums = np.zeros((2, 5, 7))
    for events in parts:
        np.add.at(sums, ((events.p > 0).astype(int), events.y, events.x), 1)
    off_steps, on_steps = simulator._steps.reshape(2, 5, 7)
    rest = levels[-1] - levels[0] - (sums[1] * on_steps - sums[0] * off_steps)
    assert np.all(rest < on_steps + 1e-5) and np.all(rest > -off_steps - 1e-5)


def test_events_are_in_order_within_their_step():
    rng = np.random.default_rng(3)
    frames = rng.integers(0, 256, (4, 9, 8), dtype=np.uint8)
    simulator = Simulator(shot_hz=2000, leak_hz=20)
    for number, frame in enumerate(frames):
        events = simulator.step(frame, 40 * number)
        if number:
            assert events.t.min() > 40 * (number - 1) and events.t.max() <= 40 * number
            keys = np.stack([events.t, events.y, events.x])
            assert np.array_equal(np.lexsort(keys[::-1]), np.arange(len(events)))


def test_grey_and_colour_frames_are_their_log_intensity():
    dark, light = np.full((2, 2), 51, np.uint8), np.full((2, 2), 204, np.uint8)
    count = math.floor(math.log((0.8 + 1e-3) / (0.2 + 1e-3)) / 0.2)
    for make in (
        lambda x: x,
        lambda x: x[..., None],
        lambda x: np.repeat(x[..., None], 3, 2),
        lambda x: x / 255,
        lambda x: np.repeat(x[..., None], 3, 2).astype(np.float32) / 255,
    ):
        simulator = Simulator()
        simulator.step(make(dark), 0)
        events = simulator.step(make(light), 1000)
        assert len(events) == 4 * count and set(events.p.tolist()) == {1}


def test_the_same_seed_gives_the_same_noise():
    frames = np.random.default_rng(0).integers(0, 256, (5, 16, 16), dtype=np.uint8)
    noisy = {"mismatch": 0.03, "leak_hz": 1, "shot_hz": 50, "cutoff_hz": 200}

    def run(seed):
        return simulate_recording(frames, range(0, 5000, 1000), seed=seed, **noisy).events

    one, same, other = run(1), run(1), run(2)
    for name in "txyp":
        np.testing.assert_array_equal(getattr(one, name), getattr(same, name))
    assert len(one) != len(other) or not np.array_equal(one.t, other.t)


def test_mismatch_is_a_fixed_pattern_around_the_threshold():
    simulator = Simulator(0.2, 0.3, mismatch=0.03)
    level = np.zeros((100, 100))
    simulator.advance(level, 0)
    found = simulator.advance(level + 6, 1_000_000)
    counts = np.bincount(found.y.astype(int) * 100 + found.x, minlength=10_000)
    assert np.median(counts) == pytest.approx(30, abs=1)
    assert (6 / counts).std() == pytest.approx(0.03, rel=0.15)
    assert len(simulator.advance(level, 2_000_000)) < 0.75 * len(found)


def test_leak_makes_on_events_at_its_rate():
    simulator = Simulator(leak_hz=2.0)
    level = np.zeros((60, 60))
    parts = [simulator.advance(level, 10_000 * i) for i in range(1001)]  # ten seconds
    events = concatenate(parts)
    assert set(events.p.tolist()) == {1}
    assert len(events) / 3600 / 10 == pytest.approx(2.0, rel=0.06)


def test_shot_noise_has_its_rate_and_is_rarer_in_the_light():
    def rate(grey):
        simulator = Simulator(shot_hz=5.0)
        frame = np.full((80, 80), grey, np.uint8)
        events = concatenate(simulator.step(frame, 1000 * i) for i in range(1001))  # one second
        assert abs(events.p.mean()) < 0.05
        return len(events) / 6400

    assert rate(0) == pytest.approx(5 * (1 - 0.75 * 20 / 275), rel=0.05)
    assert rate(255) == pytest.approx(5 * 0.25, rel=0.05)


def test_a_low_pass_delays_and_its_end_is_the_same():
    times = np.arange(0, 200_000, 500)
    level = np.where(times < 10_000, 0.0, 1.0)

    def run(cutoff):
        simulator = Simulator(0.19, cutoff_hz=cutoff)
        grey = np.full((1, 1), 255.0)
        parts = [simulator.advance(np.full((1, 1), v), t, grey) for v, t in zip(level, times)]
        return concatenate(parts)

    sharp, slow = run(0), run(20)
    assert len(sharp) == len(slow) == 5
    tau = 1e6 / (2 * math.pi * 20)
    expected = 9_500 - tau * np.log(1 - 0.19 * np.arange(1, 6))
    np.testing.assert_allclose(slow.t, expected, atol=0.1 * tau)
    assert sharp.t.max() <= 10_000


def test_refractory_is_silence_and_levels_go_on():
    events = _run([0, 1], [0, 100_000], refractory_us=30_000)
    assert events.t.tolist() == [20_000, 60_000, 100_000]
    split = _run([0, 0.5, 1], [0, 50_000, 100_000], refractory_us=30_000)
    assert split.t.tolist() == [20_000, 60_000, 100_000]


def test_a_recording_keeps_every_so_many_frames():
    frames = np.random.default_rng(0).integers(0, 256, (11, 6, 8, 3), dtype=np.uint8)
    times = np.arange(11) * 1000 + 1_603_766_999_000_000
    found = simulate_recording(frames, times, every=5, source="mine")
    assert (found.height, found.width, found.source) == (6, 8, "mine")
    np.testing.assert_array_equal(found.frames, frames[::5])
    np.testing.assert_array_equal(found.times, times[::5])
    assert np.all(np.diff(found.events.t) >= 0) and found.times.dtype == np.int64
    simulator = Simulator()
    alone = concatenate(simulator.step(f, t) for f, t in zip(frames, times))
    np.testing.assert_array_equal(found.events.t, alone.t)
    grey = simulate_recording(iter(frames), times.tolist(), frame_times=times[[3, 7]], grey=True)
    assert grey.frames.shape == (2, 6, 8) and grey.times.tolist() == times[[3, 7]].tolist()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: Simulator(0), "threshold_on=0"),
        (lambda: Simulator(mismatch=-1), "mismatch=-1"),
        (lambda: Simulator(leak_hz=math.nan), "leak_hz=nan"),
        (lambda: _run([0, 1], [5, 5]), "times must rise"),
        (lambda: _run([0, [0, 1]], [0, 1]), "after frames of"),
        (lambda: simulate_recording([], []), "no frame"),
        (lambda: simulate_recording([np.zeros((2, 2), np.uint8)], [0], every=0), "every=0"),
        (
            lambda: simulate_recording([np.zeros((2, 2), np.uint8)], [0], frame_times=[3]),
            "no frame at 3 us",
        ),
        (lambda: simulate_recording([np.zeros((2, 2))], [0]), "keeps uint8"),
        (lambda: Simulator().step(np.zeros((2, 2, 4), np.uint8), 0), "give .H, W. grey or"),
    ],
)
def test_what_cannot_be_is_said(call, message):
    with pytest.raises(UserError, match=message):
        call()
