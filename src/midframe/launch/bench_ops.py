"""`midframe bench ops`: runs the measurement, keeps its JSON and its table. Needs PyTorch alone."""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import re
import sys
from pathlib import Path
from typing import Any

import torch

from midframe import __version__
from midframe.files import write_text
from midframe.launch import machine
from midframe.launch.environment import revision

OPERATORS = ("splat", "correlation", "adacof")
PACKAGES = ("torch", "numpy", "cupy", "triton", "numba")


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
    from midframe.benchmark.ops_table import markdown, replaced
    from midframe.benchmark.speed_ops import bench_ops

    found = bench_ops(args.device, only=args.only, rounds=args.rounds, threads=args.threads)
    found["environment"] = environment(args.device)
    text = json.dumps(found, indent=1)
    print(text)
    name = "cpu" if args.device == "cpu" else slug(found["environment"]["gpu"])
    if args.save:
        write(Path(args.save.replace("{device}", name)), text + "\n")
    if args.table:
        path = Path(args.table)
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        write(path, replaced(before, name, markdown(found)))


def environment(device: str) -> dict[str, Any]:
    """Return what the figures were measured with and on."""
    loaded = {name: getattr(sys.modules.get(name), "__version__", None) for name in PACKAGES}
    found: dict[str, Any] = {
        "midframe": __version__,
        "revision": revision(),
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "versions": {name: version for name, version in loaded.items() if version},
        "processor": machine.processor(),
    }
    if device == "cuda":
        index = torch.cuda.current_device()
        major, minor = torch.cuda.get_device_capability(index)
        found |= {
            "gpu": torch.cuda.get_device_name(index),
            "capability": f"{major}.{minor}",
            "driver": machine.driver(),
            "cuda": torch.version.cuda,
        }
    return found


def slug(name: str) -> str:
    """Turn a device's name into a part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def write(path: Path, text: str) -> None:
    """Write a file and say so."""
    write_text(path, text)
    print(f"wrote {path}", file=sys.stderr)
