"""The tables of a report, before anybody says in which kind of file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from midframe.report import verdicts
from midframe.report.pairing import Pair
from midframe.report.records import Column, Entry, Group, Interval, Part, Published, Speed


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: what it says; empty for nothing.
        note: said behind it in smaller letters.
        value: what the column is sorted by; None: the text.
        tone: "best", a verdict, or empty.
    """

    text: str
    note: str = ""
    value: float | None = None
    tone: str = ""


@dataclass(frozen=True)
class Line:
    """One row; ``kind`` is "measured", "incomplete" or "published"."""

    cells: tuple[Cell, ...]
    kind: str = "measured"


@dataclass(frozen=True)
class Head:
    """One column's title; numbers are set right and sorted as numbers."""

    title: str
    number: bool = True


@dataclass(frozen=True)
class Table:
    """A table with its caption; the notes stand below."""

    caption: str
    heads: tuple[Head, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()


NOTHING = Cell("")


def results(group: Group) -> Table:
    """Return the overall means of each model, then the published ones."""
    heads = [Head("Model", number=False), *map(_head, group.columns), Head("Images")]
    known = any(entry.parameters for entry in group.entries)
    heads += [Head("Parameters")] * known
    best = _best(group, {e.title: e.total for e in group.entries if e.complete})
    lines = []
    for entry in group.entries:
        cells = [_model(entry), *_means(group.columns, entry.total, best, entry.complete)]
        cells.append(Cell(f"{entry.total.images:,}", value=entry.total.images))
        if known:
            cells.append(_count(entry.parameters))
        lines.append(Line(tuple(cells), "measured" if entry.complete else "incomplete"))
    whole = {None, group.rules.subsets[0]} if len(group.rules.subsets) == 1 else {None}
    for row in (row for row in group.rules.published if row.subset in whole):
        cells = [Cell(row.model, "published"), *_published(group, row)]
        lines.append(Line((*cells, *[NOTHING] * (1 + known)), "published"))
    interval = any(entry.total.interval for entry in group.entries)
    caption = "Mean over all images" + ", and its 95 % interval" * interval
    return Table(caption, tuple(heads), tuple(lines))


def parts(group: Group, kind: str) -> Table | None:
    """Return the means by subset or by time, None where there is only one.

    Args:
        group: of one protocol.
        kind: "subsets" or "times".
    """
    names = part_names(group, kind)
    if len(names) < 2 or not group.columns:
        return None
    heads = [Head("Model", number=False)]
    heads += [Head(f"{_label(kind, n)} {_title(c)}") for n in names for c in group.columns]
    bests = {
        n: _best(group, {e.title: getattr(e, kind)[n] for e in group.entries if _has(e, kind, n)})
        for n in names
    }
    lines = []
    for entry in group.entries:
        cells = [_model(entry)]
        for name in names:
            part = getattr(entry, kind).get(name, Part(0, {}))
            cells += _means(group.columns, part, bests[name], entry.complete)
        lines.append(Line(tuple(cells), "measured" if entry.complete else "incomplete"))
    if kind == "subsets":
        lines += _published_parts(group, names)
    return Table(f"Mean by {kind[:-1]}", tuple(heads), tuple(lines))


def part_names(group: Group, kind: str) -> list[str]:
    """Return the names of the subsets or times that any entry has."""
    found = dict.fromkeys(n for entry in group.entries for n in getattr(entry, kind))
    if kind == "times":
        return sorted(found, key=lambda t: (len(t) > 12, t))
    found.update(dict.fromkeys(r.subset for r in group.rules.published if r.subset))
    return [subset for subset in group.rules.subsets if subset in found]


def _has(entry: Entry, kind: str, name: str) -> bool:
    return entry.complete and name in getattr(entry, kind)


def _published_parts(group: Group, names: Sequence[str]) -> list[Line]:
    models: dict[tuple[str, str], dict[str, Published]] = {}
    for row in group.rules.published:
        if row.subset in names:
            models.setdefault((row.model, row.source), {})[str(row.subset)] = row
    lines = []
    for (model, source), rows in models.items():
        cells = [Cell(model, "published")]
        for name in names:
            cells += _published(group, rows.get(name, Published(model, {}, source)))
        lines.append(Line(tuple(cells), "published"))
    return lines


def papers(group: Group, compared: Sequence[verdicts.Compared]) -> Table | None:
    """Return what papers print against what was measured, a line for each number."""
    titles = ["Model", "Of", "Metric", "Published", "Measured", "Difference", "95 % interval"]
    heads = tuple(Head(t, number=i in (3, 4, 5)) for i, t in enumerate([*titles, "Verdict"]))
    several = len(group.rules.subsets) > 1
    lines = []
    for one in compared:
        digits = max(one.digits, one.column.digits)
        low = "" if one.interval is None else span(one.interval, digits)
        cells = (
            Cell(one.entry.title, ", ".join(one.entry.marks)),
            Cell(one.row.subset or ("all" if several else "all images")),
            Cell(_title(one.column)),
            Cell(figure(one.published, one.digits), value=one.published),
            number(one.measured, digits),
            number(one.difference, digits, signed=True),
            Cell(low),
            Cell(one.verdict, tone=one.verdict.replace(" ", "-")),
        )
        lines.append(Line(cells, "measured" if one.entry.complete else "incomplete"))
    return Table("Each number of a paper, and ours", heads, tuple(lines)) if lines else None


def comparisons(pairs: Iterable[Pair]) -> Table | None:
    """Return the paired comparison of models."""
    texts = ["Model", "minus", "Metric"]
    heads = [*(Head(t, number=False) for t in texts), Head("Difference")]
    heads += [Head("95 % interval", number=False)]
    heads += [Head(t) for t in ("Better on", "Worse on", "Ties", "p of sign test")]
    lines = []
    for pair in pairs:
        found, digits = pair.found, pair.column.digits + 1
        clear = found.interval[0] > 0 or found.interval[1] < 0
        cells = (
            Cell(pair.first.title, ", ".join(pair.first.marks)),
            Cell(pair.second.title, ", ".join(pair.second.marks)),
            Cell(_title(pair.column)),
            Cell(
                figure(found.difference, digits, signed=True),
                value=found.difference,
                tone="clear" if clear else "",
            ),
            Cell(span(found.interval, digits)),
            *(Cell(f"{n:,}", value=n) for n in (pair.better, pair.worse, found.ties)),
            Cell(_chance(found.p), value=found.p),
        )
        whole = pair.first.complete and pair.second.complete
        lines.append(Line(cells, "measured" if whole else "incomplete"))
    caption = "Mean differences on the same images"
    return Table(caption, tuple(heads), tuple(lines)) if lines else None


def speeds(found: Sequence[Speed]) -> list[Table]:
    """Return one table for each machine and setting: only what was timed alike shares a column."""
    tables = []
    for setting in dict.fromkeys(speed.setting for speed in found):
        titles = ["Model", "Size", "Way", "Parameters", "FLOPs", "p50 ms", "p90 ms", "p99 ms"]
        titles += ["Frames/s", "Peak memory"]
        heads = tuple(Head(t, number=i > 2) for i, t in enumerate(titles))
        lines = []
        alike = [s for s in found if s.setting == setting]
        for speed in alike:
            for size in speed.sizes:
                for name, way in size.ways.items():
                    times = (way.p50_ms, way.p90_ms, way.p99_ms)
                    cells = [Cell(speed.title), Cell(size.size), Cell(name)]
                    cells += [_count(speed.parameters), _count(size.flops)]
                    cells += [number(value, 4, short=True) for value in times]
                    if way.error:
                        cells[-3] = Cell(way.error)
                    cells += [number(way.frames_per_s, 4, short=True), _bytes(way.peak_bytes)]
                    lines.append(Line(tuple(cells)))
        notes = tuple(f"{s.title}: {'; '.join(s.notes)}." for s in alike if s.notes)
        tables.append(Table(f"Speed on {setting}", heads, tuple(lines), notes))
    return tables


def figure(value: float | None, digits: int, signed: bool = False) -> str:
    """Return a number as a table shows it."""
    if value is None or math.isnan(value):
        return ""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    text = f"{value:{'+' if signed else ''}.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("-", "−")  # a minus as wide as the plus


def span(interval: Interval, digits: int) -> str:
    """Return an interval as a table shows it."""
    low, high = (figure(end, digits) for end in interval)
    return f"{low} to {high}" if low and high else ""


def number(value: float | None, digits: int, signed: bool = False, short: bool = False) -> Cell:
    """Return a cell with a number; ``short`` counts all digits, not those behind the point."""
    if value is None or math.isnan(value):
        return NOTHING
    text = f"{value:.{digits}g}" if short and value < 1000 else figure(value, digits, signed)
    if short and value >= 1000:
        text = f"{value:,.0f}"
    return Cell(text, value=value)


def scaled(value: float) -> str:
    """Return a count with its prefix: 4.96 M."""
    for limit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.3g} {letter}"
    return f"{value:.3g}"


def _count(value: float | None) -> Cell:
    return NOTHING if value is None else Cell(scaled(value), value=value)


def _bytes(value: float | None) -> Cell:
    return NOTHING if value is None else Cell(f"{value / 2**20:,.0f} MiB", value=value)


def _chance(p: float) -> str:
    if p < 1e-99:
        return "< 1e-99"
    return f"{p:.1e}" if p < 0.001 else f"{p:.3f}"


def _title(column: Column) -> str:
    return column.title + (f" {column.unit}" if column.unit else "")


def _head(column: Column) -> Head:
    return Head(_title(column))


def _label(kind: str, name: str) -> str:
    return f"t = {name}," if kind == "times" else f"{name}:"


def _model(entry: Entry) -> Cell:
    return Cell(entry.title, ", ".join(entry.marks))


def _best(group: Group, found: Mapping[str, Part]) -> dict[str, str]:
    """Return the best value of each metric as it is shown, where there are two to choose from."""
    best = {}
    for column in group.columns:
        values = [p.mean[column.name] for p in found.values() if column.name in p.mean]
        values = [v for v in values if not math.isnan(v)]
        if len(values) > 1:
            best[column.name] = figure(column.best(values), column.digits)
    return best


def _means(
    columns: Sequence[Column], part: Part, best: Mapping[str, str], complete: bool
) -> list[Cell]:
    cells = []
    for column in columns:
        value = part.mean.get(column.name)
        text = figure(value, column.digits)
        interval = part.interval.get(column.name)
        note = span(interval, column.digits) if interval and text else ""
        tone = "best" if complete and text and text == best.get(column.name) else ""
        cells.append(Cell(text, note, value if text else None, tone))
    return cells


def _published(group: Group, row: Published) -> list[Cell]:
    cells = []
    for column in group.columns:
        value = row.values.get(column.name)
        digits = verdicts.printed_digits(group, row.source, column) if value is not None else 0
        cells.append(Cell(figure(value, digits), value=value))
    return cells
