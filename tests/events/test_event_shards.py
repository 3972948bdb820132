"""Shards give back what was written, and damaged ones say so without harm."""

from __future__ import annotations

import json
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recordings import assert_same, drawn, same_events

from midframe.errors import UserError
from midframe.events import shards
from midframe.events.records import Recording
from midframe.events.shards import find_shards, open_shards, write_shards
from midframe.events.single import load_recording, save_recording


@pytest.mark.parametrize("most", [64 << 20, 3000, 500])
@pytest.mark.parametrize(
    "recording",
    [
        drawn(1000, 5),
        drawn(1000, 70, 7, 9, colour=True),
        drawn(0, 3),
        drawn(1000, 0),
        drawn(0, 0),
        drawn(500, 3, start=-500_000),
    ],
    ids=["grey", "colour", "no-events", "no-frames", "nothing", "before-0"],
)
def test_what_is_written_is_found(
    recording: Recording, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "_BYTES", most)
    write_shards(recording, tmp_path / "one")
    found = pickle.loads(pickle.dumps(open_shards(tmp_path / "one")))
    assert found == open_shards(tmp_path / "one") and hash(found)
    assert np.array_equal(found.times, recording.times) and found.times.dtype == np.int64
    assert (found.height, found.width) == (recording.height, recording.width)
    assert found.count == len(recording.frames) and found.colour == (recording.frames.ndim == 4)
    for number, frame in enumerate(recording.frames):
        rgb = frame if frame.ndim == 3 else np.stack([frame] * 3, -1)
        assert np.array_equal(found.frame(number), rgb)
    rng = np.random.default_rng(0)
    t, times = recording.events.t, recording.times
    spans = [(-(1 << 60), 1 << 60), (0, 0), (5, 4)]
    spans += [tuple(sorted(rng.integers(-600_000, 3_000_000, 2).tolist())) for _ in range(20)]
    spans += [(int(a), int(b)) for a, b in zip(times, times[1:])]
    spans += [(int(a), int(a) + 1) for a in t[:10]]
    for start, stop in spans:
        assert same_events(found.events(start, stop), recording.events.between(start, stop))


def test_times_that_many_events_share_stay_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "_BYTES", 100)
    recording = drawn(300, 2)
    events = replace(recording.events, t=np.sort(recording.events.t // 20_000 * 20_000))
    recording = replace(recording, events=events)
    about = write_shards(recording, tmp_path / "one")
    assert len(about["shards"]) > 4
    found = open_shards(tmp_path / "one")
    for time in np.unique(events.t).tolist():
        assert same_events(found.events(time, time + 1), events.between(time, time + 1))


def test_manifest_says_what_there_is(tmp_path: Path) -> None:
    recording = drawn(100, 40)
    source = {"name": "a.aedat4", "sha256": "5a"}
    write_shards(recording, tmp_path / "one", source=source, notes=["2 of 102 left out"])
    about = json.loads((tmp_path / "one" / "manifest.json").read_text())
    assert about["polarity"] == "1 is brighter (ON), -1 is darker (OFF)"
    assert about["source"] == source and about["notes"] == ["2 of 102 left out"]
    assert about["on"] == (recording.events.p == 1).sum() and about["events"] == 100
    assert about["origin"] == min(recording.events.t[0], recording.times[0])
    assert [shard["frames"] for shard in about["shards"]] == [32, 8]
    assert open_shards(tmp_path / "one").about["frames"] == 40
    with zipfile.ZipFile(tmp_path / "one" / "00000.npz") as file:
        assert file.testzip() is None


def test_a_folder_is_replaced_only_if_it_is_a_recording(tmp_path: Path) -> None:
    write_shards(drawn(seed=1), tmp_path / "a" / "one")
    write_shards(drawn(seed=2), tmp_path / "a" / "one")
    assert np.array_equal(
        open_shards(tmp_path / "a" / "one").frame(0)[..., 0], drawn(seed=2).frames[0]
    )
    (tmp_path / "b").mkdir()
    write_shards(drawn(), tmp_path / "b")
    assert find_shards(tmp_path) == [tmp_path / "a" / "one", tmp_path / "b"]
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "thesis.txt").touch()
    with pytest.raises(UserError, match="no recording; give another folder"):
        write_shards(drawn(), tmp_path / "c")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c"]


def test_writing_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: Path, arrays: object) -> None:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shards, "write_npz", fails)
    with pytest.raises(UserError, match="cannot write .*No space"):
        write_shards(drawn(), tmp_path / "one")
    assert list(tmp_path.iterdir()) == []


def test_every_cut_and_flip_of_a_shard_is_noticed(tmp_path: Path) -> None:
    """The archive's checksums cover arrays; its directory is held against the manifest."""
    recording = drawn(50, 2, 6, 8)
    write_shards(recording, tmp_path / "one")
    path = tmp_path / "one" / "00000.npz"
    good = path.read_bytes()
    found = open_shards(tmp_path / "one")
    rng = np.random.default_rng(0)
    harmless = 0
    for number in range(400):
        data = bytearray(good[: int(rng.integers(len(good)))] if number % 4 == 0 else good)
        if number % 4:
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        shards._read_shard.cache_clear()
        try:
            frames = [found.frame(k)[..., 0] for k in range(2)]
            events = found.events(0, 1 << 60)
        except UserError as error:
            assert str(path) in str(error)
            continue
        harmless += 1  # of the directory: a date, say
        assert np.array_equal(frames, recording.frames) and same_events(events, recording.events)
    assert harmless < 200


def test_sizes_are_not_believed(tmp_path: Path) -> None:
    write_shards(drawn(50, 2, 6, 8), tmp_path / "one")
    manifest = tmp_path / "one" / "manifest.json"
    good = json.loads(manifest.read_text())
    path = tmp_path / "one" / "00000.npz"
    arrays = dict(np.load(path))
    for change, said in (
        ({"frames": np.zeros((1 << 27,), np.uint8)}, "frames is .*, not"),
        ({"t": arrays["t"].astype(np.float64)}, "t is"),
        ({"x": np.full(50, 8, np.int16)}, "outside of its sensor"),
        ({"t": arrays["t"][::-1]}, "go backward"),
        ({"p": np.zeros(50, np.int8)}, "neither 1"),
        ({"y": np.array([{}] * 50, object)}, "y"),
        ({"more": np.zeros(1)}, "it holds"),
    ):
        np.savez_compressed(path, **{**arrays, **change})
        shards._read_shard.cache_clear()
        with pytest.raises(UserError, match=f"00000.npz.*{said}"):
            open_shards(tmp_path / "one").events(0, 1 << 60)
    shard = good["shards"][0]
    for change, said in (
        ({"shards": [{**shard, "events": 1 << 60}], "events": 1 << 60}, "claims"),
        ({"shards": [{**shard, "file": "../../x.npz"}]}, "does not follow"),
        ({"shards": [{**shard, "first": 1}]}, "does not follow"),
        ({"height": 1 << 40}, "cannot be"),
        ({"times": good["times"][::-1]}, "times of frames"),
        ({"events": 49}, "number of events"),
        ({"version": 99}, "another version"),
        ({"kind": "pack"}, "not a recording"),
        ({"shards": [{}]}, "damaged"),
        ({"colour": None, "shards": None}, "damaged"),
    ):
        manifest.write_text(json.dumps({**good, **change}))
        with pytest.raises(UserError, match=f"manifest.json.*{said}"):
            open_shards(tmp_path / "one")
    manifest.write_text("{")
    with pytest.raises(UserError, match="damaged"):
        open_shards(tmp_path / "one")
    with pytest.raises(UserError, match="cannot be read"):
        open_shards(tmp_path / "two")


@pytest.mark.parametrize("recording", [drawn(colour=True), drawn(0, 0), drawn(start=-90_000)])
def test_a_recording_in_one_file(recording: Recording, tmp_path: Path) -> None:
    path = tmp_path / "one.npz"
    save_recording(recording, path)
    assert_same(load_recording(path), recording)
    assert [p.name for p in tmp_path.iterdir()] == ["one.npz"]


def test_one_file_that_is_something_else(tmp_path: Path) -> None:
    path = tmp_path / "one.npz"
    np.savez(path, a=np.zeros(3))
    with pytest.raises(UserError, match="one.npz: not a recording; it holds a"):
        load_recording(path)
    save_recording(drawn(), path)
    good = path.read_bytes()
    rng = np.random.default_rng(0)
    for number in range(200):
        data = bytearray(good[: int(rng.integers(len(good)))] if number % 4 == 0 else good)
        for place in rng.integers(0, max(len(data), 1), 3 if number % 4 else 0):
            data[place] = int(rng.integers(256))
        path.write_bytes(data)
        try:
            load_recording(path)
        except UserError as error:
            assert "one.npz" in str(error)
    with pytest.raises(UserError, match="no such file"):
        load_recording(tmp_path / "two.npz")
    with pytest.raises(UserError, match=r"\*.npz"):
        save_recording(drawn(), tmp_path / "two.zip")
