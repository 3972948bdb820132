"""Models built without values have the shapes of real ones, and nothing is drawn for them."""

from __future__ import annotations

import torch
from torch import nn

from midframe.models import zoo
from midframe.models.empty import without_values


def test_a_whole_model_takes_no_random_numbers_and_has_the_shapes_of_a_real_one():
    config = zoo.config_of("ifrnet_s")
    before = torch.get_rng_state()
    empty = zoo.build_empty(config)
    assert torch.equal(torch.get_rng_state(), before)
    shapes = {name: tensor.shape for name, tensor in zoo.build(config).state_dict().items()}
    assert {name: tensor.shape for name, tensor in empty.state_dict().items()} == shapes
    assert all(tensor.is_meta for tensor in empty.state_dict().values())


def test_what_lies_elsewhere_is_drawn_all_the_same():
    with without_values():
        real = torch.zeros(100, device="cpu")
        nn.init.normal_(real)
        other = torch.zeros(100, device="cpu").uniform_()
        layer = nn.Conv2d(2, 3, 3)
        nn.init.normal_(tensor=layer.weight)
    assert real.std() > 0.5 and other.max() > 0.5
    assert layer.weight.is_meta and layer.weight.shape == (3, 2, 3, 3)
