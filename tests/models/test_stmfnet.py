"""ST-MFNet's options: widths, the flow branch and what is trained."""

from __future__ import annotations

import pytest
import torch

from midframe import Inputs, create_model
from midframe.errors import UserError
from midframe.models.base import Interpolator
from midframe.models.stmfnet_texture import Conv3d
from midframe.models.zoo import build_empty, config_of

SMALL = {"features": [32, 16, 16, 16], "kernels": 6, "grid": [4, 5, 6], "texture": [4, 5, 6, 7]}
SMALL |= {"fuse": 3}


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return create_model("stmfnet", **SMALL)


def _shapes(name: str = "stmfnet", **options: object) -> Interpolator:
    """Return a network of shapes alone."""
    config = config_of(name)
    return build_empty({**config, "net": {**config["net"], **options}})


def _inputs(height: int = 128, width: int = 128) -> Inputs:
    return Inputs(torch.rand(1, 4, 3, height, width), torch.tensor([[0.5]]))


def test_every_option_sets_the_channels_of_the_weights_it_names(small):
    before, wider = small.state_dict(), {width.option: width for width in small.widths()}
    lists = {f"{k}.{i}" for k, v in SMALL.items() if isinstance(v, list) for i in range(len(v))}
    assert wider.keys() == lists | {"kernels", "fuse"}
    learning = {name for name, p in small.named_parameters() if p.requires_grad}
    for option, width in wider.items():
        name, _, place = option.partition(".")
        value = list(SMALL[name]) if place else SMALL[name]
        assert width.channels == (value[int(place)] if place else value)
        assert width.least % width.multiple == 0
        if place:
            value[int(place)] += 3 * width.multiple
        else:
            value += 3 * width.multiple
        after = _shapes(**{**SMALL, name: value}).state_dict()
        assert width.parameters and set(width.parameters) <= learning
        for key in width.parameters:
            enlarging = "upconv.0" in key or ("deconv" in key and "downsample" in key)
            axis = int(enlarging and "deconv4" not in key)
            assert after[key].shape[axis] > before[key].shape[axis], key


def test_the_widths_of_mini_are_those_that_compression_may_choose():
    mini = {width.option: width.channels for width in _shapes("stmfnet_mini").widths()}
    for width in _shapes().widths():
        narrow = mini[width.option]
        assert width.least <= narrow < width.channels and narrow % width.multiple == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"features": [64, 128, 256]}, "features of ST-MFNet is 4 widths"),
        ({"grid": [32, 64, 96, 128]}, "grid of ST-MFNet is 3 widths"),
        ({"features": [64, 128, 255, 512]}, "even numbers"),
    ],
)
def test_widths_that_make_no_network_are_named(options, words):
    with pytest.raises(UserError, match=words):
        create_model("stmfnet", **options)


def test_flow_is_trained_on_demand_only(small):
    flows = [p for name, p in small.named_parameters() if name.startswith("flow_estimator.")]
    assert flows and not any(p.requires_grad for p in flows)
    tuned = create_model("stmfnet", **SMALL, train_flow=True).train()
    tuned(_inputs()).frame.mean().backward()
    for name, parameter in tuned.named_parameters():
        # several devices wait for the gradient of whatever asks for one
        assert (parameter.grad is not None) == parameter.requires_grad, name
    assert tuned.flow_estimator.netSix.netOne[0].weight.grad.any()


def test_without_flow_nothing_of_its_branch_is_there():
    names = _shapes(**SMALL, flow=False).state_dict()
    assert not any(name.startswith(("flow_estimator", "metric")) for name in names)


def test_the_outer_frames_serve_the_texture_alone(small):
    x = _inputs()
    other = Inputs(x.frames.clone(), x.t)
    other.frames[:, [0, 3]] = torch.rand(1, 2, 3, 128, 128)
    with torch.no_grad():
        one, two = small(x), small(other)
    assert torch.equal(one.frames_coarse[0], two.frames_coarse[0])
    assert not torch.equal(one.frame, two.frame)


@pytest.mark.parametrize("options", [{}, {"stride": (1, 2, 2), "bias": False}])
def test_a_3d_convolution_of_a_small_picture_is_pytorchs(options):
    ours = Conv3d(6, 4, 3, padding=1, **options)
    other = torch.nn.Conv3d(6, 4, 3, padding=1, **options)
    other.load_state_dict(ours.state_dict())
    x = torch.rand(1, 6, 5, 12, 10, requires_grad=True)
    out, expected = ours(x), other(x)
    torch.testing.assert_close(out, expected)
    weight = torch.rand_like(out)
    for got, wanted in zip(
        torch.autograd.grad((out * weight).sum(), (x, ours.weight)),
        torch.autograd.grad((expected * weight).sum(), (x, other.weight)),
    ):
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)
