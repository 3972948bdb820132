"""Repeats of telecined and animated material: what was shown twice moves evenly afterwards."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from footage import texture
from moving import Four
from reels import RATE, Reel, walk
from scenery import converted

from midframe.models.average import Average
from midframe.models.dis import Dis
from midframe.types import Prediction
from midframe.video.cuts import FindCuts
from midframe.video.duplicates import DropRepeats, gate_of
from midframe.video.inbetween import Picture

HEIGHT, WIDTH, SIDE = 64, 256, 24


def square(x: float) -> np.ndarray:
    """Return a picture with a bright square at ``x``, which may lie between pixels."""
    image = np.full((HEIGHT, WIDTH, 3), 40, np.float64)
    columns = np.clip(
        np.minimum(np.arange(WIDTH) + 1, x + SIDE) - np.maximum(range(WIDTH), x), 0, 1
    )
    image[20 : 20 + SIDE] += (180 * columns)[None, :, None]
    return np.rint(image).astype(np.uint8)


def place(frame) -> float:
    """Return where the square of a frame begins, by its centre of mass."""
    light = frame.planes[0][20 : 20 + SIDE].astype(float) - 40
    return float((light * np.arange(WIDTH)).sum() / light.sum()) - (SIDE - 1) / 2


class Moved(Average):
    """Knows that there is a square, finds it in both frames and draws it in between: exact."""

    def forward(self, x, **hints):
        first, second = (f[0].numpy() * 255 for f in x.pair)

        def at(picture):
            light = picture[0, 20 : 20 + SIDE] - 40
            return float((light * np.arange(WIDTH)).sum() / light.sum()) - (SIDE - 1) / 2

        a, b = at(first), at(second)
        drawn = [square((1 - t) * a + t * b) for t in x.t[0].tolist()]
        made = np.stack([d.transpose(2, 0, 1) for d in drawn]).astype(np.float32) / 255
        return Prediction(x.frames.new_tensor(made)[None])


def held(pattern: str, step: float, count: int) -> list[float]:
    """Return places of frames that are held as a pattern such as "2" or "23" says, in turns."""
    places, k = [], 0
    while len(places) < count:
        places += [step * k] * int(pattern[k % len(pattern)])
        k += 1
    return places[:count]


def kept(images, times=None, cuts=None):
    reel = Reel(images)
    gate = gate_of(cuts, True, times or reel.times)
    assert gate is not None
    pictures = (Picture(n, frame, None) for n, frame in enumerate(reel.frames))
    return [p.number for p in gate(pictures)]


@pytest.mark.parametrize("pattern", ["2", "3", "4"])
def test_what_was_shot_on_twos_moves_evenly_afterwards(pattern):
    step = 6.0
    reel = Reel([square(8 + x) for x in held(pattern, step, 24)])
    shown = converted(reel, Moved(), DropRepeats(reel.times))
    each = step / int(pattern) / 2
    last = int((24 - 1) // int(pattern)) * int(pattern) * 2  # of what is shown
    for k, (pts, frame) in enumerate(shown[: last + 1]):
        assert pts == k / (2 * RATE)
        assert place(frame) == pytest.approx(8 + each * k, abs=0.05)
    plain = [place(frame) for _, frame in converted(reel, Moved(), None)]
    assert np.diff(plain[: last + 1]).max() > 2 * each - 0.1  # which stood and jumped


def test_optical_flow_fills_what_was_held_as_well():
    ground = texture(4, HEIGHT, WIDTH + 80)
    images = [ground[:, int(x) : int(x) + WIDTH] for x in held("2", 4, 16)]
    reel = Reel(images)
    shown = converted(reel, Dis(), DropRepeats(reel.times))
    for k in range(2, 24):
        x = 8 + k * 1.0  # of the ground's columns, a column more with each frame shown
        truth = ground[:, round(x - 8) : round(x - 8) + WIDTH].transpose(2, 0, 1).astype(float)
        mine = np.stack(shown[k][1].planes)[:, 8:-8, 40:-40]
        assert np.abs(mine - truth[:, 8:-8, 40:-40]).mean() < 2.0


def test_of_telecined_material_every_true_frame_stays():
    places = held("23", 5, 30)
    numbers = kept([square(8 + x) for x in places])
    assert numbers == [n for n in range(30) if n == 0 or places[n] != places[n - 1]]


def test_stills_stay_as_they_are():
    positions = [0, 6, 12, 12, 12, 12, 12, 12, 18, 24, 24, 30]  # held for six frames, then on twos
    images = [square(8 + x) for x in positions]
    assert kept(images) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11]
    # of slow material even two repeats last too long
    slow = [Fraction(k, 6) for k in range(12)]
    assert kept([square(8 + 6 * k) for k in (0, 1, 1, 2, 3, 3, 3, 4)], slow) == [
        0,
        1,
        3,
        4,
        5,
        6,
        7,
    ]


def test_a_repeat_before_a_cut_stays_so_that_the_next_shot_begins_in_time():
    one, other = (walk(texture(seed, 200, 400), 6.0, 6) for seed in (0, 1))
    images = [image for image in (*one, *other) for _ in range(2)]
    numbers = kept(images, cuts=FindCuts())
    assert numbers == [0, 2, 4, 6, 8, 10, 11, 12, 14, 16, 18, 20, 22]
    reel = Reel(images)
    shown = converted(reel, Average(), gate_of(FindCuts(), True, reel.times))
    assert not shown[22][1].same_as(reel.frames[12]) and shown[24][1].same_as(reel.frames[12])


@pytest.mark.parametrize(
    ("model", "pattern"),
    [(Average, "2"), (Average, "1"), (Average, "6"), (Four, "23"), (Four, "4"), (Four, "1")],
)
def test_parts_made_apart_are_those_of_the_whole(model, pattern):
    reel = Reel([square(8 + x) for x in held(pattern, 5, 40)])
    maker = {"behind": 2 * model.context - 2, "ahead": 4 * model.context - 3}
    gate = gate_of(FindCuts(), True, reel.times, **maker)
    whole = converted(reel, model(), gate)
    apart = converted(reel, model(), gate, frames=10)
    assert len(whole) == len(apart) == 80
    assert all(a[0] == b[0] and a[1].same_as(b[1]) for a, b in zip(whole, apart))


def test_nothing_is_decided_where_nothing_is_asked_for():
    cuts = FindCuts()
    assert gate_of(None, False, []) is None and gate_of(cuts, False, []) is cuts
