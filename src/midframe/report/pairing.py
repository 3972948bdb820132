"""Intervals and paired comparisons out of the values of each image."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from midframe.metrics import statistics
from midframe.metrics.statistics import Paired
from midframe.report.records import Column, Entry, Group, Interval

ALL_PAIRS = 6  # models up to which every pair is compared; beyond, each with the best one
_ROUNDS_AT_MOST = 40_000_000  # values drawn for one interval


@dataclass(frozen=True)
class Pair:
    """Two models on the same images.

    Attributes:
        first: the one that the difference is taken of.
        second: the one that is subtracted.
        column: the metric.
        images: how many both have.
        found: the comparison.
    """

    first: Entry
    second: Entry
    column: Column
    images: int
    found: Paired

    @property
    def better(self) -> int:
        """How many images (or sequences) the first model has a better value of."""
        return self.found.more if self.column.better == "higher" else self.found.less

    @property
    def worse(self) -> int:
        """How many images (or sequences) the first model has a worse value of."""
        return self.found.less if self.column.better == "higher" else self.found.more


def pairs(group: Group) -> Iterator[Pair]:
    """Yield the comparison of models by each metric, better ones first."""
    entries = [entry for entry in group.entries if entry.images]
    few = len(entries) <= ALL_PAIRS
    for i, first in enumerate(entries):
        for second in entries[i + 1 :] if few or i == 0 else ():
            for column in group.columns:
                keys = [k for k in first.images if k in second.images]
                keys = [k for k in keys if _both(k, first, second, column)]
                if keys:
                    yield _pair(group, first, second, column, keys)


def _both(key: str, first: Entry, second: Entry, column: Column) -> bool:
    values = (e.images[key].get(column.name) for e in (first, second))
    return all(value is not None and value == value for value in values)  # NaN is not itself


def _pair(group: Group, first: Entry, second: Entry, column: Column, keys: list[str]) -> Pair:
    a, b = ([e.images[k][column.name] for k in keys] for e in (first, second))
    labels = _labels(first, keys)
    found = statistics.paired(
        a,
        b,
        groups=labels,
        subsets=[_subset(k) for k in keys] if group.rules.reduction == "subsets" else None,
        rounds=_rounds(len(keys)),
    )
    return Pair(first, second, column, len(keys), found)


def with_intervals(entry: Entry) -> None:
    """Add the intervals of means that a result was written without."""
    entry.total = dataclasses.replace(
        entry.total, interval=_added(entry, entry.total.mean, entry.total.interval, None)
    )
    for name, part in entry.subsets.items():
        entry.subsets[name] = dataclasses.replace(
            part, interval=_added(entry, part.mean, part.interval, name)
        )


def _added(
    entry: Entry, mean: Mapping[str, float], known: Mapping[str, Interval], subset: str | None
) -> dict[str, Interval]:
    found = dict(known)
    for metric in mean:
        if metric not in found and (interval := _interval(entry, metric, subset)) is not None:
            found[metric] = interval
    return found


def _interval(entry: Entry, metric: str, subset: str | None) -> Interval | None:
    rows = {k: v[metric] for k, v in entry.images.items() if metric in v}
    rows = {k: v for k, v in rows.items() if v == v and subset in (None, _subset(k))}
    if not rows:
        return None
    rounds = _rounds(len(rows))
    if entry.rules.reduction == "subsets" and subset is None:
        parts: dict[str, list[float]] = {}
        for key, value in rows.items():
            parts.setdefault(_subset(key), []).append(value)
        return statistics.interval_of_subsets(parts.values(), rounds=rounds)
    return statistics.interval(rows.values(), groups=_labels(entry, list(rows)), rounds=rounds)


def _rounds(count: int) -> int:
    return max(500, min(statistics.ROUNDS, _ROUNDS_AT_MOST // count))


def _subset(key: str) -> str:
    return key.partition("/")[0]


def _labels(entry: Entry, keys: list[str]) -> list[str] | None:
    """Return what each image is drawn together with; None: each by itself."""
    return [entry.groups.get(key, key) for key in keys] if entry.groups else None
