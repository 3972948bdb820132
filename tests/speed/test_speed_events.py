"""`midframe bench events`: both sides agree and take turns, and the record and table are kept."""

from __future__ import annotations

import json

import pytest

from midframe import cli
from midframe.errors import UserError
from midframe.speed import events
from midframe.speed.events import bench_events, markdown


def test_both_representations_are_measured_on_every_sensor():
    found = bench_events(2000, ((24, 18), (30, 20)), rounds=2)
    assert [(row["what"], row["sensor"]) for row in found["rows"]] == [
        ("counts", "24x18"),
        ("voxel grid", "24x18"),
        ("counts", "30x20"),
        ("voxel grid", "30x20"),
    ]
    for row in found["rows"]:
        assert set(row["ms"]) == {"ours", "plain"} and row["speed"] > 0


def test_sides_that_differ_are_no_measurement(monkeypatch):
    counts = events.signed_counts
    monkeypatch.setattr(events, "signed_counts", lambda *args: counts(*args) + 1)
    with pytest.raises(RuntimeError, match="counts on 24x18: the two sides differ"):
        bench_events(200, ((24, 18),), rounds=1)


def test_nothing_to_measure_is_told():
    with pytest.raises(UserError, match="--count 0"):
        bench_events(0)


def test_the_table_and_the_record_are_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(events, "bench_events", lambda *args, **more: _found(*args, **more))
    text, save = tmp_path / "page.md", tmp_path / "found.json"
    text.write_text(f"# Page\n\n{events.MARKERS[0]}\nold\n{events.MARKERS[1]}\n")
    command = ["bench", "events", "--count", "2000", "--rounds", "1"]
    assert cli.main([*command, "--save", str(save), "--table", str(text)]) == 0
    record = json.loads(save.read_text())
    assert record == json.loads(capsys.readouterr().out) and record["count"] == 2000
    page = text.read_text()
    assert "old" not in page and markdown(record) in page
    assert "| 2,000 events into | sensor |" in page and "| counts | 24x18 |" in page


def _found(count, rounds):
    return bench_events(count, ((24, 18),), rounds)
