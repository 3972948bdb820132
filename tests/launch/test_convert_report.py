"""What a conversion says: whole lines, whatever the names in them and whoever else speaks."""

from __future__ import annotations

import io
import json
import os
import sys
import threading
from pathlib import Path

import pytest

from midframe.launch.convert_report import Report

STRANGE = os.fsdecode(b"a\xff b.mp4")  # a name that is no UTF-8, as Python has it


class Terminal(io.TextIOWrapper):
    """Standard output as a program finds it."""

    def __init__(self, encoding: str, errors: str = "strict") -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding=encoding, errors=errors)

    def lines(self) -> list[str]:
        return self.bytes.getvalue().decode(self.encoding).splitlines()


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_any_name_can_be_said(monkeypatch, encoding):
    out = Terminal(encoding)
    monkeypatch.setattr(sys, "stdout", out)
    Report("lines").say(f"{STRANGE}: 3 frames")
    Report("lines").note("caf\u00e9 \u6620\u753b")
    known = {"utf-8": "caf\u00e9 \u6620\u753b", "ascii": "caf? ??", "latin-1": "caf\u00e9 ??"}
    assert out.lines() == ["a? b.mp4: 3 frames", f"note: {known[encoding]}"]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_any_name_can_be_told(monkeypatch, encoding, errors):
    out = Terminal(encoding, errors)
    monkeypatch.setattr(sys, "stdout", out)
    Report("json").event("done", path=Path(STRANGE), title="caf\u00e9 \u6620\u753b")
    (line,) = out.lines()
    told = {"event": "done", "path": "a? b.mp4", "title": "caf\u00e9 \u6620\u753b"}
    assert json.loads(line) == told


def test_a_terminal_that_takes_any_bytes_gets_the_name_as_it_is(monkeypatch):
    out = Terminal("utf-8", "surrogateescape")
    monkeypatch.setattr(sys, "stdout", out)
    Report("lines").say(STRANGE)
    assert out.bytes.getvalue() == b"a\xff b.mp4\n"


class Pieces(io.StringIO):
    """Keeps what is written piece by piece; threads take turns after each."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []

    def write(self, text: str) -> int:
        self.pieces.append(text)
        return len(text)


def test_every_event_is_written_at_once(monkeypatch):
    out = Pieces()
    monkeypatch.setattr(sys, "stdout", out)
    report, lines = Report("json"), Report("lines")
    report.note("one")
    lines.say("two")
    with report.counting(2, 0) as counter:
        counter.advance(2)
    assert all(piece.endswith("\n") and piece.count("\n") == 1 for piece in out.pieces)
    assert len(out.pieces) == 4


def test_threads_do_not_write_into_each_others_lines(monkeypatch):
    """A stream that is slow within a line: without a lock another thread gets in between."""
    shares: list[str] = []
    inside = threading.Semaphore(1)

    class Slow(io.StringIO):
        def write(self, text: str) -> int:
            shares.append(text if inside.acquire(blocking=False) else "two at once")
            threading.Event().wait(0.002)
            inside.release()
            return len(text)

    monkeypatch.setattr(sys, "stdout", Slow())
    report = Report("json")
    speakers = [
        threading.Thread(target=lambda: [report.note(str(i)) for i in range(20)]) for _ in range(2)
    ]
    for speaker in speakers:
        speaker.start()
    for speaker in speakers:
        speaker.join()
    assert len(shares) == 40 and all(json.loads(line)["event"] == "note" for line in shares)
