"""Intervals and tests against what is known of normal samples and of coins."""

from __future__ import annotations

import math
import random
import warnings

import numpy as np
import pytest
from scipy import stats

from midframe.metrics.statistics import interval, interval_of_subsets, paired, sign_test

INF = float("inf")


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_bounds_of_a_normal_sample_are_those_of_the_normal_distribution():
    values = np.random.default_rng(1).normal(30.0, 2.0, 400)
    low, high = interval(values)
    error = values.std() / math.sqrt(len(values))
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.05 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.05 * error)
    narrow = interval(values, level=0.5)
    assert narrow[1] - narrow[0] == pytest.approx(2 * 0.6745 * error, rel=0.05)


def test_95_percent_of_intervals_cover_the_true_mean():
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(400):
        low, high = interval(rng.normal(5.0, 1.0, 60), rounds=500)
        covered += low <= 5.0 <= high
    # 95 % less what a bootstrap of 60 lacks; four deviations of 400 throws are 4.4 %
    assert 0.90 <= covered / 400 <= 0.985


def test_images_of_a_sequence_are_no_independent_witnesses():
    rng = np.random.default_rng(3)
    levels = rng.normal(0.0, 1.0, 40)
    values, groups = np.repeat(levels, 25), np.repeat(np.arange(40), 25).tolist()
    low, high = interval(values, groups)
    assert (low, high) == interval(levels)
    alone = interval(values)
    assert (high - low) / (alone[1] - alone[0]) == pytest.approx(5, rel=0.1)


def test_mean_of_sequences_weighs_each_once():
    low, high = interval([0.0] * 99 + [10.0], ["long"] * 99 + ["short"])
    assert (low, high) == (0.0, 10.0)
    result = paired([1.0] * 99 + [0.0], [0.0] * 100, ["long"] * 99 + ["short"])
    assert result.difference == 0.5 and (result.more, result.less, result.ties) == (1, 0, 1)


def test_subsets_are_resampled_within_themselves():
    rng = np.random.default_rng(4)
    easy, hard = rng.normal(40.0, 1.0, 50), rng.normal(20.0, 2.0, 200)
    low, high = interval_of_subsets([easy, hard])
    error = math.sqrt(easy.var() / 50 + hard.var() / 200) / 2
    middle = (easy.mean() + hard.mean()) / 2
    assert low == pytest.approx(middle - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(middle + 1.96 * error, abs=0.1 * error)
    assert interval_of_subsets([easy]) == interval(easy)
    names = ["easy"] * 50 + ["hard"] * 200
    both = np.concatenate([easy, hard])
    result = paired(both + 0.25, both, subsets=names)
    assert result.difference == pytest.approx(0.25) and result.interval[0] == pytest.approx(0.25)
    result = paired(both, np.zeros(250), subsets=names)
    assert result.difference == pytest.approx(middle)
    assert result.interval == pytest.approx((low, high))


def test_order_of_values_does_not_matter_and_the_seed_does():
    values = np.random.default_rng(5).normal(size=100).tolist()
    groups = [f"g{i % 7}" for i in range(100)]
    other = list(zip(values, groups))
    random.Random(0).shuffle(other)
    shuffled, labels = zip(*other)
    assert interval(values) == interval(shuffled) == interval(iter(values))
    assert interval(values, groups) == interval(shuffled, labels)
    assert interval(values, seed=1) != interval(values)
    shift = [0.1] * 100
    assert paired(values, shift, groups) == paired(shuffled, shift, labels)


def test_more_images_than_are_drawn_at_once(monkeypatch):
    values = np.random.default_rng(6).normal(size=300)
    whole = interval(values, rounds=1000)
    monkeypatch.setattr("midframe.metrics.statistics.DRAWS", 1000)
    assert interval(values, rounds=1000) == whole


@pytest.mark.parametrize(
    ("more", "less", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 0.0625), (8, 2, 0.109375), (3, 9, 0.14599609375), (6, 6, 1)],
)
def test_sign_test_of_known_splits(more, less, p):
    assert sign_test(more, less) == sign_test(less, more) == p


@pytest.mark.parametrize(("more", "less"), [(17, 40), (155, 100), (1900, 1800), (3000, 782)])
def test_sign_test_is_the_binomial_test(more, less):
    expected = stats.binomtest(more, more + less).pvalue
    assert sign_test(more, less) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("total", [1001, 1002, 6000, 20_001])
def test_sign_test_of_many_images_is_that_of_whole_numbers(total):
    for fewer in (total // 2, total // 2 - 3, total // 2 - round(2 * math.sqrt(total)), 480):
        ways, tail = 1, 1
        for k in range(1, fewer + 1):
            ways = ways * (total - k + 1) // k
            tail += ways
        exact = min(1.0, 2 * tail / 2**total)
        assert sign_test(fewer, total - fewer) == pytest.approx(exact, rel=1e-12, abs=1e-290)


def test_sign_test_of_a_million_images():
    """Which of whole numbers would end by the time limit of the tests."""
    assert sign_test(501_000, 499_000) == pytest.approx(
        stats.binomtest(501_000, 1_000_000).pvalue, rel=1e-9
    )
    assert sign_test(1_000_000, 0) == 0.0


def test_paired_counts_drops_ties_and_is_antisymmetric():
    a = [3.0, 2.0, 5.0, 1.0, 7.0, 7.0]
    b = [1.0, 2.0, 1.0, 2.0, 3.0, 7.0]
    result = paired(a, b)
    assert result.difference == pytest.approx(9 / 6)
    assert (result.more, result.less, result.ties) == (3, 1, 2)
    assert result.p == sign_test(3, 1) == 0.625
    back = paired(b, a)
    assert (back.difference, back.more, back.less, back.p) == (-result.difference, 1, 3, 0.625)
    # the same images make the difference far surer than either mean
    values = np.random.default_rng(7).normal(30, 5, 200)
    noise = np.random.default_rng(8).normal(0.1, 0.1, 200)
    low, high = paired(values + noise, values).interval
    assert 0.08 < low < high < 0.12


def test_infinite_values():
    assert interval([30.0] * 10 + [INF]) == (30.0, INF)
    assert interval([INF, INF]) == (INF, INF)
    assert interval([30.0, 31.0] * 5000 + [INF], rounds=50)[1] == INF
    assert interval([20.0, INF, INF], ["a", "a", "b"]) == (INF, INF)
    result = paired([INF, INF, 30.0], [INF, 20.0, 29.0])
    assert result.difference == INF and result.interval[1] == INF
    assert (result.more, result.less, result.ties) == (2, 0, 1)
    result = paired([INF, 20.0, 3.0], [20.0, INF, 1.0])
    assert math.isnan(result.difference) and math.isnan(result.interval[0])
    assert (result.more, result.less, result.p) == (2, 1, 1.0)
    assert all(map(math.isnan, interval([1.0, float("nan"), 2.0, 3.0])))


def test_few_values_and_wrong_ones():
    assert interval([31.5]) == (31.5, 31.5)
    for wrong in (lambda: interval([]), lambda: interval_of_subsets([]), lambda: paired([], [])):
        with pytest.raises(ValueError, match="no values"):
            wrong()
    with pytest.raises(ValueError, match="3 values cannot be paired with 2"):
        paired([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="1 groups for 2 values"):
        interval([1, 2], ["a"])
    with pytest.raises(ValueError, match="1 subsets for 2 values"):
        paired([1, 2], [1, 2], subsets=["a"])
    with pytest.raises(ValueError, match="level=95"):
        interval([1, 2], level=95)
