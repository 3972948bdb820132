"""PWC-Net and LiteFlowNet give the flow of the published code, and serve as interpolators."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from midframe import Inputs, create_flow, create_model
from midframe.errors import UserError

FILES = {"pwcnet": "pwc", "liteflownet": "liteflownet"}
PARAMETERS = {"pwcnet": 9374274, "liteflownet": 5381969}


@pytest.fixture(scope="module")
def filled(golden, golden_fill):
    """Return a state dict by the weights recipe of the reference data."""

    def build(name: str):
        with np.load(golden(f"flow/{FILES[name]}.npz")) as arrays:
            weights = json.loads(str(arrays["meta"]))["weights"]

        def gain(key: str) -> float:
            return next(g for p, g in weights["gains_first_matching_prefix"] if key.startswith(p))

        like = create_flow(name).state_dict()
        return {k: golden_fill.filled(k, v, weights["salt"], gain(k)) for k, v in like.items()}

    return build


def _frame(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize("case", ["aligned", "odd"])
@pytest.mark.parametrize("name", FILES)
def test_flow_is_the_published_one_at_any_size(golden, filled, name, case):
    with np.load(golden(f"flow/{FILES[name]}.npz")) as arrays:
        one, two = _frame(arrays[f"{case}/one"]), _frame(arrays[f"{case}/two"])
        wanted = arrays[f"{case}/flow"]
    network = create_flow(name, weights=filled(name))
    before = one.clone()
    with torch.no_grad():
        flow = network.estimate(one, two)
    # float64 is 5e-6 of the largest motion (32 px) away from the reference, recorded in float32
    np.testing.assert_allclose(flow[0].numpy(), wanted, atol=2e-5 * np.abs(wanted).max(), rtol=0)
    assert torch.equal(one, before)


@pytest.mark.parametrize("name", FILES)
def test_keys_are_the_published_ones_and_checkpoints_load_under_their_own_names(
    golden, filled, name
):
    facts = json.loads(golden(f"flow/{FILES[name]}.keys.json").read_text())
    state = filled(name)
    assert {k: list(v.shape) for k, v in state.items()} == facts["keys"]
    published = {key.replace("net", "module"): value for key, value in state.items()}
    loaded = create_flow(name, weights=published).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
    published.pop(next(iter(published)))
    with pytest.raises(UserError):
        create_flow(name, weights=published)


@pytest.mark.parametrize("name", FILES)
def test_parameter_counts_are_the_published_ones(name):
    assert sum(p.numel() for p in create_flow(name).parameters()) == PARAMETERS[name]


def test_a_model_without_flow_is_no_flow_network():
    with pytest.raises(UserError, match="liteflownet, pwcnet"):
        create_flow("average")


@pytest.mark.parametrize("name", FILES)
def test_both_directions_are_the_estimates_of_swapped_frames(filled, name, golden):
    network = create_flow(name, weights=filled(name))
    one, two = torch.rand(2, 1, 3, 64, 128)
    out = network.interpolate(Inputs(torch.stack((one, two), 1), torch.tensor([[0.3, 0.6]])))
    with torch.no_grad():
        forth, back = network.estimate(one, two), network.estimate(two, one)
    torch.testing.assert_close(out.flow[:, 0, 0], forth, atol=2e-4, rtol=0)
    torch.testing.assert_close(out.flow[:, 1, 1], back, atol=2e-4, rtol=0)


def test_frames_are_splatted_along_the_flow():
    network = create_model("pwcnet")
    moving = torch.nn.functional.avg_pool2d(torch.rand(1, 3, 64, 200), 5, 1, 2)
    first, second, truth = moving[..., 8:136], moving[..., :128], moving[..., 4:132]
    forth = torch.tensor([8.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 16, 32) / 20
    network.both_ways = lambda a, b: (torch.cat((forth, -forth)),)
    out = network.interpolate(Inputs(torch.stack((first, second), 1), torch.tensor([[0.5]])))
    inside = (out.frame[0, 0] - truth[0])[..., 12:-12].abs()
    assert inside.max() < 1e-4
