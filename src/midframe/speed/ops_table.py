"""The table of `midframe bench ops` in a text: one for each device, between two marker lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

HEADING = "## Operators"
TOOK_PART = ("torch", "numpy", "cupy", "triton", "numba")


def markdown(found: dict[str, Any]) -> str:
    """Return a measurement as Markdown: the machine, the cases, the targets."""
    return "\n".join([_machine(found), "", *_cases(found), "", *_targets(found)])


def markers(device: str) -> tuple[str, str]:
    """Return the lines between which the table of a device stands."""
    return f"<!-- bench ops: {device} -->", f"<!-- end of bench ops: {device} -->"


def _machine(found: dict[str, Any]) -> str:
    where = found.get("environment", {})
    known = where.get("versions", {})
    versions = ", ".join(f"{name} {known[name]}" for name in TOOK_PART if name in known)
    device = where.get("gpu") or f"{where.get('processor')}; {found.get('threads')} threads"
    driver = f", driver {where['driver']}" if where.get("driver") else ""
    made = f"{where.get('date')}, revision {where.get('revision') or 'unknown'}"
    return f"**{device}**{driver}. {versions}. {made}."


def _cases(found: dict[str, Any]) -> Iterator[str]:
    if found["device"] == "cuda":
        yield "| operator | pass | side | us | GB/s | % of copy | off float64 by | kept MB |"
        yield "|---|---|---|---:|---:|---:|---:|---:|"
        columns = ("us", "gbps", "percent_of_copy", "max_difference", "saved_mb")
    else:
        yield "| operator | pass | side | ms | processor ms | off float64 by | kept MB |"
        yield "|---|---|---|---:|---:|---:|---:|"
        columns = ("ms", "cpu_ms", "max_difference", "saved_mb")
    for case in found["cases"]:
        what = f"{case['op']} {case['case']} {case['dtype']}"
        for name, side in case["sides"].items():
            if "error" not in side:
                cells = [what, case["pass"], name, *(str(side.get(c, "")) for c in columns)]
                yield f"| {' | '.join(cells)} |"


def _targets(found: dict[str, Any]) -> Iterator[str]:
    for op, times in found.get("host_us", {}).items():
        words = ", ".join(f"{what} {time}" for what, time in times.items())
        yield f"Host microseconds for a call of {op}: {words}."
        yield ""
    yield "| target | measured | bar | |"
    yield "|---|---:|---:|---|"
    for one in found["targets"]:
        value = "-" if one["value"] is None else f"{one['value']:g}"
        yield f"| {one['what']} | {value} | {one['bar']} | {'met' if one['met'] else 'missed'} |"
