"""What a conversion says: lines and a bar for people, or a line of JSON an event for programs."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import IO, Any, Literal, Protocol, get_args

from midframe.errors import UserError
from midframe.launch.progress import Progress

Kind = Literal["bar", "lines", "json", "none"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_SECONDS = 0.5  # between two events


class Counter(Protocol):
    """Something that counts frames."""

    def advance(self, count: int = 1) -> None:
        """Count what is done."""


class Report:
    """Says what a conversion does.

    With "json", everything on standard output is one object in a line, whose "event" is "plan",
    "note", "progress" (done, total, fps, seconds_left), "done" or "error"; what else is printed
    goes to standard error.

    Args:
        kind: "bar" (lines where there is no terminal), "lines", "json", or "none" for no progress.
    """

    def __init__(self, kind: Kind = "bar") -> None:
        self.kind = kind
        self._out = sys.stdout
        self._lock = threading.RLock()  # notes and progress come from threads of their own

    def say(self, text: str) -> None:
        """Say a line to people."""
        if self.kind != "json":
            self._write(sys.stdout, _printable(text, sys.stdout))

    def note(self, text: str) -> None:
        """Say what people may not expect."""
        self.say(f"note: {text}")
        self.event("note", text=text)

    def event(self, name: str, **content: Any) -> None:
        """Tell a program."""
        if self.kind == "json":
            line = json.dumps({"event": name, **content}, ensure_ascii=False, default=str)
            line = line.encode("utf-8", "replace").decode()  # names may be no UTF-8
            if not _takes(self._out, line):
                line = json.dumps(json.loads(line))
            self._write(self._out, line)

    def _write(self, out: IO[str], line: str) -> None:
        """Write a line at once, so that no other gets into it."""
        with self._lock:
            out.write(line + "\n")
            out.flush()

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Keep others' lines out of what programs read, and tell them of what goes wrong."""
        if self.kind != "json":
            yield
            return
        with redirect_stdout(sys.stderr):
            try:
                yield
            except UserError as error:
                self.event("error", message=str(error))
                raise
            except KeyboardInterrupt as error:
                with suppress(BrokenPipeError):
                    self.event("interrupted", message=str(error))
                raise

    @contextmanager
    def counting(self, total: int, done: int) -> Iterator[Counter]:
        """Give what counts frames, of which some were there before."""
        if self.kind == "none":
            yield _Silent()
        elif self.kind == "json":
            yield _Events(self, total, done)
        else:
            bar = self.kind == "bar"
            with Progress("interpolating", total, unit="frames", bar=bar, done=done) as progress:
                yield progress


def _printable(text: str, out: IO[str]) -> str:
    """Return a text with question marks for what a stream cannot hold, as of names of no UTF-8."""
    if _takes(out, text):
        return text
    return text.encode(_encoding(out), "replace").decode(_encoding(out))


def _takes(out: IO[str], text: str) -> bool:
    try:
        text.encode(_encoding(out), getattr(out, "errors", None) or "strict")
    except UnicodeEncodeError:
        return False
    return True


def _encoding(out: IO[str]) -> str:
    return getattr(out, "encoding", None) or "utf-8"


class _Silent:
    def advance(self, count: int = 1) -> None:
        pass


class _Events:
    """Progress as events, the last one always."""

    def __init__(self, report: Report, total: int, done: int) -> None:
        self._report, self._total, self._done, self._before = report, total, done, done
        self._begun = time.monotonic()
        self._told = self._begun - _SECONDS
        self.advance(0)

    def advance(self, count: int = 1) -> None:
        """Count what is done."""
        self._done += count
        now = time.monotonic()
        if now - self._told < _SECONDS and self._done < self._total:
            return
        self._told = now
        fps = (self._done - self._before) / max(now - self._begun, 1e-9)
        left = (self._total - self._done) / fps if fps else None
        self._report.event(
            "progress",
            done=self._done,
            total=self._total,
            fps=round(fps, 3),
            seconds_left=None if left is None else round(left, 1),
        )
