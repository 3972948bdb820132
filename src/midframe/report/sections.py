"""All that a report says of each protocol, worked out once for every kind of file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from midframe.report import pairing, pictures, tables, verdicts
from midframe.report.grouping import group
from midframe.report.pictures import Album
from midframe.report.records import Entry, Group, Speed
from midframe.report.tables import Cell, Head, Line, Table

_FIRST = (
    *("weights", "weights_sha256", "parts", "precision", "device", "gpu", "processor", "threads"),
    *("batch", "op_backend", "revision", "date", "python", "versions", "calls"),
)
_NOT_TOLD = {"benchmark", "complete", "images", "model", "protocol_digest", "host", "kind"}
_FACT_MOST, _FACTS_MOST = 1500, 60  # characters of one, and how many
_SHORT = 12  # digits of a sha256 in a table


@dataclass
class Section:
    """One protocol's part of a report; a table that would be empty is None."""

    group: Group
    results: Table
    subsets: Table | None
    times: Table | None
    compared: list[verdicts.Compared]
    papers: Table | None
    comparisons: Table | None
    album: Album
    made: Table

    @property
    def problems(self) -> list[str]:
        """What is missing in which result."""
        entries = (e for e in self.group.entries if e.problems)
        return [f"{e.title} is incomplete: {'; '.join(e.problems[:5])}" for e in entries]


@dataclass
class Report:
    """A whole report."""

    title: str
    sections: list[Section]
    speeds: list[Speed] = field(default_factory=list)

    @property
    def speed_tables(self) -> list[Table]:
        """What models cost, a table for each device."""
        return tables.speeds(self.speeds)


def build(
    title: str,
    entries: Sequence[Entry],
    speeds: Sequence[Speed],
    count: int,
    budget: int,
) -> Report:
    """Return a report of results.

    Args:
        title: of the page.
        entries: see `midframe.report.finding.read`.
        speeds: as well.
        count: images of each protocol that are shown with pictures.
        budget: bytes that all pictures together take in the page.

    Raises:
        UserError: naming a picture that is damaged.
    """
    groups = group(entries)
    sections: list[Section] = []
    waiting = sum(map(pictures.has_any, groups))  # that share what is left of the budget
    for one in groups:
        left = budget - sum(section.album.size for section in sections)
        sections.append(_section(one, speeds, count, left // max(waiting, 1)))
        waiting -= pictures.has_any(one)
    return Report(title, sections, list(speeds))


def _section(one: Group, speeds: Sequence[Speed], count: int, budget: int) -> Section:
    for entry in one.entries:
        pairing.with_intervals(entry)
        if entry.parameters is None:
            names = {entry.name, entry.title}
            known = (s.parameters for s in speeds if s.model in names)
            entry.parameters = next((p for p in known if p is not None), None)
    compared = verdicts.compare(one)
    return Section(
        group=one,
        results=tables.results(one),
        subsets=tables.parts(one, "subsets"),
        times=tables.parts(one, "times"),
        compared=compared,
        papers=tables.papers(one, compared),
        comparisons=tables.comparisons(pairing.pairs(one)),
        album=pictures.album(one, count, budget),
        made=_made(one),
    )


def _made(one: Group) -> Table:
    titles = ("Model", "Weights (sha256)", "Precision", "Device", "Revision", "Date")
    lines = []
    for entry in one.entries:
        facts = entry.facts
        sha = facts.get("weights_sha256")
        sha = sha[:_SHORT] if isinstance(sha, str) else None
        device = facts.get("device")
        if device == "cpu":
            device = facts.get("processor") or device
        told = (
            sha or facts.get("weights") or "none to learn",
            *(facts.get("precision"), device, facts.get("revision"), facts.get("date")),
        )
        cells = [Cell(entry.title, ", ".join(entry.marks)), *(Cell(brief(v)[:80]) for v in told)]
        lines.append(Line(tuple(cells), "measured" if entry.complete else "incomplete"))
    heads = tuple(Head(title, number=False) for title in titles)
    return Table("Weights, device and revision", heads, tuple(lines))


def facts_of(entry: Entry) -> list[tuple[str, str]]:
    """Return everything that is recorded of how a result was made, what matters most first."""
    keys = [k for k in _FIRST if k in entry.facts]
    keys += [k for k in entry.facts if k not in _FIRST and k not in _NOT_TOLD]
    found = [(k, brief(entry.facts[k])) for k in keys[:_FACTS_MOST]]
    if entry.parameters is not None and "parameters" not in entry.facts:
        found.insert(0, ("parameters", f"{entry.parameters:,}"))
    return [(key[:80], value) for key, value in found if value not in ("", "{}", "[]")]


def rules_of(one: Group) -> list[tuple[str, str]]:
    """Return what a protocol says, but for what stands elsewhere."""
    left_out = {"published", "note", "name", "version", "beside"}
    content = {k: v for k, v in one.rules.content.items() if k not in left_out}
    return [("digest", one.rules.digest), *((k[:80], brief(v)) for k, v in content.items())]


def sources(one: Group) -> list[str]:
    """Return where the published rows stand, and which rows those are."""
    found: dict[str, dict[str, None]] = {}
    for row in one.rules.published:
        found.setdefault(row.source or "no source given", {})[row.model] = None
    return [f"Published {', '.join(models)}: {source}" for source, models in found.items()]


def brief(value: Any) -> str:
    """Return a recorded value as a text of bounded length."""
    if value is None:
        return ""
    if isinstance(value, (Mapping, list)):
        text = json.dumps(value, default=str, ensure_ascii=False)
    else:
        text = str(value)
    return text if len(text) <= _FACT_MOST else f"{text[:_FACT_MOST]} ..."
