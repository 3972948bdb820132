"""Frames at any position of a video: two and four frames, ends, bisection, memory."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from midframe.errors import UserError
from midframe.models.average import Average
from midframe.models.tiles import Tiled
from midframe.models.timeline import Timeline, ignores_time, parse_times
from midframe.types import Prediction


class Seen(Average):
    """Keeps what it was asked: the level of every frame, and the times."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, x, **hints):
        levels = [round(float(v), 6) for v in x.frames[0, :, 0, 0, 0]]
        self.calls.append((levels, [round(float(t), 6) for t in x.t[0]]))
        return super().forward(x)


class Four(Seen):
    """Cubic through four frames at the middle: exact for the squares that `square` gives."""

    context = 2
    times = "half"

    def forward(self, x, **hints):
        super().forward(x)
        assert (x.t == 0.5).all() and x.frames.shape[1] == 4
        f0, f1, f2, f3 = x.frames.unbind(1)
        return Prediction((9 * (f1 + f2) - (f0 + f3))[:, None] / 16)


class Middle(Seen):
    """Of two frames, and knows only the middle."""

    times = "half"

    def forward(self, x, **hints):
        assert (x.t == 0.5).all()
        return super().forward(x)


class Learns(Seen):
    """Knows every time, which can only be told by asking."""

    trainable = True


class Ignores(Seen):
    trainable = True

    def forward(self, x, **hints):
        x.t = torch.full_like(x.t, 0.5)
        return super().forward(x)


def frame(level):
    return torch.full((3, 2, 2), float(level))


def square(i):
    return frame((i / 10) ** 2)


def levels(frames):
    return [float(f[0, 0, 0]) for f in frames]


def all_between(timeline, times):
    return [levels(timeline.between(gap, times)) for gap in range(timeline.count - 1)]


def test_two_frames_and_any_time():
    model, loaded = Seen(), []

    def load(i):
        loaded.append(i)
        return frame(i / 8)

    found = all_between(Timeline(model, load, 4), parse_times(5))
    assert found == [pytest.approx([(g + k / 5) / 8 for k in range(1, 5)]) for g in range(3)]
    assert loaded == [0, 1, 2, 3] and len(model.calls) == 3  # all times of a gap in one call


def test_two_frames_of_a_model_of_the_middle():
    timeline = Timeline(Middle(), [frame(0), frame(0.96)].__getitem__, 2)
    found = levels(timeline.between(0, parse_times(8)))
    assert found == pytest.approx([0.12 * k for k in range(1, 8)])
    assert timeline.bisects and len(timeline.model.calls) == 7
    assert not timeline.rounds


def test_times_that_halving_does_not_reach_are_taken_nearby():
    timeline = Timeline(Middle(), [frame(0), frame(0.96)].__getitem__, 2)
    found = levels(timeline.between(0, parse_times(3)))
    assert timeline.rounds
    assert found == pytest.approx([0.96 * 21 / 64, 0.96 * 43 / 64])
    assert max(abs(a - 0.96 * b) for a, b in zip(found, (1 / 3, 2 / 3))) < 0.96 / 128
    # the half is shared; whatever is nearest to a frame is that frame
    assert len(timeline.model.calls) == 11
    (near,) = timeline.between(0, [Fraction(1, 1000)])
    assert near is timeline.at(0)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_four_frames_are_bisected_with_four_frames(factor):
    model, loaded = Four(), []

    def load(i):
        loaded.append(i)
        return square(i)

    timeline = Timeline(model, load, 9)
    found = all_between(timeline, parse_times(factor))
    assert timeline.bisects
    assert loaded == list(range(9))
    assert len(model.calls) == 8 * (factor - 1)  # each frame once
    for gap in range(3, 5):  # what the ends reach is not exact
        exact = [((gap + k / factor) / 10) ** 2 for k in range(1, factor)]
        assert found[gap] == pytest.approx(exact, abs=1e-6)


def test_ends_of_a_model_of_four_frames():
    model = Four()
    assert levels(Timeline(model, square, 4).between(0, parse_times(2))) == pytest.approx(
        [(9 * (0 + 0.01) - (0 + 0.04)) / 16]
    )
    assert model.calls[0][0] == [0, 0, 0.01, 0.04]  # the outer frame twice
    timeline = Timeline(Four(), square, 5, "repeat")
    first, *inner, last = all_between(timeline, parse_times(4))
    assert first == [0] * 3 and last == pytest.approx([0.16] * 3)
    assert all(0 < v < 0.16 for gap in inner for v in gap)
    # published: f0 f0 f1 mid f2 mid f3 f4 f4
    assert timeline.model.calls[0][0] == [0, 0.01, 0.04, 0.09]
    # a model of two frames repeats nothing
    pair = Timeline(Seen(), square, 2, "repeat")
    assert levels(pair.between(0, parse_times(2))) == pytest.approx([0.005])


def test_few_frames():
    assert levels(Timeline(Four(), square, 2).between(0, parse_times(2))) == pytest.approx([0.005])
    with pytest.raises(UserError, match="one frame"):
        Timeline(Average(), square, 1)
    with pytest.raises(UserError, match="has 3 frames; with its ends repeated"):
        Timeline(Four(), square, 3, "repeat")
    with pytest.raises(IndexError):
        Timeline(Average(), square, 2).between(1, parse_times(2))
    with pytest.raises(UserError, match="interpolate or repeat"):
        Timeline(Average(), square, 2, "nothing")


def test_frames_that_are_equal_stay_as_they_are_whatever_the_model_makes_of_them():
    class Wrong(Four):
        def forward(self, x, **hints):
            return Prediction(super().forward(x).frame + 0.1)

    timeline = Timeline(Wrong(), lambda i: frame(0.5), 4)
    first = timeline.at(0)
    assert all(torch.equal(f, first) for f in timeline.between(1, parse_times(8)))


def test_weights_that_ignore_the_time_are_bisected():
    video = [0.0, 0.0, 0.4, 0.8]
    timeline = Timeline(Ignores(), lambda i: frame(video[i]), 4)
    found = all_between(timeline, parse_times(4))
    assert found[0] == [0.0, 0.0, 0.0]  # where nothing moves, it cannot be told
    assert found[1:] == [pytest.approx([0.1, 0.2, 0.3]), pytest.approx([0.5, 0.6, 0.7])]
    assert timeline.bisects
    third = Timeline(Ignores(), lambda i: frame(video[i]), 4)
    third.between(0, parse_times(3))
    assert levels(third.between(1, parse_times(3))) == pytest.approx([0.4 * 21 / 64, 0.4 * 43 / 64])
    assert third.bisects and third.rounds


def test_memory_does_not_grow_with_the_length():
    for model in (Seen(), Four()):
        timeline = Timeline(model, square, 200)
        sizes = []
        for gap in range(199):
            timeline.between(gap, parse_times(8))
            sizes.append(len(timeline._known))
        assert max(sizes) == max(sizes[:20]) <= 40


def test_times_may_differ_from_gap_to_gap():
    loaded = []

    def load(i):
        loaded.append(i)
        return square(i)

    timeline = Timeline(Four(), load, 12)
    for gap in range(11):
        times = [Fraction(1, 8)] if gap % 3 == 2 else [Fraction(1, 2)] if gap % 3 else []
        timeline.between(gap, times)
    assert loaded == sorted(set(loaded))


@pytest.mark.parametrize("cls", [Seen, Middle, Four])
@pytest.mark.parametrize("ends", ["interpolate", "repeat"])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_video_whose_end_is_not_known_beforehand(cls, ends, factor):
    asked = []

    def has(number):
        asked.append(number)
        return number < 6

    plain, open_end = Timeline(cls(), square, 6, ends), Timeline(cls(), square, has, ends)
    ahead = 2 * (2 * cls.context - 1)
    for gap in range(5):
        asked.clear()
        assert levels(plain.between(gap, parse_times(factor))) == levels(
            open_end.between(gap, parse_times(factor))
        )
        assert max(asked) <= gap + ahead
    with pytest.raises(IndexError):
        open_end.between(5, [Fraction(1, 2)])


@pytest.mark.parametrize("cls", [Seen, Middle, Four])
@pytest.mark.parametrize("batch", [2, 3, 16])
def test_batches_over_gaps_give_the_same_in_fewer_calls(cls, batch):
    wanted = [
        gap + t for gap in range(5) for t in parse_times(4) if gap != 3 or t == Fraction(1, 2)
    ]
    frames = [torch.rand(3, 4, 4) for _ in range(6)]
    one, many = Timeline(cls(), frames.__getitem__, 6), Timeline(cls(), frames.__getitem__, 6)
    many.batch = batch
    for timeline in (one, many):
        timeline.fill(wanted)
    assert all(torch.equal(one.at(p), many.at(p)) for p in wanted)
    assert len(many.model.calls) < len(one.model.calls)
    left = len(many.model.calls)
    many.fill(wanted)  # all is there
    assert len(many.model.calls) == left


def test_a_batch_that_does_not_fit_is_halved():
    class Small(Seen):
        def forward(self, x, **hints):
            if len(x.frames) > 2:
                raise torch.OutOfMemoryError("too large")
            return super().forward(x)

    timeline = Timeline(Small(), square, 9, batch=8)
    wanted = [gap + Fraction(1, 2) for gap in range(8)]
    timeline.fill(wanted)
    exact = [float(square(g).mean() + square(g + 1).mean()) / 2 for g in range(8)]
    assert levels(map(timeline.at, wanted)) == pytest.approx(exact)
    assert timeline.batch == 2 and len(timeline.model.calls) == 4


def test_what_looks_at_the_whole_batch_gets_one_at_a_time():
    class Alone(Seen):
        alone = True

    assert Timeline(Alone(), square, 4, batch=4).batch == 1


def test_whether_weights_ignore_the_time_is_found_beforehand():
    cpu = torch.device("cpu")
    assert [ignores_time(cls(), cpu) for cls in (Seen, Middle, Four, Learns, Ignores)] == [
        *(False, True, True, False, True)
    ]
    timeline = Timeline(Ignores(), square, 4, bisects=True)
    timeline.fill([Fraction(1, 4)])
    assert [times for _, times in timeline.model.calls] == [[0.5], [0.5]]


def test_what_takes_one_size_is_asked_at_that_size():
    class Fixed(Learns):
        trial_size = (6, 10)

        def forward(self, x, **hints):
            assert x.frames.shape[-2:] == (6, 10)
            return super().forward(x)

    assert not ignores_time(Fixed(), torch.device("cpu"))
    assert not ignores_time(Tiled(Fixed(), 16), torch.device("cpu"))  # whatever calls it


def test_a_prediction_that_is_not_finite_is_refused():
    timeline = Timeline(Average(), lambda i: frame(i or torch.nan), 2)
    with pytest.raises(UserError, match="not finite"):
        timeline.between(0, parse_times(2))


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("cls", [Seen, Learns])
def test_the_middle_is_predicted_once(cls, factor):
    """As of two pictures, whose flow is shown beside their frames."""
    timeline = Timeline(model := cls(), [frame(0), frame(0.96)].__getitem__, 2)
    out = timeline.middle(0)
    assert out.frame.shape == (1, 1, 3, 2, 2) and out.flow is not None
    times = parse_times(factor)
    assert levels(timeline.between(0, times)) == pytest.approx([0.96 * float(t) for t in times])
    asked = [t for _, some in model.calls for t in some]
    assert sorted(asked) == sorted({0.5, *(round(float(t), 6) for t in times)})


def test_the_middle_of_still_frames_is_a_prediction_and_their_frame_is_not():
    class Wrong(Average):
        def forward(self, x, **hints):
            return Prediction(super().forward(x).frame + 0.1)

    timeline = Timeline(Wrong(), lambda i: frame(0.5), 2)
    assert float(timeline.middle(0).frame.mean()) == pytest.approx(0.6)
    assert levels(timeline.between(0, parse_times(2))) == [0.5]


def test_parse_times():
    assert parse_times(4) == [Fraction(1, 4), Fraction(1, 2), Fraction(3, 4)]
    assert parse_times(2, "0.1") == [Fraction(1, 10)]
    for factor, times in ((1, None), (0, None), (1000, None), (2, "a"), (2, "1/0"), (2, "0.5,0.5")):
        with pytest.raises(UserError):
            parse_times(factor, times)
    for times in ("0,0.5", "0.5,1", "0.5,0.25", "nan", ""):
        with pytest.raises(UserError):
            parse_times(2, times)


def test_a_whole_number_of_times_is_how_many():
    assert parse_times(2, "3") == [Fraction(k, 4) for k in (1, 2, 3)]
    assert parse_times(2, "1") == [Fraction(1, 2)]
    for times in ("0", "1000", "-1"):
        with pytest.raises(UserError):
            parse_times(2, times)
