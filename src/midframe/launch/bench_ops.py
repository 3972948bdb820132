"""`midframe bench ops`: runs the measurement, keeps its JSON and its table. Needs PyTorch alone."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from midframe.launch import output
from midframe.launch.environment import environment
from midframe.ops.backend import OPERATORS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `midframe bench ops`."""
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, help="timed calls of each side (10; 30 on a GPU)")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--only", choices=OPERATORS, nargs="+", default=OPERATORS)
    parser.add_argument("--save", metavar="FILE", help="keep the JSON; {device} is filled in")
    parser.add_argument("--table", metavar="FILE", help="rewrite this device's table in a text")


def run(args: argparse.Namespace) -> None:
    """Measure, print the JSON, and write what is asked for."""
    from midframe.speed import ops_table
    from midframe.speed.ops import bench_ops

    found = bench_ops(args.device, only=args.only, rounds=args.rounds, threads=args.threads)
    found["environment"] = environment(args.device)
    name = "cpu" if args.device == "cpu" else slug(found["environment"]["gpu"])
    output.show_json(found, args.save and args.save.replace("{device}", name))
    if args.table:
        table, markers = ops_table.markdown(found), ops_table.markers(name)
        output.put_table(Path(args.table), markers, table, ops_table.HEADING)


def slug(name: str) -> str:
    """Turn a device's name into a part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
