"""Scenes before an event camera: deterministic, in step with their frames, and with true ones."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from midframe.data import scene_events
from midframe.data.dataset import ClipDataset
from midframe.data.layouts.events_synthetic import events_synthetic
from midframe.data.records import Box, Ticket, check_clips
from midframe.data.scene_events import Grey, SceneEvents, watch, watched
from midframe.data.synthetic import Rendered, RenderedFlow, SceneSpec, build
from midframe.data.transforms import Augment
from midframe.errors import UserError
from midframe.events.bins import edges, signed_counts
from midframe.events.simulate import Simulator, concatenate, to_grey

SMALL = {"size": (40, 48), "scenes": 5, "val_scenes": 3, "motion": 5.0}


def test_training_clips_are_three_frames_of_the_camera():
    clips = events_synthetic(None, "train", 1, **SMALL)
    check_clips(clips, 1, "scenes", every=True)
    clip = clips[0]
    assert clip.inputs == (0, 2) and clip.targets == (1,) and set(clip.events) == {0, 1, 2}
    assert [clip.time(i) for i in range(3)] == [0, 0.5, 1]
    camera = clip.events[1].camera
    assert camera.start < -1.5 and camera.stop == 2.5  # an interval beyond both ends


def test_clips_of_four_frames_have_the_true_ones_between():
    clips = events_synthetic(None, "test", 2, **SMALL)
    check_clips(clips, 2, "scenes", every=True)
    clip = clips[0]
    assert [clip.time(i) for i in clip.inputs] == [-1, 0, 1, 2]
    assert [clip.time(i) for i in clip.targets] == [0.25, 0.5, 0.75]
    assert set(clip.events) == {4, 5, 6, 7, 8}
    (half,) = events_synthetic(None, "val", 2, factor=2, **SMALL)[1].targets
    assert half == 3


def test_frames_are_grey_unless_asked():
    grey = events_synthetic(None, "train", 1, **SMALL)[0].frames[1].read()
    colour = events_synthetic(None, "train", 1, grey=False, **SMALL)[0].frames[1].read()
    assert np.ptp(grey, axis=-1).max() == 0 and np.ptp(colour, axis=-1).max() > 0
    np.testing.assert_array_equal(grey[..., 0], to_grey(colour))


def test_counts_are_those_of_a_simulation_in_small_steps():
    """Against the simulator fed ten times as often."""
    clip = events_synthetic(None, "train", 1, gives=["events"], **SMALL)[2]
    source: SceneEvents = clip.events[1]
    camera = source.camera
    frames = np.linspace(camera.start, camera.stop, 700)
    simulator = camera.simulator(source.scene)
    moments = [camera.microseconds(t) for t in frames]
    dense = concatenate(
        simulator.step(to_grey(Rendered(source.scene, t).read()), moment)
        for t, moment in zip(frames, moments)
    )
    around = edges(*(camera.microseconds(t) for t in (-0.5, 0.5, 1.5)))
    expected = np.moveaxis(signed_counts(dense, around, 40, 48), 0, -1)
    found = source.read()
    assert found.dtype == np.int8 and found.shape == (40, 48, 8) and found.any()
    # sums over all bins: single events may fall to the other side of an edge
    assert np.abs(found.sum(-1) - expected.sum(-1)).mean() < 0.15 * np.abs(expected.sum(-1)).mean()
    share = np.corrcoef(found.ravel(), expected.ravel())[0, 1]
    assert share > 0.9


def test_events_tell_how_brightness_changes_between_the_frames():
    clip = events_synthetic(None, "val", 2, **{**SMALL, "size": 64})[0]
    source = clip.events[4]  # around time 0
    threshold = source.camera.simulator(source.scene).thresholds[1]
    change = np.log(clip.frames[8].read()[..., 0] / 255 + 1e-3)
    change -= np.log(clip.frames[4].read()[..., 0] / 255 + 1e-3)
    counted = source.read()[..., 4:].astype(int).sum(-1)  # from time 0 to 1
    unclamped = (np.abs(source.read()) < 10).all(-1)
    assert np.abs(change / threshold - counted)[unclamped].max() < 2 + 1e-6
    assert np.corrcoef(change[unclamped], counted[unclamped])[0, 1] > 0.9


def test_the_camera_sees_steps_of_less_than_a_pixel():
    scene = SceneSpec(0, "train", 3, 64, 64, motion=(6.0, 20.0), sway=0.2, acceleration=0.5)
    camera = events_synthetic(None, "train", 1, **SMALL)[0].events[1].camera
    times = watched(scene, camera)
    assert times[0] == camera.start and times[-1] == camera.stop and np.all(np.diff(times) > 0)
    ways = [np.abs(RenderedFlow(scene, a, b).read()).max() for a, b in zip(times, times[1:])]
    assert max(ways) < 1.1 and np.mean(ways) > 0.3
    still = SceneSpec(0, "train", 3, 64, 64, motion=(0.0, 0.0))
    assert len(watched(still, camera)) < 50 and not len(watch(still, camera, Box(0, 0, 9, 9)))


def test_samples_follow_from_the_seed():
    def sample(seed, noise=None):
        scene_events.watch.cache_clear()
        clips = events_synthetic(None, "train", 1, seed=seed, noise=noise, **SMALL)
        clips = pickle.loads(pickle.dumps(clips))
        return ClipDataset(clips, 1, augment=Augment(crop=24))[Ticket(2, 1)]

    for noise in (None, {"shot_hz": 5.0, "mismatch": 0.03}):
        one, same, other = sample(0, noise), sample(0, noise), sample(1, noise)
        np.testing.assert_array_equal(one.events, same.events)
        np.testing.assert_array_equal(one.events_ends, same.events_ends)
        assert not np.array_equal(one.events, other.events)


def test_noise_of_a_crop_is_that_of_the_frame():
    noise = {"shot_hz": 20.0, "mismatch": 0.02, "leak_hz": 1.0}
    source = events_synthetic(None, "train", 1, noise=noise, **SMALL)[0].events[1]
    whole = source.read()
    np.testing.assert_array_equal(source.read(Box(3, 5, 20, 30)), whole[3:23, 5:35])
    plain = events_synthetic(None, "train", 1, **SMALL)[0].events[1].read()
    assert not np.array_equal(plain, whole)


def test_a_sway_leaves_scenes_without_it_as_they_were():
    spec = SceneSpec(0, "train", 0, 64, 64)
    swaying = build(SceneSpec(0, "train", 0, 64, 64, sway=0.3))[0]
    plain = build(spec)[0]
    np.testing.assert_array_equal(plain.velocity, swaying.velocity)
    assert plain.sway is None and not np.allclose(plain.place(0.2), swaying.place(0.2))
    way = np.hypot(*plain.velocity)
    times = np.linspace(-1, 2, 50)
    offs = [np.abs(swaying.place(t) - plain.place(t)).max() for t in times]
    assert 0 < max(offs) <= 0.3 * way + 1e-9


@pytest.mark.parametrize(
    "options, message",
    [
        ({"factor": 1}, "factor=1"),
        ({"polarity": "both"}, "polarity=both"),
        ({"fps": 0}, "fps=0"),
        ({"sway": 2}, "sway=2"),
        ({"threshold": (0.3, 0.2)}, "threshold"),
        ({"threshold": (0.0, 0.2)}, "threshold_on=0"),
        ({"noise": {"dark": 1}}, "noise knows cutoff_hz, leak_hz"),
        ({"noise": {"leak_hz": -1}}, "leak_hz=-1"),
        ({"gives": ["events_ends"]}, "data.layout.gives"),
        ({"motion": -1}, "motion=-1"),
        ({"size": 8}, "size=8"),
    ],
)
def test_what_cannot_be_is_said(options, message):
    with pytest.raises(UserError, match=message):
        events_synthetic(None, "train", 1, **options)
    with pytest.raises(UserError, match="events_synthetic has splits"):
        events_synthetic(None, "all", 1)
    with pytest.raises(UserError, match="input frames and the model takes 6"):
        events_synthetic(None, "train", 3)


def test_a_grey_frame_is_a_source():
    frame = Grey(Rendered(SceneSpec(0, "train", 0, 30, 40), 0.25))
    assert frame.size() == (30, 40) and frame == Grey(
        Rendered(SceneSpec(0, "train", 0, 30, 40), 0.25)
    )
    part = frame.read(Box(4, 5, 10, 12)).astype(int)
    assert np.abs(part - frame.read()[4:14, 5:17]).max() <= 3 and hash(frame)


def test_simulator_is_drawn_for_each_scene():
    clips = events_synthetic(None, "train", 1, threshold=(0.1, 0.3), **SMALL)
    found = [c.events[1].camera.simulator(c.events[1].scene).thresholds for c in clips]
    assert len(set(found)) == len(found) and all(0.1 <= low <= 0.3 for low, _ in found)
    assert all(low == high for low, high in found) and isinstance(found, list)
    assert Simulator(0.2, 0.3).thresholds == (0.3, 0.2)
