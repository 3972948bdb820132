"""The published bins: golden samples, a naive count, and the properties of both."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midframe.errors import UserError
from midframe.events.bins import edges, edges_at, signed_counts, voxel_grid
from midframe.events.records import Events

SIZE = (180, 240)


def _random(count: int, seed: int = 0, start: int = 1_603_766_999_000_000) -> Events:
    rng = np.random.default_rng(seed)
    return Events(
        np.sort(rng.integers(start, start + 1000, count)),
        rng.integers(0, 7, count).astype(np.int16),
        rng.integers(0, 5, count).astype(np.int16),
        rng.choice([-1, 1], count).astype(np.int8),
    )


def _naive(events: Events, edges, height, width, off=-1, clamp=10) -> np.ndarray:
    out = np.zeros((len(edges) - 1, height, width), int)
    for i, (first, last) in enumerate(zip(edges, edges[1:])):
        sign, first, last = (1, first, last) if first < last else (-1, last, first)
        for t, x, y, p in zip(events.t, events.x, events.y, events.p):
            if first <= t < last:
                out[i, y, x] += sign * (1 if p > 0 else off)
    return out.clip(-clamp, clamp)


@pytest.fixture(scope="module")
def published(golden):
    with np.load(golden("wevi/events.npz")) as found:
        return dict(found)


@pytest.fixture(scope="module")
def recorded(published) -> Events:
    return Events(*(published[f"event_{name}"] for name in "txyp"))


@pytest.mark.parametrize("polarity, mark", [("released", "rel"), ("unit", "unit")])
def test_published_training_samples_are_reproduced(published, recorded, polarity, mark):
    times = published["frame_t"]
    for start in range(3):  # windows of frames start .. start + 4
        for name, centre in (("E0", start + 1), ("Et", start + 2), ("E1", start + 3)):
            around = edges(*times[centre - 1 : centre + 2])
            found = signed_counts(recorded, around, *SIZE, polarity)
            np.testing.assert_array_equal(found, published[f"{mark}_train{start}_{name}"])
        for name, frame in (("I0", start + 1), ("It", start + 2), ("I1", start + 3)):
            picture = published["frames"][frame, None, ..., 0]
            np.testing.assert_array_equal(picture, published[f"train{start}_{name}"])


@pytest.mark.parametrize("polarity, mark", [("released", "rel"), ("unit", "unit")])
def test_published_test_samples_are_reproduced(published, recorded, polarity, mark):
    times = published["frame_t"]
    for start in range(4):  # windows of frames start .. start + 3
        four = times[start : start + 4]

        def counts(t, four=four):
            return signed_counts(recorded, edges_at(four, t), *SIZE, polarity)

        np.testing.assert_array_equal(counts(0), published[f"{mark}_test{start}_E0"])
        np.testing.assert_array_equal(counts(1), published[f"{mark}_test{start}_E1"])
        between = np.stack([counts(k / 4) for k in (1, 2, 3)])
        np.testing.assert_array_equal(between, published[f"{mark}_test{start}_ET"])
        pictures = published["frames"][start : start + 4, None, ..., 0]
        np.testing.assert_array_equal(pictures, published[f"test{start}_IV"])


def test_edges_are_whole_microseconds_at_the_present_time() -> None:
    now = 1_603_766_999_005_259
    found = edges(now, now + 10, now + 13)
    assert found.dtype == np.int64
    assert (found - now).tolist() == [0, 2, 5, 7, 10, 10, 11, 12, 13]


def test_bins_around_a_frame_reach_one_interval_to_each_side() -> None:
    four = (1000, 1100, 1300, 1400)
    np.testing.assert_array_equal(edges_at(four, 0), edges(*four[:3]))
    np.testing.assert_array_equal(edges_at(four, 1), edges(*four[1:]))
    np.testing.assert_array_equal(edges_at(four, 0.5), edges(1050, 1200, 1350))


@pytest.mark.parametrize("polarity, off", [("unit", -1), ("released", -3)])
def test_counts_are_those_of_a_plain_loop(polarity, off):
    events = _random(3000)
    start = int(events.t[0]) - 5
    around = edges(start, start + 401, start + 1100)
    found = signed_counts(events, around, 5, 7, polarity)
    assert found.dtype == np.int8 and found.shape == (8, 5, 7)
    np.testing.assert_array_equal(found, _naive(events, around, 5, 7, off))
    assert np.abs(found).max() == 10  # the clamp was reached


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-50, 1050), min_size=2, max_size=9), st.integers(1, 127))
def test_edges_in_any_order(moments, clamp):
    events = _random(200, start=0)
    found = signed_counts(events, moments, 5, 7, clamp=clamp)
    np.testing.assert_array_equal(found, _naive(events, moments, 5, 7, clamp=clamp))


def test_swapped_edges_negate_and_equal_ones_are_empty() -> None:
    events = _random(200, start=0)
    forward = signed_counts(events, [100, 900], 5, 7)
    np.testing.assert_array_equal(signed_counts(events, [900, 100], 5, 7), -forward)
    assert forward.any() and not signed_counts(events, [300, 300], 5, 7).any()


def test_no_events_are_zeros() -> None:
    assert not signed_counts(Events.empty(), range(9), 3, 4).any()
    assert not voxel_grid(Events.empty(), 0, 10, 3, 3, 4).any()


def test_a_voxel_grid_shares_by_distance():
    one = Events(*(np.array([v], d) for v, d in ((25, int), (1, "i2"), (0, "i2"), (-1, "i1"))))
    grid = voxel_grid(one, 0, 100, 3, 2, 3)
    assert grid.shape == (3, 2, 3) and grid.dtype == np.float32
    np.testing.assert_allclose(grid[:, 0, 1], [-0.5, -0.5, 0])
    assert np.abs(grid).sum() == 1


@pytest.mark.parametrize("bins", [2, 5, 9])
def test_a_voxel_grid_is_the_sum_of_tents(bins):
    events = _random(500)
    start, stop = int(events.t[0]) + 100, int(events.t[-1]) - 77
    inside = events.between(start, stop)
    expected = np.zeros((bins, 5, 7))
    for t, x, y, p in zip(inside.t, inside.x, inside.y, inside.p):
        place = (t - start) / (stop - start) * (bins - 1)
        expected[:, y, x] += p * np.maximum(0, 1 - np.abs(np.arange(bins) - place))
    found = voxel_grid(events, start, stop, bins, 5, 7)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.sum() == pytest.approx(inside.p.sum(), abs=1e-3)


def test_what_cannot_be_counted_is_said():
    events = _random(20, start=0)
    with pytest.raises(UserError, match="outside of the sensor of 3x5"):
        signed_counts(events, [0, 1000], 5, 3)
    with pytest.raises(UserError, match="outside of the sensor of 7x2"):
        voxel_grid(events, 0, 1000, 3, 2, 7)
    with pytest.raises(UserError, match="polarity=signed"):
        signed_counts(events, [0, 1000], 5, 7, "signed")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="bins=1"):
        voxel_grid(events, 0, 1000, 1, 5, 7)
