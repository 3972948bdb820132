"""OBProx-SG: published values bit by bit, known minima, and phases that outlive a break."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from midframe.engine.obproxsg import OBProxSG, over_run
from midframe.errors import UserError


def soft(values: Tensor, threshold: float) -> Tensor:
    return values.sign() * (values.abs() - threshold).clamp(min=0)


def steps_of(optimizer: OBProxSG, weight: nn.Parameter, target: Tensor, count: int) -> Iterator:
    for _ in range(count):
        optimizer.zero_grad()
        (weight - target).square().sum().mul(0.5).backward()
        optimizer.step()
        yield weight.detach().clone()


@pytest.mark.parametrize("case", ["prox", "orthant", "switch"])
def test_published_steps_bit_by_bit(case: str, golden: Callable[[str], Path]) -> None:
    data = np.load(golden("stmfnet/obproxsg.npz"))
    options = json.loads(str(data["meta"]))[case]
    weight = nn.Parameter(torch.from_numpy(data[f"{case}/w0"].copy()))
    optimizer = OBProxSG(
        [weight],
        options["lr"],
        options["lambda_"],
        options["eps"],
        epoch_size=options["epochSize"],
        prox_epochs=options["Np"],
        orthant_epochs=float(options["No"]),
    )
    for step, phase in enumerate(options["steps"]):
        assert optimizer.phase == phase
        weight.grad = torch.from_numpy(data[f"{case}/{step}/grad"].copy())
        optimizer.step()
        assert torch.equal(weight.detach(), torch.from_numpy(data[f"{case}/{step}/weight"]))
        assert int((weight == 0).sum()) == options["zeros_after"][step]


def test_phases_take_turns_by_epochs() -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = OBProxSG([weight], epoch_size=2, prox_epochs=1, orthant_epochs=2)
    weight.grad = torch.zeros(3)
    phases = []
    for _ in range(9):
        phases.append(optimizer.phase)
        optimizer.step()
    assert phases == ["prox"] * 2 + ["orthant"] * 4 + ["prox"] * 2 + ["orthant"]
    assert optimizer.steps == 9


@pytest.mark.parametrize("orthant", [False, True])
@pytest.mark.parametrize("lambda_", [0.0, 0.3, 1.0])
def test_finds_the_minimum_of_a_lasso_problem(lambda_: float, orthant: bool) -> None:
    """With orthonormal columns the minimum of |A x - b|^2 / 2 + lambda |x|_1 is soft(A'b)."""
    generator = torch.Generator().manual_seed(5)
    basis, _ = torch.linalg.qr(torch.randn(60, 40, generator=generator, dtype=torch.float64))
    truth = torch.randn(40, generator=generator, dtype=torch.float64)
    right = basis @ truth
    x = nn.Parameter(torch.randn(40, generator=generator, dtype=torch.float64))
    turn = 150 if orthant else math.inf
    optimizer = OBProxSG([x], 0.1, lambda_, 1e-9, prox_epochs=turn)
    for _ in range(400):
        optimizer.zero_grad()
        (basis @ x - right).square().sum().mul(0.5).backward()
        optimizer.step()
    assert optimizer.phase == ("orthant" if orthant else "prox")
    torch.testing.assert_close(x.detach(), soft(truth, lambda_), atol=1e-6, rtol=0)
    assert torch.equal(x.detach() == 0, truth.abs() <= lambda_)


def test_more_lambda_more_zeros() -> None:
    zeros = []
    for lambda_ in (0.0, 1e-3, 1e-2, 1e-1):
        torch.manual_seed(3)
        net = nn.Sequential(nn.Linear(12, 24), nn.Tanh(), nn.Linear(24, 1))
        rows = torch.randn(64, 12)
        optimizer = over_run(net.parameters(), 0.05, lambda_, 1e-3, steps=200)
        for _ in range(200):
            optimizer.zero_grad()
            (net(rows) - rows[:, :1] * rows[:, 1:2]).square().mean().backward()
            optimizer.step()
        zeros.append(sum(int((p == 0).sum()) for p in net.parameters()))
    assert zeros == sorted(zeros) and zeros[0] < zeros[1] < zeros[3], zeros


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(1e-3, 10), eps=st.sampled_from([0.0, 1e-3]))
def test_an_orthant_step_never_leaves_its_orthant(seed: int, scale: float, eps: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(64, generator=generator) * (torch.rand(64, generator=generator) > 0.3)
    weight = nn.Parameter(start.clone())
    optimizer = OBProxSG([weight], 0.1, 1e-2, eps, prox_epochs=0)
    for _ in range(4):
        before = weight.detach().clone()
        weight.grad = torch.randn(64, generator=generator) * scale
        optimizer.step()
        after = weight.detach()
        assert not after[before == 0].any()
        assert (after * before >= 0).all()
        assert (after[after != 0].abs() > eps).all()
        assert not after[after == 0].signbit().any()  # no -0, which prints and compares oddly


def make(seed: int = 0) -> tuple[nn.Module, OBProxSG]:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    return net, OBProxSG(net.parameters(), 0.05, 0.02, 1e-2, epoch_size=3, prox_epochs=2)


def train(net: nn.Module, optimizer: OBProxSG, first: int, last: int) -> None:
    for step in range(first, last):
        rows = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        (net(rows) - rows[:, :1]).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("broken_at", [4, 6, 9])
def test_the_state_carries_the_phase(broken_at: int, tmp_path: Path) -> None:
    whole, optimizer = make()
    train(whole, optimizer, 0, 14)

    first, before = make()
    train(first, before, 0, broken_at)
    torch.save({"net": first.state_dict(), "state": before.state_dict()}, tmp_path / "a.pt")
    second, after = make(seed=1)
    saved = torch.load(tmp_path / "a.pt", weights_only=True)
    second.load_state_dict(saved["net"])
    # a run's groups come from its config when it goes on, and lose nothing of the phase
    fresh = after.state_dict()["param_groups"]
    after.load_state_dict({**saved["state"], "param_groups": fresh})
    assert after.steps == broken_at and after.phase == before.phase
    train(second, after, broken_at, 14)
    assert any((p == 0).any() for p in whole.parameters())
    for a, b in zip(whole.parameters(), second.parameters()):
        assert torch.equal(a, b)


def test_groups_have_their_own_options_and_missing_gradients_are_left_alone() -> None:
    a, b, c = (nn.Parameter(torch.full((2,), 1.0)) for _ in range(3))
    groups: list[dict[str, Any]] = [{"params": [a, c]}, {"params": [b], "lr": 0.5, "lambda_": 0.2}]
    optimizer = OBProxSG(groups, 0.1, 0.0, 0.0)
    a.grad, b.grad = torch.ones(2), torch.ones(2)
    optimizer.step()
    assert torch.allclose(a, torch.full((2,), 0.9))
    assert torch.allclose(b, torch.full((2,), 0.4))
    assert torch.equal(c, torch.ones(2))


@pytest.mark.parametrize("phases", [{"prox_epochs": math.inf}, {"prox_epochs": 0}])
def test_layouts_and_dtypes_mix(phases: dict[str, float]) -> None:
    torch.manual_seed(0)
    shapes = [(6, 4, 3, 3), (5,), (3, 2)]
    plain = [nn.Parameter(torch.randn(s, dtype=torch.float64)) for s in shapes]
    mixed = [nn.Parameter(p.detach().clone()) for p in plain]
    mixed[0].data = mixed[0].data.to(memory_format=torch.channels_last)
    mixed[1].data = mixed[1].data.float()
    for p, m in zip(plain, mixed):
        p.grad = torch.randn_like(p)
        m.grad = p.grad.to(m.dtype).contiguous()
    for params in (plain, mixed):
        OBProxSG(params, 0.1, 0.5, 0.3, **phases).step()
    for p, m in zip(plain, mixed):
        torch.testing.assert_close(m.double(), p.double(), atol=1e-6, rtol=0)


def test_a_closure_is_called_with_gradients_on() -> None:
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = OBProxSG([weight], 0.1, 0.0)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    with torch.no_grad():
        assert optimizer.step(closure).item() == 4.0
    assert weight.item() == pytest.approx(1.6)


def test_a_copy_goes_on_by_itself() -> None:
    net, optimizer = make()
    train(net, optimizer, 0, 7)
    other_net, other = copy.deepcopy((net, optimizer))
    train(net, optimizer, 7, 9)
    assert (other.steps, optimizer.steps) == (7, 9)
    train(other_net, other, 7, 9)
    for a, b in zip(net.parameters(), other_net.parameters()):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("steps", "first"), [(30, 3), (20, 2), (19, 1), (5, 0), (None, math.inf)])
def test_the_first_phase_is_a_share_of_the_run(steps: int | None, first: float) -> None:
    optimizer = over_run([nn.Parameter(torch.ones(1))], steps=steps)
    assert optimizer.param_groups[0]["prox_epochs"] == first


def test_the_first_phase_may_be_given_in_epochs() -> None:
    optimizer = over_run([nn.Parameter(torch.ones(1))], steps=100, prox_epochs=4, epochs=20)
    assert optimizer.param_groups[0]["prox_epochs"] == 20  # steps


@pytest.mark.parametrize(
    "options",
    [
        {"lr": -1.0},
        {"lambda_": float("nan")},
        {"eps": -1e-3},
        {"epoch_size": 0},
        {"prox_epochs": 0, "orthant_epochs": 0},
        {"prox_epochs": -1},
    ],
)
def test_values_out_of_range_are_named(options: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(options))):
        OBProxSG([nn.Parameter(torch.ones(1))], **options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"prox_epochs=3 .*epochs=2"):
        over_run([nn.Parameter(torch.ones(1))], steps=3, prox_epochs=3, epochs=2)
    with pytest.raises(UserError, match=r"prox=1\.5"):
        over_run([nn.Parameter(torch.ones(1))], steps=3, prox=1.5)
