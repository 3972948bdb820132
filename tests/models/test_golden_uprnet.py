"""UPR-Net gives the numbers of the published code: frames, flows, a training step."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from midframe import Inputs, create_model
from midframe.models.base import Pad
from midframe.types import Batch

CONF = Path(__file__).resolve().parents[2] / "conf"
MODELS = {"upr": "upr_base", "upr_large": "upr_large", "upr_llarge": "upr_llarge"}
CASES = ("vimeo_t050", "vimeo_t025", "demo", "snufilm", "x4k")
TOLERANCE = 1e-4
SMALLEST, *_ = MODELS
SIZES_AND_CASES = [  # one case tells that a larger size has the right weights in the right places
    pytest.param(name, case, marks=[pytest.mark.slow] * (name != SMALLEST and case != CASES[0]))
    for name in MODELS
    for case in CASES
]


def _rgb(pictures: np.ndarray) -> torch.Tensor:
    """Turn uint8 BGR (..., H, W, 3) into float RGB (..., 3, H, W)."""
    return torch.from_numpy(pictures[..., ::-1].copy()).movedim(-1, -3).float() / 255


def _inputs(first: np.ndarray, second: np.ndarray, time: float) -> Inputs:
    frames = torch.stack((_rgb(first), _rgb(second)), -4)
    frames = frames if frames.ndim == 5 else frames[None]
    return Inputs(frames, torch.full((frames.shape[0], 1), time))


def _published(out) -> dict[str, torch.Tensor]:
    """Name the parts of a prediction as the reference data does; its pictures are BGR."""
    got = {"pred": out.frame[:, 0].flip(1), "bi_flow": out.flow[:, 0].flatten(1, 2)}
    for step, flow in enumerate(reversed(out.flows_coarse)):
        got[f"bi_flow_s{step}"] = flow[:, 0].flatten(1, 2)
    for step, frame in enumerate(reversed(out.frames_coarse)):
        got[f"interp_s{step}"] = frame[:, 0].flip(1)
    return got | {f"{k}_every4th": v[..., ::4, ::4] for k, v in got.items()}


@pytest.mark.parametrize(("name", "case"), SIZES_AND_CASES)
def test_frames_and_flows_of_every_level_are_the_published_ones(golden, filled, name, case):
    entries = json.loads(golden(f"upr/{MODELS[name]}.json").read_text())["cases"]
    entry = next(e for e in entries if e["name"] == case)
    with np.load(golden(f"upr/{MODELS[name]}.npz")) as arrays:
        expected = {k.split("/")[1]: arrays[k] for k in arrays if k.startswith(f"{case}/")}
    model = filled(name, entry["weights"]["salt"], entry["weights"]["gain"])
    x = _inputs(expected["frame0"], expected["frame1"], entry["time"])
    hints = {k: v for k, v in entry["call"]["kwargs"].items() if k != "time_period"}
    pad = Pad(entry["divisor"], "half", "after") if entry["divisor"] else None

    got = _published(model.interpolate(x, pad=pad, **hints))

    compared = set(got) & set(expected)
    assert len(compared) >= 2
    for key in compared:
        np.testing.assert_allclose(got[key].numpy(), expected[key], atol=TOLERANCE, err_msg=key)


@pytest.mark.parametrize("name", MODELS)
def test_keys_and_parameter_counts_are_the_published_ones(golden, name):
    facts = json.loads(golden(f"upr/{MODELS[name]}.keys.json").read_text())
    model = create_model(name)
    assert {k: list(v.shape) for k, v in model.state_dict().items()} == facts["keys"]
    assert sum(p.numel() for p in model.parameters()) == facts["num_parameters"]


@pytest.fixture(scope="module")
def step(golden):
    facts = json.loads(golden("upr/train_upr_base.json").read_text())
    with np.load(golden("upr/train_upr_base.npz")) as arrays:
        data = {k: arrays[k] for k in arrays.files}
    batch = Batch(_inputs(data["img0"], data["img1"], 0.5), target=_rgb(data["gt"])[:, None])
    return facts, data, batch


@pytest.fixture(scope="module")
def recipe():
    with initialize_config_dir(str(CONF), version_base=None):
        return compose("train", overrides=["experiment=upr_vimeo"])


def test_loss_and_gradients_of_a_training_step(step, filled, recipe):
    facts, data, batch = step
    model, loss = filled("upr", 0, 1.5), instantiate(recipe.loss)
    pred = model(batch.inputs)
    out = loss(pred, batch, model)
    out.total.backward()

    for key, value in _published(pred).items():
        if key in data:
            np.testing.assert_allclose(value.detach().numpy(), data[key], atol=TOLERANCE)
    expected = facts["first_step"]
    assert float(out.terms["charbonnier"]) == pytest.approx(expected["loss_l2"], abs=1e-5)
    assert float(out.terms["census"]) == pytest.approx(expected["loss_census"], abs=1e-5)
    norms = {name: float(p.grad.norm()) for name, p in model.named_parameters()}
    assert norms == pytest.approx(expected["grad_norm"], rel=1e-3)
    for name, parameter in model.named_parameters():
        if f"grad/{name}" in data:
            stored = torch.from_numpy(data[f"grad/{name}"])
            assert (parameter.grad - stored).abs().max() / stored.abs().max() < 1e-3, name


def test_the_losses_of_published_optimizer_steps(step, filled, recipe):
    facts, _, batch = step
    model, loss = filled("upr", 0, 1.5), instantiate(recipe.loss)
    optimizer = instantiate(recipe.optimizer.build)(model.parameters())
    assert optimizer.defaults["weight_decay"] == 1e-4
    for expected in facts["optimiser_steps"]["steps"]:
        for group in optimizer.param_groups:
            group["lr"] = expected["lr"]
        out = loss(model(batch.inputs), batch, model)
        assert float(out.terms["charbonnier"]) == pytest.approx(expected["loss_l2"], rel=1e-3)
        assert float(out.terms["census"]) == pytest.approx(expected["loss_census"], rel=1e-3)
        optimizer.zero_grad()
        out.total.backward()
        optimizer.step()


def test_the_learning_rate_is_the_published_one(golden, recipe):
    facts = json.loads(golden("upr/losses.json").read_text())["lr_schedule"]
    schedule = instantiate(recipe.optimizer.schedule)
    for step, rate in facts["lr_at_step"].items():
        # the published code counts steps from 1
        assert schedule(int(step) - 1) * recipe.optimizer.lr == pytest.approx(rate, rel=1e-5)


def test_levels_and_sizes_that_do_not_fit_are_named():
    model = create_model("upr")
    x = Inputs(torch.rand(1, 2, 3, 40, 64), torch.tensor([[0.5]]))
    with pytest.raises(ValueError, match="multiples of 16, not 40x64"):
        model(x)
    with pytest.raises(ValueError, match="nr_lvl_skipped < pyr_level"):
        model(x, pyr_level=2, nr_lvl_skipped=2)
    assert model.interpolate(x, pyr_level=4).frame.shape[-2:] == (40, 64)


@pytest.mark.parametrize(("width", "levels"), [(160, 2), (448, 3), (640, 4), (1920, 6), (20, 1)])
def test_levels_by_width_are_those_of_the_published_demo(width, levels):
    assert create_model("upr").hints(100, width) == {"pyr_level": levels}


def test_masks_that_underflow_blend_instead_of_giving_nan():
    model = create_model("upr")
    with torch.no_grad():
        model.synthesis_network.pred.bias[3:] = -300.0
    x = Inputs(torch.rand(1, 2, 3, 32, 32), torch.tensor([[0.25]]))
    out = model.interpolate(x)
    assert out.frame.isfinite().all()
    torch.testing.assert_close(out.mask, torch.full_like(out.mask, 0.75))
