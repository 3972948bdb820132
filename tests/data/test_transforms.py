"""After every augmentation a flow field must still carry its frame onto the other."""

from dataclasses import fields, replace

import cv2
import fakes
import numpy as np
import pytest
import torch

from midframe.data.io import cut
from midframe.data.records import Box, Sample
from midframe.data.transforms import Augment, Plan, centre_crop
from midframe.errors import UserError
from midframe.ops.warp import backwarp

SIZE = (96, 120)
SINGLE = [
    {},
    {"enlarged": True},
    {"channel_order": True},
    {"vertical_flip": True},
    {"horizontal_flip": True},
    {"transpose": True},
    {"turns": 1},
    {"turns": 2},
    {"turns": 3},
    {"time_reversal": True},
]
PAPER = {
    "resize": 0.3,
    "channel_order": 0.5,
    "vertical_flip": 0.5,
    "horizontal_flip": 0.5,
    "transpose": 0.5,
    "rotate": 0.5,
    "time_reversal": 0.5,
}


def _scene(times: tuple[float, ...] = (0.25, 0.5, 0.875), size: tuple[int, int] = SIZE) -> Sample:
    """A texture under an affine motion (turn, zoom, shift): every pixel's flow differs."""
    rate = np.array([[0.05, -0.09, 4.0], [0.06, -0.03, -2.5]])
    height, width = size
    centre = np.array([width / 2, height / 2])
    y, x = np.mgrid[:height, :width].astype(float)
    points = np.stack([x, y], -1) - centre

    def forward(p: np.ndarray, t: float) -> np.ndarray:
        return p + t * (p @ rate[:, :2].T + rate[:, 2])

    def backward(p: np.ndarray, t: float) -> np.ndarray:
        return (p - t * rate[:, 2]) @ np.linalg.inv(np.eye(2) + t * rate[:, :2]).T

    def frame(t: float) -> np.ndarray:
        q = backward(points, t)
        return np.round(fakes.texture(q[..., 0], q[..., 1])).astype(np.uint8)

    def flow(t: float, end: float) -> np.ndarray:
        return (forward(backward(points, t), end) - points).astype(np.float32)

    return Sample(
        frames=np.stack([frame(0), frame(1)]),
        target=np.stack([frame(t) for t in times]),
        t=np.array(times, np.float32),
        flow=np.stack([[flow(t, 0), flow(t, 1)] for t in times]),
        id="affine",
    )


def _planes(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.moveaxis(frames, -1, -3).astype(np.float32))


def _cut(sample: Sample, box: Box) -> Sample:
    def all_of(x: np.ndarray) -> np.ndarray:
        return np.stack([cut(one, box) for one in x])

    flow = np.stack([all_of(pair) for pair in sample.flow])
    return replace(sample, frames=all_of(sample.frames), target=all_of(sample.target), flow=flow)


def _error(sample: Sample) -> float:
    """Mean difference in grey levels of frames warped onto the target, where the flow stays in."""
    worst = 0.0
    for target, pair in zip(_planes(sample.target), _planes(sample.flow)):
        for frame, flow in zip(_planes(sample.frames), pair):
            warped = backwarp(frame[None], flow[None])[0]
            inside = backwarp(torch.ones_like(frame[None]), flow[None], "zeros")[0] > 0.999
            assert inside.float().mean() > 0.4
            worst = max(worst, (warped - target)[inside].abs().mean().item())
    return worst


def _plan(box: Box, **steps) -> Plan:
    if steps.pop("enlarged", False):
        inner = Box(5, 8, 2 * box.height - 11, 2 * box.width - 14)
        return Plan(box, inner, **steps)
    return Plan(box, **steps)


def test_scene_itself_and_that_a_wrong_flow_would_be_seen():
    scene = _scene()
    assert _error(scene) < 1.0
    assert _error(replace(scene, flow=-scene.flow)) > 8
    assert _error(replace(scene, flow=scene.flow[..., ::-1])) > 8
    assert _error(replace(scene, flow=scene.flow[:, ::-1])) > 8


@pytest.mark.parametrize("steps", SINGLE, ids=str)
def test_an_unknown_pixel_makes_no_other_wrong(steps):
    scene = _scene((0.5,))
    plan = _plan(Box(0, 0, *SIZE), **steps)
    whole = plan.apply(scene).flow
    scene.flow[:, 0, 40, 50] = np.nan
    flow = plan.apply(scene).flow
    known = ~np.isnan(flow)
    np.testing.assert_array_equal(flow[known], whole[known])
    lost = np.count_nonzero(~known.all(-1))
    assert 1 <= lost <= (16 if "enlarged" in steps else 1)


@pytest.mark.parametrize("steps", SINGLE, ids=str)
def test_flow_hits_target_after_one_augmentation(steps):
    box = Box(10, 20, 70, 80)
    plan = _plan(box, **steps)
    before = _cut(_scene(), box)
    after = plan.apply(before)
    assert _error(after) < 1.0
    if steps:
        assert after.frames.shape != before.frames.shape or (after.frames != before.frames).any()
    times = [0.125, 0.5, 0.75] if steps.get("time_reversal") else [0.25, 0.5, 0.875]
    np.testing.assert_allclose(after.t, times)
    assert after.t.dtype == np.float32 and after.flow.dtype == np.float32


@pytest.mark.parametrize("seed", range(40))
def test_flow_hits_target_after_any_combination(seed):
    scene = _scene()
    crop = (64, 56) if seed % 2 else 64
    augment = Augment(crop, **PAPER)
    plan = augment.plan(np.random.default_rng(seed), *SIZE)
    after = plan.apply(_cut(scene, plan.box))
    assert after.frames.shape == (2, *(crop if seed % 2 else (64, 64)), 3)
    assert after.flow.shape == (3, 2, *after.frames.shape[1:3], 2)
    assert _error(after) < 1.2


def test_augmenting_leaves_the_sample_as_it_was():
    scene = _scene()
    frames, flow = scene.frames.copy(), scene.flow.copy()
    for steps in SINGLE:
        _plan(Box(0, 0, *SIZE), **steps).apply(scene)
        np.testing.assert_array_equal(scene.frames, frames)
        np.testing.assert_array_equal(scene.flow, flow)


@pytest.mark.parametrize("seed", range(30))
def test_enlarging_the_part_equals_cutting_the_enlarged_frame(seed):
    scene = _scene()
    rng = np.random.default_rng(seed)
    plan = Augment((61, 70), resize=1).plan(rng, *SIZE)
    part = plan.apply(_cut(scene, plan.box)).frames[0]
    whole = cv2.resize(scene.frames[0], (2 * SIZE[1], 2 * SIZE[0]), interpolation=cv2.INTER_LINEAR)
    row = 2 * plan.box.top + plan.enlarged.top
    column = 2 * plan.box.left + plan.enlarged.left
    np.testing.assert_array_equal(part, cut(whole, Box(row, column, 61, 70)))
    assert plan.box.height <= 61 // 2 + 4 and plan.box.width <= 70 // 2 + 4


def test_crops_reach_every_corner():
    boxes = [Augment(8).plan(np.random.default_rng(i), 10, 11).box for i in range(400)]
    assert {box.top for box in boxes} == {0, 1, 2}
    assert {box.left for box in boxes} == {0, 1, 2, 3}
    big = [Augment(8, resize=1).plan(np.random.default_rng(i), 10, 11) for i in range(400)]
    assert {2 * p.box.top + p.enlarged.top for p in big} == set(range(13))


@pytest.mark.parametrize("name", PAPER)
def test_probabilities_are_kept(name):
    augment = Augment(16, **{name: 0.3})
    plans = [augment.plan(np.random.default_rng(i), 64, 64) for i in range(1000)]
    done = {"resize": lambda p: p.enlarged is not None, "rotate": lambda p: p.turns > 0}
    happened = sum(done.get(name, lambda p: getattr(p, name))(p) for p in plans) / 1000
    assert 0.25 < happened < 0.35
    others = [f.name for f in fields(Plan) if f.name not in ("box", "enlarged", "turns", name)]
    assert not any(getattr(p, other) for p in plans for other in others)


def test_one_more_augmentation_does_not_move_the_crop():
    for seed in range(20):
        plain = Augment(16).plan(np.random.default_rng(seed), 64, 64)
        rich = Augment(16, channel_order=0.5, vertical_flip=0.5).plan(
            np.random.default_rng(seed), 64, 64
        )
        assert plain.box == rich.box


def test_crop_bigger_than_frame_names_clip_and_sizes():
    with pytest.raises(UserError, match=r"00001/0007.*224x224.*300x200"):
        Augment(224).plan(np.random.default_rng(0), 200, 300, "00001/0007")
    with pytest.raises(UserError, match=r"00001/0007.*64x512.*448x256"):
        centre_crop((512, 64), 256, 448, "00001/0007")


@pytest.mark.parametrize("options", [{"resize": 1.5}, {"crop": None, "rotate": 0.1}, {"crop": 0}])
def test_senseless_options_are_refused(options):
    with pytest.raises(UserError):
        Augment(**{"crop": 8, **options}).plan(np.random.default_rng(0), 16, 16)


def test_centre_crop():
    assert centre_crop(4, 10, 20).box == Box(3, 8, 4, 4)
    assert centre_crop(None, 10, 20).box == Box(0, 0, 10, 20)
