"""The choice of an initialisation, and one from which flow networks learn motion soon."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

Init = Literal["default", "he"]
SLOPE = 0.1  # of the networks' LeakyReLU
IMAGE = 4.0  # frames in [0, 1] have a standard deviation of about 1/4
KEPT = 1.25  # makes up for what a filter loses without its mean


def wants_he(network: str, init: Init) -> bool:
    """Return whether a network is drawn by He et al., not by PyTorch; ValueError for others."""
    if init not in ("default", "he"):
        raise ValueError(f"{network} has init default and he, not {init!r}")
    return init == "he"


@torch.no_grad()
def start_seeing(network: nn.Module, features: nn.Module, deviation: float = 1 / IMAGE) -> None:
    """Draw weights by He et al. (ICCV 2015), with features that tell one place from another.

    With PyTorch's default, and with He's alone, features are nearly the same everywhere: their mean
    outweighs their differences, so do all entries of a cost volume, and a network stays for long
    at the answer that nothing moves. Here the filters of the feature pyramid sum to zero and keep
    the features' size from level to level, so that correlation peaks where the frames match.
    Estimators begin at zero flow, enlarging layers at bilinear interpolation.

    Args:
        network: whose convolutions are drawn anew.
        features: its part that makes features of a frame.
        deviation: the standard deviation of the frames that it gets.
    """
    pyramid = {id(layer) for layer in features.modules()}
    for layer in network.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            _bilinear(layer)
        elif isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, a=SLOPE)
            if id(layer) in pyramid:
                layer.weight -= layer.weight.mean((1, 2, 3), keepdim=True)
                layer.weight *= KEPT * (1 / deviation if layer.in_channels == 3 else 1.0)
            elif layer.out_channels == 2:
                nn.init.zeros_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


@torch.no_grad()
def draw_enlarging(network: nn.Module) -> None:
    """Draw the layers that enlarge and change the width by He et al., biases zero.

    A number of the output sums over as many of the kernel's as a stride leaves it, not over all.
    """
    for layer in network.modules():
        if isinstance(layer, nn.ConvTranspose2d):
            taps = math.prod(layer.kernel_size) / math.prod(layer.stride)
            seen = layer.in_channels / layer.groups * taps
            nn.init.normal_(layer.weight, std=math.sqrt(2 / (1 + SLOPE**2) / seen))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


@torch.no_grad()
def silence(*layers: nn.Module) -> None:
    """Let layers say zero, whatever they see."""
    for layer in layers:
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)


def _bilinear(layer: nn.ConvTranspose2d) -> None:
    """Let a layer that doubles the size of each channel interpolate; others keep what they have."""
    groups, (outside, inside) = layer.groups, (layer.out_channels, layer.in_channels)
    if outside != inside or groups not in (1, inside):
        return
    side = layer.kernel_size[0]
    centre = (side - 1) / 2
    ramp = torch.tensor([1 - abs(i - centre) / math.ceil(side / 2) for i in range(side)])
    nn.init.zeros_(layer.weight)
    for channel in range(inside):
        layer.weight[channel, channel if groups == 1 else 0] = ramp[:, None] * ramp
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
