"""Learning-rate schedules against the published ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from midframe.engine.schedule import StepDecay, WarmupCosine
from midframe.errors import UserError


def test_cosine_equals_ifrnets(golden: Callable[[str], Path]) -> None:
    facts = json.loads(golden("ifrnet/losses.json").read_text())["lr_schedule"]
    steps = facts["epochs"] * facts["iters_per_epoch"]
    schedule = WarmupCosine(facts["lr_start"], facts["lr_end"], steps)
    for step, rate in facts["lr_at_iter"].items():
        assert schedule(int(step)) * facts["lr_start"] == pytest.approx(rate, rel=1e-9)


def test_warmup_rises_to_the_base_rate_and_cosine_ends_at_lr_end() -> None:
    schedule = WarmupCosine(lr=2e-3, lr_end=2e-5, steps=100, warmup_steps=10)
    rates = [schedule(s) for s in range(101)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[10] == pytest.approx(1.0)
    assert all(a >= b for a, b in zip(rates[10:], rates[11:]))
    assert rates[100] == pytest.approx(0.01)


def test_steps_halve_the_rate_where_they_stand() -> None:
    schedule = StepDecay([400_000, 600_000, 800_000, 1_000_000])
    steps = (0, 399_999, 400_000, 599_999, 600_000, 800_000, 1_000_000, 1_200_000)
    assert [schedule(s) for s in steps] == [1, 1, 0.5, 0.5, 0.25, 0.125, 0.0625, 0.0625]
    warm = StepDecay([10], factor=0.1, warmup_steps=4)
    assert [warm(s) for s in (0, 1, 3, 4, 9, 10)] == pytest.approx([0.25, 0.5, 1, 1, 1, 0.1])
    for wrong in ([5, 3], [0, 2]):
        with pytest.raises(UserError, match="rising steps"):
            StepDecay(wrong)
