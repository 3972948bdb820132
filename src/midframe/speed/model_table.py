"""The table of models: each measured in a process of its own, as rows and as Markdown."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from midframe.models import zoo
from midframe.paths import config_files
from midframe.speed import apart

MARKERS = "<!-- models -->", "<!-- /models -->"
FACTS = (
    *("trainable", "learns", "times", "context", "multiple", "paper", "arxiv"),
    *("code", "licence", "official_weights", "notes"),
)
NOTHING = "-"
LONG_TITLE = 60  # characters
SHORT = {"1280x720": "720p"}  # the table is wide enough
Row = apart.Row


def ordered(names: Sequence[str]) -> list[str]:
    """Return names by family and size: networks for frames, then for flow, then baselines."""

    def place(name: str) -> tuple[Any, ...]:
        info = zoo.describe(name)
        kind = (not info["trainable"], info["learns"] == "flow")
        family = str(info["target"]).rpartition(".")[0].partition("_")[0]
        return (*kind, family, int(info.get("parameters") or 0), name)

    return sorted(names, key=place)


def title(name: str) -> str:
    """Return what the first comment of a model's yaml calls it, without the count of parameters."""
    text = config_files("model")[name].read_text(encoding="utf-8")
    first = text.partition("\n")[0]
    if not first.startswith("#"):
        return NOTHING
    words = re.sub(r":\s*[\d.]+ M parameters\b.*", "", first.lstrip("# ").strip())
    words = words.removeprefix("Baseline: ").partition("; ")[0]
    for mark in (": ", ", "):  # what is said beside the name, where there is much of it
        words = words.partition(mark)[0] if len(words) > LONG_TITLE else words
    return words


def measure(
    name: str,
    sizes: Sequence[tuple[int, int]],
    rounds: int = 5,
    threads: int | None = None,
    command: Sequence[str] = (sys.executable, "-m", "midframe.speed.model_probe"),
) -> Row:
    """Measure one model in a process of its own, so that models don't disturb each other.

    Args:
        name: one of `zoo.list_models`.
        sizes: see `model_probe.probe`, as are ``rounds`` and ``threads``.
        rounds: timed calls.
        threads: of PyTorch; None leaves its setting.
        command: takes the JSON of those as its argument and prints a row.

    Returns:
        Name, title, what the yaml says and what `model_probe.probe` found; or, if anything went
        wrong, ``error``: its first line.
    """
    info = zoo.describe(name)
    facts = {"name": name, "title": title(name), **{key: info.get(key) for key in FACTS}}
    asked = {"name": name, "sizes": sizes, "rounds": rounds, "threads": threads}
    return {**facts, **apart.run(asked, command, threads)}


def gflop(row: Row, size: str) -> str:
    """Return 10^9 operations in three digits, as "25.2" or "1,412"."""
    counts = (row.get("flops") or {}).get(size)
    if not counts:
        return NOTHING
    value = counts["total"] / 1e9
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.1f}"


def seconds(row: Row) -> str:
    """Return the time of a call in two digits or so."""
    value = row.get("seconds")
    return NOTHING if value is None else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def megabytes(row: Row) -> str:
    """Return peak memory in 10^6 bytes."""
    value = row.get("peak_bytes")
    return NOTHING if value is None else f"{value / 1e6:,.0f}"


def parameters(row: Row) -> str:
    """Return the count with commas."""
    return f"{row['parameters']:,}" if row.get("parameters") else NOTHING


def licence(row: Row) -> str:
    """Return the licence of the published code, without what is said about this one."""
    return str(row.get("licence") or NOTHING).partition(";")[0]


def markdown(found: dict[str, Any]) -> str:
    """Return a measurement as a Markdown table with what it means below.

    Args:
        found: as saved: models (rows without errors), sizes, rounds, threads, environment.
    """
    sizes = found["sizes"]
    heads = ("name", "model", "parameters", *(f"GFLOP {SHORT.get(s, s)}" for s in sizes))
    heads = (*heads, "CPU s", "peak MB", "times", "code licence", "official weights")
    numbers = 3 + len(sizes)
    rules = ["---"] * 2 + ["---:"] * numbers + ["---"] * 3
    lines = [_line(heads), f"|{'|'.join(rules)}|"]
    for row in found["models"]:
        figures = (parameters(row), *(gflop(row, s) for s in sizes), seconds(row), megabytes(row))
        last = (str(row.get("times") or NOTHING), licence(row), _weights(row))
        lines.append(_line((f"`{row['name']}`", row["title"], *figures, *last)))
    return "\n".join([*lines, "", *_notes(found["models"]), "", _meaning(found)])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _weights(row: Row) -> str:
    """Return where official weights are and on what terms, short."""
    text = str(row.get("official_weights") or NOTHING)
    link = re.search(r"https://(?:github\.com/)?([^\s,;]+)", text)
    if link is None:
        return re.split(r"[:;]", text)[0]
    text = re.sub(r"\blinks? in the README of ", "", text)
    text = text.replace(link[0], f"[{link[1]}]({link[0]})")
    return f"{text}, keys renamed" if str(row.get("weight_keys")).startswith("renamed") else text


def _notes(rows: Sequence[Row]) -> Iterator[str]:
    """Yield what the yamls add, one line for all models of which the same is said."""
    notes: dict[str, list[str]] = {}
    for row in rows:
        if row.get("notes"):
            notes.setdefault(str(row["notes"]), []).append(f"`{row['name']}`")
    for text, names in notes.items():
        yield textwrap.fill(
            f"- {', '.join(names)}: {text}.",
            100,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )


def _meaning(found: dict[str, Any]) -> str:
    where = found.get("environment", {})
    torch = where.get("versions", {}).get("torch", "?")
    first = found["sizes"][0]
    threads = f"{found['threads']} thread{'s' if found['threads'] != 1 else ''}"
    calls = f"median of {found['rounds']} calls" if found["rounds"] > 1 else "one call"
    words = (
        f"Written by `midframe models --measure` on {where.get('date')} with PyTorch {torch} on "
        f"{where.get('processor')}, {threads}, float32. "
        "GFLOP: 10^9 floating point operations for one frame at t = 0.5, padded as the model pads; "
        "a multiplication and its addition are two. Counted are convolutions, matrix products, "
        f"splats, correlations and AdaCoF. CPU s: {calls} at {first}. Peak MB: weights and what a "
        f"call adds to resident memory at {first}. "
        '"theirs" is the licence of published code, of which nothing is used here: midframe\'s '
        "own is MIT. Official weights have the keys of the model here, or are renamed on loading."
    )
    return textwrap.fill(words, 100, break_long_words=False, break_on_hyphens=False)
