"""Decoding, predicting and encoding at once: what comes out, in parts, and how it ends."""

from __future__ import annotations

import threading
import time
import weakref
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from moving import FORM, RATE, Four, Levels, Middle, Store, frame_of, maker_of

from midframe.errors import UserError
from midframe.models.average import Average
from midframe.types import Prediction
from midframe.video.frame import Format
from midframe.video.pipeline import Cuts, convert, parse_cuts, room_for
from midframe.video.timing import Request, Schedule, parts

RISING = [600 * k for k in range(30)]
HALF = Fraction(1, 2)


def _convert(clip, request, model=None, *, frames=1000, only=None, ends="interpolate", **options):
    batch = options.pop("batch", 1)
    schedule = Schedule(clip.times, options.pop("last", 1 / RATE), request)
    todo = [p for p in parts(schedule, frames) if only is None or p.number in only]
    store = options.pop("store", None) or Store()
    maker = maker_of(model or Average(), ends, batch)
    convert(clip, clip.format, schedule, iter(todo), maker, store.writer, **options)
    return store


def _factor(f):
    return Request(factor=Fraction(f))


@pytest.mark.parametrize("factor", ["2", "3", "5/2", "8"])
@pytest.mark.parametrize("batch", [1, 4])
def test_frames_between_are_exact_and_frames_of_the_input_are_those_themselves(factor, batch):
    clip = Levels(RISING)
    store = _convert(clip, _factor(factor), batch=batch)
    f = Fraction(factor)
    assert len(store.shown) == 30 * f
    for k, (pts, frame) in enumerate(store.shown):
        assert pts == k / (RATE * f)
        exact = 600 * min(k / f, Fraction(29))
        assert np.abs(frame.planes[0].astype(float) - float(exact)).max() <= 0.51
    assert clip.begun == [0] and clip.read_numbers == list(range(30))
    assert clip.threads == {"decode"} and store.threads == {"encode"}


def test_a_frame_that_is_hit_is_handed_on_as_it_is():
    clip = Levels(RISING)
    given = {}
    read = clip.read

    def kept(first, last=None):
        for number, frame in enumerate(read(first), first):
            given[number] = frame
            yield frame

    clip.read = kept
    store = _convert(clip, _factor("5/2"))
    assert all(store.shown[k][1] is given[2 * k // 5] for k in range(0, 75, 5))


@pytest.mark.parametrize(
    ("model", "factor", "ends", "cut"),
    [  # every two of them together
        (Average, "2", "interpolate", False),
        (Average, "4", "repeat", True),
        (Average, "5/2", "repeat", True),
        (Middle, "2", "repeat", True),
        (Middle, "4", "repeat", False),
        (Middle, "5/2", "interpolate", True),
        (Four, "2", "repeat", True),
        (Four, "4", "interpolate", True),
        (Four, "5/2", "repeat", False),
    ],
)
def test_parts_made_apart_are_those_of_the_whole(model, factor, ends, cut):
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 60_000, 30).tolist()
    options = {"model": model(), "ends": ends, "gate": Cuts((9, 10, 17) if cut else ())}
    whole = _convert(Levels(levels), _factor(factor), **options)
    clip = Levels(levels)
    apart = _convert(clip, _factor(factor), frames=12, **options)
    assert len(apart.parts) > 3 and apart.levels == whole.levels
    assert clip.begun == [0]  # what was just read is not read again
    single = Store()
    for number in (3, 0, 2, 1, *range(4, len(apart.parts))):
        _convert(Levels(levels), _factor(factor), frames=12, only={number}, store=single, **options)
    assert single.levels == whole.levels


def test_parts_that_are_done_are_not_read():
    clip = Levels(range(200))
    _convert(clip, _factor(2), frames=20, only={5, 6, 15})
    assert clip.begun == [50, 150] and clip.closed == 2
    assert len(clip.read_numbers) < 40


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("batch", [1, 3])
def test_nothing_is_predicted_across_a_cut(factor, batch):
    levels = [0, 600, 1200, 1800, 40_000, 41_000, 60_000, 5_000, 5_000]
    store = _convert(Levels(levels), _factor(factor), gate=Cuts([0, 4, 6, 7]), batch=batch)
    for k, level in enumerate(store.levels):
        gap, t = divmod(Fraction(k, factor), 1)
        first, second = levels[gap], levels[min(gap + 1, 8)]
        if gap in (3, 5, 6):  # the nearer frame, the earlier one up to the middle
            assert level == (first if t <= HALF else second)
        else:
            assert level == pytest.approx(first + float(t) * (second - first), abs=0.51)


def test_a_model_of_four_frames_sees_none_of_another_shot():
    inner = [1000, 3000, 4000]
    alone = _convert(Levels(inner), _factor(2), Four())
    among = _convert(Levels([60_000] * 4 + inner + [9] * 4), _factor(2), Four(), gate=Cuts([4, 7]))
    assert among.levels[8:13] == alone.levels[:5]


@pytest.mark.parametrize("model", [Average, Middle, Four])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("ends", ["interpolate", "repeat"])
def test_few_frames(model, count, ends):
    levels = [1000 * k for k in range(count)]
    store = _convert(Levels(levels), _factor(2), model(), ends=ends)
    assert len(store.levels) == 2 * count
    assert store.levels[::2] == levels and store.levels[-1] == levels[-1]
    if model is not Four:
        assert store.levels[1:-1:2] == [500 + 1000 * k for k in range(count - 1)]
    without_end = _convert(Levels(levels), _factor(2), model(), ends=ends, last=Fraction(0))
    assert without_end.levels == store.levels[:-1]


def test_no_frame():
    with pytest.raises(UserError, match="no frame"):
        _convert(Levels([]), _factor(2))


@pytest.mark.parametrize("left", [27, 20, 5])
def test_a_clip_that_is_cut_off_ends_with_its_last_frame(left):
    store = _convert(Levels(RISING, cut_off=left), _factor(2), frames=12)
    assert len(store.levels) == 60
    assert store.levels[: 2 * left - 1] == [300 * k for k in range(2 * left - 1)]
    assert set(store.levels[2 * left - 1 :]) == {600 * (left - 1)}


def test_uneven_times_and_fewer_frames():
    clip = Levels(RISING)
    clip.times = [Fraction(k * k, 100) for k in range(30)]
    store = _convert(clip, Request(fps=Fraction(20)), last=Fraction(1, 100))
    for pts, frame in store.shown[:-1]:
        k = int(np.sqrt(float(pts * 100)) + 1e-9)
        t = (pts - clip.times[k]) / (clip.times[min(k + 1, 29)] - clip.times[k] or 1)
        assert frame.planes[0].max() == pytest.approx(600 * (k + float(t)), abs=0.51)
    few = _convert(Levels(RISING), Request(fps=Fraction(5)))
    assert few.levels == RISING[::5]


class Every:
    """Leaves out every second picture."""

    lead = ahead = 2

    def __call__(self, pictures):
        return (picture for picture in pictures if picture.number % 2 == 0)


@pytest.mark.parametrize("frames", [1000, 12])
def test_what_a_gate_leaves_out_is_replaced_by_what_lies_between(frames):
    twos = [600 * (k - k % 2) for k in range(30)]
    clip = Levels(twos)
    assert _convert(clip, _factor(2), frames=frames).levels != RISING
    store = _convert(Levels(twos), _factor(2), gate=Every(), frames=frames)
    smooth = [300 * k for k in range(57)] + [600 * 28] * 3
    assert store.levels == smooth


def test_opacity_is_interpolated_like_colour():
    form = Format(8, 6, 16, "444", "rgb", alpha=True)
    store = _convert(Levels(RISING, form), _factor(4))
    for k, (_, frame) in enumerate(store.shown[:116]):
        assert frame.planes[-1].max() == pytest.approx(150 * k, abs=0.51)
    opaque = Levels(RISING, form)
    read = opaque.read

    def same(first, last=None):
        for frame in read(first):
            frame.planes[-1][:] = 1234
            yield frame

    opaque.read = same
    assert {f.planes[-1].max() for _, f in _convert(opaque, _factor(2)).shown} == {1234}


def test_a_still_clip_is_the_same_frame_throughout():
    form = Format(9, 7, 10, "420")
    store = _convert(Levels([77] * 5, form), _factor(4), Four())
    assert len(store.shown) == 20
    assert all(frame.same_as(frame_of(77, form)) for _, frame in store.shown)


def test_stages_run_at_the_same_time():
    """Reading waits for the model and for writing, and they for it: one thread never went on."""
    all_at_work, done = threading.Barrier(3, timeout=60), Counter()

    def work(stage, number):
        done[stage] += 1
        if done[stage] == number:
            all_at_work.wait()

    class Meeting(Average):
        def forward(self, x, **hints):
            work("model", 3)
            return super().forward(x)

    clip = Levels(range(20))
    read = clip.read

    def meeting(first, last=None):
        for frame in read(first):
            work("reading", 9)
            yield frame

    clip.read = meeting
    _convert(clip, _factor(2), Meeting(), written=lambda: work("writing", 2))
    assert done["writing"] == 40 and not all_at_work.broken


def test_belts_are_bounded_by_memory():
    assert room_for(Format(64, 64)) == 24
    assert room_for(Format(3840, 2160, 10)) == 3
    waiting = []

    class Blocked(Store):
        def writer(self, part):
            time.sleep(0.2)  # all others run on meanwhile
            waiting.append(max(clip.read_numbers))
            return super().writer(part)

    clip = Levels(range(500))
    _convert(clip, _factor(2), store=Blocked())
    assert waiting[0] < 4 * room_for(FORM)


@pytest.mark.parametrize("model", [Average, Four])
def test_pictures_are_forgotten(model):
    """Memory does not grow with the length, of a clip in one part too."""
    alive, most = weakref.WeakSet(), []

    class Watched(Levels):
        def read(self, first, last=None):
            for frame in super().read(first):
                alive.add(frame)
                most.append(len(alive))
                yield frame

    clip = Watched(range(200))
    _convert(clip, _factor(4), model(), store=Forgetful())
    assert max(most) < 4 * room_for(FORM)
    tensors = weakref.WeakSet()
    schedule = Schedule(clip.times, 1 / RATE, _factor(4))
    maker, count = maker_of(model()), []

    def place(rgb):
        tensor = torch.from_numpy(rgb)
        tensors.add(tensor)
        count.append(len(tensors))
        return tensor

    (part,) = parts(schedule, 10_000)
    convert(clip, FORM, schedule, [part], replace(maker, place=place), Forgetful().writer)
    assert max(count) < 4 * room_for(FORM)


class Forgetful(Store):
    @contextmanager
    def writer(self, part):
        class One:
            def write(_, frame, pts):
                pass

        yield One()


class Fails(Average):
    def forward(self, x, **hints):
        if float(x.frames.max()) > 0.15:
            raise UserError("the model failed")
        return Prediction(super().forward(x).frame)


@pytest.mark.parametrize("what", ["decode", "model", "write", "open", "finish", "interrupt"])
def test_an_error_anywhere_ends_everything(what):
    clip, store, model, finished = Levels(range(0, 30_000, 300)), Store(), Average(), []
    read = clip.read
    if what == "decode":

        def broken(first, last=None):
            for number, frame in enumerate(read(first)):
                if number == 40:
                    raise UserError("frame 40 is broken")
                yield frame

        clip.read = broken
    elif what == "model":
        model = Fails()
    elif what == "interrupt":

        class Interrupted(Average):
            def forward(self, x, **hints):
                if float(x.frames.max()) > 0.15:
                    raise KeyboardInterrupt
                return super().forward(x)

        model = Interrupted()
    else:

        class Full(Store):
            def writer(self, part):
                if part.number == 2 and what == "open":
                    raise UserError("cannot open")
                return super().writer(part)

        store = Full()

    def finish(part):
        finished.append(part.number)
        if part.number == 2 and what == "finish":
            raise UserError("disk is full")

    count = 0

    def written():
        nonlocal count
        count += 1
        if what == "write" and count == 50:
            raise UserError("disk is full")

    before = threading.active_count()
    expected = KeyboardInterrupt if what == "interrupt" else UserError
    with pytest.raises(expected) as error:
        _convert(clip, _factor(2), model, frames=20, store=store, written=written, finished=finish)
    assert threading.active_count() == before
    assert 0 < len(store.parts) < 10
    assert set(finished) == set(store.parts)
    if what == "decode":
        assert "frame 40" in str(error.value)
    assert clip.closed == len(clip.begun)


def test_a_list_of_cuts():
    schedule = Schedule([k / RATE for k in range(100)], 1 / RATE, _factor(2))
    cuts = parse_cuts("# of the clip\n10\n\n 2.0 # a second\n0.041s\n99", schedule, "cuts.txt")
    assert cuts.numbers == {10, 50, 2, 99}
    for bad, said in (
        ("x", "line 1: 'x' is neither"),
        ("1\n100", "line 2: frame 100"),
        ("9e9", ""),
    ):
        with pytest.raises(UserError, match=f"cuts.txt.*{said}"):
            parse_cuts(bad, schedule, "cuts.txt")
