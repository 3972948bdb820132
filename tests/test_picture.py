"""Pictures: the colour code for flow, overlays, error maps and the grid of training logs."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch

from midframe.picture import (
    ERROR_FULL,
    colour_wheel,
    error_map,
    flow_picture,
    flow_pictures,
    overlay,
    to_picture,
    training_grid,
)
from midframe.types import Batch, Inputs, Prediction


def _field(*vectors):
    return np.array(vectors, np.float32).reshape(1, -1, 2)


def test_wheel_has_middleburys_55_hues():
    wheel = colour_wheel()
    assert wheel.shape == (55, 3)
    assert wheel[0].tolist() == [255, 0, 0]
    assert wheel[15].tolist() == [255, 255, 0]
    assert wheel[21].tolist() == [0, 255, 0]
    assert wheel[25].tolist() == [0, 255, 255]
    assert wheel[36].tolist() == [0, 0, 255]
    assert wheel[49].tolist() == [255, 0, 255]


def test_flow_hues_follow_direction_as_in_middleburys_colour_code():
    right, down, left, up = flow_picture(_field((5, 0), (0, 5), (-5, 0), (0, -5)))[0]
    hues = [colorsys.rgb_to_hsv(*(c / 255))[0] * 360 for c in (right, down, left, up)]
    assert hues[0] == pytest.approx(0, abs=3)  # right is red
    assert hues[1] == pytest.approx(55, abs=15)  # down is yellow
    assert hues[2] == pytest.approx(185, abs=20)  # left is cyan
    assert hues[3] == pytest.approx(265, abs=25)  # up is blue to violet


def test_flow_strength_goes_from_white_to_full_colour():
    still, slow, fast = flow_picture(_field((0, 0), (2, 0), (8, 0)))[0].astype(int)
    assert still.tolist() == [255, 255, 255]
    assert fast.tolist() == [255, 0, 0]
    assert slow[1] == pytest.approx(255 * 0.75, abs=2)


def test_flow_scale_can_be_fixed_and_beyond_it_is_darker():
    inside, beyond = flow_picture(_field((4, 0), (9, 0)), largest=4)[0].astype(int)
    assert inside.tolist() == [255, 0, 0]
    assert beyond.tolist() == [191, 0, 0]


def test_unknown_flow_is_black_and_does_not_set_the_scale():
    picture = flow_picture(_field((1, 0), (1e10, 1e10), (np.nan, 0)))
    assert picture[0, 0].tolist() == [255, 0, 0]
    assert picture[0, 1].tolist() == picture[0, 2].tolist() == [0, 0, 0]


@pytest.mark.parametrize("size", [(3, 5), (40, 40), (120, 200)])
def test_legend_fits_any_size(size):
    flow = np.random.default_rng(0).normal(size=(*size, 2))
    plain, legend = flow_picture(flow), flow_picture(flow, legend=True)
    assert plain.shape == legend.shape == (*size, 3)
    assert (plain != legend).any() == (min(size) >= 80)


def test_flow_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="H, W, 2"):
        flow_picture(np.zeros((2, 4, 4)))


def test_flows_stand_side_by_side_each_on_its_own_scale():
    slow, fast = np.zeros((100, 120, 2)), np.zeros((100, 120, 2))
    slow[:, 60:, 0], fast[:, :60, 0] = 2, 50
    both = flow_pictures([("slow", slow), ("fast", fast)])
    strip, gap = both.shape[0] - 100, both.shape[1] - 240
    assert 0 < strip <= 30 and 0 < gap <= 10
    left, right = both[strip:, :120], both[strip:, 120 + gap :]
    assert np.array_equal(left, flow_picture(slow, legend=True))
    assert np.array_equal(right, flow_picture(fast, legend=True))
    assert left[0, 119].tolist() == right[0, 0].tolist() == [255, 0, 0]  # each its own full colour
    assert left[0, 0].tolist() == right[0, 119].tolist() == [255, 255, 255]
    titles = both[:strip, :120], both[:strip, 120 + gap :]
    assert titles[0].max() > 100 and not np.array_equal(*titles)


@pytest.mark.parametrize("size", ["base", "large", "llarge"])
def test_flow_and_overlay_are_those_of_upr_nets_demo(golden, size):
    with np.load(golden(f"upr/upr_{size}.npz")) as arrays:
        names = ("bi_flow", "png_bi_flow", "frame0", "frame1", "png_overlay")
        flow, flows, first, second, laid = (arrays[f"demo/{name}"] for name in names)
    fields = np.split(flow[0].transpose(1, 2, 0), 2, axis=2)
    ours = np.concatenate([flow_picture(field) for field in fields], axis=1)
    # pictures there are BGR; overlays are rounded there downwards, here to the nearest
    assert np.abs(ours.astype(int) - flows[..., ::-1]).max() <= 1
    assert np.abs(overlay(first, second).astype(int) - laid).max() <= 1


def test_one_flow_alone_is_as_ever():
    flow = np.random.default_rng(0).normal(size=(90, 100, 2))
    assert np.array_equal(flow_pictures([("x", flow)]), flow_picture(flow, legend=True))


def test_overlay_is_the_mean_without_overflow():
    a, b = np.full((2, 2, 3), 255, np.uint8), np.full((2, 2, 3), 254, np.uint8)
    assert overlay(a, b).tolist() == np.full((2, 2, 3), 255).tolist()
    assert overlay(a, np.zeros_like(a))[0, 0, 0] == 128


def test_error_map_is_black_for_none_white_for_full_and_grows():
    target = np.zeros((1, 4, 3), np.uint8)
    picture = np.array([0, 10, 20, ERROR_FULL], np.uint8)[None, :, None].repeat(3, 2)
    shown = error_map(picture, target).astype(int).sum(-1)[0]
    assert shown[0] == 0 and shown[-1] == 3 * 255
    assert (np.diff(shown) > 0).all()


def test_to_picture_rounds_and_clamps():
    frame = torch.tensor([-0.1, 0.5, 1.2]).view(1, 1, 3).expand(3, 1, 3)
    assert to_picture(frame)[0, :, 0].tolist() == [0, 128, 255]


def _batch(count, size=(48, 64), flow=True):
    frames = torch.rand(count, 2, 3, *size)
    target = torch.rand(count, 1, 3, *size)
    ids = tuple(f"clip/{i}" for i in range(count))
    batch = Batch(Inputs(frames, torch.full((count, 1), 0.5)), target, ids=ids)
    moved = torch.randn(count, 1, 2, 2, *size) if flow else None
    return batch, Prediction(target.clone(), flow=moved, flow_kind="backward")


def test_grid_has_a_row_per_sample_up_to_the_limit():
    heights = [training_grid([_batch(n)], rows=4).shape[0] for n in (1, 2, 4, 9)]
    assert heights == [heights[0], 2 * heights[0], 4 * heights[0], 4 * heights[0]]


def test_grid_shows_the_target_beside_the_prediction_and_no_error():
    batch, pred = _batch(1)
    grid = training_grid([(batch, pred)])
    top = grid.shape[0] - 48 - 4
    panels = [grid[top : top + 48, i * 68 : i * 68 + 64] for i in range(5)]
    first, second = (to_picture(f[0]) for f in batch.inputs.pair)
    assert np.array_equal(panels[0], overlay(first, second))
    assert np.array_equal(panels[1], to_picture(pred.frame[0, 0]))
    assert np.array_equal(panels[2], to_picture(batch.target[0, 0]))
    assert not panels[3].any()


def test_grid_deals_rows_over_batches():
    first, second = _batch(4), _batch(4)
    first[0].target.zero_(), second[0].target.fill_(1)
    grid = training_grid([first, second], rows=2)
    row = grid.shape[0] // 2
    targets = [grid[i * row + row - 30, 2 * 68 + 30, 0] for i in range(2)]
    assert targets == [0, 255]


def test_grid_without_flow_or_target_and_with_large_or_mixed_frames():
    batch, pred = _batch(1, (40, 600), flow=False)
    batch.target = None
    grid = training_grid([(batch, pred), _batch(1)])
    assert grid.dtype == np.uint8 and grid.shape[1] < 1500
    with pytest.raises(ValueError, match="at least one"):
        training_grid([])
