"""Preparing recordings: several at a time, going on after an end, damaged ones left out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from recordings import drawn, same_events

from midframe.errors import UserError
from midframe.events import prepare as module
from midframe.events.libraries import is_installed
from midframe.events.prepare import LIST, find_recordings, prepare
from midframe.events.shards import open_shards
from midframe.events.single import save_recording
from midframe.events.write import write_recording


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three recordings, in a folder and one below it."""
    if not is_installed("dv_processing"):
        pytest.skip("dv-processing, which writes AEDAT4, is not installed")
    folder = tmp_path / "source"
    write_recording(drawn(seed=1), folder / "a.aedat4")
    write_recording(drawn(seed=2, colour=True), folder / "deep" / "er" / "b.aedat4")
    save_recording(drawn(seed=3), folder / "c.npz")
    return folder


def test_all_recordings_become_shards(source: Path, tmp_path: Path) -> None:
    out, told = tmp_path / "out", []
    found = find_recordings(source)
    assert [one.name for one in found] == ["a", "c", "deep/er/b"]
    outcomes = prepare(found, out, workers=2, advance=told.append)
    assert all(one.made and not one.error for one in outcomes) and sum(told) == 3
    for seed, name in ((1, "a"), (2, "deep/er/b"), (3, "c")):
        shards = open_shards(out / name)
        assert same_events(shards.events(0, 1 << 60), drawn(seed=seed).events)
        assert shards.colour == (seed == 2)
    listed = json.loads((out / LIST).read_text())
    assert [one["name"] for one in listed["recordings"]] == ["a", "c", "deep/er/b"]
    assert listed["failed"] == [] and listed["recordings"][0]["events"] == 300
    assert len(listed["recordings"][0]["source"]["sha256"]) == 64


def test_what_is_finished_is_left_alone(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(find_recordings(source), out)
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.npz")}
    write_recording(drawn(seed=7), source / "a.aedat4")  # another one under an old name
    (out / "c" / "00000.npz").unlink()
    (out / "deep" / "er" / "b" / "manifest.json").write_text("{")
    outcomes = prepare(find_recordings(source), out)
    assert [one.made for one in outcomes] == [True, True, True]
    assert same_events(open_shards(out / "a").events(0, 1 << 60), drawn(seed=7).events)
    outcomes = prepare(find_recordings(source), out)
    assert [one.made for one in outcomes] == [False, False, False]
    assert set(before) == set(out.rglob("*.npz"))
    # shards that lie within the source are not prepared
    assert len(find_recordings(tmp_path)) == 3


def test_a_damaged_recording_leaves_nothing_and_the_rest_is_done(
    source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    whole = (source / "a.aedat4").read_bytes()
    (source / "a.aedat4").write_bytes(whole[:5000])
    (source / "empty.npz").touch()
    outcomes = prepare(find_recordings(source), out, workers=2)
    assert [bool(one.error) for one in outcomes] == [True, False, False, True]
    assert "a.aedat4: cut short at byte 5000" in outcomes[0].error
    assert sorted(p.name for p in out.iterdir()) == ["c", "deep", LIST]
    failed = json.loads((out / LIST).read_text())["failed"]
    assert [one["name"] for one in failed] == ["a", "empty"]
    (source / "a.aedat4").write_bytes(whole)
    assert [one.made for one in prepare(find_recordings(source), out)][0]


def test_what_a_killed_run_left_is_removed_and_gone_on_from(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = (
        "import sys, time, pathlib; from midframe.events import prepare, shards; "
        "real = shards.write_npz\n"
        "def slow(path, arrays):\n    real(path, arrays)\n"
        "    if 'deep' in str(path): print('half', flush=True); time.sleep(1000)\n"
        "shards.write_npz = slow\n"
        "prepare.prepare(prepare.find_recordings(sys.argv[1]), sys.argv[2])\n"
    )
    command = [sys.executable, "-c", code, str(source), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as run:
        assert run.stdout is not None and run.stdout.readline() == b"half\n"
        os.kill(run.pid, signal.SIGKILL)
    assert not (out / "deep" / "er" / "b").exists()
    assert [p.suffix for p in (out / "deep" / "er").iterdir()] == [".part"]
    outcomes = prepare(find_recordings(source), out)
    assert [one.made for one in outcomes] == [False, False, True]
    assert [p.name for p in (out / "deep" / "er").iterdir()] == ["b"]


def test_reading_processes_end_with_the_process_that_asked(source: Path) -> None:
    code = (
        "import sys; from midframe.events.process import Process; p = Process(); p._start(); "
        "print(p._process.pid, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as run:
        assert run.stdout is not None
        child = int(run.stdout.readline())
        run.kill()
    for _ in range(400):
        state = Path(f"/proc/{child}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            break
        time.sleep(0.025)
    else:
        pytest.fail("the reading process is still there")


def test_what_cannot_be_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        find_recordings(tmp_path / "nothing")
    with pytest.raises(UserError, match="no recording"):
        find_recordings(tmp_path)
    (tmp_path / "a.mp4").touch()
    with pytest.raises(UserError, match="recordings are"):
        find_recordings(tmp_path / "a.mp4")
    save_recording(drawn(), tmp_path / "a.npz")
    with pytest.raises(UserError, match="cannot write to"):
        prepare(find_recordings(tmp_path / "a.npz"), tmp_path / "a.mp4")
    with pytest.raises(UserError, match="0 workers"):
        prepare(find_recordings(tmp_path / "a.npz"), tmp_path / "out", workers=0)
    (tmp_path / "a.aedat4").touch()
    with pytest.raises(UserError, match="one name"):
        find_recordings(tmp_path)
    monkeypatch.setattr(module, "choose_reader", lambda name: 1 / 0)
    prepare(find_recordings(tmp_path / "a.npz"), tmp_path / "out")  # needs no reader
