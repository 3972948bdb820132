"""List the models and what is known about them; measure them, and keep the README's table."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from midframe.errors import UserError
from midframe.models import zoo

WIDTH = 140
SIZES = ("448x256", "1280x720")
ROUNDS = 5
BUSY = 0.5  # of processes on average, in the last minute
ONLY_MEASURED = ("save", "readme", "size", "rounds", "threads")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `midframe models`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="of models; none means all")
    parser.add_argument(
        "--measure", action="store_true", help="parameters, operations, time and memory on the CPU"
    )
    parser.add_argument("--save", metavar="FILE", help="keep the JSON: benchmarks/models-cpu.json")
    parser.add_argument(
        "--readme", metavar="FILE", help="rewrite the table between <!-- models --> and its end"
    )
    parser.add_argument(
        "--size",
        nargs="+",
        metavar="WIDTHxHEIGHT",
        help=f"count operations at ({' '.join(SIZES)}); time and memory are of the first",
    )
    parser.add_argument("--rounds", type=int, help=f"timed calls of each model ({ROUNDS})")
    parser.add_argument("--threads", type=int, help="of PyTorch (its own choice)")


def show(args: Sequence[str]) -> None:
    """Run `midframe models` with these arguments.

    Raises:
        UserError: for what the user can mend.
        SystemExit: 1 if a model could not be measured.
    """
    parser = argparse.ArgumentParser("midframe models", description=__doc__)
    add_arguments(parser)
    options = parser.parse_intermixed_args(args)
    given = [f"--{key}" for key in ONLY_MEASURED if getattr(options, key) is not None]
    if given and not options.measure:
        raise UserError(f"{', '.join(given)} needs --measure")
    for key in ("rounds", "threads"):
        value = getattr(options, key)
        if value is not None and value < 1:
            raise UserError(f"--{key} {value}: at least 1")
    # an unknown one is told before anything is done
    known = {name: zoo.describe(name) for name in options.names} or _sound_models()
    if options.measure:
        _measure(list(known), options)
    else:
        _list(known)


def _sound_models() -> dict[str, dict[str, Any]]:
    """Return by name what is known of all models, and tell of those that cannot be built."""
    known = {}
    for name in zoo.list_models():
        try:
            known[name] = zoo.describe(name)
        except UserError as error:
            print(f"left out: {error}", file=sys.stderr)
    return known


def _list(known: Mapping[str, Mapping[str, Any]]) -> None:
    table = Table("model", "parameters", "frames", "times", "licence", "paper", box=None)
    for name, info in known.items():
        count = info.get("parameters")
        table.add_row(
            name,
            f"{count:,}" if count else "-",
            str(2 * int(info["context"])),
            str(info.get("times", "-")),
            str(info.get("licence", "-")),
            str(info.get("paper", "-")),
        )
    Console(width=WIDTH).print(table)


def _measure(names: Sequence[str], options: argparse.Namespace) -> None:
    """Measure, print the table, write what is asked for; exit with 1 if a model failed."""
    from midframe.launch import arguments, output
    from midframe.speed.marked import replaced
    from midframe.speed.model_table import MARKERS, markdown, ordered

    sizes = [arguments.size(text) for text in options.size or SIZES]
    readme = None if options.readme is None else Path(options.readme).resolve()
    if readme is not None:
        if options.names:
            raise UserError("--readme writes the table of all models: give no names with it")
        # tells of missing markers before the work
        replaced(output.read(readme), *MARKERS, "", str(readme))
    found = _run(ordered(names), sizes, options.rounds or ROUNDS, options.threads)
    Console(width=WIDTH).print(_table(found))
    if options.save is not None:
        output.save_json(Path(options.save), found)
    failed = [row for row in found["models"] if "error" in row]
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    for row in failed:
        console.print(f"{row['name']}: {row['error']}", markup=False)
    if readme is not None and not failed:
        before = output.read(readme)
        output.write(readme, replaced(before, *MARKERS, markdown(found), str(readme)))
    elif readme is not None:
        console.print(f"{readme} is left as it was, since not all models could be measured")
    if failed:
        raise SystemExit(1)


def _run(
    names: Sequence[str], sizes: Sequence[tuple[int, int]], rounds: int, threads: int | None
) -> dict[str, Any]:
    """Measure one model after the other, telling of each; see `model_table.measure`."""
    from midframe.launch.environment import environment
    from midframe.speed import model_table
    from midframe.speed.flops import UNIT

    console = Console(stderr=True, soft_wrap=True, highlight=False)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > BUSY:
        console.print(f"{load:.1f} processes are running already: they weigh on the times")
    rows = []
    for number, name in enumerate(names, start=1):
        with console.status(f"{number}/{len(names)} {name}"):
            row = model_table.measure(name, sizes, rounds, threads)
        rows.append(row)
        figures = f"{model_table.seconds(row)} s, {model_table.megabytes(row)} MB"
        said = row.get("error", figures)
        console.print(f"{number}/{len(names)} {name}: {said}", markup=False)
    used = [row["threads"] for row in rows if "threads" in row]
    return {
        "benchmark": "models",
        "sizes": [f"{width}x{height}" for width, height in sizes],
        "dtype": "float32",
        "device": "cpu",
        "flops_are": UNIT,
        "rounds": rounds,
        "threads": used[0] if used else threads,
        "load_before": round(load, 2),
        "environment": environment("cpu"),
        "models": rows,
    }


def _table(found: dict[str, Any]) -> Table:
    from midframe.speed import model_table as cells

    table = Table("model", box=None)
    sizes = found["sizes"]
    figures = ("parameters", *(f"GFLOP {s}" for s in sizes), f"s {sizes[0]}", f"MB {sizes[0]}")
    for head in figures:
        table.add_column(head, justify="right", no_wrap=True)
    for head in ("frames", "times", "code licence", "weights' keys"):
        table.add_column(head)
    for row in found["models"]:
        if "error" in row:
            table.add_row(row["name"], *["failed"] * len(figures), "-", "-", "-", "-")
            continue
        table.add_row(
            row["name"],
            cells.parameters(row),
            *(cells.gflop(row, size) for size in sizes),
            cells.seconds(row),
            cells.megabytes(row),
            str(2 * int(row["context"])),
            str(row["times"]),
            cells.licence(row),
            row["weight_keys"] or cells.NOTHING,
        )
    return table
