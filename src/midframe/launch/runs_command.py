"""List runs and sweeps below a folder, or compare two runs: `midframe runs compare A B`."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from pathlib import Path
from typing import Any

from midframe.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `midframe runs`."""
    parser.add_argument(
        "words",
        nargs="*",
        metavar="[DIR] | compare A B",
        help="the folder that runs are written to (MIDFRAME_RUNS, or runs); or two run directories",
    )
    parser.add_argument("--state", default="", help="only these: running,failed,stopped,...")
    parser.add_argument("--sweep", help="only what belongs to a sweep whose name has this")
    parser.add_argument("--metric", help="a column of metrics.csv instead of the usual one")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Print the listing or the comparison."""
    if args.words[:1] == ["compare"]:
        return _compare(args)
    if len(args.words) > 1:
        raise UserError("name one folder of runs, or: midframe runs compare A B")
    from midframe.launch.runs_table import lines, list_runs

    folder = Path(args.words[0]) if args.words else runs_folder()
    states = [x.strip() for x in args.state.split(",") if x.strip()]
    found = list_runs(folder, args.metric).choose(states, args.sweep)
    if args.json:
        print(json.dumps(_plain(found.to_json()), indent=1))
    else:
        print("\n".join(lines(found)))
        for place, reason in found.skipped.items():
            _warn(f"skipped {place}: {reason}")
    return 0


def _compare(args: argparse.Namespace) -> int:
    if len(args.words) != 3:
        raise UserError("two runs are compared: midframe runs compare A B")
    from midframe.launch.runs_compare import Compared

    both = Compared(*map(_found, args.words[1:]))
    if args.json:
        print(json.dumps(_plain(both.to_json(args.metric)), indent=1, default=str))
    else:
        print("\n".join(both.lines(args.metric)))
    return 0


def runs_folder() -> Path:
    """Return where runs are written unless a command says otherwise."""
    return Path(os.environ.get("MIDFRAME_RUNS") or "runs")


def _found(name: str) -> Path:
    """Return a run directory by its path, or by its name among the usual ones."""
    for path in (Path(name), runs_folder() / name):
        if path.is_dir():
            return path
    raise UserError(f"there is no run directory {name}")


def _plain(value: Any) -> Any:
    """Return data that every reader of JSON takes: no NaN."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _warn(text: str) -> None:
    from midframe.launch.runs_table import printable

    print(printable(text), file=sys.stderr)
