"""Four input frames at the ends of a shot: what stands in for frames that are not there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from midframe.data.cutting import Cutting, Shot, cut_clips
from midframe.data.dataset import ClipDataset
from midframe.data.records import Box, Ticket, check_clips


@dataclass(frozen=True)
class Numbered:
    """A frame that shows its number."""

    number: int

    def size(self) -> tuple[int, int]:
        return 4, 6

    def read(self, box: Box | None = None) -> np.ndarray:
        return np.full((4, 6, 3), self.number, np.uint8)


def _shot(count: int) -> Shot:
    motion = (0.0, *[20.0] * (count - 1))
    return Shot("shot", tuple(map(Numbered, range(count))), tuple(range(100, 100 + count)), motion)


def _seen(clip) -> tuple[list[int], list[int]]:
    """Return the numbers of the frames that a model gets, and of those that it has to predict."""
    sample = ClipDataset([clip], len(clip.inputs) // 2)[0]
    return sample.frames[:, 0, 0, 0].tolist(), sample.target[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("gap", "stride", "expected"),
    [
        # ten frames, 0 to 9; the first and last gaps, and one of which all is there
        (2, 1, {100: ([0, 0, 2, 4], [1]), 101: ([0, 1, 3, 5], [2]), 102: ([0, 2, 4, 6], [3])}),
        (2, 1, {105: ([3, 5, 7, 9], [6]), 106: ([4, 6, 8, 9], [7]), 107: ([5, 7, 9, 9], [8])}),
        (4, 1, {100: ([0, 0, 4, 8], [1, 2, 3]), 103: ([0, 3, 7, 9], [4, 5, 6])}),
        # with every second frame: 0 2 4 6 8 and 1 3 5 7 9
        (2, 2, {100: ([0, 0, 4, 8], [2]), 101: ([1, 1, 5, 9], [3]), 105: ([1, 5, 9, 9], [7])}),
    ],
)
def test_the_first_or_last_frame_stands_in(gap, stride, expected):
    found = {
        int(clip.id.split("/")[1]): clip
        for clip in cut_clips(_shot(10), 2, Cutting(gap=gap, stride=stride))
    }
    assert {start: _seen(found[start]) for start in expected} == expected


@pytest.mark.parametrize("context", [2, 3])
@pytest.mark.parametrize("cutting", [Cutting(), Cutting(gap=4), Cutting(gap=3, stride=2, step=2)])
def test_all_models_learn_from_the_same_gaps(context, cutting):
    shot = _shot(24)
    pairs, more = cut_clips(shot, 1, cutting), cut_clips(shot, context, cutting)
    check_clips(more, context, "mine")
    assert [clip.id for clip in more] == [clip.id for clip in pairs]
    for pair, clip in zip(pairs, more):
        frames, targets = _seen(clip)
        assert (frames[context - 1 : context + 1], targets) == _seen(pair)
        assert [clip.time(i) for i in clip.targets] == [pair.time(i) for i in pair.targets]
        assert frames == sorted(frames)


def test_dropping_leaves_what_is_whole():
    clips = cut_clips(_shot(10), 2, Cutting(ends="drop"))
    assert [_seen(clip) for clip in clips] == [
        ([0, 2, 4, 6], [3]),
        ([1, 3, 5, 7], [4]),
        ([2, 4, 6, 8], [5]),
        ([3, 5, 7, 9], [6]),
    ]
    assert not cut_clips(_shot(6), 2, Cutting(ends="drop"))


def test_a_video_of_one_gap_serves_four_inputs():
    (clip,) = cut_clips(_shot(3), 2, Cutting())
    assert _seen(clip) == ([0, 0, 2, 2], [1])


@pytest.mark.parametrize("context", [2, 3])
def test_any_times_of_clips_at_the_ends_are_true(context):
    """A frame that stands in for another is an outer input only, never one beside the target."""
    for clip in cut_clips(_shot(20), context, Cutting(gap=5)):
        dataset = ClipDataset([clip], context, times="any")
        for epoch in range(60):
            sample = dataset[Ticket(epoch, 0)]
            frames = sample.frames[:, 0, 0, 0].astype(int)
            start, end = frames[context - 1 : context + 1]
            assert start < sample.target[0, 0, 0, 0] < end
            assert sample.t[0] == pytest.approx(
                (int(sample.target[0, 0, 0, 0]) - start) / (end - start)
            )
            assert (np.diff(frames) >= 0).all()
