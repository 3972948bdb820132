"""Which model exports to which format: each exported, run and compared, as rows and as Markdown."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from midframe.errors import UserError
from midframe.export.make import Wanted, make, network
from midframe.files import write_json
from midframe.models import zoo
from midframe.models.motion import guided

MARKERS = "<!-- exports -->", "<!-- /exports -->"
HEADING = "## Which models export"
SIZE = (86, 70)  # no multiple of anything, so that padding takes part
FORMS: dict[str, tuple[str, tuple[int, int] | None]] = {
    "ONNX": ("onnx", SIZE),
    "ONNX, any size": ("onnx", None),
    ".pt2": ("pt2", SIZE),
    ".pt2, any size": ("pt2", None),
    "ncnn": ("ncnn", SIZE),
}
Row = dict[str, Any]  # by form: {"error": 1e-7, "mean": 1e-8} or {"why": "..."}


def measured(
    names: Sequence[str], save: Path | None, tolerance: float, tell: Callable[[str], object]
) -> dict[str, Row]:
    """Export models one after the other, untrained, from the same initial weights every time.

    Args:
        names: of the models.
        save: keeps rows as json; forms that it has already are not exported again.
        tolerance: see `Wanted`.
        tell: is given a line for every export.
    """
    rows: dict[str, Row] = {}
    if save is not None and save.is_file():
        try:
            rows = json.loads(save.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"--save {save} holds no rows of an earlier table") from error
    for form, (format, size) in FORMS.items():
        for name in names:
            row = rows.setdefault(name, {})
            if form in row:
                continue
            row[form] = _one(name, format, size, tolerance)
            tell(f"{name}, {form}: {row[form].get('why') or row[form]['error']}")
            if save is not None:
                write_json(save, rows)
    return {name: rows[name] for name in names}


def _one(name: str, format: str, size: tuple[int, int] | None, tolerance: float) -> Row:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = network(guided(zoo.create_model(name, "none").eval()))
    try:
        with tempfile.TemporaryDirectory(prefix="midframe-export-") as folder:
            made = make(
                Wanted(model, name, format, size, {}, tolerance), Path(folder) / f"{name}.{format}"
            )
    except UserError as error:
        return {"why": str(error)}
    except Exception as error:  # a table tells of what the exporters do not follow as well
        first = (str(error).strip().splitlines() or [""])[0]
        return {"why": f"{type(error).__name__}: {first}"[:300]}
    return {"error": made.facts.error, "mean": made.facts.mean_error}


def markdown(rows: Mapping[str, Row]) -> str:
    """Return the table: largest differences, and below it why others cannot be exported."""
    heads = ["model", *FORMS]
    lines = [f"| {' | '.join(heads)} |", f"|---|{'--:|' * len(FORMS)}"]
    reasons: list[str] = []
    for name, row in rows.items():
        cells = [_cell(name, row.get(form), reasons) for form in FORMS]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    notes = [f"{number}. {why}" for number, why in enumerate(reasons, start=1)]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def _cell(name: str, found: Row | None, reasons: list[str]) -> str:
    if found is None:
        return "not run"
    if "error" in found:
        return f"{found['error']:.1e}"
    # the same reason is said once for all models
    why = re.sub(rf"(^|convert ){re.escape(name)}\b", r"\1the model", str(found["why"]))
    if why not in reasons:
        reasons.append(why)
    return f"no ({reasons.index(why) + 1})"
