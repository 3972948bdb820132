"""What a model costs by size and way: each measured apart, as a record and as tables."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

from midframe.errors import UserError
from midframe.models import zoo
from midframe.models.base import Interpolator
from midframe.speed import apart, flops
from midframe.speed.cost_probe import Work
from midframe.speed.frames import label
from midframe.speed.model_probe import padded
from midframe.speed.ways import Way, obstacle

KIND = "speed"
MARKERS = "<!-- midframe speed -->", "<!-- end of midframe speed -->"
HEADING = "## What a model costs: midframe speed"
HEADS = (
    *("size", "way", "p50 ms", "p90 ms", "p99 ms", "mean ms"),
    *("processor ms", "frames/s", "peak MB"),
)
NOTHING = "-"
COMMAND = (sys.executable, "-m", "midframe.speed.cost_probe")
_KEPT = ("warmup", "rounds", "times", "batch", "frames", "cudnn_benchmark")  # of the work
Record = dict[str, Any]
Row = apart.Row


def start(
    work: Work, sizes: Sequence[tuple[int, int]], ways: Sequence[Way]
) -> tuple[Record, list[Way]]:
    """Begin a record with what is known without running the model.

    Args:
        work: the model, and how it is called.
        sizes: width and height of the frames.
        ways: to run it.

    Returns:
        The record, of no times yet, and the ways that the model can be run in; ``left_out`` of the
        record says why it cannot in the others.

    Raises:
        UserError: for what is wrong with the model's config, times that it does not know, or if no
            way is left.
    """
    model = zoo.build_empty(work.config)
    if model.times == "half" and any(t != 0.5 for t in work.times):
        raise UserError(f"{model.title} knows only t = 0.5, not times={[*work.times]}")
    reasons = {str(way): obstacle(model, way) for way in ways}
    left_out = {name: why for name, why in reasons.items() if why is not None}
    if len(left_out) == len(reasons):
        raise UserError(f"ways={[*reasons]}: {next(iter(left_out.values()), 'name at least one')}")
    config = work.config
    record: Record = {
        "kind": KIND,
        "model": config.get("name") or type(model).__name__,
        "needs": sorted(model.needs),
        "parameters": sum(x.numel() for x in model.parameters()),
        "weights": None if config.get("weights") is None else str(config["weights"]),
        "model_config": {key: config.get(key) for key in ("name", "net", "hints")},
        "device": work.device,
        "threads": work.threads,
        **{key: getattr(work, key) for key in _KEPT},
        "hints": dict(work.hints),
        "flops_are": f"of a call: {flops.UNIT}; counted are {flops.COUNTED}",
        "left_out": left_out,
        "sizes": [_size(model, work, size) for size in sizes],
    }
    return record, [way for way in ways if str(way) not in left_out]


def _size(model: Interpolator, work: Work, size: tuple[int, int]) -> Record:
    got = padded(model, *size, **work.written(model))
    return {"size": label(size), "padded": [*got], "flops": None, "ways": {}}


def measure(
    record: Record,
    work: Work,
    ways: Sequence[Way],
    *,
    tell: Callable[[int], None] = lambda calls: None,
    done: Callable[[Record, str], None] = lambda size, way: None,
    command: Sequence[str] | None = None,
) -> None:
    """Fill a record: every size in every way, each in a process of its own, and operations.

    What is measured is in the record whatever happens then.

    Args:
        record: as `start` gave it.
        work: as `start` took it.
        ways: those that it gave.
        tell: gets how many more calls are done, now and then.
        done: gets a size of the record and the way that was added to it.
        command: takes the JSON of a `Work` and prints a row; None is `COMMAND`.
    """
    command = command or COMMAND
    for size in record["sizes"]:
        width, height = map(int, size["size"].split("x"))
        one = replace(work, size=(width, height))
        if record["parameters"]:
            _count(size, one, command)
        for way in ways:
            told = 0

            def tell_more(calls: int) -> None:
                nonlocal told
                tell(calls - told)
                told = calls

            row = _apart(replace(one, way=str(way)), command, tell_more)
            tell_more(work.warmup + work.rounds)
            for key in ("threads", "clock", "peak_is"):  # those of all rows
                record[key] = row.pop(key, record.get(key))
            size["ways"][str(way)] = row
            done(size, str(way))


def _count(size: Record, work: Work, command: Sequence[str]) -> None:
    row = _apart(work, command, count=True)
    if "error" in row:
        size["flops_error"] = row["error"]
        return
    size["flops"] = sum(row["flops"].values())
    size["flops_by_operator"] = row["flops"]


def _apart(
    work: Work,
    command: Sequence[str],
    tell: Callable[[int], None] | None = None,
    count: bool = False,
) -> Row:
    """Return the row of a process, in which what memory ended is told as such."""
    asked = {**asdict(work), **({"count": True} if count else {})}
    row = apart.run(asked, command, work.threads, tell)
    if row.get("ended_by") == "SIGKILL":
        return {"error": apart.OUT_OF_MEMORY, "detail": row["error"]}
    return row


def failed(record: Record) -> list[str]:
    """Return in words what could not be measured, but for what memory was too small for."""
    return [
        f"{record['model']} {size['size']} {way}: {row['error']}"
        for size in record["sizes"]
        for way, row in size["ways"].items()
        if row.get("error") not in (None, apart.OUT_OF_MEMORY)
    ]


def cells(size: Record, way: str) -> list[str]:
    """Return the row of a table, by `HEADS`."""
    row = size["ways"][way]
    if "error" in row:
        error = row["error"] if row["error"] == apart.OUT_OF_MEMORY else "failed"
        return [size["size"], way, error, *[NOTHING] * (len(HEADS) - 3)]
    times = [f"{row[key]:g}" for key in ("p50_ms", "p90_ms", "p99_ms", "mean_ms")]
    busy = f"{row['cpu_ms']:g}" if "cpu_ms" in row else NOTHING
    rate = f"{row['frames_per_s']:.3g}"
    return [size["size"], way, *times, busy, rate, f"{row['peak_bytes'] / 1e6:,.0f}"]


def summary(record: Record) -> str:
    """Return parameters and operations of a model in a line."""
    counts = [
        f"{size['flops'] / 1e9:,.1f} GFLOP at {size['size']}"
        for size in record["sizes"]
        if size["flops"]
    ]
    return "; ".join((f"{record['parameters']:,} parameters", *counts))


def remarks(record: Record) -> Iterator[str]:
    """Yield what has to be said beside the figures: the preset's notes, what is left out."""
    yield from record.get("notes", ())
    for way, why in record["left_out"].items():
        yield f"{way} is left out: {why}"
    if "motion" in record["needs"]:
        yield "operations are of the network, times and memory also of what makes its motion"
    for size in record["sizes"]:
        if "flops_error" in size:
            said = size["flops_error"].rstrip(".")
            yield f"operations at {size['size']} are not counted: {said}"
    for one in record.get("published", ()):
        yield (
            f"published, not measured here: {1e3 * one['seconds']:g} ms at {one['size']} on "
            f"{one.get('gpu') or 'a GPU that is not named'} ({one['source']})"
        )


def markdown(records: Sequence[Record]) -> str:
    """Return records of one machine as a Markdown table with what it means below."""
    heads = ("model", *HEADS)
    lines = [f"**{_where(records[0])}**", "", f"| {' | '.join(heads)} |"]
    lines.append(f"|---|---|---|{'---:|' * (len(HEADS) - 2)}")
    for record in records:
        for size in record["sizes"]:
            for way in size["ways"]:
                row = (f"`{record['model']}`", *cells(size, way))
                lines.append(f"| {' | '.join(row)} |")
    lines.append("")
    for record in records:
        for text in (summary(record), *remarks(record)):
            words = f"- `{record['model']}`: {text}."
            lines.append(textwrap.fill(words, 100, subsequent_indent="  ", break_long_words=False))
    return "\n".join(lines)


def threads(record: Record) -> str:
    """Return "2 threads"."""
    return f"{record['threads']} thread{'s' if record['threads'] != 1 else ''}"


def _where(record: Record) -> str:
    """Say what was measured on, how, and beside what."""
    place = record.get("environment", {})
    where = place.get("processor") if record["device"] == "cpu" else place.get("gpu")
    if record["device"] == "cpu":
        where = f"{where}; {threads(record)}"
    made = f"torch {place.get('versions', {}).get('torch')}. {place.get('date')}, "
    made += f"revision {place.get('revision') or 'unknown'}."
    calls = f"{record['rounds']} calls after {record['warmup']}, {record['frames']}."
    load = record.get("load_before")
    beside = f" Load average {load:g} when it began." if load else ""
    return f"{where}. {made} {calls}{beside}"
