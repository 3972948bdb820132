"""ST-MFNet that is to learn from scratch begins at the average of the middle two frames."""

from __future__ import annotations

import pytest
import torch

from midframe import Inputs, create_model
from midframe.errors import UserError

SMALL = {
    "features": [16, 16, 16, 16],
    "kernels": 8,
    "grid": [8, 8, 8],
    "texture": [8, 8, 8, 8],
    "fuse": 4,
}


def textured(count: int) -> torch.Tensor:
    return torch.nn.functional.avg_pool2d(torch.rand(1, count, 3, 128, 128)[0], 5, 1, 2)[None]


@pytest.mark.parametrize("flow", [False, True])
def test_it_starts_at_the_average_but_for_a_little_blur(flow):
    network = create_model("stmfnet", init="he", flow=flow, **SMALL)
    frames = textured(4)
    out = network.interpolate(Inputs(frames, torch.tensor([[0.5]]))).frame[0, 0]
    away = (out - frames[0, 1:3].mean(0)).abs()
    assert away.mean() < 5e-3
    assert (out - frames[0, 0]).abs().mean() > 5 * away.mean()


def test_published_start_is_far_from_it():
    frames = textured(4)
    out = create_model("stmfnet", flow=False, **SMALL).interpolate(
        Inputs(frames, torch.tensor([[0.5]]))
    )
    assert (out.frame[0, 0] - frames[0, 1:3].mean(0)).abs().mean() > 0.1


def test_every_part_learns_within_a_few_steps():
    network = create_model("stmfnet", init="he", flow=False, **SMALL).train()
    x, target = Inputs(textured(4), torch.tensor([[0.5]])), textured(1)[None, 0, :1]
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimizer = torch.optim.Adamax(network.parameters(), 1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        (network(x).frame - target).abs().mean().backward()
        optimizer.step()
    moved = {n for n, p in network.named_parameters() if not torch.equal(p, before[n])}
    for part in ("feature_extractor.conv1", "get_kernel.moduleAlpha1", "dyntex_generator.encoder"):
        assert any(name.startswith(part) for name in moved), part


@pytest.mark.parametrize("width", [2, 3, 6])
def test_narrow_rows_start_somewhere(width):
    network = create_model("stmfnet", init="he", flow=False, **{**SMALL, "grid": [8, width, 8]})
    out = network.interpolate(Inputs(textured(4), torch.tensor([[0.5]])))
    assert bool(torch.isfinite(out.frame).all())


def test_an_unknown_start_is_told():
    with pytest.raises(UserError, match="init default and he"):
        create_model("stmfnet", init="zeros")
