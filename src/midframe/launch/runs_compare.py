"""Two runs side by side: settings, code and curves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from midframe.errors import UserError
from midframe.launch.run_records import RunRecord, flat
from midframe.launch.runs_table import aligned, overrides_of, printable

# Settings that say where a run is, or tell of a model, and not what is done.
_PLACES = ("run.", "paths.", "model.info.")
# What of run.json tells which code ran where.
_CODE = ("revision", "versions", "python", "gpu", "processor", "cores", "projects", "modules")
_ABSENT = "-"
_WIDTH, _HEIGHT = 64, 12
_MOST_ROWS = 24
_LONGEST = 48  # of a value that is shown


class Compared:
    """Two runs.

    Args:
        a: a run directory.
        b: another one.

    Raises:
        UserError: if one of them cannot be read.
    """

    def __init__(self, a: Path, b: Path) -> None:
        self.a, self.b = RunRecord.read(a), RunRecord.read(b)

    def settings(self) -> dict[str, tuple[Any, Any]]:
        """Return the differing keys of the configs, with both values; None where one has none."""
        sides = [
            {k: _placeless(v, run.dir) for k, v in run.config().items()} for run in (self.a, self.b)
        ]
        found = differences(*sides)
        return {k: v for k, v in found.items() if not k.startswith(_PLACES)}

    def code(self) -> dict[str, tuple[Any, Any]]:
        """Return what differs in code, versions and hardware."""
        sides = [{k: run.record[k] for k in _CODE if k in run.record} for run in (self.a, self.b)]
        return differences(*(flat(side) for side in sides))

    def metrics(self) -> list[str]:
        """Return the metrics that both have: those of validation, the usual one first."""
        names = [x for x in self.a.curves if x in self.b.curves and x.startswith("val/")]
        first = self.a.usual_metric()
        return sorted(names, key=lambda name: (name != first, name))

    def numbers(self) -> dict[str, dict[str, Any]]:
        """Return the best and the last value of every metric on both sides."""
        table = {}
        for name in self.metrics():
            row: dict[str, Any] = {}
            for side, run in (("a", self.a), ("b", self.b)):
                curve, best = run.curves[name], run.best(name)
                row[side] = {"last": curve[max(curve)], "at": max(curve)}
                row[side] |= {"best": best[1], "best_at": best[0]} if best else {"best": None}
            table[name] = row
        return table

    def curve(self, metric: str) -> dict[int, tuple[float | None, float | None]]:
        """Return a metric by step on both sides."""
        a, b = (run.curves.get(metric, {}) for run in (self.a, self.b))
        return {step: (a.get(step), b.get(step)) for step in sorted({*a, *b})}

    def to_json(self, metric: str | None = None) -> dict[str, Any]:
        """Return it as plain data."""
        name = self.chosen(metric)
        return {
            "a": str(self.a.dir),
            "b": str(self.b.dir),
            "settings": self.settings(),
            "code": self.code(),
            "metrics": self.numbers(),
            "metric": name,
            "curve": {k: list(v) for k, v in self.curve(name).items()} if name else {},
        }

    def chosen(self, metric: str | None) -> str | None:
        """Return the metric whose curve is shown.

        Raises:
            UserError: if one is asked for that a run lacks.
        """
        shared = sorted(x for x in self.a.curves if x in self.b.curves)
        if metric is not None and metric not in shared:
            raise UserError(f"--metric {metric}: the runs share {', '.join(shared) or 'none'}")
        return metric or next(iter(self.metrics()), None)

    def lines(self, metric: str | None = None) -> Iterator[str]:
        """Yield the comparison as text."""
        name = self.chosen(metric)
        for side, run in (("A", self.a), ("B", self.b)):
            words = " ".join(overrides_of(run.record.get("command")))
            yield printable(f"{side}  {run.dir}  {run.state}  {words}")
        yield from self._differing("settings", self.settings())
        yield from self._differing("code and machine", self.code())
        yield from self._numbers()
        if name:
            yield from self._curve(name)

    def _differing(self, title: str, found: Mapping[str, tuple[Any, Any]]) -> Iterator[str]:
        yield ""
        if not found:
            yield f"{title}: the same"
            return
        rows = [(key, *map(_shown, values)) for key, values in _together(found).items()]
        yield from aligned([(title, "A", "B"), *rows])

    def _numbers(self) -> Iterator[str]:
        rows = []
        for name, row in self.numbers().items():
            cells = [f"{row[x]['last']:.4f} at {row[x]['at']}" for x in ("a", "b")]
            cells += [_best(row[x]) for x in ("a", "b")]
            gap = row["b"]["last"] - row["a"]["last"]
            rows.append((name, *cells, f"{gap:+.4f}"))
        if rows:
            yield ""
            yield from aligned(
                [("", "A last", "B last", "A best", "B best", "B - A (last)"), *rows]
            )

    def _curve(self, name: str) -> Iterator[str]:
        curve = self.curve(name)
        rows = []
        for step in _thinned(list(curve)):
            a, b = curve[step]
            gap = "" if a is None or b is None else f"{b - a:+.4f}"
            rows.append((str(step), _number(a), _number(b), gap))
        yield ""
        yield from aligned([(name, "A", "B", "B - A"), *rows])
        yield ""
        yield from plot(self.a.curves[name], self.b.curves[name], name)


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return by key the two values where they differ."""
    keys = sorted({*a, *b})
    return {k: (a.get(k), b.get(k)) for k in keys if a.get(k, _ABSENT) != b.get(k, _ABSENT)}


def _placeless(value: Any, folder: Path) -> Any:
    """Leave out of a setting where its run lies."""
    if not isinstance(value, str):
        return value
    return value.replace(str(folder), "RUN").replace(folder.name, "RUN")


def _together(found: Mapping[str, tuple[Any, Any]]) -> dict[str, tuple[Any, Any]]:
    """Say once what is handed on: ``optimizer.lr (+2)`` for three keys that end alike."""
    groups: dict[str, list[str]] = {}
    for key, values in found.items():
        groups.setdefault(f"{key.rpartition('.')[2]} {values}", []).append(key)
    shown = {}
    for keys in groups.values():
        first = min(keys, key=lambda key: (key.count("."), key))
        shown[first + f" (+{len(keys) - 1})" * (len(keys) > 1)] = found[first]
    return shown


def plot(a: Mapping[int, float], b: Mapping[int, float], title: str) -> Iterator[str]:
    """Yield two curves as text: A, B, and * where both are."""
    curves = [{k: v for k, v in curve.items() if math.isfinite(v)} for curve in (a, b)]
    steps = [step for curve in curves for step in curve]
    values = [value for curve in curves for value in curve.values()]
    if len(set(steps)) < 2:
        return
    low, high, first, last = min(values), max(values), min(steps), max(steps)
    span = (high - low) or 1.0
    marks: dict[tuple[int, int], str] = {}
    for letter, curve in zip("AB", curves):
        for step, value in curve.items():
            column = round((step - first) / (last - first) * (_WIDTH - 1))
            row = round((high - value) / span * (_HEIGHT - 1))
            there = marks.get((row, column))
            marks[row, column] = letter if there in (None, letter) else "*"
    for row in range(_HEIGHT):
        label = {0: f"{high:.4g}", _HEIGHT - 1: f"{low:.4g}"}.get(row, "")
        points = "".join(marks.get((row, column), " ") for column in range(_WIDTH))
        yield f"{label:>9} |{points}".rstrip()
    yield f"{'':>9} +{'-' * _WIDTH}"
    yield f"{'':>11}{first:<{_WIDTH // 2}}{last:>{_WIDTH // 2}}  {title} by step"


def _thinned(steps: Sequence[int]) -> list[int]:
    """At most so many steps, evenly, the first and the last among them."""
    if len(steps) <= _MOST_ROWS:
        return list(steps)
    chosen = {round(i * (len(steps) - 1) / (_MOST_ROWS - 1)) for i in range(_MOST_ROWS)}
    return [steps[i] for i in sorted(chosen)]


def _best(row: Mapping[str, Any]) -> str:
    return _ABSENT if row["best"] is None else f"{row['best']:.4f} at {row['best_at']}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _shown(value: Any) -> str:
    text = _ABSENT if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
