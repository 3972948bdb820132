"""`midframe bench video`: runs the measurement, keeps its JSON and its table."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from midframe.launch import output
from midframe.launch.environment import environment

MARKERS = "<!-- bench video -->", "<!-- end of bench video -->"
HEADING = "## Speed and quality"
LOOP, WHOLE, FFMPEG = "bare loop", "end to end", "minterpolate"
_BUSY = 4.0  # processes that want to run, above which a machine has no time to be measured


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `midframe bench video`."""
    parser.add_argument("video", nargs="+", type=Path, metavar="VIDEO")
    parser.add_argument(
        "--model",
        nargs="+",
        default=["dis"],
        metavar="NAME[:FILE]",
        help="several; NAME:none measures an untrained one",
    )
    parser.add_argument("--rounds", type=int, default=3, help="timed turns")
    parser.add_argument("--frames", type=int, help="of each clip, from its start, at most")
    parser.add_argument("--threads", type=int, help="of PyTorch")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--save", metavar="FILE", help="keep the JSON")
    parser.add_argument("--table", metavar="FILE", help="rewrite the table in a text")


def run(args: argparse.Namespace) -> None:
    """Measure, print the JSON, and write what is asked for."""
    from midframe.launch import minterpolate
    from midframe.launch.inference import load_model, resolve_device
    from midframe.launch.video_speed import bench
    from midframe.models import zoo
    from midframe.speed.turns import using_threads

    models = [
        (name, weights or None) for name, _, weights in (x.partition(":") for x in args.model)
    ]
    for name, weights in models:  # what cannot be measured is told before minutes are spent
        load_model(zoo.config_of(name), weights, resolve_device(args.device))
    found: dict[str, Any] = {
        "benchmark": "video",
        "environment": environment("cpu"),
        "ffmpeg": minterpolate.version(),
        "rounds": args.rounds,
        "load_before": _load(),
        "rows": [],
    }
    with using_threads(args.threads) as found["threads"]:
        for video in args.video:
            for name, weights in models:
                row = bench(video, name, weights, args.rounds, args.device, args.frames)
                found["rows"].append(row)
                print(json.dumps(row), file=sys.stderr, flush=True)
    found["load_after"] = _load()
    output.show_json(found, args.save)
    if args.table:
        output.put_table(Path(args.table), MARKERS, markdown(found), HEADING)


def markdown(found: dict[str, Any]) -> str:
    """Return the table."""
    lines = [
        "| clip | model | alone | converting | by the clock | of the processor | minterpolate "
        "| PSNR | average | minterpolate |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in found["rows"]:
        fps, decibels = row["fps"], row["psnr"]
        words = [
            f"{row['video']}, {row['size']}, {row['frames']} frames",
            row["model"] + ("" if row["trained"] else " (untrained)"),
            f"{fps[LOOP]:.2f}",
            f"{fps[WHOLE]:.2f}",
            f"{100 * row['of_bare']:.0f} %",
            f"{100 * row['of_bare_cpu']:.0f} %",
            f"{fps[FFMPEG]:.2f}" if FFMPEG in fps else "",
            f"{decibels['model']:.2f}" if row["trained"] else "",
            f"{decibels['average']:.2f}",
            f"{decibels[FFMPEG]:.2f}" if FFMPEG in decibels else "",
        ]
        lines.append(f"| {' | '.join(words)} |")
    facts = found["environment"]
    before, after = found["load_before"], found["load_after"]
    lines += [
        "",
        "New frames a second at twice the frames, and the share of the bare model's speed that a "
        "conversion has, by the clock and by processor time: "
        f"median of {found['rounds']} turns with {found['threads']} threads on "
        f"{facts.get('processor', 'this processor')}. PSNR in dB over every second frame, left "
        f"out. {found['ffmpeg'] or 'ffmpeg was not there'}. "
        f"Load of the machine before and after: {before:.1f}, {after:.1f}"
        f"{'; it was busy, so trust ratios only' if max(before, after) > _BUSY else ''}.",
    ]
    return "\n".join(lines)


def _load() -> float:
    return round(os.getloadavg()[0], 2)
