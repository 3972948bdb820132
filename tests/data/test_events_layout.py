"""Prepared recordings as a data set: windows as published, true frames between, and the splits."""

from __future__ import annotations

import numpy as np
import pytest

from midframe.data.dataset import ClipDataset
from midframe.data.layouts.events import recordings, write_example
from midframe.data.records import Box, check_clips
from midframe.errors import UserError
from midframe.events.bins import edges, signed_counts
from midframe.events.records import Events, Recording
from midframe.events.shards import open_shards, write_shards


def _recording(count: int, seed: int = 0, start: int = 1_600_000_000_000_000) -> Recording:
    rng = np.random.default_rng(seed)
    times = start + np.cumsum(rng.integers(900, 1100, count))
    t = np.sort(rng.integers(times[0], times[-1], 4000))
    x, y = rng.integers(0, 24, 4000), rng.integers(0, 16, 4000)
    p = rng.choice([-1, 1], 4000)
    events = Events(t, x.astype(np.int16), y.astype(np.int16), p.astype(np.int8))
    frames = rng.integers(0, 256, (count, 16, 24), dtype=np.uint8)
    return Recording(events, frames, times, 16, 24, f"made{seed}")


@pytest.fixture
def one(tmp_path):
    made = _recording(30)
    write_shards(made, tmp_path / "one" / "street")
    return tmp_path / "one", made


@pytest.mark.parametrize("polarity, mark", [("released", "rel"), ("unit", "unit")])
def test_published_training_samples_come_out(golden, tmp_path, polarity, mark):
    with np.load(golden("wevi/events.npz")) as found:
        published = dict(found)
    events = Events(*(published[f"event_{name}"] for name in "txyp"))
    frames = published["frames"][..., 0]
    frames = np.concatenate([frames, np.zeros_like(frames[:1])])  # the last one is never stored
    write_shards(Recording(events, frames, published["frame_t"], 180, 240), tmp_path / "a")
    clips = recordings(tmp_path, "test", 1, polarity=polarity, published_count=True)
    assert len(clips) == 3 and len(recordings(tmp_path, "test", 1)) == 5
    dataset = ClipDataset(clips, 1)
    for number in range(3):
        sample = dataset[number]
        np.testing.assert_array_equal(sample.frames[0, ..., 2], published[f"train{number}_I0"][0])
        np.testing.assert_array_equal(sample.target[0, ..., 0], published[f"train{number}_It"][0])
        np.testing.assert_array_equal(sample.frames[1, ..., 1], published[f"train{number}_I1"][0])
        for name, found in (
            ("E0", sample.events_ends[0]),
            ("Et", sample.events[0]),
            ("E1", sample.events_ends[1]),
        ):
            expected = published[f"{mark}_train{number}_{name}"]
            np.testing.assert_array_equal(np.moveaxis(found, -1, 0), expected)


def test_triplets_are_every_window_of_five_frames(one):
    root, made = one
    clips = recordings(root, "test", 1)
    check_clips(clips, 1, "events")
    assert len(clips) == 30 - 4 and clips[0].id == "street/000001"
    assert len(recordings(root, "test", 1, published_count=True)) == 30 - 1 - 5
    assert len(recordings(root, "test", 1, stride=3)) == 9
    sample = ClipDataset(clips, 1)[7]
    np.testing.assert_array_equal(sample.frames[..., 0], made.frames[[8, 10]])
    np.testing.assert_array_equal(sample.target[..., 0], made.frames[[9]])
    around = edges(*made.times[8:11])
    expected = signed_counts(made.events, around, 16, 24)
    np.testing.assert_array_equal(np.moveaxis(sample.events[0], -1, 0), expected)


def test_four_frames_of_a_slow_recording_are_every_second(one):
    root, made = one
    clips = recordings(root, "test", 2)
    check_clips(clips, 2, "events")
    assert len(clips) == 30 - 6 and clips[0].inputs == (0, 2, 4, 6) and clips[0].targets == (3,)
    sample = ClipDataset(clips, 2)[5]
    np.testing.assert_array_equal(sample.frames[..., 0], made.frames[[5, 7, 9, 11]])
    np.testing.assert_array_equal(sample.target[..., 0], made.frames[[8]])
    for centre, found in ((8, sample.events[0]), (7, sample.events_ends[0])):
        around = edges(*made.times[centre - 1 : centre + 2])  # an interval, as in training
        expected = signed_counts(made.events, around, 16, 24)
        np.testing.assert_array_equal(np.moveaxis(found, -1, 0), expected)


def test_a_fast_recording_has_true_frames_between(one):
    root, made = one
    train = recordings(root, "test", 1, factor=4)
    assert len(train) == 4 and train[1].id == "street/000008"  # the second of 4, 8, 12, 16, 20
    sample = ClipDataset(train, 1)[1]
    np.testing.assert_array_equal(sample.frames[..., 0], made.frames[[8, 16]])
    clips = recordings(root, "test", 2, factor=4)
    check_clips(clips, 2, "events")
    assert len(clips) == 5 and clips[0].inputs == (0, 4, 8, 12) and clips[0].targets == (5, 6, 7)
    sample = ClipDataset(clips, 2)[1]
    assert sample.t.tolist() == [0.25, 0.5, 0.75]
    np.testing.assert_array_equal(sample.target[..., 0], made.frames[[9, 10, 11]])
    around = edges(*made.times[[9 - 4, 9, 9 + 4]])  # the same fraction of the gaps beside
    expected = signed_counts(made.events, around, 16, 24)
    np.testing.assert_array_equal(np.moveaxis(sample.events[0], -1, 0), expected)


def test_a_crop_has_the_events_of_its_place(one):
    root, _ = one
    source = recordings(root, "test", 1)[3].events[1]
    np.testing.assert_array_equal(source.read(Box(2, 5, 9, 11)), source.read()[2:11, 5:16])
    assert source.size() == (16, 24)
    with pytest.raises(UserError, match="do not lie inside"):
        source.read(Box(10, 0, 9, 4))


def test_recordings_are_held_out_whole(tmp_path):
    for number in range(5):
        write_shards(_recording(9, number), tmp_path / f"day{number % 2}" / f"r{number}")

    def groups(split, **options):
        return sorted({clip.group for clip in recordings(tmp_path, split, **options)})

    assert groups("train") == ["day0/r0", "day0/r2", "day0/r4", "day1/r1"]
    assert groups("val") == ["day1/r3"]
    assert groups("val", val_share=0.4) == ["day1/r1", "day1/r3"]
    assert groups("val", val_share=0.99) == groups("test")[1:]
    assert len(groups("test")) == 5


def test_of_a_single_recording_the_end_is_held_out(one):
    root, made = one
    train, val = recordings(root, "train", val_share=0.3), recordings(root, "val", 2, val_share=0.3)
    assert {clip.group for clip in train} == {"street/begin"}
    assert {clip.group for clip in val} == {"street/end"}
    last = max(frame.number for clip in train for frame in clip.frames)
    first = min(frame.number for clip in val for frame in clip.frames)
    assert last == 21 - 2 and first == 21
    latest = max(max(source.edges) for clip in train for source in clip.events.values())
    earliest = min(min(source.edges) for clip in val for source in clip.events.values())
    assert latest < earliest and latest == made.times[20]
    assert len(recordings(root / "street", "test")) == 26  # the folder itself


def test_events_around_ends_are_an_option(one):
    root, _ = one
    assert set(recordings(root, "test", gives=["events"])[0].events) == {1}
    with pytest.raises(UserError, match="data.layout.gives"):
        recordings(root, "test", gives=["motion"])


def test_a_folder_being_written_is_left_alone(one):
    root, made = one
    write_shards(made, root / ".street.aside")
    assert {clip.group for clip in recordings(root, "test")} == {"street"}


def test_what_cannot_be_is_said(tmp_path, one):
    root, _ = one
    for options, message in (
        ({"factor": 0}, "factor=0"),
        ({"polarity": "x"}, "polarity=x"),
        ({"val_share": 1.0}, "val_share=1.0"),
        ({"stride": 0}, "stride=0"),
        ({"factor": 9}, "no recording of the split 'train' has the 37 frames.* longest has 24"),
    ):
        with pytest.raises(UserError, match=message):
            recordings(root, "train", **options)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no prepared recording"):
        recordings(tmp_path / "empty", "train")
    with pytest.raises(UserError, match="no split 'all'"):
        recordings(root, "all")
    with pytest.raises(UserError, match="4 input frames and the model takes 6"):
        recordings(root, "train", 3)


def test_the_example_serves_every_way(tmp_path):
    write_example(tmp_path)
    for split in ("train", "val", "test"):
        for context in (1, 2):
            for factor in (1, 4):
                assert recordings(tmp_path, split, context, factor=factor)
    shards = open_shards(tmp_path / "waves0")
    assert shards.count == 21 and len(shards.events(0, 1 << 60)) > 1000
