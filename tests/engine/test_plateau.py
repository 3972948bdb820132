"""Schedules of published recipes by epochs and by validations, against PyTorch's own."""

from __future__ import annotations

import random

import pytest
import torch
from hydra.utils import instantiate
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from midframe.engine.compose import compose
from midframe.engine.schedule import EpochDecay, Plateau
from midframe.errors import UserError


def sgd() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-3)


@pytest.mark.parametrize("mode", ["max", "min"])
@pytest.mark.parametrize("seed", range(5))
def test_plateau_lowers_the_rate_when_pytorch_does(mode: str, seed: int) -> None:
    rng = random.Random(seed)
    optimizer, ours = sgd(), Plateau(mode=mode, patience=2, threshold=0.01)  # type: ignore[arg-type]
    theirs = ReduceLROnPlateau(
        optimizer, mode, 0.5, 2, threshold=0.01, threshold_mode="abs", eps=0.0
    )
    for _ in range(60):
        value = 30 + rng.choice([0.0, 0.005, 0.01, 0.02, -0.02]) * rng.randint(0, 10)
        theirs.step(value)
        ours.observe({"psnr": value, "ssim": 0.9})
        if rng.random() < 0.3:  # killed, and gone on
            state, ours = ours.state_dict(), Plateau(mode=mode, patience=2)  # type: ignore[arg-type]
            ours.load_state_dict(state)
        assert 1e-3 * ours(0) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
    assert ours.lowered > 2


def test_plateau_says_what_it_cannot_follow() -> None:
    with pytest.raises(UserError, match="psnr of the validation, which measured epe; set"):
        Plateau().observe({"epe": 1.0})
    for wrong in ({"mode": "up"}, {"factor": 1.0}, {"patience": -1}, {"threshold": -0.1}):
        with pytest.raises(UserError, match="optimizer: mode"):
            Plateau(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("per_epoch", [1, 3, 10])
def test_epoch_decay_is_step_lr_of_a_run_by_epochs(per_epoch: int) -> None:
    epochs, every = 70, 20
    optimizer, ours = sgd(), EpochDecay(every, epochs, epochs * per_epoch)
    theirs = StepLR(optimizer, every, 0.5)
    for step in range(epochs * per_epoch):
        assert 1e-3 * ours(step) == pytest.approx(optimizer.param_groups[0]["lr"])
        if (step + 1) % per_epoch == 0:
            optimizer.step()
            theirs.step()


def test_a_shortened_run_goes_through_the_same_rates() -> None:
    short = EpochDecay(20, 70, 100)
    assert [short(s) for s in (0, 28, 29, 57, 58, 85, 86)] == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125]
    with pytest.raises(UserError, match="counts epochs, but the run has none; give epochs=N"):
        EpochDecay(20, None, 100)
    with pytest.raises(UserError, match="positive number of epochs"):
        EpochDecay(0, 70, 100)


def test_the_event_recipes_follow_the_published_rate() -> None:
    """5e-4 * 0.999^epoch, epochs counted from 1; 200 of them in stage 1."""
    words = ["experiment=event_stage1", "data.root=DIR", "trainer.max_steps=2000"]
    optimizer = compose(words).optimizer
    rate = instantiate(optimizer.schedule)
    for epoch in (1, 2, 100, 200):
        for step in (10 * (epoch - 1), 10 * epoch - 1):  # its first and last step
            assert optimizer.lr * rate(step) == pytest.approx(5e-4 * 0.999**epoch, rel=1e-9)
