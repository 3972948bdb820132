"""`midframe bench anytime`: runs the measurement, keeps its JSON and its table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from midframe.launch import arguments, output
from midframe.launch.environment import environment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `midframe bench anytime`."""
    parser.add_argument("--model", nargs="+", default=["upr"], metavar="NAME")
    parser.add_argument("--size", default="448x256", help="WIDTHxHEIGHT")
    parser.add_argument("--times", type=int, default=7, help="frames between the two (7: x8)")
    parser.add_argument("--weights", metavar="FILE", help="trained weights, for one model")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--rounds", type=int, default=5, help="timed turns")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--save", metavar="FILE", help="keep the JSON")
    parser.add_argument("--table", metavar="FILE", help="rewrite the table in a text")


def run(args: argparse.Namespace) -> None:
    """Measure, print the JSON, and write what is asked for."""
    from midframe.models.weights import find_weights
    from midframe.speed import anytime

    rows = []
    for name in args.model:
        row = anytime.bench_anytime(
            name,
            arguments.size(args.size),
            args.times,
            weights=find_weights(args.weights),
            precision=args.precision,
            rounds=args.rounds,
            threads=args.threads,
        )
        rows.append(row)
        same = "the same frames" if row["equal"] else f"NOT equal: {row['max_difference']:g}"
        print(f"{name}: {row['speed']:g} times as fast, {same}", file=sys.stderr, flush=True)
    found = {"benchmark": "anytime", "environment": environment("cpu"), "models": rows}
    output.show_json(found, args.save)
    if args.table:
        table = anytime.markdown(found)
        output.put_table(Path(args.table), anytime.MARKERS, table, anytime.HEADING)
