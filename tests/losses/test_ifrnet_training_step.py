"""A whole training step of IFRNet-S with the loss of conf/loss against the published code."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from midframe.models.ifrnet import IFRNet
from midframe.types import Batch, Inputs

CONF = Path(__file__).resolve().parents[2] / "conf"
PARTS = {"loss_rec": ("charbonnier", "census"), "loss_geo": ("geometry",)}
PARTS |= {"loss_dis": ("distillation",)}


@pytest.fixture(scope="module")
def case(golden):
    facts = json.loads(golden("ifrnet/train_IFRNet_S.json").read_text())
    with np.load(golden("ifrnet/train_IFRNet_S.npz")) as arrays:
        data = {k: arrays[k] for k in arrays.files}

    def picture(name):
        return torch.from_numpy(data[name]).permute(0, 3, 1, 2).float() / 255

    inputs = Inputs(torch.stack((picture("img0"), picture("img1")), 1), torch.full((2, 1), 0.5))
    label = torch.from_numpy(data["pseudo_flow"]).unflatten(1, (1, 2, 2))
    return facts, data, Batch(inputs, target=picture("imgt")[:, None], flow=label)


@pytest.fixture
def model(golden_fill, case):
    return golden_fill.fill_(IFRNet("S"), **case[0]["weights"])


@pytest.fixture
def loss():
    with initialize_config_dir(str(CONF), version_base=None):
        return instantiate(compose(overrides=["+loss=ifrnet"]).loss)


def assert_parts(out, expected):
    for name, terms in PARTS.items():
        value = sum(float(out.terms[term]) for term in terms)
        assert value == pytest.approx(expected[name], abs=1e-4, rel=1e-4), name


@pytest.mark.parametrize("run", ["with_flow", "no_flow"])
def test_losses_and_gradients(case, model, loss, run):
    facts, data, batch = case
    if run == "no_flow":
        batch = Batch(batch.inputs, target=batch.target)
    expected = facts["runs"][run]

    out = loss(model(batch.inputs), batch, model)
    out.total.backward()

    assert_parts(out, expected)
    assert float(out.terms["charbonnier"]) == pytest.approx(
        expected["loss_rec_charbonnier"], abs=1e-5
    )
    assert float(out.terms["census"]) == pytest.approx(expected["loss_rec_census"], abs=1e-5)
    assert float(out.total.detach()) == pytest.approx(expected["total"], abs=1e-4)
    norms = {name: float(p.grad.norm()) for name, p in model.named_parameters()}
    assert norms == pytest.approx(expected["grad_norm"], rel=2e-3)
    for name, parameter in model.named_parameters():
        if f"{run}/grad/{name}" in data:
            stored = torch.from_numpy(data[f"{run}/grad/{name}"])
            worst = (parameter.grad - stored).abs().max() / stored.abs().max()
            assert worst < 2e-3, name


def test_optimizer_steps(case, model, loss):
    facts, _, batch = case
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0)
    for expected in facts["optimiser_steps"]["steps"]:
        optimizer.param_groups[0]["lr"] = expected["lr"]
        optimizer.zero_grad()
        out = loss(model(batch.inputs), batch, model)
        assert_parts(out, expected)
        out.total.backward()
        optimizer.step()


def test_loss_adds_nothing_to_the_checkpoint(loss):
    assert loss.state_dict() == {}
