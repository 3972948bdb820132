"""How sure a mean is, and whether two models differ: bootstrap intervals and the sign test.

All of it depends on the values alone, not on their order, and gives the same bits every time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
ROUNDS = 10_000
DRAWS = 1 << 20  # of values at once, which bounds the memory
_EXACT = 1000  # throws of the sign test that are counted in whole numbers

Array = NDArray[np.float64]
Labels = Sequence[object]


@dataclass(frozen=True)
class Paired:
    """What two models' values of the same images say about each other.

    Attributes:
        difference: mean of the first model's value minus the second's.
        interval: bootstrap interval of this mean.
        more: how many images (sequences, where there are groups) have a larger first value.
        less: how many a smaller one.
        ties: how many the same.
        p: of the exact two-sided sign test; how likely at least so uneven a split is where neither
            is better. 1 where all are ties.
    """

    difference: float
    interval: tuple[float, float]
    more: int
    less: int
    ties: int
    p: float


def interval(
    values: Iterable[float],
    groups: Labels | None = None,
    level: float = LEVEL,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean.

    Args:
        values: one per image. Infinite ones (PSNR of equal images) make an end infinite where
            enough resamples hold one; a NaN makes both ends NaN.
        groups: the sequence of each value. The mean is then one over the means of sequences, and
            whole sequences are drawn, since images of one are alike.
        level: share of the resamples' means that the interval holds.
        rounds: number of resamples.
        seed: of the draws.

    Returns:
        (low, high), two of the resamples' means. A single value (or sequence) is both: it says
        nothing about its spread.

    Raises:
        ValueError: for no values, or another number of groups.

    Source: Efron, "Bootstrap methods: another look at the jackknife", Annals of Statistics, 1979.
    """
    return _bounds([_units(values, groups)], level, rounds, seed)


def interval_of_subsets(
    values: Iterable[Iterable[float]],
    level: float = LEVEL,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the interval of the mean of the means of subsets; each is resampled within itself.

    Args:
        values: those of each subset.
        level: these are those of `interval`.
        rounds: see there.
        seed: see there.
    """
    return _bounds([_units(subset) for subset in values], level, rounds, seed)


def paired(
    a: Iterable[float],
    b: Iterable[float],
    groups: Labels | None = None,
    *,
    subsets: Labels | None = None,
    level: float = LEVEL,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Paired:
    """Compare two models on the same images.

    Two equal infinite values are a tie with a difference of 0. Where differences of both infinite
    signs meet, mean and interval are NaN; the counts and the test stand.

    Args:
        a: the first model's values.
        b: the second's, of the same images in the same order.
        groups: the sequence of each image. What is averaged, resampled and counted are then the
            mean differences of sequences.
        subsets: the subset of each image, where the mean is one over the means of subsets; images
            (or sequences) are then resampled within their subset.
        level: these are those of `interval`.
        rounds: see there.
        seed: see there.

    Raises:
        ValueError: for no values, or lists of unlike length.
    """
    first, second = _array(a), _array(b)
    if not len(first) + len(second):
        raise ValueError("there are no values")
    if first.shape != second.shape:
        raise ValueError(f"{len(first)} values cannot be paired with {len(second)}")
    _same_length(first, groups, "groups")
    _same_length(first, subsets, "subsets")
    with np.errstate(invalid="ignore"):
        differences = np.where(first == second, 0.0, first - second)
    strata = []
    for places in _places(subsets, len(differences)):
        within = None if groups is None else [groups[i] for i in places]
        strata.append(_units(differences[places], within))
    units = np.concatenate(strata)
    more, less = int((units > 0).sum()), int((units < 0).sum())
    return Paired(
        difference=_mean([_mean(stratum) for stratum in strata]),
        interval=_bounds(strata, level, rounds, seed),
        more=more,
        less=less,
        ties=int((units == 0).sum()),
        p=sign_test(more, less),
    )


def sign_test(more: int, less: int) -> float:
    """Return p of the exact two-sided sign test: signs fall either way like a fair coin.

    Args:
        more: number of positive differences.
        less: number of negative ones; ties are in neither.

    Source: Conover, "Practical Nonparametric Statistics", section 3.4.
    """
    total, fewer = more + less, min(more, less)
    if total > _EXACT:
        return _sign_test_of_many(total, fewer)
    ways, tail = 1, 1  # whole numbers, since floats end at about a thousand throws
    for k in range(1, fewer + 1):
        ways = ways * (total - k + 1) // k
        tail += ways
    return min(1.0, 2 * tail / 2**total)


def _sign_test_of_many(total: int, fewer: int) -> float:
    """Return the same in floats, in time that grows with the throws; to 1e-12 of itself.

    Binomial coefficients are taken as shares of the middle one, each from the one above it:
    C(n, k - 1) = C(n, k) k / (n - k + 1). That the probabilities of all splits sum to 1 makes the
    scale, so no logarithm of a large factorial takes digits away.
    """
    middle = total // 2
    k = np.arange(middle, 0, -1, dtype=np.float64)
    shares = np.concatenate([[1.0], np.cumprod(k / (total - k + 1))])  # of middle, ..., 1, 0
    half = math.fsum(shares)
    whole = 2 * half - (total % 2 == 0)  # of an even number the middle is there once
    return min(1.0, 2 * math.fsum(shares[middle - fewer :]) / whole)


def _bounds(strata: Sequence[Array], level: float, rounds: int, seed: int) -> tuple[float, float]:
    """Return the interval of the mean over strata of their means, each resampled in itself."""
    if not strata:
        raise ValueError("there are no values")
    if not 0 < level < 1 or rounds < 1:
        raise ValueError(f"level={level} must lie between 0 and 1, and rounds={rounds} be positive")
    rng = np.random.default_rng(seed)
    with np.errstate(invalid="ignore"):  # of inf - inf, which is NaN and stays so
        means = np.sum([_resampled(units, rounds, rng) for units in strata], axis=0) / len(strata)
    if np.isnan(means).any():
        return math.nan, math.nan
    means.sort()
    # Means that occurred, never something between two: of a finite and an infinite there is none.
    outside = math.floor((1 - level) / 2 * rounds + 1e-9)
    return float(means[outside]), float(means[rounds - 1 - outside])


def _resampled(units: Array, rounds: int, rng: np.random.Generator) -> Array:
    """Return the means (rounds,) of as many values as there are, drawn with replacement."""
    count, means = len(units), np.empty(rounds)
    step = max(1, DRAWS // count)
    for start in range(0, rounds, step):
        part = means[start : start + step]
        part[:] = units[rng.integers(count, size=(len(part), count))].mean(1)
    return means


def _units(values: Iterable[float], groups: Labels | None = None) -> Array:
    """Return what is drawn, sorted: the values, or the means of groups."""
    array = _array(values)
    if not len(array):
        raise ValueError("there are no values")
    _same_length(array, groups, "groups")
    if groups is not None:
        array = _array(_mean(array[places]) for places in _places(groups, len(array)))
    return np.sort(array)


def _places(labels: Labels | None, count: int) -> list[list[int]]:
    """Return the places of each label; all in one where there are none."""
    found: dict[object, list[int]] = {}
    for i in range(count):
        found.setdefault(None if labels is None else labels[i], []).append(i)
    # Draws go by order: labels come in that of their names, whatever the values' order.
    return [found[label] for label in sorted(found, key=str)]


def _mean(values: Array | list[float]) -> float:
    """Return the mean, the same in any order; NaN where infinities of both signs meet."""
    try:
        return math.fsum(values) / len(values)
    except ValueError:
        return math.nan


def _array(values: Iterable[float]) -> Array:
    return np.fromiter((float(value) for value in values), dtype=np.float64)


def _same_length(values: Array, labels: Labels | None, name: str) -> None:
    if labels is not None and len(labels) != len(values):
        raise ValueError(f"{len(labels)} {name} for {len(values)} values")
