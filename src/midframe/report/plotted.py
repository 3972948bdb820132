"""What the page's script draws, as plain data."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from midframe.report.pictures import Shown
from midframe.report.records import Column, Entry, Group, Part, Speed
from midframe.report.sections import Report, Section
from midframe.report.tables import part_names

IMAGES_MOST = 5_000  # of each protocol that are plotted one by one
_EXTRA_DIGITS = 3  # beyond those shown, so that no mark moves visibly


def to_json(report: Report) -> str:
    """Return the data as JSON that can stand within a script element."""
    everyone = dict.fromkeys(e.title for s in report.sections for e in s.group.entries)
    numbers = {title: i for i, title in enumerate(everyone)}  # one colour on the whole page
    groups = [_group(section, report.speeds, numbers) for section in report.sections]
    text = json.dumps({"groups": groups}, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _group(section: Section, speeds: Sequence[Speed], numbers: Mapping[str, int]) -> dict[str, Any]:
    group = section.group
    step, keys = thinned(group)
    return {
        "id": group.rules.id,
        "columns": [
            {
                "name": c.name,
                "title": c.title,
                "unit": c.unit,
                "digits": c.digits,
                "better": c.better,
            }
            for c in group.columns
        ],
        "models": [{"number": numbers[e.title], **_model(e, group.columns)} for e in group.entries],
        "axes": axes(group, speeds),
        "images": {
            "step": step,
            "keys": keys,
            "titles": titles(group, keys),
            "values": {
                c.name: [_row(entry, keys, c) for entry in group.entries] for c in group.columns
            },
        },
        "parts": [_part(group, kind, names) for kind, names in plotted_parts(group)],
        "album": [_shown(group, one) for one in section.album.shown],
    }


def thinned(group: Group) -> tuple[int, list[str]]:
    """Return every how-manyth image is plotted, and which those are."""
    keys = group.keys
    step = max(1, math.ceil(len(keys) / IMAGES_MOST))
    return step, keys[::step]


def titles(group: Group, keys: Sequence[str]) -> list[str]:
    """Return the names of images to show: without the subset where there is only one."""
    single = len(group.rules.subsets) == 1
    return [key.partition("/")[2] or key for key in keys] if single else list(keys)


def plotted_parts(group: Group) -> list[tuple[str, list[str]]]:
    """Return the kinds of parts that there are several of, with their names."""
    found = [(kind, part_names(group, kind)) for kind in ("subsets", "times")]
    measured = [(k, [n for n in names if _measured(group, k, n)]) for k, names in found]
    return [(kind, names) for kind, names in measured if len(names) > 1]


def _measured(group: Group, kind: str, name: str) -> bool:
    return any(name in getattr(entry, kind) for entry in group.entries)


def _model(entry: Entry, columns: Sequence[Column]) -> dict[str, Any]:
    total = entry.total
    return {
        "title": entry.title,
        "marks": list(entry.marks),
        "mean": {c.name: _value(total.mean.get(c.name), c) for c in columns},
        "interval": {c.name: ends for c in columns if (ends := _ends(total, c)) is not None},
    }


def _value(value: float | None, column: Column) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return round(value, column.digits + _EXTRA_DIGITS)


def _ends(part: Part, column: Column) -> list[float] | None:
    found = [_value(end, column) for end in part.interval.get(column.name, ())]
    return (
        [end for end in found if end is not None] if len(found) == 2 and None not in found else None
    )


def _row(entry: Entry, keys: Sequence[str], column: Column) -> list[float | None]:
    return [_value(entry.images.get(key, {}).get(column.name), column) for key in keys]


def _part(group: Group, kind: str, names: Sequence[str]) -> dict[str, Any]:
    nothing = Part(0, {})
    rows = [[getattr(e, kind).get(n, nothing) for n in names] for e in group.entries]
    columns = group.columns
    return {
        "kind": kind.removesuffix("s"),
        "labels": [f"t = {n}" for n in names] if kind == "times" else list(names),
        "values": {
            c.name: [[_value(p.mean.get(c.name), c) for p in r] for r in rows] for c in columns
        },
        "intervals": {c.name: [[_ends(p, c) for p in r] for r in rows] for c in columns},
    }


def _shown(group: Group, one: Shown) -> dict[str, Any]:
    return {
        "key": one.key,
        "title": titles(group, [one.key])[0],
        "reasons": list(one.reasons),
        "width": one.width,
        "height": one.height,
        "full": list(one.full),
        "layers": [
            {"label": layer.label, "kind": layer.kind, "source": layer.source}
            for layer in one.layers
        ],
    }


def axes(group: Group, speeds: Sequence[Speed]) -> list[dict[str, Any]]:
    """Return what models cost, as far as it is known of any: an axis with its variants each.

    Only one count of operations, one size, one way on one device share a variant.
    """
    found = [
        _axis("Parameters", "", [_variant("", [e.parameters for e in group.entries])]),
        _axis("FLOPs", "", list(_speed_variants(group, speeds, latency=False))),
        _axis("Latency", "ms", list(_speed_variants(group, speeds, latency=True))),
        _axis("Seconds per image", "s", [_seconds(group)]),
    ]
    return [axis for axis in found if axis["variants"]]


def _axis(title: str, unit: str, variants: list[dict[str, Any]]) -> dict[str, Any]:
    known = [v for v in variants if any(v["values"])]  # of zeros alone there is nothing to see
    return {"title": title, "unit": unit, "variants": known}


def _variant(label: str, values: Sequence[float | None], note: str = "") -> dict[str, Any]:
    return {"label": label, "values": list(values), "note": note}


def _speed_variants(
    group: Group, speeds: Sequence[Speed], latency: bool
) -> Iterator[dict[str, Any]]:
    costs: dict[str, dict[str, float | None]] = {}
    notes: dict[str, str] = {}
    for speed in speeds:
        for size in speed.sizes:
            if latency:
                for name, way in size.ways.items():
                    label = f"{size.size}, {name}, {speed.setting}"
                    label = _free(costs, label, speed, way.p50_ms)
                    costs.setdefault(label, {})[speed.model] = way.p50_ms
                    notes[label] = "Latency is the median."
            else:
                label = f"{size.size}"
                notes.setdefault(label, speed.flops_are)
                if notes[label] != speed.flops_are:  # another way of counting is another axis
                    label = f"{size.size}, {speed.flops_are}"
                    notes.setdefault(label, speed.flops_are)
                label = _free(costs, label, speed, size.flops)
                notes.setdefault(label, speed.flops_are)
                costs.setdefault(label, {})[speed.model] = size.flops
    for label, known in costs.items():
        values = [known.get(e.title, known.get(e.name or "")) for e in group.entries]
        yield _variant(label[:160], values, notes[label])


def _free(
    costs: Mapping[str, Mapping[str, float | None]], label: str, speed: Speed, value: float | None
) -> str:
    """Return a variant in which this model has no other value: its file's own, if need be."""
    taken = costs.get(label, {}).get(speed.model, value) != value
    return f"[{speed.apart or speed.file}] {label}" if taken else label


def _seconds(group: Group) -> dict[str, Any]:
    """Seconds as the evaluation took them; said so where machines were not the same."""
    timed = [e for e in group.entries if e.seconds is not None]
    places = {str((e.facts.get("device"), e.facts.get("processor"))) for e in timed}
    note = "Median time of a prediction as the evaluation ran"
    note += ", on different machines: do not compare." if len(places) > 1 else "."
    return _variant("", [e.seconds for e in group.entries], note)
