"""Results sorted into groups that may be compared: one for each protocol, and only one."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from midframe.report.records import Column, Entry, Group, Published
from midframe.report.results import moving

_DIFFERENCES_MOST = 12  # that are told one by one
_NOTHING = object()


def group(entries: Sequence[Entry]) -> list[Group]:
    """Return one group for each protocol id and digest, in order of their names.

    A model beside is left out where it was measured for itself at least as completely, or beside
    a better documented one. Extra columns that share a name but not a definition become two.
    """
    parts: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        parts.setdefault((entry.rules.id, entry.rules.digest), []).append(entry)
    groups = [_one(parts[key]) for key in sorted(parts)]
    for one in groups:
        name = _base(one)
        others = [g for g in groups if g is not one and _base(g) == name]
        one.differs = [_against(one, other) for other in others]
    return groups


def _base(one: Group) -> str:
    return one.rules.id.rpartition("@")[0]


def _one(entries: list[Entry]) -> Group:
    kept = _distinct(entries)
    notes = _split_extra(kept)
    columns: dict[str, Column] = {}
    published: dict[str, Published] = {}
    for entry in kept:
        columns.update({c.name: c for c in entry.rules.columns if c.name not in columns})
        published.update({_row_key(row): row for row in entry.rules.published})
    rules = dataclasses.replace(
        kept[0].rules, columns=tuple(columns.values()), published=tuple(published.values())
    )
    kept.sort(key=lambda entry: _rank(entry, rules.columns))
    _name_apart(kept)
    return Group(rules, kept, notes=notes)


def _row_key(row: Published) -> str:
    return json.dumps([row.model, dict(row.values), row.source, row.name, row.subset])


def _distinct(entries: list[Entry]) -> list[Entry]:
    """Drop models beside that are there in a way at least as good."""
    own = [e for e in entries if not e.beside]
    best: list[Entry] = []
    for entry in (e for e in entries if e.beside):
        if any(_same(entry, one) and one.complete >= entry.complete for one in own):
            continue
        at = next((i for i, one in enumerate(best) if _same(entry, one)), None)
        if at is None:
            best.append(entry)
        elif _documented(entry) > _documented(best[at]):
            best[at] = entry
    return own + best


def _same(beside: Entry, other: Entry) -> bool:
    """Return whether two entries are of one model, with the same options as far as is known."""
    if beside.title not in (other.title, other.name):
        return False
    mine, theirs = (e.facts.get("model_config") for e in (beside, other))
    # of a model that an old summary has only means of, nothing but the name is known
    return mine == theirs or any(not c or set(c) <= {"name"} for c in (mine, theirs))


def _documented(entry: Entry) -> tuple[bool, int, bool]:
    pictures = entry.folder is not None and (entry.folder / "images").is_dir()
    return entry.complete, len(entry.images), pictures


def _rank(entry: Entry, columns: Sequence[Column]) -> tuple[bool, float]:
    """Complete ones first, then by the first metric."""
    value = entry.total.mean.get(columns[0].name, math.nan) if columns else math.nan
    if math.isnan(value):
        return not entry.complete, math.inf
    return not entry.complete, -value if columns[0].better == "higher" else value


def _name_apart(entries: list[Entry]) -> None:
    """Give entries of one title what tells them apart: their folder's name, else a number."""
    for title, count in Counter(e.title for e in entries).items():
        if count == 1:
            continue
        same = [e for e in entries if e.title == title]
        folders = [_place(e) for e in same]
        distinct = len(set(folders)) == count
        for i, entry in enumerate(same):
            entry.title = f"{title} [{folders[i] if distinct else i + 1}]"


def _place(entry: Entry) -> str:
    """Return the name of an entry's folder; beside another model, that model's."""
    folder = entry.folder
    if not entry.beside or folder is None:
        return f"{'beside ' * entry.beside}{entry.file.parent.name}"
    return f"beside {folder.parent.parent.name}"


def _split_extra(entries: list[Entry]) -> list[str]:
    """Rename extra columns whose definition is not that of the first entry that has them."""
    first: dict[str, list[str]] = {}
    notes = []
    for entry in entries:
        extra = entry.rules.content.get("extra")
        for name, metric in (extra if isinstance(extra, Mapping) else {}).items():
            known = first.setdefault(name, [])
            definition = _definition(name, metric, entry.facts)
            if definition not in known:
                known.append(definition)
            number = known.index(definition) + 1
            if number > 1:
                _rename(entry, name, f"{name} #{number}")
                notes.append(
                    f"{name} #{number} is not {name}: {entry.title} was measured by another "
                    f"definition of it ({definition[:300]})"
                )
    return list(dict.fromkeys(notes))


def _definition(name: str, metric: Any, facts: Mapping[str, Any]) -> str:
    """Return what an extra column measures; weights count by their digest, not their place."""
    metric = metric if isinstance(metric, Mapping) else {}
    options = metric.get("options")
    options = dict(options) if isinstance(options, Mapping) else {}
    weights = facts.get("metric_weights")
    digests = weights.get(name) if isinstance(weights, Mapping) else None
    if digests:
        options = {k: v for k, v in options.items() if k != "sha256" and not _is_path(v)}
    return json.dumps([metric.get("function"), options, digests], sort_keys=True, default=str)


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and len(PurePath(value).parts) > 1


def _rename(entry: Entry, old: str, new: str) -> None:
    columns = tuple(
        dataclasses.replace(c, name=new) if c.name == old else c for c in entry.rules.columns
    )
    entry.rules = dataclasses.replace(entry.rules, columns=columns)

    def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
        return {new if key == old else key: value for key, value in values.items()}

    def part(one: Any) -> Any:
        return dataclasses.replace(one, mean=renamed(one.mean), interval=renamed(one.interval))

    entry.total = part(entry.total)
    entry.subsets = {key: part(one) for key, one in entry.subsets.items()}
    entry.times = {key: part(one) for key, one in entry.times.items()}
    entry.images = {key: renamed(values) for key, values in entry.images.items()}


def _against(one: Group, other: Group) -> str:
    """Return a line that says what differs between two protocols of a name, key by key."""
    mine, theirs = moving(one.rules.content), moving(other.rules.content)
    told = list(_differences(mine, theirs))
    more = len(told) - _DIFFERENCES_MOST
    if more > 0:
        told = [*told[:_DIFFERENCES_MOST], f"and {more} more"]
    what = "; ".join(told) or "nothing in what they say, but their digests do"
    head = f"Not to be compared with {other.rules.id} ({other.rules.digest}), which differs"
    return f"{head}: {what}."


def _differences(mine: Mapping[str, Any], theirs: Mapping[str, Any], at: str = "") -> Iterator[str]:
    for key in sorted({*mine, *theirs}):
        a, b = mine.get(key, _NOTHING), theirs.get(key, _NOTHING)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            yield from _differences(a, b, f"{at}{key}.")
        elif a != b:
            yield f"{at}{key} is {_said(a)} here, {_said(b)} there"


def _said(value: Any) -> str:
    return "absent" if value is _NOTHING else json.dumps(value, default=str)[:160]
