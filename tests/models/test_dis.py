"""The classical baseline reaches the measured floor and behaves at any t."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from midframe import Inputs, create_model


def _tensor(path) -> torch.Tensor:
    return torch.from_numpy(cv2.imread(str(path))[..., ::-1].copy()).permute(2, 0, 1).float() / 255


def _psnr(model, folder) -> float:
    frames = torch.stack((_tensor(folder / "frame10.png"), _tensor(folder / "frame11.png")))[None]
    out = model.interpolate(Inputs(frames, torch.tensor([[0.5]]))).frame[0, 0]
    error = (out - _tensor(folder / "frame10i11.png")).square().mean()
    return float(-10 * torch.log10(error))


@pytest.mark.parametrize(("scene", "least"), [("RubberWhale", 44.5), ("Beanbags", 31.0)])
def test_real_scenes(shared_data, scene, least):
    assert _psnr(create_model("dis"), shared_data("middlebury_other") / scene) > least


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "least"),
    [({}, 36.1), ({"estimates": 1}, 35.8), ({"method": "splat"}, 34.6)],
)
def test_mean_over_all_scenes(shared_data, options, least):
    folders = sorted(shared_data("middlebury_other").iterdir())
    values = [_psnr(create_model("dis", **options), folder) for folder in folders]
    assert len(values) == 12
    assert np.mean(values) > least


def _moving(t: float, shift=(6.0, -3.0)) -> torch.Tensor:
    """A smooth texture that moves by ``shift`` (x, y) pixels over the gap, at time t."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    x, y = x - t * shift[0], y - t * shift[1]
    waves = (x / 5).sin() + (y / 4).cos() + ((x + 2 * y) / 11).sin() + ((2 * x - y) / 17).cos()
    return (0.5 + waves / 8).expand(3, 64, 96)


@pytest.mark.parametrize("method", ["warp", "splat"])
def test_a_moving_texture_is_found_at_any_time(method):
    frames = torch.stack((_moving(0), _moving(1)))[None]
    times = torch.tensor([[0.125, 0.5, 0.9]])
    out = create_model("dis", method=method).interpolate(Inputs(frames, times))
    inside = (..., slice(12, -12), slice(12, -12))
    for k, t in enumerate(times[0].tolist()):
        error = (out.frame[0, k] - _moving(t))[inside]
        assert error.abs().mean() < 0.01
        for direction, factor in ((0, -t), (1, 1 - t)):
            flow = out.flow[0, k, direction][inside].mean((1, 2))
            np.testing.assert_allclose(flow, [6 * factor, -3 * factor], atol=0.15)


def test_the_ends_of_the_gap_are_the_frames():
    frames = torch.stack((_moving(0), _moving(1)))[None]
    out = create_model("dis").interpolate(Inputs(frames, torch.tensor([[0.0, 1.0]])))
    torch.testing.assert_close(out.frame, frames, atol=1e-4, rtol=0)


def test_what_only_one_frame_sees_is_taken_from_it():
    """A dark square moves right over a texture: behind it, only frame 1 sees the ground."""

    def scene(t: float) -> torch.Tensor:
        ground = _moving(0).clone()
        ground[:, 20:44, 24 + round(16 * t) : 48 + round(16 * t)] = 0.0
        return ground

    frames = torch.stack((scene(0), scene(1)))[None]
    out = create_model("dis").interpolate(Inputs(frames, torch.tensor([[0.5]])))
    error = (out.frame[0, 0] - scene(0.5)).abs().mean()
    average = (frames[0].mean(0) - scene(0.5)).abs().mean()
    assert error < average / 3
    assert out.mask[0, 0, 0, 28:36, 26:30].mean() < 0.4  # uncovered by the square
    assert out.mask[0, 0, 0, 28:36, 58:62].mean() > 0.6  # about to be covered
