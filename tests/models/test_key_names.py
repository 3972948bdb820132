"""Checkpoints load under the names that published code gives to parts of a model."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from midframe import load_weights
from midframe.errors import UserError
from midframe.models.base import Interpolator

PUBLISHED = {
    "moduleOne.weight": "netOne.weight",
    "inner.moduleTwo.weight": "inner.netTwo.weight",
    "inner.submodule.weight": "inner.submodule.weight",  # "module" begins no part of it
    "headOut.bias": "tailOut.bias",
}


class Renamed(Interpolator):
    key_names = {"module": "net", "head": "tail"}

    def __init__(self) -> None:
        super().__init__()
        self.netOne, self.inner = nn.PReLU(), nn.Module()
        self.inner.netTwo, self.inner.submodule = nn.PReLU(), nn.PReLU()
        self.tailOut = nn.Module()
        self.tailOut.bias = nn.Parameter(torch.ones(1))


def _weights(keys) -> dict[str, torch.Tensor]:
    return {key: torch.full((1,), float(number)) for number, key in enumerate(keys)}


@pytest.mark.parametrize("before", ["", "module."])
def test_parts_are_renamed_where_they_begin(before):
    weights = {before + key: value for key, value in _weights(PUBLISHED).items()}
    state = load_weights(Renamed(), weights).state_dict()
    assert {key: float(value) for key, value in state.items()} == {
        own: float(number) for number, own in enumerate(PUBLISHED.values())
    }


def test_a_part_under_our_name_and_a_part_under_theirs_load_together():
    keys = [own if "Two" in own else theirs for theirs, own in PUBLISHED.items()]
    state = load_weights(Renamed(), _weights(keys)).state_dict()
    assert {key: float(value) for key, value in state.items()} == {
        own: float(number) for number, own in enumerate(PUBLISHED.values())
    }


def test_one_value_under_both_names_is_refused():
    with pytest.raises(UserError, match="1 unexpected: moduleOne.weight"):
        load_weights(Renamed(), _weights([*PUBLISHED.values(), "moduleOne.weight"]))


def test_what_belongs_to_another_model_is_told_under_its_own_name():
    with pytest.raises(UserError, match="1 unexpected: moduleSix.weight"):
        load_weights(Renamed(), _weights([*PUBLISHED, "moduleSix.weight"]))
