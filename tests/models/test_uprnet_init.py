"""UPR-Net that is to learn from scratch begins at the average, where frames can be matched."""

from __future__ import annotations

import pytest
import torch

from midframe import Inputs, create_model
from midframe.errors import UserError
from midframe.ops import correlation


def textured(*shape: int) -> torch.Tensor:
    return torch.nn.functional.avg_pool2d(torch.rand(*shape), 5, 1, 2)


def test_it_starts_at_no_motion_and_at_the_average_by_time():
    network = create_model("upr", init="he")
    frames = textured(2, 3, 64, 64)
    out = network.interpolate(Inputs(frames[None], torch.tensor([[0.25, 0.5]])))
    assert float(out.flow.abs().max()) == 0.0
    for i, t in enumerate((0.25, 0.5)):
        average = (1 - t) * frames[0] + t * frames[1]
        torch.testing.assert_close(out.frame[0, i], average, atol=1e-5, rtol=0)


def test_its_features_tell_where_frames_match():
    network = create_model("upr", init="he")
    with torch.no_grad():
        levels = network.feat_pyramid(textured(1, 3, 128, 128))
    for features in levels:
        assert 0.1 < float(features.std()) < 3
    volume = correlation(levels[-1], levels[-1], 4).mean((0, 2, 3))
    assert float(volume[40] / volume.sum()) > 2 / 81  # of no displacement among 81


def test_every_parameter_learns_within_a_few_steps():
    network = create_model("upr", init="he").train()
    x = Inputs(textured(2, 3, 32, 32)[None], torch.tensor([[0.5]]))
    target = textured(1, 3, 32, 32)[None]
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (network(x).frame - target).abs().mean().backward()
        optimizer.step()
    still = {n for n, p in network.named_parameters() if torch.equal(p, before[n])}
    assert not still


def test_the_default_is_pytorchs_as_published():
    torch.manual_seed(3)
    default = create_model("upr").state_dict()
    torch.manual_seed(3)
    published = create_model("upr", init="default").state_dict()
    assert all(torch.equal(default[key], published[key]) for key in published)
    weight = published["motion_estimator.conv_layer6.0.weight"]
    bound = (weight.shape[1] * 9) ** -0.5  # uniform within 1 / sqrt(fan in)
    assert 0.95 * bound < float(weight.abs().max()) <= bound


def test_an_unknown_start_is_told():
    with pytest.raises(UserError, match="init default and he"):
        create_model("upr", init="zeros")
