"""The page: one HTML file with all that it needs within, and no word to any network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from importlib.resources import files
from string import Template

from midframe.report.escape import for_html
from midframe.report.pictures import ERROR_NOTE
from midframe.report.plotted import axes, plotted_parts, thinned, to_json
from midframe.report.records import Group
from midframe.report.sections import Report, Section, facts_of, rules_of, sources
from midframe.report.tables import Cell, Line, Table
from midframe.report.verdicts import EXPLAINED

_SCRIPTS = ("dom", "tables", "plots", "scatter", "images", "parts", "compare", "start")
_MARKS = ("published",)  # notes of a first cell that are no warning


def html(report: Report) -> str:
    """Return the page.

    Its policy lets nothing be loaded, and no script run but its own, whatever the results say.
    """
    style = _read("page.css")
    script = '"use strict";\n(() => {\n' + "\n".join(_read(f"{n}.js") for n in _SCRIPTS) + "})();\n"
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest(style)}; "
        f"script-src {_digest(script)}; base-uri 'none'; form-action 'none'"
    )
    return Template(_read("page.html")).substitute(
        title=for_html(report.title),
        policy=policy,
        style=style,
        lead=for_html(_lead(report)),
        contents="".join(_contents(report)),
        sections="\n".join(_sections(report)),
        footer="Made by midframe report. Everything on this page is within this file.",
        data=to_json(report),
        script=script,
    )


def _read(name: str) -> str:
    return (files("midframe.report") / "web" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _lead(report: Report) -> str:
    models = dict.fromkeys(e.title for s in report.sections for e in s.group.entries)
    counts = [_counted(len(models), "model"), _counted(len(report.sections), "protocol")]
    images = sum(len(s.group.keys) for s in report.sections)
    counts += [_counted(images, "image")] * bool(images)
    counts += [
        _counted(len(report.speeds), "measurement of speed", "measurements of speed")
    ] * bool(report.speeds)
    joined = ", ".join(counts[:-1]) + " and " + counts[-1] if len(counts) > 1 else counts[0]
    return (
        f"Video frame interpolation: {joined}. Numbers of different protocols never share a table."
    )


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _contents(report: Report) -> Iterator[str]:
    for i, section in enumerate(report.sections):
        yield f'<li><a href="#p{i}">{for_html(section.group.rules.id)}</a></li>'
    if report.speeds:
        yield '<li><a href="#speed">Speed</a></li>'


def _sections(report: Report) -> Iterator[str]:
    for i, section in enumerate(report.sections):
        yield f'<section class="part" id="p{i}" aria-labelledby="p{i}-title">'
        yield from _section(i, section, report)
        yield "</section>"
    if report.speeds:
        yield '<section class="part" id="speed" aria-labelledby="speed-title">'
        yield '<h2 id="speed-title">Speed</h2>'
        counted = dict.fromkeys(s.flops_are for s in report.speeds if s.flops_are)
        yield from (f'<p class="note">FLOPs: {for_html(text)}</p>' for text in counted)
        for i, table in enumerate(report.speed_tables):
            yield _table(table, f"speed-{i}")
            yield f'<ul class="sources">{_items(table.notes)}</ul>' if table.notes else ""
        yield "</section>"


def _section(i: int, section: Section, report: Report) -> Iterator[str]:
    group, rules = section.group, section.group.rules
    yield f'<h2 id="p{i}-title">{for_html(rules.id)}</h2>'
    models = _counted(len(group.entries), "model")
    images = f", {_counted(len(group.keys), 'image')}" if group.keys else ""
    digest = f"<code>{for_html(rules.digest)}</code>"
    yield f'<p class="meta">{models}{images}. Protocol digest {digest}.</p>'
    for line in [*section.problems, *group.differs, *group.notes]:
        yield f'<p class="warning">{for_html(line)}</p>'
    if rules.submission:
        yield '<p class="note">Nobody has the true frames: predictions are handed in.</p>'
    yield _heading("Results")
    yield _table(section.results, f"p{i}-results")
    for table, name in ((section.subsets, "subsets"), (section.times, "times")):
        if table is not None:
            yield _table(table, f"p{i}-{name}")
    if group.rules.published:
        yield f'<ul class="sources">{_items(sources(group))}</ul>'
    yield from _looked_at(i, section)
    if section.papers is not None:
        yield _heading("Published against measured")
        yield _table(section.papers, f"p{i}-papers")
        yield f'<p class="note">{for_html(EXPLAINED.replace("*", ""))}</p>'
    yield from _plots(i, group, report)
    if section.comparisons is not None:
        yield _heading("Model against model")
        yield _table(section.comparisons, f"p{i}-pairs")
        yield (
            '<p class="note">The first minus the second on the same images, with the bootstrap '
            "interval of the mean difference; bold where it excludes zero. The sign test is exact "
            "and two-sided, ties are left out.</p>"
        )
    yield from _how(i, section)


def _looked_at(i: int, section: Section) -> Iterator[str]:
    album = section.album
    yield _heading("Images")
    if album.shown:
        yield f'<div data-compare="{i}"><noscript>JavaScript shows the pictures.</noscript></div>'
    notes = [*album.notes]
    if any(layer.kind == "error" for one in album.shown for layer in one.layers):
        notes.append(ERROR_NOTE)
    yield f'<p class="note">{for_html(" ".join(notes))}</p>' if notes else ""


def _plots(i: int, group: Group, report: Report) -> Iterator[str]:
    if not group.columns:
        return
    box = '<div class="plot" data-plot="{}" data-group="{}"{}></div>'
    if axes(group, report.speeds):
        yield _heading("Accuracy and cost")
        yield box.format("scatter", i, "")
    for number, (kind, _) in enumerate(plotted_parts(group)):
        yield _heading(f"By {kind.removesuffix('s')}")
        yield box.format("parts", i, f' data-part="{number}"')
    if group.keys:
        yield _heading("Image by image")
        yield box.format("images", i, "")
        step, keys = thinned(group)
        if step > 1:
            text = f"One image of {step} is drawn, {len(keys):,} of {len(group.keys):,}."
            yield f'<p class="note">{text}</p>'


def _how(i: int, section: Section) -> Iterator[str]:
    yield _heading("How it was made")
    if section.group.rules.note:
        yield f'<p class="note">{for_html(section.group.rules.note)}</p>'
    yield _table(section.made, f"p{i}-made")
    for entry in section.group.entries:
        yield _details(f"Everything recorded of {entry.title}", facts_of(entry))
    yield _details("The protocol", rules_of(section.group))


def _details(title: str, facts: Sequence[tuple[str, str]]) -> str:
    body = "".join(f"<dt>{for_html(k)}</dt><dd>{for_html(v)}</dd>" for k, v in facts)
    return f"<details><summary>{for_html(title)}</summary><dl>{body}</dl></details>"


def _heading(text: str) -> str:
    return f"<h3>{for_html(text)}</h3>"


def _items(texts: Sequence[str]) -> str:
    return "".join(f"<li>{for_html(text)}</li>" for text in texts)


def _table(table: Table, name: str) -> str:
    heads = "".join(
        f'<th scope="col" aria-sort="none"{_class("num" if h.number else "")}>'
        f'<button type="button">{for_html(h.title)}</button></th>'
        for h in table.heads
    )
    bodies: list[str] = []
    for published in (False, True):
        lines = [line for line in table.lines if (line.kind == "published") == published]
        if lines:
            bodies.append(f"<tbody>{''.join(_line(line, table) for line in lines)}</tbody>")
    return (
        f'<div class="scroll" role="region" aria-labelledby="{name}" tabindex="0">'
        f'<table><caption id="{name}">{for_html(table.caption)}</caption>'
        f"<thead><tr>{heads}</tr></thead>{''.join(bodies)}</table></div>"
    )


def _line(line: Line, table: Table) -> str:
    cells = [_first(line.cells[0])]
    cells += [_cell(cell, head.number) for cell, head in zip(line.cells[1:], table.heads[1:])]
    return f"<tr{_class(line.kind if line.kind != 'measured' else '')}>{''.join(cells)}</tr>"


def _first(cell: Cell) -> str:
    kind = "badge" if cell.note in _MARKS else "badge mark"
    badge = f' <span class="{kind}">{for_html(cell.note)}</span>' if cell.note else ""
    return f'<th scope="row">{for_html(cell.text)}{badge}</th>'


def _cell(cell: Cell, is_number: bool) -> str:
    text = for_html(cell.text)
    if cell.tone in ("", "best", "clear"):
        small = f"<small>{for_html(cell.note)}</small>" if cell.note else ""
        value = "" if cell.value is None else f' data-v="{cell.value!r}"'
        short = "" if len(cell.text) > 40 else "nowrap"
        names = " ".join(filter(None, ("num" if is_number else short, cell.tone)))
        return f"<td{_class(names)}{_finite(value)}>{text}{small}</td>"
    return f'<td><span class="badge verdict {for_html(cell.tone)}">{text}</span></td>'


def _finite(attribute: str) -> str:
    """JavaScript has another word for infinity."""
    return attribute.replace("inf", "Infinity")


def _class(names: str) -> str:
    return f' class="{for_html(names)}"' if names else ""
