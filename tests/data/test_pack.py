"""Packing stores every frame once, goes on after a stop, and never leaves half a shard."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import fakes
import numpy as np
import pytest

from midframe.data import pack as packing
from midframe.data.pack import pack_clips
from midframe.data.records import Box, Clip, PartialClips
from midframe.data.shards import open_packed
from midframe.errors import UserError
from midframe.launch.pack import run

READ: list[int] = []
FAULTS: dict[int, type[BaseException]] = {}
FRAME = 8 * 6 * 3  # bytes


@dataclass(frozen=True)
class Numbered:
    """A frame whose pixels all have its number."""

    number: int

    def size(self) -> tuple[int, int]:
        return 8, 6

    def read(self, box: Box | None = None) -> np.ndarray:
        if self.number in FAULTS:
            raise FAULTS[self.number](f"frame-{self.number}.png: damaged")
        READ.append(self.number)
        return np.full((8, 6, 3), self.number, np.uint8)


@dataclass(frozen=True)
class Motion:
    """A flow field that is the same everywhere."""

    value: float

    def size(self) -> tuple[int, int]:
        return 8, 6

    def read(self, box: Box | None = None) -> np.ndarray:
        return np.full((8, 6, 2), self.value, np.float32)


@pytest.fixture(autouse=True)
def _fresh():
    READ.clear()
    FAULTS.clear()


def _windows(count: int) -> list[Clip]:
    """Triplets that overlap: frame n is in up to three of them."""
    frames = [Numbered(n) for n in range(count + 2)]
    return [Clip(f"c{i}", tuple(frames[i : i + 3]), (0, 2), (1,)) for i in range(count)]


def _numbers(out: Path, split: str = "train") -> list[list[int]]:
    return [[int(f.read()[3, 2, 1]) for f in c.frames] for c in open_packed(out, split)]


def test_frames_that_clips_share_are_read_and_stored_once(tmp_path):
    done = pack_clips({"train": _windows(20)}, tmp_path, context=1, shard_bytes=5 * FRAME)
    assert sorted(READ) == list(range(22))
    assert sum(p.stat().st_size for p in tmp_path.rglob("*.bin")) == 22 * FRAME
    assert done.shards == len(list(tmp_path.rglob("*.bin"))) > 2
    assert _numbers(tmp_path) == [[i, i + 1, i + 2] for i in range(20)]


@pytest.mark.parametrize("stop", [0, 7, 21])
def test_after_a_stop_finished_shards_are_kept(tmp_path, stop):
    out, clips = tmp_path / "out", {"train": _windows(20), "val": _windows(3)}
    FAULTS[stop] = KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        pack_clips(clips, out, context=1, shard_bytes=5 * FRAME)
    with pytest.raises(UserError, match="not finished"):
        open_packed(out, "train")
    finished = {p: p.stat().st_mtime_ns for p in out.rglob("shard-*.json")}
    stored = sum(len(json.loads(p.read_text())["frames"]) for p in finished)
    FAULTS.clear()
    READ.clear()
    done = pack_clips(clips, out, context=1, shard_bytes=5 * FRAME)
    assert done.shards - done.written == len(finished)
    assert [*range(stored, 22), *range(5)] == READ
    assert all(p.stat().st_mtime_ns == time for p, time in finished.items())
    assert _numbers(out) == [[i, i + 1, i + 2] for i in range(20)]
    assert _numbers(out, "val") == [[i, i + 1, i + 2] for i in range(3)]
    assert not list(out.rglob("*.part"))


def test_a_kill_that_cleans_nothing_up_does_no_harm(tmp_path):
    """As after kill -9: a half-written file lies aside, and a shard has no table yet."""
    pack_clips({"train": _windows(20)}, tmp_path, context=1, shard_bytes=5 * FRAME)
    (tmp_path / "train/shard-00002.json").unlink()
    (tmp_path / "train/shard-00002.bin").write_bytes(b"half")
    (tmp_path / "train/shard-00002.bin.1.part").write_bytes(b"half")
    done = pack_clips({"train": _windows(20)}, tmp_path, context=1, shard_bytes=5 * FRAME)
    assert done.written == 1
    assert _numbers(tmp_path) == [[i, i + 1, i + 2] for i in range(20)]
    assert not list(tmp_path.rglob("*.part"))


def test_a_shard_that_lost_bytes_is_written_again(tmp_path):
    clips = {"train": _windows(20)}
    pack_clips(clips, tmp_path, context=1, shard_bytes=5 * FRAME)
    shard = tmp_path / "train/shard-00001.bin"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert pack_clips(clips, tmp_path, context=1, shard_bytes=5 * FRAME).written == 1
    assert _numbers(tmp_path) == [[i, i + 1, i + 2] for i in range(20)]


def test_packing_again_reads_nothing(tmp_path):
    pack_clips({"train": _windows(9)}, tmp_path, context=1)
    READ.clear()
    assert pack_clips({"train": _windows(9)}, tmp_path, context=1).written == 0
    assert READ == []


def test_other_clips_never_mix_with_a_pack(tmp_path):
    pack_clips({"train": _windows(9)}, tmp_path / "a", context=1, name="vimeo")
    with pytest.raises(UserError, match="another pack.*'vimeo'"):
        pack_clips({"train": _windows(8)}, tmp_path / "a", context=1)
    (tmp_path / "b").mkdir()
    (tmp_path / "b/thesis.txt").write_text("x")
    with pytest.raises(UserError, match="not empty"):
        pack_clips({"train": _windows(8)}, tmp_path / "b", context=1)


def _labelled(value: float) -> list[Clip]:
    return [replace(c, flow={1: (Motion(-value), Motion(value))}) for c in _windows(6)]


def _middle(number: int) -> list[Clip]:
    """Windows with the same ids and outer frames, but one middle frame of this number."""
    clips = _windows(6)
    first, _, last = clips[3].frames
    clips[3] = replace(clips[3], frames=(first, Numbered(number), last))
    return clips


def _swapped() -> list[Clip]:
    return [replace(c, frames=c.frames[::-1]) for c in _windows(6)]


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (_labelled(1), _labelled(2)),
        (_windows(6), _labelled(1)),
        (_middle(103), _middle(50)),
        (_windows(6), _swapped()),
    ],
    ids=["other flow", "flow added", "other middle frame", "frames swapped"],
)
def test_frames_and_flow_of_another_time_are_never_taken(tmp_path, before, after, stopped):
    options = {"context": 1, "shard_bytes": 5 * FRAME}
    if stopped:
        FAULTS[7] = KeyboardInterrupt
        with pytest.raises(KeyboardInterrupt):
            pack_clips({"train": [*before, *_windows(7)]}, tmp_path, **options)
        FAULTS.clear()
    else:
        pack_clips({"train": before}, tmp_path, **options)
    with pytest.raises(UserError, match="another pack"):
        pack_clips({"train": [*after, *_windows(7)] if stopped else after}, tmp_path, **options)


def test_the_flow_that_was_given_is_what_is_read(tmp_path):
    for value in (1, 2):
        pack_clips({"train": _labelled(value)}, tmp_path / str(value), context=1)
        (before, after) = open_packed(tmp_path / str(value), "train")[4].flow[1]
        assert (before.read() == -value).all() and (after.read() == value).all()


def test_an_unreadable_frame_is_named_or_its_clips_are_left_out(tmp_path):
    FAULTS[4] = UserError
    with pytest.raises(UserError, match="frame-4.png"):
        pack_clips({"train": _windows(9)}, tmp_path / "a", context=1)
    done = pack_clips({"train": _windows(9)}, tmp_path / "b", context=1, on_error="skip")
    assert (done.clips, done.skipped) == (6, 3)
    assert _numbers(tmp_path / "b") == [[i, i + 1, i + 2] for i in (0, 1, 5, 6, 7, 8)]


@pytest.mark.parametrize("bad", [0, 1])
def test_skip_survives_a_damaged_beginning(tmp_path, monkeypatch, bad):
    """The first frames say how big shards get; a missing one does not even have a size."""
    faults = range(bad + 1)
    FAULTS.update(dict.fromkeys(faults, UserError))
    monkeypatch.setattr(Numbered, "size", _size_unless_missing)
    with pytest.raises(UserError, match="frame-0.png"):
        pack_clips({"train": _windows(9)}, tmp_path / "a", context=1)
    options = {"context": 1, "shard_bytes": 5 * FRAME}
    done = pack_clips({"train": _windows(9)}, tmp_path / "b", on_error="skip", **options)
    assert (done.clips, done.skipped) == (8 - bad, 1 + bad) and done.shards > 1
    assert _numbers(tmp_path / "b") == [[i, i + 1, i + 2] for i in range(bad + 1, 9)]


def _size_unless_missing(frame: Numbered) -> tuple[int, int]:
    if frame.number in FAULTS:
        raise UserError(f"frame-{frame.number}.png: no such file")
    return 8, 6


def test_what_raise_has_stopped_goes_on_with_skip(tmp_path):
    FAULTS[12] = UserError
    clips, options = {"train": _windows(20)}, {"context": 1, "shard_bytes": 5 * FRAME}
    with pytest.raises(UserError, match="frame-12.png.*data.on_error=skip"):
        pack_clips(clips, tmp_path, **options)
    finished = len(list(tmp_path.rglob("shard-*.json")))
    READ.clear()
    done = pack_clips(clips, tmp_path, on_error="skip", **options)
    assert finished > 0 and done.shards - done.written == finished
    assert (done.clips, done.skipped) == (17, 3) and 0 not in READ


def test_raise_takes_no_pack_that_lacks_something(tmp_path):
    FAULTS[12] = UserError
    clips, options = {"train": _windows(20)}, {"context": 1, "shard_bytes": 5 * FRAME}
    pack_clips(clips, tmp_path, on_error="skip", **options)
    with pytest.raises(UserError, match="frame-12.png"):
        pack_clips(clips, tmp_path, **options)
    assert len(open_packed(tmp_path, "train")) == 17  # as it was
    FAULTS.clear()  # mended
    done = pack_clips(clips, tmp_path, **options)
    assert (done.clips, done.skipped, done.written) == (20, 0, 1)
    assert _numbers(tmp_path) == [[i, i + 1, i + 2] for i in range(20)]


def test_a_data_set_that_has_moved_is_the_same(tmp_path, monkeypatch):
    def pack(root):
        clips = {"train": fakes.labelled(root)}
        return pack_clips(clips, tmp_path / "out", context=1, root=root)

    fakes.vimeo_triplets(tmp_path / "a/vimeo")
    assert pack(tmp_path / "a/vimeo").written == 1
    monkeypatch.chdir(tmp_path / "a")
    assert pack(Path("vimeo")).written == pack("./vimeo").written == 0
    (tmp_path / "a").rename(tmp_path / "b")
    assert pack(tmp_path / "b/vimeo").written == 0
    with pytest.raises(UserError, match="another pack"):
        clips = {"train": fakes.labelled(tmp_path / "b/vimeo")}
        pack_clips(clips, tmp_path / "out", context=1)  # of files in another place


def test_entries_that_are_not_there_are_counted(tmp_path):
    clips = {"train": PartialClips(_windows(4), missing=2)}
    assert pack_clips(clips, tmp_path, context=1, on_error="skip").skipped == 2


def test_the_order_of_writing_is_pixels_table_index(tmp_path, monkeypatch):
    """Whatever moment the power goes, what is there under its name is whole."""
    order = []
    write = packing.write_json
    monkeypatch.setattr(
        packing, "write_json", lambda path, content: (order.append(path.name), write(path, content))
    )
    pack_clips({"train": _windows(4)}, tmp_path, context=1)
    assert order == ["pack.json", "shard-00000.json", "index.json", "pack.json"]


def test_the_command_packs_what_its_config_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    size = ["data=synthetic", "data.layout.size=32", "data.layout.scenes=6", "data.crop=32"]
    assert run([*size, "data.layout.val_scenes=2", "out=packed"]) == 0
    said = capsys.readouterr().out
    assert "packed: the splits train and val, no others (data.split, data.val.split)\n" in said
    assert "8 clips in 2 shards" in said
    clips = open_packed(tmp_path / "packed", "train")
    assert len(clips) == 6
    assert all(len(clip.flow) == 1 for clip in clips)
    again = [*size, "data.layout.val_scenes=2", "out=packed", "data.on_error=skip"]
    assert run(again) == 0 and "(2 were there already)" in capsys.readouterr().out
    assert run([*size, "data.layout.val_scenes=3", "out=packed"]) == 2
    assert "another pack" in capsys.readouterr().err
