"""The spatio-temporal discriminator and its losses against the published code."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from importlib import util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from midframe.engine.adversarial import Critics
from midframe.errors import UserError
from midframe.losses import L1, Adversarial, Linear, WeightedSum
from midframe.losses.adversarial import SpatioTemporalDiscriminator, critics_of
from midframe.types import Batch, Inputs, Prediction


def _module(path: Path) -> ModuleType:
    spec = util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = sys.modules[path.stem] = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Golden:
    """One call of the published loss: arrays, and a discriminator with the same weights."""

    def __init__(self, golden: Callable[[str], Path]) -> None:
        with np.load(golden("stmfnet/stgan.npz")) as arrays:
            self.meta = json.loads(str(arrays["meta"]))
            found = {name: arrays[name] for name in arrays.files if name != "meta"}
        self.arrays = {name: torch.from_numpy(np.array(value)) for name, value in found.items()}
        fill = _module(golden("fill.py")).fill_
        self.term = Adversarial(self.meta["patch_size"])
        assert {k: list(v.shape) for k, v in self.term.critic.state_dict().items()} == (
            self.meta["keys"]
        )
        fill(self.term.critic, self.meta["salt"], self.meta["gain"])
        frames = torch.stack((self["frame_before"], self["frame_after"]), 1)
        # the neighbours are the two middle ones of four
        frames = torch.cat((torch.rand(2, 1, 3, 32, 32), frames, torch.rand(2, 1, 3, 32, 32)), 1)
        self.batch = Batch(Inputs(frames, torch.full((2, 1), 0.5)), self["real"][:, None])
        self.fake = self["fake"].requires_grad_()
        self.pred = Prediction(self.fake[:, None])

    def __getitem__(self, name: str) -> Tensor:
        return self.arrays[name]


@pytest.fixture
def stgan(golden: Callable[[str], Path]) -> Golden:
    return Golden(golden)


def adamax(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Adamax(parameters, lr=1e-3)


def test_the_discriminator_judges_as_published(stgan: Golden) -> None:
    net = stgan.term.critic.eval()
    logits = net(stgan["frame_before"], stgan.fake, stgan["frame_after"])
    torch.testing.assert_close(logits, stgan["eval_logits"], atol=1e-6, rtol=1e-5)


def test_one_call_is_a_step_of_the_discriminator_and_then_the_models_loss(stgan: Golden) -> None:
    loss = WeightedSum({"gan": (1.0, stgan.term)})
    learnt = Critics(loss, adamax).step(stgan.pred, stgan.batch, 0)
    expected = stgan["discriminator_loss"].float()
    torch.testing.assert_close(learnt["gan_critic"], expected, atol=1e-6, rtol=1e-6)
    assert stgan.fake.grad is None, "the discriminator's step must not reach the model"
    state = stgan.term.critic.state_dict()
    for name in ("classifier.2.weight", "s_features.0.0.weight"):
        torch.testing.assert_close(state[name], stgan[f"updated/{name}"], atol=1e-7, rtol=1e-5)

    before = [weight.grad.clone() for weight in stgan.term.critic.parameters()]
    value = loss(stgan.pred, stgan.batch, None).total
    value.backward()
    torch.testing.assert_close(value.detach(), stgan["generator_loss"], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(stgan.fake.grad, stgan["grad_fake"], atol=1e-6, rtol=1e-5)
    after = [weight.grad for weight in stgan.term.critic.parameters()]
    assert all(map(torch.equal, before, after)), "the model's loss must not teach the discriminator"
    assert all(weight.requires_grad for weight in stgan.term.critic.parameters())


def test_half_precision_frames_are_judged_in_float32(stgan: Golden) -> None:
    half = Prediction(stgan.pred.frame.detach().bfloat16())
    exact = stgan.term(Prediction(half.frame.float()), stgan.batch, None)
    with torch.autocast("cpu", torch.bfloat16):
        value = stgan.term(half, stgan.batch, None)
        assert Critics(stgan.term, adamax).step(half, stgan.batch, 0)["critic_critic"] > 0
    assert value.dtype == torch.float32 and torch.equal(value, exact)


def sample(times: int = 1, size: int = 32) -> tuple[Prediction, Batch]:
    frames = torch.rand(2, 2, 3, size, size)
    batch = Batch(Inputs(frames, torch.full((2, times), 0.5)), torch.rand(2, times, 3, size, size))
    return Prediction(torch.rand(2, times, 3, size, size, requires_grad=True)), batch


def test_every_target_time_is_judged_between_its_own_neighbours() -> None:
    term = Adversarial(32)
    term.critic.eval()  # without batch statistics samples are independent
    pred, batch = sample(times=3)
    parts = []
    for b in range(2):
        for t in range(3):
            one = Batch(Inputs(batch.inputs.frames[b : b + 1], torch.full((1, 1), 0.5)))
            one.target = batch.target[b : b + 1, t : t + 1]
            parts.append(term(Prediction(pred.frame[b : b + 1, t : t + 1]), one, None))
    torch.testing.assert_close(term(pred, batch, None), torch.stack(parts).mean())


def test_the_critic_is_no_part_of_the_loss_and_of_its_copies() -> None:
    loss = WeightedSum({"gan": (1.0, Adversarial([32, 48])), "l1": (1.0, L1())})
    assert not loss.state_dict() and not list(loss.parameters())
    twin = copy.deepcopy(loss)
    assert twin.terms["gan"] is not loss.terms["gan"]
    assert twin.terms["gan"].critic is loss.terms["gan"].critic
    loss.eval()
    assert loss.terms["gan"].critic.training
    width = loss.terms["gan"].critic.classifier[0].in_features
    assert width == 128 * 2 * 3


@pytest.mark.parametrize("size", [None, 0, 40, [32], [32, 24], []])
def test_sizes_are_multiples_of_sixteen(size: object) -> None:
    if size == [32]:
        assert Adversarial(size).size == (32, 32)  # type: ignore[arg-type]
        return
    with pytest.raises(UserError, match="multiples of 16, not .*change data.crop"):
        Adversarial(size)  # type: ignore[arg-type]


def test_frames_of_another_size_are_named() -> None:
    with pytest.raises(UserError, match="made for frames of 64x64, got 32x32"):
        Adversarial(64)(*sample(), None)  # type: ignore[arg-type]


def test_a_term_of_weight_zero_trains_nothing() -> None:
    weight = Linear(0.0, 1.0, begin_step=5, end_step=6)
    loss = WeightedSum({"gan": (weight, Adversarial(32)), "l1": (1.0, L1())})
    critics = Critics(loss, adamax)
    before = copy.deepcopy(loss.terms["gan"].critic.state_dict())
    assert critics.step(*sample(), 5) == {}
    assert all(map(torch.equal, before.values(), loss.terms["gan"].critic.state_dict().values()))
    assert list(critics.step(*sample(), 6)) == ["gan_critic"]
    assert [name for name, _ in critics_of(loss)] == ["gan"]
    assert not Critics(WeightedSum({"l1": (1.0, L1())}), adamax)


def test_critics_go_on_from_a_checkpoint_bit_by_bit() -> None:
    def fresh(seed: int) -> tuple[WeightedSum, Critics]:
        torch.manual_seed(seed)
        loss = WeightedSum({"gan": (1.0, Adversarial(32))})
        return loss, Critics(loss, adamax)

    batches = [sample() for _ in range(4)]
    loss, critics = fresh(1)
    for pred, batch in batches[:2]:
        critics.step(pred, batch, 0)
    saved = copy.deepcopy(critics.state_dict())
    other, resumed = fresh(2)
    resumed.load_state_dict(saved)
    for pred, batch in batches[2:]:
        one, two = (x.step(pred, batch, 0) for x in (critics, resumed))
        assert torch.equal(one["gan_critic"], two["gan_critic"])
    states = (x.terms["gan"].critic.state_dict().values() for x in (loss, other))
    assert all(map(torch.equal, *states))

    resumed.load_state_dict({})  # of a run without: starts as it is
    larger = Critics(WeightedSum({"gan": (1.0, Adversarial(64))}), adamax)
    with pytest.raises(UserError, match="gan has another size; give the data.crop"):
        larger.load_state_dict(saved)


def test_steps_follow_one_another_as_in_a_plain_loop() -> None:
    loss = WeightedSum({"gan": (1.0, Adversarial(32))})
    by_hand = Adversarial(32)
    by_hand.critic.load_state_dict(copy.deepcopy(loss.terms["gan"].critic.state_dict()))
    optimizer, critics = adamax(list(by_hand.critic.parameters())), Critics(loss, adamax)
    for pred, batch in [sample() for _ in range(3)]:
        critics.step(pred, batch, 0)
        loss(pred, batch, None).total.backward()  # type: ignore[arg-type]
        optimizer.zero_grad()
        by_hand.critic_loss(pred, batch).backward()
        optimizer.step()
    ours, plain = (list(x.critic.parameters()) for x in (loss.terms["gan"], by_hand))
    for one, other in zip(ours, plain):
        torch.testing.assert_close(one, other)


def test_sizes_of_the_published_patch() -> None:
    with torch.device("meta"):
        net = SpatioTemporalDiscriminator((256, 256))
    assert net.classifier[0].in_features == 128 * 16 * 16
