"""Shards give back what was written, whole or in part, and say when they are damaged."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midframe.data.flow_files import write_flow
from midframe.data.io import ImageFile, write_image
from midframe.data.layouts.vimeo import triplets
from midframe.data.module import Data
from midframe.data.pack import pack_clips
from midframe.data.records import Box, Clip
from midframe.data.shards import (
    ShardFlow,
    ShardFrame,
    ShardWriter,
    is_packed,
    open_packed,
)
from midframe.errors import UserError

RNG = np.random.default_rng(0)
FRAMES = [RNG.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((7, 9), (5, 4), (6, 11))]
FLOW = RNG.normal(0, 20, (7, 9, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    path = tmp_path_factory.mktemp("shard") / "a.bin"
    with ShardWriter(path) as writer:
        places = [writer.add_frame(frame) for frame in FRAMES]
        flow = writer.add_flow(FLOW)
    return [ShardFrame(str(path), *place) for place in places], ShardFlow(str(path), *flow)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_any_part_of_any_frame_is_what_was_written(shard, data):
    which = data.draw(st.integers(0, 2))
    height, width = FRAMES[which].shape[:2]
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    rows = data.draw(st.integers(1, height - top))
    columns = data.draw(st.integers(1, width - left))
    part = shard[0][which].read(Box(top, left, rows, columns))
    assert np.array_equal(part, FRAMES[which][top : top + rows, left : left + columns])


def test_flow_comes_back_in_half_precision(shard):
    whole, part = shard[1].read(), shard[1].read(Box(1, 2, 3, 4))
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole, FLOW, rtol=2**-11)
    assert np.array_equal(part, whole[1:4, 2:6])


def test_a_source_is_small_knows_its_size_and_travels(shard):
    frame, flow = pickle.loads(pickle.dumps((shard[0][2], shard[1])))
    assert len(pickle.dumps(frame)) < 500
    assert (frame.size(), flow.size()) == ((6, 11), (7, 9))
    assert np.array_equal(frame.read(), FRAMES[2])


def test_reading_changes_nothing_on_the_disk(shard):
    with pytest.raises(ValueError, match="read-only"):
        shard[0][0].read()[0, 0] = 0


@pytest.mark.parametrize(
    "box", [Box(0, 0, 8, 9), Box(-1, 0, 2, 2), Box(0, 8, 1, 2), Box(0, 0, 0, 2)]
)
def test_a_part_outside_the_frame_names_the_shard(shard, box):
    """As with pictures in files, so that a clip of frames of two sizes can be skipped."""
    for source in (shard[0][0], shard[1]):
        with pytest.raises(UserError, match=r"a\.bin: .* do not lie inside its 9x7 pixels"):
            source.read(box)


def test_nothing_appears_under_the_name_of_a_shard_that_was_not_finished(tmp_path):
    with pytest.raises(KeyboardInterrupt), ShardWriter(tmp_path / "a.bin") as writer:
        writer.add_frame(FRAMES[0])
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def packed(tmp_path):
    """A packed data set of two triplets, one with flow labels, made from a Vimeo-90K folder."""
    root = tmp_path / "vimeo"
    for name in ("00001/0001", "00001/0002"):
        for i in range(3):
            picture = RNG.integers(0, 256, (10, 12, 3), np.uint8)
            (root / "sequences" / name).mkdir(parents=True, exist_ok=True)
            write_image(root / "sequences" / name / f"im{i + 1}.png", picture)
    (root / "flow/00001/0001").mkdir(parents=True)
    for end in ("t0", "t1"):
        flow = RNG.normal(0, 5, (10, 12, 2)).astype(np.float32)
        write_flow(root / f"flow/00001/0001/flow_{end}.flo", flow)
    for split, names in (("train", "00001/0001\n00001/0002\n"), ("test", "00001/0002\n")):
        (root / f"tri_{split}list.txt").write_text(names)
    data = Data("vimeo", triplets, root)
    clips = {split: data.clips(split) for split in ("train", "test")}
    out = tmp_path / "packed"
    assert not is_packed(out)
    pack_clips(clips, out, context=1, name="vimeo")
    return clips, out


def test_a_packed_data_set_gives_the_same_clips(packed):
    clips, out = packed
    assert is_packed(out)
    for split, originals in clips.items():
        copies = open_packed(out, split, 1)
        assert [c.id for c in copies] == [c.id for c in originals]
        for copy, original in zip(copies, originals):
            assert (copy.inputs, copy.targets, copy.group) == ((0, 2), (1,), original.group)
            for a, b in zip(copy.frames, original.frames):
                assert np.array_equal(a.read(), b.read())
            assert copy.flow.keys() == original.flow.keys()
            for key, pair in copy.flow.items():
                for a, b in zip(pair, original.flow[key]):
                    np.testing.assert_allclose(a.read(), b.read(), rtol=2**-11, atol=1e-7)
    assert [len(c.flow) for c in open_packed(out, "train", 1)] == [1, 0]


def test_a_data_set_that_cannot_serve_says_so(packed):
    out = packed[1]
    with pytest.raises(UserError, match="no split 'val'.*train, test"):
        open_packed(out, "val", 1)
    with pytest.raises(UserError, match="packed for 2 input frames and the model takes 4"):
        open_packed(out, "train", 2)


def _truncate(out):
    path = out / "train/shard-00000.bin"
    path.write_bytes(path.read_bytes()[:-1])


def _remove(out):
    (out / "train/shard-00000.bin").unlink()


def _break_json(out):
    path = out / "train/index.json"
    path.write_text(path.read_text()[:-5])


def _point_nowhere(out):
    path = out / "train/index.json"
    index = json.loads(path.read_text())
    index["clips"][0]["frames"][0] = 99
    path.write_text(json.dumps(index))


def _other_version(out):
    path = out / "train/index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 99}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_truncate, "shard-00000.bin.*bytes instead of"),
        (_remove, "shard-00000.bin.*missing"),
        (_break_json, "index.json.*damaged"),
        (_point_nowhere, "index.json.*damaged"),
        (_other_version, "index.json.*another version"),
    ],
)
def test_damage_is_found_when_the_data_set_is_opened(packed, damage, message):
    damage(packed[1])
    with pytest.raises(UserError, match=message):
        open_packed(packed[1], "train", 1)


def test_clips_from_pictures_need_not_share_a_size(tmp_path):
    paths = []
    for i, frame in enumerate(FRAMES):
        write_image(tmp_path / f"{i}.png", frame)
        paths.append(ImageFile(str(tmp_path / f"{i}.png")))
    clips = [Clip(str(i), (path,) * 3, (0, 2), (1,)) for i, path in enumerate(paths)]
    pack_clips({"train": clips}, tmp_path / "out", context=1)
    copies = open_packed(tmp_path / "out", "train")
    assert all(np.array_equal(c.frames[1].read(), f) for c, f in zip(copies, FRAMES))
