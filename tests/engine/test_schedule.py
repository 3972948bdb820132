"""Learning-rate schedules against the published ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from midframe.engine.schedule import WarmupCosine


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
