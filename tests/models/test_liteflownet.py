"""LiteFlowNet in half precision, and initialisations of flow networks."""

from __future__ import annotations

import pytest
import torch
from bfloat16 import bfloat16_units

from midframe import Inputs, create_flow, create_model
from midframe.errors import UserError
from midframe.models.inference import for_inference
from midframe.ops import correlation


def frames() -> torch.Tensor:
    picture = torch.nn.functional.avg_pool2d(torch.rand(1, 3, 80, 150), 5, 1, 2)
    return torch.stack([picture[..., 4:68, 6:134], picture[..., 2:66, 2:130]], 1)


def smoothing(network) -> None:
    """Let the network hand on the flow of its coarsest level, about 40 px, and nothing else."""
    for part in network.modules():
        if hasattr(part, "netUpflow") and part.scale > 1:
            torch.nn.init.zeros_(part.netMain[-1].weight)
    coarsest = network.netMatching[-1].netMain[-1]
    torch.nn.init.zeros_(coarsest.weight)
    with torch.no_grad():
        coarsest.bias[:] = torch.tensor([2.013, -1.507])


@pytest.mark.parametrize("how", ["weights", "autocast"])
def test_flow_keeps_float32_under_bfloat16(how: str) -> None:
    network = create_flow("liteflownet", init="he")
    smoothing(network)
    x = Inputs(frames(), torch.tensor([[0.5]]))
    expected = network.interpolate(x).flow
    assert float(expected[:, :, :, 0].max()) > 20  # px: bfloat16 would round them to 1/6 px
    with bfloat16_units():
        if how == "weights":
            found = for_inference(network, "bf16").interpolate(x).flow
        else:
            with torch.autocast("cpu", torch.bfloat16):
                found = network.interpolate(x).flow
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=5e-2, rtol=0)  # from the windows alone


def test_gradients_reach_every_weight_in_bfloat16() -> None:
    network = create_model("liteflownet", init="he").train()
    with torch.no_grad():  # flow is no longer zero, so all layers have a say
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d) and layer.out_channels == 2:
                layer.weight += 0.01 * torch.randn_like(layer.weight)
    with bfloat16_units():
        with torch.autocast("cpu", torch.bfloat16):
            out = network(Inputs(frames()[..., :64], torch.tensor([[0.5]])))
        assert all(level.dtype == torch.float32 for level in out.flows_coarse)
        sum(level.square().sum() for level in out.flows_coarse).backward()
    for name, weight in network.named_parameters():
        assert weight.grad is not None and torch.isfinite(weight.grad).all(), name
        assert weight.grad.any(), name


def test_he_sees_where_frames_match_and_starts_at_no_motion() -> None:
    network = create_model("liteflownet", init="he")
    x = frames()
    out = network.interpolate(Inputs(x, torch.tensor([[0.5]])))
    assert float(out.flow.abs().max()) == 0.0
    one = network.netFeatures(x[:, 0])
    for level in (2, 3):
        volume = correlation(one[level], one[level], 3).mean((0, 2, 3)).detach()
        share = float(volume[24] / volume.sum())  # of no displacement among 49
        assert share > 2 / 49
        assert 0.1 < float(one[level].detach().std()) < 3
    with pytest.raises(UserError, match="LiteFlowNet has init default and he"):
        create_model("liteflownet", init="zeros")
