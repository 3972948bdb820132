"""What a long command says of how far it is."""

from __future__ import annotations

import re

import pytest
import rich

from midframe.launch import progress
from midframe.launch.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    """Make the time a list of one number."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_lines_tell_rate_and_time_left_now_and_then(clock, capsys):
    with Progress("labels", 120, seconds=10) as one:
        for _ in range(24):
            clock[0] += 2.5
            one.advance(5)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "labels 20/120 samples | 2.0 samples/s | 0.8 min left"
    assert len(lines) == 6
    assert lines[-1] == "labels 120/120 samples | 2.0 samples/s | 0.0 min left"
    assert one.done == 120


def test_what_was_there_already_does_not_count_as_speed_for_long(clock, capsys):
    with Progress("packing", 10_100, unit="pictures", seconds=10) as one:
        one.advance(10_000)  # in no time
        for _ in range(100):
            clock[0] += 1
            one.advance()
    shown = capsys.readouterr().out.splitlines()
    rates = [float(re.search(r"\| (.*) pictures/s", line)[1]) for line in shown]
    assert all(rate == pytest.approx(1, rel=0.05) for rate in rates[4:])


def test_no_work_at_all(clock, capsys):
    with Progress("packing", 0) as none, Progress("packing", 3, unit="pictures") as one:
        none.advance(0)
        clock[0] += 20
        one.advance(0)
        clock[0] += 20
        one.advance(3)
    assert none.done == 0 and "packing 3/3 pictures" in capsys.readouterr().out


def test_a_terminal_gets_a_bar_unless_processes_share_it(clock, capsys, monkeypatch):
    console = rich.get_console()
    monkeypatch.setattr(type(console), "is_terminal", True)
    monkeypatch.setattr(progress.sys.stdout, "isatty", lambda: True)
    for bar in (True, False):
        with Progress("labels", 2, bar=bar) as one:
            clock[0] += 1
            one.advance(2)
        assert ("labels 2/2 samples |" in capsys.readouterr().out) is not bar
