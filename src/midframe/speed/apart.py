"""Measuring in a process of its own: what it prints, how it ended, and that it ends with us."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from midframe.errors import UserError
from midframe.speed.memory import ran_out

Row = dict[str, Any]
OUT_OF_MEMORY = "out of memory"
DONE = "done"  # lines of JSON with this key tell how far it is


def run(
    argument: Mapping[str, Any],
    command: Sequence[str],
    threads: int | None = None,
    tell: Callable[[int], None] | None = None,
) -> Row:
    """Run a command that prints one line of JSON at last, a row.

    It is killed where this process is interrupted meanwhile.

    Args:
        argument: given to the command as JSON, behind its own words.
        command: the words.
        threads: of OpenMP there; None leaves what is set.
        tell: gets N of each line ``{"done": N}`` before the row.

    Returns:
        The row; or, where there is none, ``error``: how the process ended or what it said.
    """
    last = ""
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said,
        subprocess.Popen(
            [*command, json.dumps(argument)],
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env=_environment(threads),
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in filter(str.strip, process.stdout):
                last = line
                if tell is not None and (done := _read(line)) is not None and DONE in done:
                    tell(int(done[DONE]))
        except BaseException:
            process.kill()
            process.wait()
            raise
        process.wait()
        said.seek(0)
        row = _read(last)
        return row if row is not None and DONE not in row else _ended(process, said.read())


def failure(error: Exception) -> Row:
    """Return the row of an error: that memory ran out, or its first line."""
    lines = str(error).strip().splitlines()
    first = lines[0] if lines else ""
    if ran_out(error):
        return {"error": OUT_OF_MEMORY, "detail": first}
    kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
    return {"error": f"{kind}{first}".rstrip(": ")}


def _environment(threads: int | None) -> dict[str, str]:
    found = dict(os.environ)
    if threads is not None:
        found["OMP_NUM_THREADS"] = str(threads)
    # the same code in the child, wherever this process has it from
    package = str(Path(__file__).resolve().parents[2])
    found["PYTHONPATH"] = os.pathsep.join(filter(None, (package, found.get("PYTHONPATH"))))
    return found


def _read(line: str) -> Row | None:
    try:
        row = json.loads(line)
    except json.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None


def _ended(process: subprocess.Popen[str], said: str) -> Row:
    """Say how a process ended that left no row."""
    if process.returncode < 0:
        cause = signal.Signals(-process.returncode).name
        hint = "; was there enough memory?" if cause == "SIGKILL" else ""
        return {"error": f"ended by {cause}{hint}", "ended_by": cause}
    lines = said.strip().splitlines()
    return {"error": lines[-1] if lines else f"no row, exit code {process.returncode}"}
