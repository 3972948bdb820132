"""What a benchmark run leaves behind: rows (csv) and a summary (json, md)."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from midframe.benchmark.compare import CSV, JSON
from midframe.benchmark.outcome import Outcome
from midframe.benchmark.pictures import SUBMISSION
from midframe.benchmark.table import parts_of, sources, title_of
from midframe.files import write_bytes

__all__ = ["CSV", "JSON", "MARKDOWN", "summary", "to_csv", "to_markdown", "write"]

MARKDOWN = "summary.md"


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
        **_means(outcome),
        "subsets": {
            s: {
                "images": outcome.count(s),
                "expected": protocol.expected.get(s),
                **_means(outcome, s),
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
        "protocol_digest": protocol.digest(),
        "protocol": protocol.describe(),
    }


def _means(outcome: Outcome, subset: str | None = None) -> dict[str, Any]:
    """Return the means of a subset, or of all, and their 95 % intervals."""
    intervals = outcome.intervals(subset)
    return {
        "mean": _finite(outcome.means(subset)),
        "interval": {name: [_number(end) for end in ends] for name, ends in intervals.items()},
    }


def _sequences(outcome: Outcome) -> dict[str, Any]:
    """Return the means of every sequence where these are what is averaged, and their images."""
    if outcome.protocol.reduction != "sequences":
        return {}
    groups: dict[str, list[str]] = {}
    for row in outcome.rows:
        groups.setdefault(outcome.sequence(row), []).append(row.key)
    means = {name: _finite(means) for name, means in outcome.sequences().items()}
    return {"sequences": means, "groups": groups}


def _times(outcome: Outcome) -> dict[str, Any]:
    """Return the means at every target time where there are several."""
    parts = outcome.at_times().items()
    found = {t: {"images": len(one.rows), **_means(one)} for t, one in parts}
    return {"times": found} if found else {}


def _beside(outcome: Outcome) -> dict[str, Any]:
    """Return the means of the models beside and what is between, where there are some."""
    if not outcome.beside:
        return {}
    paired: dict[str, Any] = {}
    for name, other in outcome.beside.items():
        paired[name] = {}
        for metric, one in outcome.against(other).items():
            ends = [_number(end) for end in one.interval]
            plain = {**dataclasses.asdict(one), "interval": ends}
            paired[name][metric] = {**plain, "difference": _number(one.difference)}
    means = {name: {**_means(one), **_times(one)} for name, one in outcome.beside.items()}
    return {"beside": means, "paired": paired}


def to_csv(outcome: Outcome) -> str:
    """Return one line per image: subset, id, the metrics in full precision, seconds."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(outcome.protocol.columns)
    writer.writerow(["subset", "id", *names, "seconds"])
    for row in outcome.rows:
        writer.writerow(
            [row.subset, row.id, *(repr(row.values[n]) for n in names), f"{row.seconds:.5f}"]
        )
    return text.getvalue()


def to_markdown(outcome: Outcome, facts: Mapping[str, Any]) -> str:
    """Return a page with the result beside the published rows, and how it was made."""
    protocol = outcome.protocol
    model, columns = str(facts.get("model", "model")), protocol.columns
    page = [f"# {model} on {protocol.id}", ""]
    if not outcome.complete:
        page += ["**Incomplete:** " + "; ".join(outcome.problems), ""]
    if columns:
        head = ["", *(title_of(n, m) for n, m in columns.items())]
        page += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        for line in (line for part in parts_of(outcome, model) for line in part):
            text = "| " + " | ".join((line.title, *line.cells)) + " |"
            page.append(text.replace(" to\n", " to ").replace("\n", "<br>"))
        page += ["", *(f"Source of published rows: {s}." for s in sources(protocol)), ""]
    else:
        page += [f"{len(outcome.rows)} pictures to hand in are in {SUBMISSION}/.", ""]
    page += [f"- {key}: {_brief(value)}" for key, value in facts.items()]
    page += [f"- images: {len(outcome.rows)}, in {CSV}"]
    if protocol.note:
        page += ["", protocol.note]
    return "\n".join(page) + "\n"


def _finite(values: Mapping[str, float]) -> dict[str, float | str]:
    return {k: _number(v) for k, v in values.items()}


def _number(value: float) -> float | str:
    """JSON has no infinity: it becomes text."""
    return value if math.isfinite(value) else str(value)


def _brief(value: Any) -> str:
    return json.dumps(value, default=str) if isinstance(value, (Mapping, list)) else str(value)
