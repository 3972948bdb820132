"""The table of a result: the model at hand, those beside, what is between, published rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from midframe.benchmark.compare import Difference
from midframe.benchmark.outcome import Outcome
from midframe.benchmark.protocol import Metric, Protocol
from midframe.plain_text import plain

_SHOWN = 40  # images that the console table lists one by one, at most
_NAMES = 24  # characters of the first column, at least: what the numbers are of
_STYLES = {"own": "bold", "beside": "", "paired": "", "published": "dim"}


class Line(NamedTuple):
    """A line of a table.

    Attributes:
        title: what the numbers are of.
        cells: one for each column of the protocol.
        kind: "own" of the model at hand, "beside" of another, "paired" for what is between them,
            or "published".
    """

    title: str
    cells: list[str]
    kind: Literal["own", "beside", "paired", "published"]


def parts_of(outcome: Outcome, model: str, name: str | None = None) -> Iterator[list[Line]]:
    """Yield the parts of a result's table: the model at hand, each one beside, published rows.

    Args:
        outcome: of the model at hand.
        model: what to call it.
        name: of the same in conf/model, whose published row gets an arrow.
    """
    protocol = outcome.protocol
    yield list(_of_model(outcome, model, name))
    for title, other in outcome.beside.items():
        lines = [_of_subset(other, title, subset, "beside") for subset in _several(protocol)]
        lines += _of_all(other, title, "beside")
        found = outcome.against(other)
        if found:
            cells = [between(found[m], metric.digits) for m, metric in protocol.columns.items()]
            lines.append(Line(f"{model} minus {title}", cells, "paired"))
        yield lines
    yield list(_published(protocol, None, name))


def _of_model(outcome: Outcome, model: str, name: str | None) -> Iterator[Line]:
    """Yield the lines of the model at hand; what is published of a subset stands with it."""
    protocol = outcome.protocol
    for subset in _several(protocol):
        yield _of_subset(outcome, model, subset, "own")
        yield from _published(protocol, subset, name)
    yield from _of_all(outcome, model, "own")
    if len(outcome.rows) > 1:
        ends = {m: _pair(outcome, m, i) for m, i in outcome.intervals().items()}
        yield Line("95 % interval", [ends.get(m, "-") for m in protocol.columns], "own")


def _several(protocol: Protocol) -> tuple[str, ...]:
    """Return the subsets, none where there is but one."""
    return protocol.subsets if len(protocol.subsets) > 1 else ()


def show(outcome: Outcome, facts: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the result beside the published rows of the same protocol.

    Where columns do not fit a terminal there are several tables; in a file or a pipe, none breaks.
    """
    console = console or Console()
    protocol, model = outcome.protocol, str(facts.get("model", "model"))
    if protocol.columns:
        name = facts.get("model_config", {}).get("name")
        _print(console, outcome, model, name, list(protocol.columns))
    for source in sources(protocol):
        console.print(_text(f"published: {source}"), style="dim")
    for problem in outcome.problems:
        console.print(Text("incomplete: ", "red") + _text(problem))
    if protocol.submission and protocol.note:
        console.print(_text(protocol.note))


def _print(
    console: Console, outcome: Outcome, model: str, name: str | None, columns: Sequence[str]
) -> None:
    """Print some columns, in two tables where one is too wide for the terminal."""
    table = _table(outcome, model, name, columns)
    width = _NAMES + sum(column.width or 0 for column in table.columns) + 3 * len(table.columns) + 1
    if width > console.width and console.is_terminal and len(columns) > 1:
        half = (len(columns) + 1) // 2
        for part in (columns[:half], columns[half:]):
            _print(console, outcome, model, name, part)
        return
    if not console.is_terminal:
        console.width = max(console.width, width)
    console.print(table)


def _table(outcome: Outcome, model: str, name: str | None, columns: Sequence[str]) -> Table:
    protocol = outcome.protocol
    places = [i for i, column in enumerate(protocol.columns) if column in columns]
    table = Table(title=Text(plain(f"{model} on {protocol.id}"), "bold"), title_justify="left")
    table.add_column("", min_width=_NAMES, overflow="fold")
    for column in columns:
        heading = title_of(column, protocol.columns[column])
        table.add_column(_text(heading), justify="right", no_wrap=True)

    def add(title: str, cells: Sequence[str], style: str = "") -> None:
        table.add_row(_text(title), *(Text(cells[i]) for i in places), style=style)

    if len(outcome.rows) <= _SHOWN:
        for row in outcome.rows:
            add(row.id, _cells(row.values, protocol.columns))
        table.add_section()
    for part in parts_of(outcome, model, name):
        for line in part:
            add(line.title, line.cells, _STYLES[line.kind])
        table.add_section()
    for one in table.columns[1:]:  # numbers keep their digits, so that only names are folded
        texts = [one.header, *one.cells]
        one.width = max(cell_len(line) for text in texts for line in str(text).split("\n"))
    return table


def _text(name: str) -> Text:
    """Return what is shown as it is: brackets are no markup, control characters no commands."""
    return Text(plain(name))


def _of_subset(outcome: Outcome, model: str, subset: str, kind: Literal["own", "beside"]) -> Line:
    title = f"{model}, {subset} ({outcome.count(subset)} images)"
    return Line(title, _cells(outcome.means(subset), outcome.protocol.columns), kind)


def _of_all(outcome: Outcome, model: str, kind: Literal["own", "beside"]) -> Iterator[Line]:
    """Yield the means at every time, where there are several, and overall."""
    protocol = outcome.protocol
    for t, part in outcome.at_times().items():
        if part.rows:
            title = f"{model}, t = {t} ({len(part.rows)} images)"
            yield Line(title, _cells(part.means(), protocol.columns), kind)
    mark = "" if outcome.complete else ", incomplete"
    parts = f" in {len(outcome.sequences())} sequences" if protocol.reduction == "sequences" else ""
    title = f"{model}, mean of {len(outcome.rows)}{parts}{mark}"
    yield Line(title, _cells(outcome.means(), protocol.columns), kind)


def _published(protocol: Protocol, subset: str | None, own: str | None) -> Iterator[Line]:
    """Yield rows of papers, marked as such; the one of the model at hand gets an arrow."""
    only = protocol.subsets[0] if len(protocol.subsets) == 1 else None
    for row in protocol.published:
        if row.subset != subset and not (subset is None and row.subset == only):
            continue
        title = f"{row.model}{f', {subset}' if subset else ''} (published)"
        title += " <- this model" if own and row.name == own else ""
        yield Line(title, _cells(row.values, protocol.columns), "published")


def between(one: Difference, digits: int) -> str:
    """Return a difference with its interval and p, on four short lines."""
    low, high = (f"{end:+.{digits}f}" for end in one.interval)
    return f"{one.difference:+.{digits}f}\n{low} to\n{high}\n{p_value(one.p)}"


def p_value(p: float) -> str:
    """Return p as papers write it."""
    return "p < 0.0001" if p < 1e-4 else f"p = {p:.2g}"


def sources(protocol: Protocol) -> list[str]:
    """Return where the published rows come from."""
    return list(dict.fromkeys(row.source for row in protocol.published))


def title_of(name: str, metric: Metric) -> str:
    """Return the heading of a column."""
    return name.upper() + (f" {metric.unit}" if metric.unit else "")


def _pair(outcome: Outcome, name: str, ends: tuple[float, float]) -> str:
    digits = outcome.protocol.columns[name].digits
    return " to\n".join(f"{end:.{digits}f}" for end in ends)


def _cells(values: Mapping[str, float], metrics: Mapping[str, Metric]) -> list[str]:
    return [f"{values[n]:.{m.digits}f}" if n in values else "-" for n, m in metrics.items()]
