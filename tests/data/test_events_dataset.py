"""Events of clips: read and cropped with the frames, augmented with them, stacked into batches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch

from midframe.data.dataset import ClipDataset, collate
from midframe.data.io import cut
from midframe.data.layouts.events_synthetic import events_synthetic
from midframe.data.module import Data
from midframe.data.pack import pack_clips
from midframe.data.records import Box, Clip, Sample, Ticket, check_clips
from midframe.data.transforms import Augment, Plan
from midframe.errors import UserError

SIZE = (12, 16)


@dataclass(frozen=True)
class Made:
    """A picture that follows from a number: frames of 3 channels, events of ``bins``."""

    number: int
    bins: int = 3
    size_: tuple[int, int] = SIZE

    def size(self):
        return self.size_

    def read(self, box=None):
        rng = np.random.default_rng([self.number, self.bins])
        low, kind = (0, np.uint8) if self.bins == 3 else (-10, np.int8)
        picture = rng.integers(low, 11, (*self.size_, self.bins)).astype(kind)
        return picture if box is None else cut(picture, box)


FRAMES = tuple(Made(i) for i in range(7))
EVENTS = {i: Made(i, 8) for i in (2, 3, 4)}
CLIP = Clip("a/0", FRAMES, (0, 2, 4, 6), (3,), group="a", events=EVENTS)


def _sample() -> Sample:
    return ClipDataset([CLIP], 2)[0]


@pytest.mark.parametrize(
    "given, message",
    [
        ((3,), None),
        ((2, 3, 4), None),
        ((), None),
        ((2, 4), "events are given around every target"),
        ((2, 3), "around one of the inputs .2, 4.; give both"),
        ((1, 3), "events are given around every target"),
    ],
)
def test_events_belong_to_all_targets_and_to_both_ends_or_neither(given, message):
    clip = replace(CLIP, events={i: Made(i, 8) for i in given})
    if message is None:
        check_clips([clip], 2, "mine")
        return
    with pytest.raises(UserError, match=message) as error:
        check_clips([clip], 2, "mine")
    assert "clip 'a/0'" in str(error.value)


def test_a_sample_holds_events_of_targets_and_ends_inside_the_crop():
    for seed in range(3):
        sample = ClipDataset([CLIP], 2, augment=Augment(crop=(5, 7)), seed=seed)[0]
        place = np.flatnonzero(
            [
                np.array_equal(cut(Made(3).read(), Box(t, c, 5, 7)), sample.target[0])
                for t in range(8)
                for c in range(10)
            ]
        )
        box = Box(place[0] // 10, place[0] % 10, 5, 7)
        np.testing.assert_array_equal(sample.events[0], EVENTS[3].read(box))
        ends = np.stack([EVENTS[2].read(box), EVENTS[4].read(box)])
        np.testing.assert_array_equal(sample.events_ends, ends)


def test_without_events_around_ends_there_are_none():
    sample = ClipDataset([replace(CLIP, events={3: Made(3, 8)})], 2)[0]
    assert sample.events is not None and sample.events_ends is None
    assert ClipDataset([replace(CLIP, events={})], 2)[0].events is None


def test_events_of_another_size_are_told():
    clip = replace(CLIP, events={3: Made(3, 8, (12, 15))})
    with pytest.raises(UserError, match="clip a/0.*15x12"):
        ClipDataset([clip], 2)[0]


def test_times_that_are_drawn_have_no_events_of_their_own():
    with pytest.raises(UserError, match="clip a/0 has events.*data.times=fixed"):
        ClipDataset([CLIP], 2, times="any")[0]


def test_drawn_targets_have_their_events():
    clip = Clip("b", FRAMES, (0, 6), (1, 2, 3, 4, 5), events={i: Made(i, 8) for i in range(1, 6)})
    for epoch in range(8):
        sample = ClipDataset([clip], 1, targets=2, augment=Augment())[Ticket(epoch, 0)]
        drawn = [round(6 * t) for t in sample.t.tolist()]
        expected = np.stack([Made(i, 8).read() for i in drawn])
        np.testing.assert_array_equal(sample.events, expected)


def test_a_batch_has_planes_of_counts():
    batch = collate([_sample(), _sample()])
    assert batch.inputs.events.shape == (2, 1, 8, *SIZE) and batch.inputs.events.dtype == torch.int8
    assert batch.inputs.events_ends.shape == (2, 2, 8, *SIZE)
    expected = np.moveaxis(EVENTS[3].read(), -1, 0)
    np.testing.assert_array_equal(batch.inputs.events[1, 0].numpy(), expected)
    ready = batch.float()
    assert ready.inputs.events.dtype == torch.float32
    np.testing.assert_array_equal(ready.inputs.events[1, 0].numpy(), expected)


def test_samples_with_and_without_events_share_no_batch():
    for name in ("events", "events_ends"):
        with pytest.raises(UserError, match="cannot share a batch: only one has events"):
            collate([_sample(), replace(_sample(), **{name: None})])


STEPS = {
    "vertical_flip": lambda x: x[:, ::-1],
    "horizontal_flip": lambda x: x[:, :, ::-1],
    "transpose": lambda x: x.swapaxes(1, 2),
    "turns": lambda x: np.rot90(x, axes=(1, 2)),
    "channel_order": lambda x: x,
}


@pytest.mark.parametrize("name", STEPS)
def test_events_move_with_the_frames(name):
    sample = _sample()
    changed = Plan(Box(0, 0, *SIZE), **{name: 1 if name == "turns" else True}).apply(sample)
    np.testing.assert_array_equal(changed.events, STEPS[name](sample.events))
    np.testing.assert_array_equal(changed.events_ends, STEPS[name](sample.events_ends))
    if name != "channel_order":
        np.testing.assert_array_equal(changed.frames, STEPS[name](sample.frames))


def test_time_reversal_turns_bins_signs_targets_and_ends_round():
    clip = Clip("b", FRAMES, (0, 6), (1, 4), events={i: Made(i, 8) for i in (0, 1, 4, 6)})
    sample = ClipDataset([clip], 1)[0]
    found = Plan(Box(0, 0, *SIZE), time_reversal=True).apply(sample)
    first, second = sample.events
    np.testing.assert_array_equal(found.events, [-second[..., ::-1], -first[..., ::-1]])
    before, after = sample.events_ends
    np.testing.assert_array_equal(found.events_ends, [-after[..., ::-1], -before[..., ::-1]])
    np.testing.assert_allclose(found.t, [2 / 6, 5 / 6], rtol=1e-6)


def test_enlarged_events_are_repeated_where_the_frames_are():
    sample = _sample()
    crop = Box(3, 5, 9, 11)
    found = Plan(Box(0, 0, *SIZE), enlarged=crop).apply(sample)
    rows, columns = (np.arange(3, 12) // 2)[:, None], np.arange(5, 16) // 2
    np.testing.assert_array_equal(found.events, sample.events[:, rows, columns])
    assert found.events.dtype == np.int8 and found.frames.shape[1:3] == (9, 11)


def _data(**options) -> Data:
    layout = partial(events_synthetic, size=32, scenes=3, val_scenes=2, motion=3.0)
    return Data("scenes", layout, workers=0, crop=16, global_batch=2, **options)


def test_validation_may_read_more_frames_than_training():
    data = _data(val={"split": "val", "batch": 2, "context": 2, "crop": 16})
    (train,), (val,) = data.train_loader(steps=1), data.val_loader()
    assert train.inputs.frames.shape[:2] == (2, 2) and train.inputs.t.tolist() == [[0.5]] * 2
    assert (
        val.inputs.frames.shape[:2] == (2, 4) and val.inputs.t.tolist() == [[0.25, 0.5, 0.75]] * 2
    )
    assert val.inputs.events.shape == (2, 3, 8, 16, 16)
    assert val.inputs.events_ends.shape == (2, 2, 8, 16, 16)
    assert "2 input frames (4 in validation)" in data.describe()
    assert len(data.clips("train")[0].inputs) == 2 and len(data.clips("val")[0].inputs) == 4
    assert _data(val={"split": "val"}).val_context == 1
    assert data.fingerprint() != _data(val={"split": "val"}).fingerprint()


def test_one_split_may_be_trained_and_validated_on_with_different_frames():
    data = _data(val={"split": "train", "context": 2, "crop": 16})
    assert len(data.train_set.clips[0].inputs) == 2 and len(data.val_set.clips[0].inputs) == 4


@pytest.mark.parametrize("context", [0, -1, "two"])
def test_a_context_is_a_positive_number(context):
    with pytest.raises(UserError, match="data.val.context="):
        _data(val={"context": context})


def test_counts_as_released_cannot_be_played_backward():
    layout = partial(events_synthetic, polarity="released")
    with pytest.raises(UserError, match="data.augment.time_reversal"):
        Data("scenes", layout, augment={"time_reversal": 0.5})
    Data("scenes", layout, augment={"horizontal_flip": 0.5})


def test_a_pack_holds_no_events(tmp_path):
    with pytest.raises(UserError, match="clip a/0 has events, which a pack does not hold"):
        pack_clips({"train": [CLIP]}, tmp_path / "pack", context=2)
    assert not (tmp_path / "pack").exists()
