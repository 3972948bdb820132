"""What stands in for bfloat16 units gives what PyTorch's own bfloat16 gives, slowly."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from bfloat16 import SumsInFloat32
from torch import nn

LAYERS = {
    "plain": nn.Conv2d(6, 8, 3, padding=1),
    "strided": nn.Conv2d(6, 8, 7, 2, 3, bias=False),
    "dilated": nn.Conv2d(6, 8, 3, 1, 2, 2),
    "grouped": nn.Conv2d(6, 6, 3, padding=1, groups=3),
    "transposed": nn.ConvTranspose2d(6, 8, 4, 2, 1),
    "grouped and transposed": nn.ConvTranspose2d(6, 6, 4, 2, 1, groups=6, bias=False),
    "of three axes": nn.Sequential(nn.Unflatten(1, (3, 2)), nn.Conv3d(3, 4, 3, padding=1)),
    "linear": nn.Linear(10, 5),
    "linear without bias": nn.Linear(10, 5, bias=False),
}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_and_their_gradients_are_those_of_pytorch(name, layout):
    layer = LAYERS[name].bfloat16()
    x = torch.randn(2, 6, 8, 10).bfloat16().to(memory_format=layout).requires_grad_()
    found = []
    for how in (nullcontext(), SumsInFloat32()):
        with how:
            out = layer(x)
            gradients = torch.autograd.grad(out.float().square().mean(), [x, *layer.parameters()])
        found.append([out.detach(), *gradients])
    for own, other in zip(*found):
        assert other.dtype == own.dtype == torch.bfloat16
        torch.testing.assert_close(other, own, atol=0.01 * float(own.abs().max()), rtol=0.02)


def test_products_are_those_of_pytorch():
    one, two = torch.randn(2, 3, 4, 4).bfloat16()
    own = one @ two
    with SumsInFloat32():
        torch.testing.assert_close(one @ two, own)


def test_autocast_of_a_layer_gives_bfloat16():
    layer, x = nn.Conv2d(3, 4, 3), torch.rand(1, 3, 5, 5)
    with torch.autocast("cpu", torch.bfloat16), SumsInFloat32():
        assert layer(x).dtype == torch.bfloat16


def test_what_pytorch_refuses_stays_refused():
    layer, x = nn.Conv2d(3, 4, 3).bfloat16(), torch.rand(1, 3, 5, 5)
    with SumsInFloat32(), pytest.raises(RuntimeError):
        layer(x)
