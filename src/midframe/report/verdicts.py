"""Papers against measurements: a verdict for every number that a paper prints."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from midframe.report.records import Column, Entry, Group, Interval, Part, Published

REPRODUCED, CLOSE = 1, 5  # units of the last printed digit
_ENOUGH = 3  # numbers of a source that show how many digits it prints

EXPLAINED = (
    "A measured mean, rounded as the paper prints it, is *reproduced* within one unit of the "
    "paper's last digit, *close* within five, else *better* or *worse* than the paper's; "
    "*incomplete* where images are missing."
)


@dataclass(frozen=True)
class Compared:
    """One number of a paper and ours.

    Attributes:
        entry: the measured result.
        row: the published one.
        column: the metric.
        digits: decimals that the paper prints.
        published: the paper's.
        measured: ours, None where there is none.
        interval: 95 % of ours.
        verdict: "reproduced", "close", "better", "worse", "incomplete" or "not measured".
    """

    entry: Entry
    row: Published
    column: Column
    digits: int
    published: float
    measured: float | None
    interval: Interval | None
    verdict: str

    @property
    def difference(self) -> float | None:
        """Ours minus theirs."""
        return None if self.measured is None else self.measured - self.published


def compare(group: Group) -> list[Compared]:
    """Return every number of every published row whose model was measured by this protocol."""
    return [
        found
        for entry in group.entries
        for row in group.rules.published
        if row.name is not None and row.name == entry.name
        for found in _cells(group, entry, row)
    ]


def _cells(group: Group, entry: Entry, row: Published) -> Iterator[Compared]:
    part: Part | None = entry.total if row.subset is None else entry.subsets.get(row.subset)
    for column in group.columns:
        if column.name not in row.values:
            continue
        published = row.values[column.name]
        digits = printed_digits(group, row.source, column)
        measured = None if part is None else part.mean.get(column.name)
        interval = None if part is None else part.interval.get(column.name)
        word = verdict(published, measured, digits, entry.complete, column.better)
        yield Compared(entry, row, column, digits, published, measured, interval, word)


def verdict(
    published: float,
    measured: float | None,
    digits: int,
    complete: bool = True,
    better: str = "higher",
) -> str:
    """Return the word for a published and a measured number.

    Args:
        published: as printed.
        measured: in full precision; None or NaN: there is none.
        digits: decimals that the paper prints.
        complete: whether all images were measured.
        better: what is better of the metric, "higher" or "lower".
    """
    if measured is None or math.isnan(measured):
        return "not measured"
    if not complete:
        return "incomplete"
    if math.isfinite(measured) and math.isfinite(published):
        # as whole units, so that 0.1 + 0.2 troubles nobody
        ours, theirs = (round(Decimal(value).scaleb(digits)) for value in (measured, published))
        apart = abs(ours - theirs)
        if apart <= CLOSE:
            return "reproduced" if apart <= REPRODUCED else "close"
    elif measured == published:
        return "reproduced"
    return "better" if (measured > published) == (better == "higher") else "worse"


def printed_digits(group: Group, source: str, column: Column) -> int:
    """Return how many decimals a source prints of a metric.

    Numbers lose their last zeros on the way here (37.50 comes as 37.5), so it is what the source's
    longest has. Of a source with one or two numbers that says little: then it is the column's.
    """
    rows = [r for r in group.rules.published if r.source == source and column.name in r.values]
    found = [_decimals(row.values[column.name]) for row in rows]
    if len(found) < _ENOUGH:
        return max([column.digits, *found])
    return max(found)


def _decimals(value: float) -> int:
    exponent = Decimal(repr(value)).normalize().as_tuple().exponent
    return min(12, max(0, -exponent)) if isinstance(exponent, int) else 0
