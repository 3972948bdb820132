"""Compare two results of the same benchmark image by image: is one model really better?"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from midframe.launch import guard

if TYPE_CHECKING:
    from midframe.benchmark.compare import Difference


def main(args: Sequence[str]) -> int:
    """Compare from a command line; returns the exit code."""
    parser = argparse.ArgumentParser("midframe compare", description=__doc__)
    add_arguments(parser)
    options = parser.parse_args(args)
    return guard.guarded(lambda: run(options))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `midframe compare`."""
    parser.add_argument("a", type=Path, metavar="A", help="a folder that evaluate.py wrote")
    parser.add_argument(
        "b", type=Path, metavar="B", help="another one, or RESULT/beside/NAME; A minus B is shown"
    )
    parser.add_argument(
        "--common", action="store_true", help="compare the common images where others differ"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Print the comparison; `UserError` for what cannot be compared."""
    from midframe.benchmark import compare

    a, b = compare.load(args.a), compare.load(args.b)
    compare.check_same_protocol(a, b)
    images = compare.common_images(a, b, args.common)
    columns, apart = compare.common_columns(a, b)
    groups = a.groups
    reduction = a.record["protocol"]["reduction"]
    found = compare.compared(
        a.rows,
        b.rows,
        {name: column["better"] for name, column in columns.items()},
        groups=groups,
        by_subset=reduction == "subsets",
    )
    if args.json:
        print(json.dumps(_plain(a, b, images, found, apart), indent=1))
    else:
        _show(a, b, images, found, columns, apart)
    return 0


def _plain(
    a: Any, b: Any, images: int, found: Mapping[str, Difference], apart: Sequence[str]
) -> dict[str, Any]:
    return {
        "kind": "comparison",
        "benchmark": a.record["benchmark"],
        "a": {"folder": str(a.folder), "model": a.title},
        "b": {"folder": str(b.folder), "model": b.title},
        "images": images,
        "metrics": {name: _finite(dataclasses.asdict(one)) for name, one in found.items()},
        "not_compared": list(apart),
    }


def _finite(value: Any) -> Any:
    """JSON has no infinity: it becomes text."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _show(
    a: Any,
    b: Any,
    images: int,
    found: Mapping[str, Difference],
    columns: Mapping[str, Mapping[str, Any]],
    apart: Sequence[str],
) -> None:
    from rich.console import Console
    from rich.table import Table

    from midframe.benchmark.table import p_value
    from midframe.plain_text import plain

    console = Console(markup=False, emoji=False, highlight=False)  # names are shown as they are
    console.print(plain(f"{a.record['benchmark']}, {images} common images"))
    console.print(plain(f"A: {a.title}, {a.folder}"), soft_wrap=True)
    console.print(plain(f"B: {b.title}, {b.folder}"), soft_wrap=True)
    table = Table()
    for heading in ("", "A - B", "95 % interval", "A better", "A worse", "equal", "sign test"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, one in found.items():
        digits = columns[name]["digits"]
        unit = columns[name]["unit"]
        ends = f"{one.interval[0]:+.{digits}f}, {one.interval[1]:+.{digits}f}"
        counts = (str(count) for count in (one.better, one.worse, one.ties))
        heading = name.upper() + (f" {unit}" if unit else "")
        table.add_row(
            plain(heading), f"{one.difference:+.{digits}f}", ends, *counts, p_value(one.p)
        )
    console.print(table)
    counted = sum(one.better + one.worse + one.ties for one in list(found.values())[:1])
    if counted != images:
        console.print(f"better and worse are counted over {counted} sequences")
    if apart:
        console.print(
            "not compared, since only one has them or they were made differently: "
            + plain(", ".join(apart))
        )
