"""Cuts of a conversion: found where they are, nowhere else, and no ghost across them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from footage import pan, texture
from moving import Four
from reels import Reel, walk
from scenery import converted

from midframe.errors import UserError
from midframe.models.average import Average
from midframe.video import cuts
from midframe.video.colour import Colour
from midframe.video.cuts import AHEAD, LEAD, FindCuts, begins_shot, look_at, look_at_frame
from midframe.video.format import Format
from midframe.video.frame import Frame
from midframe.video.inbetween import Picture
from midframe.video.media import read_video
from midframe.video.scenes import scan


def starts(images, gate=None, first=0):
    """Return where the gate finds shots, in a stream that begins at ``first``."""
    reel = Reel(images)
    there = (Picture(n, frame, None) for n, frame in enumerate(reel.frames) if n >= first)
    return [p.number for p in (gate or FindCuts())(there) if p.new_shot]


def shot(seed, step=3.0, count=8, zoom=1.0):
    return walk(texture(seed, 200, 400), step, count, zoom)


def brightened(image, by):
    return np.clip(image.astype(int) + by, 0, 255).astype(np.uint8)


def test_cuts_between_moving_scenes_are_found_where_they_are():
    shots = [shot(seed, step) for seed, step in enumerate((0, 2, 5, 9, 3))]
    images = list(itertools.chain(*shots))
    assert starts(images) == [8, 16, 24, 32]
    assert [s.index for s in scan(images) if s.new_shot] == [0, 8, 16, 24, 32]  # the same rule


@pytest.mark.parametrize("speed", [6, 14, 25, 40])
def test_fast_motion_that_starts_and_stops_is_no_cut(speed):
    positions = np.cumsum([0, 0, 1, 1, *[speed] * 7, 1, 0, 0]).tolist()
    assert starts(pan(1, positions, 96, 160)) == []


@pytest.mark.parametrize("speed", [8, 15])
def test_a_single_jump_of_the_camera_is_no_cut(speed):
    """Alone it looks like a cut; that motion explains it tells."""
    positions = np.cumsum([0, 0, 0, 0, speed, 0, 0, 0]).tolist()
    images = pan(5, positions, 96, 160)
    looks = [look_at(image) for image in images]
    assert cuts.change(looks[3], looks[4]).content > 8
    assert starts(images) == []


def test_a_fast_zoom_is_no_cut():
    assert starts(shot(3, 2, 12, 1.12)) == []


@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("by", [90, -110, 200])
def test_flashes_are_no_cuts(length, by):
    images = shot(2, 2.0, 12)
    for k in range(5, 5 + length):
        images[k] = brightened(images[k], by)
    assert starts(images) == []


def test_light_that_stays_is_told_from_a_flash_and_a_picture_put_in_between_from_both():
    images = shot(2, 0.5, 12)
    lit = [brightened(image, 100 * (k >= 6)) for k, image in enumerate(images)]
    # that brightness alone moves is nothing that flow explains
    assert starts(lit) == [6]
    between = [*images[:6], texture(9, 96, 160), *images[6:]]
    assert starts(between) == [6, 7]


def test_fades_and_dissolves_are_no_cuts():
    one, other = shot(0, 1.0, 24), shot(1, 1.0, 24)
    weights = np.clip((np.arange(24) - 4) / 14, 0, 1)
    mixed = [((1 - w) * a + w * b).astype(np.uint8) for w, a, b in zip(weights, one, other)]
    faded = [((1 - w) * a).astype(np.uint8) for w, a in zip(weights, one)]
    assert starts(mixed) == [] and starts(faded) == []


def test_the_threshold_says_how_large_a_change_a_cut_is():
    def dim(image):
        return (image.astype(float) * 0.06).astype(np.uint8)

    images = [dim(image) for image in (*shot(0), *shot(1))]
    assert starts(images) == []
    assert starts(images, FindCuts(1.0)) == [8]
    bright = [*shot(0), *shot(1)]
    assert starts(bright, FindCuts(200.0)) == []
    with pytest.raises(UserError, match="above 0"):
        FindCuts(0)


def test_a_verdict_rests_on_few_frames_so_that_a_stream_may_begin_anywhere():
    images = [*shot(0), *shot(1, 20), *shot(2)]
    images[20] = brightened(images[20], 120)
    looks = [look_at(image) for image in images]
    for at in range(1, len(images)):
        here = slice(max(0, at - LEAD), at + AHEAD + 1)
        assert begins_shot(looks, at) == begins_shot(looks[here], min(at, LEAD))
    for first in range(len(images)):
        whole = [n for n in starts(images) if n >= first + LEAD]
        assert [n for n in starts(images, first=first) if n >= first + LEAD] == whole


@pytest.mark.parametrize("model", [Average, Four])
@pytest.mark.parametrize("frames", [1000, 12])
def test_there_is_no_ghost_across_a_cut(model, frames):
    """In-betweens there are one of the two frames to the bit, of the nearer side in time."""
    reel = Reel([*shot(0), *shot(4)])
    shown = converted(reel, model(), FindCuts(), "4", frames)
    ghosts = converted(reel, model(), None, "4")
    first, second = reel.frames[7], reel.frames[8]
    across = [frame for _, frame in shown[29:32]]
    assert [frame is first or frame.same_as(first) for frame in across] == [True, True, False]
    assert across[2].same_as(second)
    assert not any(frame.same_as(first) or frame.same_as(second) for _, frame in ghosts[29:32])
    # a gap within a shot is filled, by frames of this shot alone
    assert not shown[27][1].same_as(reel.frames[6])
    lone = converted(Reel([*shot(0)]), model(), None, "4")
    assert all(a[1].same_as(b[1]) for a, b in zip(shown[:29], lone))


@pytest.mark.parametrize("depth", [8, 10])
def test_a_frame_of_yuv_looks_as_its_picture_does(depth):
    image = texture(3, 120, 640)
    form = Format(640, 120, depth, "420")
    frame = Frame(form, tuple(np.zeros(s, form.sample) for s in form.shapes), Colour("bt709"))
    frame = frame.like(image.transpose(2, 0, 1).astype(np.float32) / 255)
    of_frame, of_picture = look_at_frame(frame), look_at(image)
    assert of_frame.luma.shape == of_picture.luma.shape == (48, 256)
    difference = of_frame.luma.astype(int) - of_picture.luma
    assert abs(difference.mean()) < 1 and abs(difference).max() < 12
    assert cuts.change(of_frame, of_picture).content < 3


@pytest.mark.parametrize("name", ["bedroom", "car-turn"])
@pytest.mark.parametrize("every", [1, 4])
def test_real_clips_have_no_cut_and_two_of_them_have_one(shared_data, name, every):
    def frames(name, count):
        video = read_video(shared_data(f"video/{name}.mp4"), max_side=256)
        return [f.image[:144, :256] for f in itertools.islice(video, count)][::every]

    here = frames(name, 80)
    there = frames("car-turn" if name == "bedroom" else "bedroom", 20)
    assert starts([*here, *there]) == [len(here)]
