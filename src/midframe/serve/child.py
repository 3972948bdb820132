"""One process of `midframe interpolate`: what it tells, a time limit, and a certain end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from midframe.plain_text import plain

_LONGEST_LINE = 1 << 20  # bytes; what is longer is no word of ours
_PIECE = 1 << 16  # bytes that are read at once
_SHOWN = 1000  # characters of a line for the terminal
_REMEMBERED = 40  # lines of standard error

Told = Callable[[dict[str, Any]], None]


class Failed(Exception):
    """A process that did not do what it was started for; its text is a sentence for the person."""


async def run(command: Sequence[str], folder: Path, told: Told, seconds: float) -> None:
    """Run a command to its end; it ends with this task, however that ends.

    Args:
        command: its words; each line of its standard output is a JSON object with an "event".
            Others, and lines of more than a megabyte, are passed over.
        folder: where it works.
        told: called with each of these. What it raises ends the process and goes on.
        seconds: that it may take.

    Raises:
        Failed: if it says an error, or ends with another code than 0.
        asyncio.TimeoutError: if it takes longer.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        stdin=subprocess.PIPE,  # it ends when this closes, as it does when this process is killed
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for this process, which then ends that one
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    errors: list[str] = []
    lines: deque[str] = deque(maxlen=_REMEMBERED)

    def heard(event: dict[str, Any]) -> None:
        if event.get("event") == "error":
            errors.append(str(event.get("message", "")))
        else:
            told(event)

    try:
        await asyncio.wait_for(_follow(process, heard, lines), seconds)
    finally:
        await _end(process)
    if errors:
        raise Failed(errors[-1])
    if process.returncode:
        raise Failed(_why(process.returncode, lines))


async def _follow(process: asyncio.subprocess.Process, heard: Told, lines: deque[str]) -> None:
    assert process.stdout is not None and process.stderr is not None
    events, others = process.stdout, process.stderr

    async def remember() -> None:
        async for line in _lines(others):
            lines.append(line.decode(errors="replace").rstrip())

    beside = asyncio.ensure_future(remember())
    try:
        async for line in _lines(events):
            with suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    heard(event)
        await process.wait()
        await beside
    finally:
        beside.cancel()


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield the lines of a stream without their ends; what is too long is passed over whole.

    A stream's own iterator raises on such a line, and would go on in the middle of it.
    """
    held, passing = bytearray(), False
    while piece := await stream.read(_PIECE):
        *ends, rest = piece.split(b"\n")
        for end in ends:
            if not passing and len(held) + len(end) <= _LONGEST_LINE:
                yield bytes(held + end)
            held.clear()
            passing = False
        passing = passing or len(held) + len(rest) > _LONGEST_LINE
        if not passing:
            held += rest
    if held and not passing:
        yield bytes(held)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill a process and those that it has started: what they write is deleted anyway."""
    if process.returncode is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())


def _why(code: int, lines: Sequence[str]) -> str:
    """Return what is to be said of a process that failed without a word for people."""
    last = next((line for line in reversed(lines) if line.startswith("error: ")), None)
    if last is not None:
        return last.removeprefix("error: ")
    if code == -signal.SIGKILL:
        return "The process was killed by the system, probably because the memory is full."
    return unexpected(lines)


def unexpected(lines: Sequence[str]) -> str:
    """Show the terminal what nobody foresaw, and return what is to be said of it to people.

    Args:
        lines: a traceback, or the last words of a process.
    """
    for line in lines:
        indent = line[: len(line) - len(line.lstrip())][:_SHOWN]  # which `plain` takes away
        print(f"  {indent}{plain(line)[:_SHOWN]}", file=sys.stderr, flush=True)
    return "midframe failed unexpectedly; the terminal where `midframe serve` runs shows more."
