"""What a benchmark run leaves behind: a table to read, rows (csv) and a summary (json, md)."""

from __future__ import annotations

import csv
import io
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from midframe.benchmark.protocol import Metric, Protocol
from midframe.benchmark.runner import Outcome
from midframe.files import write_bytes

CSV, JSON, MARKDOWN = "images.csv", "summary.json", "summary.md"
_SHOWN = 40  # images that the console table lists one by one, at most


def write(folder: Path, outcome: Outcome, facts: Mapping[str, Any]) -> None:
    """Write images.csv, summary.json and summary.md into ``folder``, each file whole.

    Args:
        folder: made if it is not there.
        outcome: of the run.
        facts: how it was made: model, weights and their sha256, revision, device, dtype ...
    """
    write_bytes(folder / CSV, to_csv(outcome).encode())
    record = summary(outcome, facts)
    text = json.dumps(record, indent=1, default=str, allow_nan=False)
    write_bytes(folder / JSON, (text + "\n").encode())
    write_bytes(folder / MARKDOWN, to_markdown(outcome, facts).encode())


def summary(outcome: Outcome, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result as plain data: means, counts, problems, facts and the protocol."""
    protocol = outcome.protocol
    return {
        "benchmark": protocol.id,
        "complete": outcome.complete,
        "problems": outcome.problems,
        "images": len(outcome.rows),
        "mean": _finite(outcome.means()),
        "subsets": {
            s: {
                "images": outcome.count(s),
                "expected": protocol.expected.get(s),
                "mean": _finite(outcome.means(s)),
            }
            for s in protocol.subsets
        },
        **_sequences(outcome),
        **_times(outcome),
        **_beside(outcome),
        "seconds_per_image": _finite({"median": outcome.median_seconds()})["median"],
        "reused_images": outcome.reused,
        "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **facts,
        "protocol": protocol.describe(),
    }


def _sequences(outcome: Outcome) -> dict[str, Any]:
    """Return the means of every sequence where these are what is averaged."""
    if outcome.protocol.reduction != "sequences":
        return {}
    return {"sequences": {name: _finite(means) for name, means in outcome.sequences().items()}}


def _times(outcome: Outcome) -> dict[str, Any]:
    """Return the means at every target time where there are several."""
    parts = outcome.at_times().items()
    found = {t: {"images": len(one.rows), "mean": _finite(one.means())} for t, one in parts}
    return {"times": found} if found else {}


def _beside(outcome: Outcome) -> dict[str, Any]:
    """Return the means of the models beside, where there are some."""
    parts = outcome.beside.items()
    found = {name: {"mean": _finite(one.means()), **_times(one)} for name, one in parts}
    return {"beside": found} if found else {}


def to_csv(outcome: Outcome) -> str:
    """Return one line per image: subset, id, the metrics in full precision, seconds."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(outcome.protocol.metrics)
    writer.writerow(["subset", "id", *names, "seconds"])
    for row in outcome.rows:
        writer.writerow(
            [row.subset, row.id, *(repr(row.values[n]) for n in names), f"{row.seconds:.5f}"]
        )
    return text.getvalue()


def to_markdown(outcome: Outcome, facts: Mapping[str, Any]) -> str:
    """Return a page with the result beside the published rows, and how it was made."""
    protocol = outcome.protocol
    model, columns = facts.get("model", "model"), protocol.metrics
    head = ["", *(_title(n, m) for n, m in columns.items())]
    lines = [f"# {model} on {protocol.id}", ""]
    if not outcome.complete:
        lines += ["**Incomplete:** " + "; ".join(outcome.problems), ""]
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    rows = _result_rows(outcome, str(model))
    for name, one in outcome.beside.items():
        rows += _result_rows(one, name)
    rows += _published_rows(protocol, None)
    lines += ["| " + " | ".join(cells) + " |" for cells in rows]
    lines += ["", *(f"Source of published rows: {s}." for s in _sources(protocol)), ""]
    lines += [f"- {key}: {_brief(value)}" for key, value in facts.items()]
    lines += [f"- images: {len(outcome.rows)}, in {CSV}"]
    if protocol.note:
        lines += ["", protocol.note]
    return "\n".join(lines) + "\n"


def show(outcome: Outcome, facts: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the result beside the published rows of the same protocol."""
    console = console or Console()
    protocol, model = outcome.protocol, str(facts.get("model", "model"))
    table = Table(title=f"{model} on {protocol.id}", title_justify="left", title_style="bold")
    table.add_column("")
    for name, metric in protocol.metrics.items():
        table.add_column(_title(name, metric), justify="right")
    if len(outcome.rows) <= _SHOWN:
        for row in outcome.rows:
            table.add_row(row.id, *_cells(row.values, protocol.metrics))
        table.add_section()
    for cells in _result_rows(outcome, model):
        table.add_row(*cells, style="bold")
    for name, one in outcome.beside.items():
        table.add_section()
        for cells in _result_rows(one, name):
            table.add_row(*cells)
    published = _published_rows(protocol, facts.get("model_config", {}).get("name"))
    if published:
        table.add_section()
    for cells in published:
        table.add_row(*cells, style="dim")
    console.print(table)
    for source in _sources(protocol):
        console.print(f"published: {source}", style="dim", highlight=False)
    for problem in outcome.problems:
        console.print(f"[red]incomplete:[/red] {problem}", highlight=False)


def _result_rows(outcome: Outcome, model: str) -> list[list[str]]:
    protocol, rows = outcome.protocol, []
    if len(protocol.subsets) > 1:
        for subset in protocol.subsets:
            title = f"{model}, {subset} ({outcome.count(subset)} images)"
            rows.append([title, *_cells(outcome.means(subset), protocol.metrics)])
    for t, part in outcome.at_times().items():
        if part.rows:
            title = f"{model}, t = {t} ({len(part.rows)} images)"
            rows.append([title, *_cells(part.means(), protocol.metrics)])
    mark = "" if outcome.complete else ", incomplete"
    parts = f" in {len(outcome.sequences())} sequences" if protocol.reduction == "sequences" else ""
    title = f"{model}, mean of {len(outcome.rows)}{parts}{mark}"
    rows.append([title, *_cells(outcome.means(), protocol.metrics)])
    return rows


def _published_rows(protocol: Protocol, own: str | None) -> list[list[str]]:
    """Rows of papers, marked as such; the one of the model at hand gets an arrow."""
    return [
        [
            f"{row.model} (published)" + (" <- this model" if own and row.name == own else ""),
            *_cells(row.values, protocol.metrics),
        ]
        for row in protocol.published
    ]


def _sources(protocol: Protocol) -> list[str]:
    return list(dict.fromkeys(row.source for row in protocol.published))


def _title(name: str, metric: Metric) -> str:
    return name.upper() + (f" {metric.unit}" if metric.unit else "")


def _cells(values: Mapping[str, float], metrics: Mapping[str, Metric]) -> list[str]:
    return [f"{values[n]:.{m.digits}f}" if n in values else "-" for n, m in metrics.items()]


def _finite(values: Mapping[str, float]) -> dict[str, float | str]:
    """JSON has no infinity: it becomes text."""
    return {k: v if math.isfinite(v) else str(v) for k, v in values.items()}


def _brief(value: Any) -> str:
    return json.dumps(value, default=str) if isinstance(value, (Mapping, list)) else str(value)
