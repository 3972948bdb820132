"""An initialisation of UPR-Net's motion estimator that follows motion before it has learnt any."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from midframe.models.flow_init import SLOPE

TAKEN = 8  # channels that carry the four numbers of the flow, each with either sign


@torch.no_grad()
def follow_matches(
    layers: list[nn.Conv2d], radius: int, scale: float, least: float = 0.5, gain: float = 0.3
) -> None:
    """Let an estimator say the flow of the level before, moved to where the frames match.

    The first layer takes over the entries of the cost volume, as far as they exceed ``least``, and
    the flow; the second moves the flow by the entries' displacements, weighted by them and averaged
    over 3x3 pixels; the others pass it on. What else is drawn stays, but adds nothing to begin
    with, so that all of it learns.

    Args:
        layers: convolutions with a LeakyReLU between any two, the first 1x1, the others 3x3; the
            first sees the volume before all else and the flow (4) behind all else, the last says
            the flow 0->1 and 1->0.
        radius: of the volume, row by row.
        scale: units of the flow in one of the volume's pixels.
        least: similarity that counts.
        gain: part of the weighted sum of displacements that is believed.
    """
    side = 2 * radius + 1
    count = side * side
    first, second, *middle, last = layers
    _clear(first, count + TAKEN)
    for entry in range(count):
        first.weight[entry, entry] = 1.0
        first.bias[entry] = -least  # type: ignore[index]
    inside = first.in_channels
    for number in range(4):
        first.weight[count + 2 * number, inside - 4 + number] = 1.0
        first.weight[count + 2 * number + 1, inside - 4 + number] = -1.0

    _clear(second, TAKEN)
    steps = torch.arange(side) - float(radius)
    ways = torch.stack((steps.repeat(side), steps.repeat_interleave(side)))  # x, y
    moves = gain * scale * torch.cat((ways, -ways))
    for number in range(4):
        for sign, channel in ((1.0, 2 * number), (-1.0, 2 * number + 1)):
            second.weight[channel, :count] = sign * moves[number][:, None, None] / 9
            _pass(second.weight[channel, count:], number, sign)
    for layer in middle:
        _clear(layer, TAKEN)
        for number in range(4):
            _pass(layer.weight[2 * number], number, 1.0)
            _pass(layer.weight[2 * number + 1], number, -1.0)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)  # type: ignore[arg-type]
    for number in range(4):
        _pass(last.weight[number], number, 1.0)


def _clear(layer: nn.Conv2d, channels: int) -> None:
    layer.weight[:channels] = 0
    layer.bias[:channels] = 0  # type: ignore[index]


def _pass(weight: Tensor, number: int, sign: float) -> None:
    """Read a number from its two channels, which went through a LeakyReLU."""
    middle = weight.shape[-1] // 2
    weight[2 * number, middle, middle] = sign / (1 + SLOPE)
    weight[2 * number + 1, middle, middle] = -sign / (1 + SLOPE)
