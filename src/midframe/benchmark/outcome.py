"""What came out of a benchmark: rows, and what they say on average and how surely."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache

import torch

from midframe.benchmark.batches import Size
from midframe.benchmark.compare import Difference, compared
from midframe.benchmark.journal import Row
from midframe.benchmark.protocol import Protocol
from midframe.metrics import PerImage, statistics

Interval = tuple[float, float]


@dataclass
class Outcome:
    """What came out of one benchmark.

    Attributes:
        protocol: how it was measured.
        rows: one per predicted image, in the order of the data.
        problems: what is missing or went wrong, one line each; a result with any is incomplete.
        reused: how many rows come from an earlier, interrupted run.
        sizes: how many of the measured images have each size (height, width).
        groups: by the key of each row, the video or shot that it is of.
        beside: what other models made of the same images, by their names.
    """

    protocol: Protocol
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    reused: int = 0
    sizes: Counter[Size] = field(default_factory=Counter)
    groups: dict[str, str] = field(default_factory=dict)
    beside: dict[str, Outcome] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every image that the protocol counts was measured, and no more."""
        return not self.problems

    def count(self, subset: str) -> int:
        """Return the number of measured images of a subset."""
        return len(self.of(subset))

    def of(self, subset: str | None) -> list[Row]:
        """Return the rows of a subset, or all."""
        return [row for row in self.rows if subset in (None, row.subset)]

    def means(self, subset: str | None = None) -> dict[str, float]:
        """Return the mean of every metric over a subset, or overall by the protocol's reduction."""
        if subset is None and self.protocol.reduction == "subsets":
            parts = {s: self.means(s) for s in self.protocol.subsets if self.count(s)}
            return PerImage(parts).means()
        if self.protocol.reduction == "sequences":
            return PerImage(self.sequences(subset)).means()
        return PerImage({r.key: r.values for r in self.of(subset)}).means()

    def intervals(self, subset: str | None = None) -> dict[str, Interval]:
        """Return the 95 % bootstrap interval of every mean; arguments as of `means`.

        What is drawn are images; sequences, where these are averaged; clips, where each has as
        many target times as any other, since the images of one are alike.
        """
        rows = self.of(subset)
        if not rows:
            return {}
        by_subset = subset is None and self.protocol.reduction == "subsets"
        parts = [self.of(s) for s in self.protocol.subsets] if by_subset else [rows]
        found = {}
        for name in self.means(subset):
            columns = [tuple(row.values[name] for row in part) for part in parts if part]
            groups = None if by_subset else self.drawn(rows)
            found[name] = _interval(tuple(columns), groups)
        return found

    def drawn(self, rows: list[Row]) -> tuple[str, ...] | None:
        """Return what is drawn together of these rows, None where each is drawn by itself."""
        if self.protocol.reduction == "sequences":
            return tuple(self.sequence(row) for row in rows)
        return clips(rows) if len(self.protocol.times) > 1 else None

    def sequence(self, row: Row) -> str:
        """Return the sequence of a row, as subset/sequence."""
        return f"{row.subset}/{self.groups.get(row.key) or row.id}"

    def sequences(self, subset: str | None = None) -> dict[str, dict[str, float]]:
        """Return the means of each sequence of a subset, or of all, as subset/sequence."""
        found: dict[str, PerImage] = {}
        for row in self.of(subset):
            found.setdefault(self.sequence(row), PerImage()).add(row.key, row.values)
        return {name: rows.means() for name, rows in found.items()}

    def at_times(self) -> dict[str, Outcome]:
        """Return the outcome at each target time by itself, where the protocol has several."""
        found = {}
        for t in self.protocol.times if len(self.protocol.times) > 1 else ():
            rows = [row for row in self.rows if row.id.endswith(at(t))]
            found[f"{t:.4g}"] = dataclasses.replace(self, rows=rows)
        return found

    def median_seconds(self) -> float:
        """Return the median time of one prediction."""
        return float(torch.tensor([r.seconds for r in self.rows] or [math.nan]).median())

    def against(self, other: Outcome) -> dict[str, Difference]:
        """Return this model minus another on the images that both have, by metric."""
        theirs = {row.key for row in other.rows}
        rows = [row for row in self.rows if row.key in theirs]
        groups = self.drawn(rows)
        return compared(
            rows,
            other.rows,
            {name: metric.better for name, metric in self.protocol.columns.items()},
            groups=None if groups is None else dict(zip((r.key for r in rows), groups)),
            by_subset=self.protocol.reduction == "subsets",
        )


def at(t: float) -> str:
    """Return what ends the id of an image at a time, where a protocol has several."""
    return f"@{t:.4g}"


def clips(rows: list[Row]) -> tuple[str, ...] | None:
    """Return the clip of each row, None where clips differ in their number of images."""
    names = tuple(row.key.rpartition("@")[0] for row in rows)
    return names if len(set(Counter(names).values())) == 1 else None


@lru_cache(maxsize=256)
def _interval(columns: tuple[tuple[float, ...], ...], groups: tuple[str, ...] | None) -> Interval:
    """Resample once, however often it is shown."""
    if len(columns) > 1:
        return statistics.interval_of_subsets(columns)
    return statistics.interval(columns[0], groups)
