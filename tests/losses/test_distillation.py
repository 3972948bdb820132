"""Distillation's objective: as published, and convex, from the presets of conf/loss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor

from midframe.engine.compose import compose
from midframe.errors import UserError
from midframe.losses import L1, L2, Against, Charbonnier, Distillation, Linear, WeightedSum
from midframe.types import Batch, Inputs, Prediction


class Golden:
    def __init__(self, path: Path) -> None:
        with np.load(path) as arrays:
            self.arrays = {k: np.array(arrays[k]) for k in arrays.files if k != "meta"}

    def __getitem__(self, name: str) -> Tensor:
        return torch.from_numpy(self.arrays[name])

    def total(self, loss: WeightedSum) -> tuple[Tensor, Tensor]:
        """Return a loss of the student's frames and its gradient."""
        student = self["student"].requires_grad_()
        inputs = Inputs(torch.zeros(2, 2, 3, 1, 1), torch.full((2, 1), 0.5))
        batch = Batch(inputs, self["gt"][:, None], teacher=Prediction(self["teacher"][:, None]))
        total = loss(Prediction(student[:, None]), batch, None).total
        total.backward()
        assert student.grad is not None
        return total.detach(), student.grad


@pytest.fixture
def published(golden: Callable[[str], Path]) -> Golden:
    return Golden(golden("stmfnet/losses.npz"))


def preset(*overrides: str) -> Distillation:
    loss = instantiate(compose(["model=ifrnet_s", "data=synthetic", *overrides]).loss)
    assert isinstance(loss, Distillation)
    return loss


def teacher(name: str, weight: float = 1.0) -> list[str]:
    node = f"{{_target_: midframe.losses.Against, source: teacher, term: {_node(name)}}}"
    return ["~loss.terms.teacher", f"+loss.terms.t={{weight: {weight}, term: {node}}}"]


def targets(*names: str) -> list[str]:
    return ["~loss.terms.target", *(f"+loss.terms.{n}={{term: {_node(n)}}}" for n in names)]


def _node(name: str) -> str:
    return f"{{_target_: midframe.losses.{name}}}"


@pytest.mark.parametrize(
    ("index", "overrides"),
    [
        (0, []),
        (1, targets("Charbonnier")),
        (2, [*teacher("L1"), "loss.alpha=0.7"]),
        # the weights before the types, 0.25 and 4, are never applied there
        (3, [*teacher("L2"), *targets("L1")]),
        # each of two target terms is paired with the last teacher term: so that counts twice
        (4, [*teacher("L1", 2.0), *targets("L2", "Charbonnier")]),
    ],
)
def test_the_preset_is_what_the_published_code_computes(
    published: Golden, index: int, overrides: list[str]
) -> None:
    total, grad = published.total(preset("loss=distillation", *overrides))
    expected = published[f"distill{index}/value"]
    torch.testing.assert_close(total, expected, atol=1e-5, rtol=1e-5)
    scale = published[f"distill{index}/grad"].abs().max()
    wanted = published[f"distill{index}/grad"] / scale
    torch.testing.assert_close(grad / scale, wanted, atol=1e-4, rtol=0)


def test_st_mfnets_preset_is_the_published_sum(published: Golden) -> None:
    loss = instantiate(compose(["model=ifrnet_s", "data=synthetic", "loss=stmfnet"]).loss)
    total, grad = published.total(loss)
    torch.testing.assert_close(total, published["loss0/value"], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(grad, published["loss0/grad"], atol=1e-4, rtol=0)


def test_convex_shares_one_between_target_and_teacher(published: Golden) -> None:
    full, _ = published.total(preset("loss=distillation", "loss.alpha=0.3"))
    alone, _ = published.total(preset("loss=distillation", "loss.alpha=0"))
    convex, _ = published.total(preset("loss=distillation_convex", "loss.alpha=0.3"))
    torch.testing.assert_close(convex, full - 0.3 * alone)


def test_weights_and_schedules_of_the_terms_count_inside() -> None:
    frames = torch.rand(1, 1, 3, 8, 8)
    batch = Batch(Inputs(frames.repeat(1, 2, 1, 1, 1), torch.full((1, 1), 0.5)), frames)
    batch.teacher = Prediction(frames + 0.5)
    pred = Prediction(frames + 0.25)
    terms = {
        "far": (Linear(0.0, 8.0, begin_step=0, end_step=2), L1()),
        "near": (2.0, L2()),
        "dropped": None,
        "teacher": (4.0, Against("teacher", L1())),
    }
    out = Distillation(terms, alpha=0.5)(pred, batch, None, 1)  # type: ignore[arg-type]
    parts = {name: round(float(value), 6) for name, value in out.terms.items()}
    assert parts == {"far": 0.5 * 4 * 0.25, "near": 0.5 * 2 * 0.0625, "teacher": 4 * 0.25}
    convex = Distillation(terms, alpha=0.25, convex=True)(pred, batch, None, 0)  # type: ignore[arg-type]
    assert set(convex.terms) == {"near", "teacher"}
    assert float(convex.terms["teacher"]) == pytest.approx(0.75)


@pytest.mark.parametrize("alpha", [-0.1, 1.5, None, "x"])
def test_alpha_is_a_share(alpha: object) -> None:
    terms = {"teacher": (1.0, Against("teacher", Charbonnier()))}
    with pytest.raises(UserError, match="loss.alpha=.*from 0 to 1"):
        Distillation(terms, alpha=alpha)  # type: ignore[arg-type]


def test_without_a_term_of_the_teacher_it_is_refused() -> None:
    with pytest.raises(UserError, match="without a term against the teacher"):
        Distillation({"l1": (1.0, L1())})
