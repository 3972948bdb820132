"""`midframe bench events`: runs the measurement, keeps its JSON and its table."""

from __future__ import annotations

import argparse
from pathlib import Path

from midframe.launch import output
from midframe.launch.environment import environment


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `midframe bench events`."""
    parser.add_argument("--count", type=int, default=1_000_000, help="events")
    parser.add_argument("--rounds", type=int, default=7, help="timed turns")
    parser.add_argument("--save", metavar="FILE", help="keep the JSON")
    parser.add_argument("--table", metavar="FILE", help="rewrite the table in a text")


def run(args: argparse.Namespace) -> None:
    """Measure, print the JSON, and write what is asked for."""
    from midframe.speed import events

    found = events.bench_events(args.count, rounds=args.rounds)
    found["environment"] = environment("cpu")
    output.show_json(found, args.save)
    if args.table:
        output.put_table(Path(args.table), events.MARKERS, events.markdown(found), events.HEADING)
