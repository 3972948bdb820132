"""`midframe doctor`: what is installed here, which backend each operator runs on, and what to mend.

Works wherever Python runs: what is broken shows as its error's first line.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from midframe import __version__
from midframe.launch.probes import (
    AGAIN,
    BROKEN,
    MISSING,
    NOTE,
    OK,
    Check,
    checks,
    cupy_remedy,
    first_line,
    quiet,
)

MARKS = {OK: " ", MISSING: "!", BROKEN: "!", NOTE: "-"}
LABEL = 12


@dataclass(frozen=True)
class Choice:
    """What runs an operator on a kind of device.

    Attributes:
        operator: its name.
        device: "cpu" or "cuda".
        backend: what will run, or empty if nothing can.
        why: why not a better one, or why none; empty where it is the best there is.
        remedy: a command that brings the better one, or empty.
    """

    operator: str
    device: str
    backend: str
    why: str = ""
    remedy: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `midframe doctor`."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--require",
        metavar="BACKEND",
        help="only tell whether this backend runs: one line and exit code 2 if it does not",
    )


def run(args: argparse.Namespace) -> int:
    """Examine and print; return 0 if all that is needed runs, else 1 (2 with --require)."""
    if args.require:
        return _require(args.require)
    found, choices = examine()
    good = not any(check.failed for check in found) and all(c.backend for c in choices)
    if args.json:
        report = {
            "midframe": __version__,
            "ok": good,
            "checks": [asdict(check) for check in found],
            "operators": [asdict(choice) for choice in choices],
        }
        print(json.dumps(report, indent=1))
    else:
        print("\n".join(_lines(found, choices)))
    return 0 if good else 1


def examine() -> tuple[list[Check], list[Choice]]:
    """Look at everything; never raises for what is missing or broken."""
    return checks(), _choices()


def _choices() -> list[Choice]:
    try:
        with quiet():
            torch = importlib.import_module("torch")
            from midframe.ops import backend as backends

            devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
            return [_choice(name, kind) for kind in devices for name in backends.OPERATORS]
    except (Exception, SystemExit) as error:  # no PyTorch, no operators
        return [Choice("operators", "all", "", first_line(error))]


def _choice(operator: str, device: str) -> Choice:
    from midframe.errors import UserError
    from midframe.ops import backend as backends

    torch = importlib.import_module("torch")
    why, remedy = _better(device)
    try:
        asked = backends.choose(None)
        name = backends.resolve(asked, torch.device(device))
        backends.module(operator, name, torch.device(device)) if name != "reference" else None
    except UserError as error:
        return Choice(operator, device, "", str(error), f"unset {backends.VARIABLE}")
    except (Exception, SystemExit) as error:  # a backend's own module or package is broken
        way_out = f"export {backends.VARIABLE}=torch"
        return Choice(operator, device, "", first_line(error), way_out)
    best = "cupy" if device == "cuda" else "numba"
    if name == best:
        return Choice(operator, device, name)
    if asked != backends.AUTO:
        return Choice(operator, device, name, f"{backends.VARIABLE}={asked} asks for it")
    return Choice(operator, device, name, f"{best} is faster, but {why}" if why else "", remedy)


def _better(device: str) -> tuple[str, str]:
    """Return why the fastest backend for a device does not run, and the command that mends it."""
    from midframe.ops import backend as backends

    name = "cupy" if device == "cuda" else "numba"
    try:
        found = backends.availability(name)
    except (Exception, SystemExit) as error:  # as everywhere here
        found = backends.Availability(False, f"{name} does not import: {first_line(error)}", name)
    if found.ok:
        return "", ""
    if name == "cupy" and found.remedy:
        return found.why, cupy_remedy(found.why)
    missing = "not installed" in found.why
    return found.why, ("pip install " if missing else AGAIN) + found.remedy if found.remedy else ""


def _require(name: str) -> int:
    why, remedy = _unmet(name)
    if why:
        mend = f": {remedy}" if remedy else ""
        print(f"error: backend {name} can't run here: {why}{mend}", file=sys.stderr)
        return 2
    print(f"backend {name} runs here")
    return 0


def _unmet(name: str) -> tuple[str, str]:
    try:
        with quiet():
            from midframe.ops import backend as backends

            if name not in backends.BACKENDS:
                return f"there is {', '.join(backends.BACKENDS)}", ""
            if name in ("cupy", "numba"):
                return _better("cuda" if name == "cupy" else "cpu")
            return "", ""
    except (Exception, SystemExit) as error:  # PyTorch is missing or broken
        return first_line(error), ""


def _lines(found: list[Check], choices: list[Choice]) -> Iterator[str]:
    yield f"midframe {__version__}"
    yield ""
    for check in found:
        yield f"{MARKS[check.state]} {check.name:<{LABEL}}  {check.value}"
    yield ""
    yield f"  {'operator':<{LABEL}}  device  backend"
    for choice in choices:
        mark = " " if choice.backend and not choice.remedy else "!" if not choice.backend else "-"
        why = f"  ({choice.why})" if choice.why else ""
        runs = choice.backend or "none"
        yield f"{mark} {choice.operator:<{LABEL}}  {choice.device:<6}  {runs:<9}{why}".rstrip()
    failing = [c.remedy for c in found if c.remedy and c.state != NOTE]
    failing += [c.remedy for c in choices if c.remedy and not c.backend]
    better = [c.remedy for c in (*found, *choices) if c.remedy and c.remedy not in failing]
    yield ""
    if not failing and not better:
        yield "Nothing to mend."
    for title, commands in (("To mend:", failing), ("Would help:", better)):
        if commands:
            yield title
            yield from (f"    {command}" for command in _merged(commands))


def _merged(commands: list[str]) -> list[str]:
    """Put packages that are only to be installed into one command, and drop repetitions."""
    plain = [c for c in commands if re.fullmatch(r"pip install [^\s-]\S*", c)]
    names = dict.fromkeys(c.split()[-1] for c in plain)
    others = dict.fromkeys(c for c in commands if c not in plain)
    return [*([f"pip install {' '.join(names)}"] if names else []), *others]
