"""Cuts, repeats and motion on clips where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from footage import pan, texture

from midframe.video.media import read_video
from midframe.video.scenes import scan


def _starts(frames):
    return [step.index for step in scan(frames) if step.new_shot]


def test_cuts_are_found_where_they_are():
    shots = [pan(seed, range(0, 40, 4)) for seed in range(5)]
    assert _starts([f for shot in shots for f in shot]) == [0, 10, 20, 30, 40]


def test_two_cuts_in_a_row_are_two_cuts():
    frames = [*pan(0, range(0, 20, 2)), texture(7, 48, 96), *pan(3, range(0, 20, 2))]
    assert _starts(frames) == [0, 10, 11]


@pytest.mark.parametrize("speed", [8, 16, 30])
def test_fast_motion_is_no_cut(speed):
    """A camera that starts, pans by up to a third of the picture a frame, and stops."""
    positions = np.cumsum([0, 1, 1, 1, *[speed] * 8, 1, 1, 1])
    assert _starts(pan(1, positions.tolist())) == [0]


def test_a_dissolve_is_not_taken_for_repeats():
    one, other = texture(0, 48, 96).astype(float), texture(1, 48, 96).astype(float)
    frames = [((1 - w) * one + w * other).astype(np.uint8) for w in np.linspace(0, 1, 12)]
    steps = list(scan(frames))
    assert [s.index for s in steps] == list(range(12))


def test_repeats_are_dropped_and_counted():
    positions = [0, 2, 4, 4, 6, 8, 8, 8, 10, 12]
    rng = np.random.default_rng(0)
    # coding noise: the repeated frame is not bit-identical
    frames = [
        np.minimum(f + (rng.random(f.shape) < 0.05).astype(np.int16), 255).astype(np.uint8)
        for f in pan(2, positions)
    ]
    steps = list(scan(frames))
    assert [s.index for s in steps] == [0, 1, 2, 4, 5, 8, 9]
    assert [s.repeats for s in steps] == [0, 0, 0, 1, 0, 2, 0]
    assert _starts(frames) == [0]


def test_a_repeat_in_the_place_of_a_lost_frame_breaks_the_run():
    even = [0, 3, 6, 9, 9, 12, 15, 18, 21]
    lost = [0, 3, 6, 9, 9, 15, 18, 21, 24]  # 12 was lost: 9 -> 15 is not evenly spaced
    assert _starts(pan(2, even)) == [0]
    assert _starts(pan(2, lost)) == [0, 5]


def test_a_small_moving_object_is_motion_and_no_repeat():
    still = texture(0, 120, 200)
    frames = []
    for i in range(6):
        frame = still.copy()
        frame[40:52, 20 + 8 * i : 32 + 8 * i] = 255 - frame[40:52, 20 + 8 * i : 32 + 8 * i]
        frames.append(frame)
    steps = list(scan(frames))
    assert len(steps) == 6
    assert all(step.motion > 6 for step in steps[1:])


def test_motion_grows_with_speed_and_is_zero_at_a_start():
    slow = [s.motion for s in scan(pan(4, range(0, 10)))]
    fast = [s.motion for s in scan(pan(4, range(0, 40, 4)))]
    assert slow[0] == fast[0] == 0
    assert 2 * np.mean(slow) < np.mean(fast)


def test_frames_come_out_while_they_go_in():
    """No more than a few frames are held, so films of any length can be read."""
    given = 0

    def source():
        nonlocal given
        for frame in pan(0, range(0, 60, 3)):
            given += 1
            yield frame

    assert all(given - step.index <= 3 for step in scan(source()))


def test_nothing_comes_of_nothing():
    assert list(scan([])) == []
    assert _starts(pan(0, [0])) == [0]


@pytest.mark.parametrize(("name", "frames"), [("bedroom", 200), ("car-turn", 81)])
def test_real_handheld_and_fast_clips_have_no_cut(shared_data, name, frames):
    video = shared_data(f"video/{name}.mp4")
    steps = list(scan(f.image for f in read_video(video, max_side=320)))
    assert [s.index for s in steps if s.new_shot] == [0]
    assert frames - 2 <= len(steps) <= frames
