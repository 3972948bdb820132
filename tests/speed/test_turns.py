"""Times of calls that take turns."""

from __future__ import annotations

import time

import pytest
import torch

from midframe.errors import UserError
from midframe.speed.turns import milliseconds, ratio, turns, using_threads


def test_calls_take_turns_and_keep_their_own_times() -> None:
    order: list[str] = []

    def slow() -> None:
        order.append("slow")
        time.sleep(0.01)

    wall, busy = turns({"slow": slow, "fast": lambda: order.append("fast")}, 3)
    assert order == ["slow", "fast"] * 3
    assert {name: len(times) for name, times in wall.items()} == {"slow": 3, "fast": 3}
    assert min(wall["slow"]) >= 0.01 > min(wall["fast"])
    assert min(busy["slow"]) < 0.01  # who sleeps does not work


def test_a_ratio_is_that_of_the_round_in_the_middle() -> None:
    times = {"one": [1.0, 2.0, 30.0], "each": [2.0, 6.0, 30.0]}
    assert ratio(times, "each", "one") == 2.0
    assert milliseconds(times["each"]) == 6000
    assert milliseconds([1.23456e-5]) == 0.01235


def test_no_round_is_told() -> None:
    with pytest.raises(UserError, match="at least 1"):
        turns({"it": lambda: None}, 0)


def test_threads_are_as_before_whatever_happens() -> None:
    torch.set_num_threads(2)
    with pytest.raises(ZeroDivisionError), using_threads(1) as used:
        assert used == torch.get_num_threads() == 1
        _ = 1 / 0
    with using_threads(None) as used:
        assert used == 2
    assert torch.get_num_threads() == 2
