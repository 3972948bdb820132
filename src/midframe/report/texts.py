"""Reports as text: Markdown, csv and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from midframe.report.escape import for_csv, for_latex, for_markdown, plain
from midframe.report.records import Entry, Part
from midframe.report.sections import Report, Section, sources
from midframe.report.tables import Cell, Table
from midframe.report.verdicts import EXPLAINED

_CSV = (
    *("protocol", "digest", "kind", "model", "of", "metric", "value", "low", "high", "images"),
    *("complete", "marks", "published", "verdict", "source"),
)


def markdown(report: Report, level: int = 1) -> str:
    """Return the tables in Markdown.

    Args:
        report: see `midframe.report.sections.build`.
        level: of its heading; 0 leaves that out, and protocols become headings of level 2.
    """
    lines = [f"# {for_markdown(report.title)}", ""] if level else []
    for section in report.sections:
        lines += [*_section(section), ""]
    if tables := report.speed_tables:
        lines += ["## Speed", ""]
        for table in tables:
            lines += [*_markdown_table(table), ""]
    return "\n".join(lines).rstrip() + "\n"


def _section(section: Section) -> Iterator[str]:
    rules = section.group.rules
    yield from (f"## {for_markdown(rules.id)}", "", f"Protocol digest {rules.digest}.", "")
    for line in [*section.problems, *section.group.differs, *section.group.notes]:
        yield from (f"**{for_markdown(line)}**", "")
    if rules.submission:
        yield from ("Nobody has the true frames: predictions are handed in, not measured here.", "")
    for table in (section.results, section.subsets, section.times):
        if table is not None:
            yield from (*_markdown_table(table), "")
    if section.papers is not None:
        yield from (*_markdown_table(section.papers), "", EXPLAINED, "")
    for table in (section.comparisons, section.made):
        if table is not None:
            yield from (*_markdown_table(table), "")
    yield from (f"- {for_markdown(s)}" for s in sources(section.group))
    if rules.note:
        yield from ("", for_markdown(rules.note))


def _markdown_table(table: Table) -> Iterator[str]:
    yield from (f"**{for_markdown(table.caption)}**", "")
    yield "| " + " | ".join(for_markdown(h.title) for h in table.heads) + " |"
    yield "|" + "|".join("---:" if h.number else "---" for h in table.heads) + "|"
    for line in table.lines:
        yield "| " + " | ".join(_markdown_cell(cell) for cell in line.cells) + " |"
    if table.notes:
        yield from ("", *(f"- {for_markdown(note)}" for note in table.notes))


def _markdown_cell(cell: Cell) -> str:
    text = for_markdown(cell.text)
    text = f"**{text}**" if cell.tone == "best" else text
    return f"{text} ({for_markdown(cell.note)})" if cell.note else text


def latex(report: Report) -> str:
    """Return the tables as LaTeX tabulars with booktabs' rules."""
    lines = [f"% {plain(report.title)}", r"% \usepackage{booktabs}", ""]
    for section in report.sections:
        rules = section.group.rules
        for table in (section.results, section.subsets, section.times, section.papers):
            if table is not None:
                where = f"{table.caption}, {rules.id} ({rules.digest})"
                lines += [*_latex_table(table, where), ""]
    for table in report.speed_tables:
        lines += [*_latex_table(table, table.caption), ""]
    return "\n".join(lines).rstrip() + "\n"


def _latex_table(table: Table, caption: str) -> Iterator[str]:
    yield f"% {plain(caption)}"
    yield r"\begin{tabular}{" + "".join("r" if h.number else "l" for h in table.heads) + "}"
    yield r"\toprule"
    yield " & ".join(for_latex(h.title) for h in table.heads) + r" \\"
    yield r"\midrule"
    before = None
    for line in table.lines:
        if before is not None and (line.kind == "published") != (before == "published"):
            yield r"\midrule"
        before = line.kind
        yield " & ".join(_latex_cell(cell) for cell in line.cells) + r" \\"
    yield from (r"\bottomrule", r"\end{tabular}")
    yield from (f"% {plain(note)}" for note in table.notes)


def _latex_cell(cell: Cell) -> str:
    text = for_latex(cell.text)
    text = rf"\textbf{{{text}}}" if cell.tone == "best" else text
    return rf"{text} {{\scriptsize ({for_latex(cell.note)})}}" if cell.note else text


def rows(report: Report) -> str:
    """Return every number in its full precision as csv: a line for each."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _CSV, restval="", lineterminator="\n")
    writer.writeheader()
    for section in report.sections:
        rules = section.group.rules
        for row in _rows(section):
            row = {"protocol": rules.id, "digest": rules.digest, **row}
            writer.writerow({k: for_csv(v) if isinstance(v, str) else v for k, v in row.items()})
    return text.getvalue()


def _rows(section: Section) -> Iterator[dict[str, object]]:
    found = section.compared
    papers = {(id(c.entry), c.row.subset or "all", c.column.name): c for c in found}
    for entry in section.group.entries:
        parts = {"all": entry.total, **entry.subsets}
        parts |= {f"t={t}": part for t, part in entry.times.items()}
        for name, part in parts.items():
            for row in _measured(section, entry, name, part):
                if known := papers.get((id(entry), name, str(row["metric"]))):
                    row |= {"published": known.published, "verdict": known.verdict}
                    row["source"] = known.row.source
                yield row
    for one in section.group.rules.published:
        for metric, value in one.values.items():
            yield {
                "kind": "published",
                "model": one.model,
                "of": one.subset or "all",
                "metric": metric,
                "published": value,
                "source": one.source,
            }


def _measured(section: Section, entry: Entry, name: str, part: Part) -> Iterator[dict[str, object]]:
    for column in section.group.columns:
        if column.name in part.mean:
            low, high = part.interval.get(column.name, ("", ""))
            yield {
                "kind": "measured",
                "model": entry.title,
                "of": name,
                "metric": column.name,
                "value": part.mean[column.name],
                "low": low,
                "high": high,
                "images": part.images,
                "complete": str(entry.complete).lower(),
                "marks": " ".join(entry.marks),
            }
