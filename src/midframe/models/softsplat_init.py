"""An initialisation of SoftSplat that starts at the average of the frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from midframe.models.flow_init import silence
from midframe.models.gridnet import COLUMNS, ROWS, Block

if TYPE_CHECKING:
    from midframe.models.softsplat import Synthesis

RGB = 3
SLOPE = 0.25  # of a PReLU to begin with


@torch.no_grad()
def start_from_average(synthesis: Synthesis) -> None:
    """Draw the synthesis by He et al. (ICCV 2015), so that it returns the average of both frames.

    The first three channels of GridNet's upper row carry the average of what was splatted, from the
    frames to the output: every layer that adds to them begins at zero. All pixels are equally
    important.

    Args:
        synthesis: of a `midframe.models.softsplat.SoftSplat`.
    """
    for layer in synthesis.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    enter = synthesis.netWarp.netOne
    _nothing(enter.netMain[-1], enter.netShortcut)
    frame = ROWS[0] + RGB + 1  # channels of one frame: itself, its features, its metric
    for channel in range(RGB):
        for side in (0, 1):
            enter.netShortcut.weight[channel, channel + side * frame] = 0.5
    for column in range(COLUMNS):
        for row in range(len(ROWS)):
            if column < COLUMNS - 1:
                _lateral(synthesis.block("lateral", row, column), row)
        if column >= COLUMNS // 2:
            _nothing(_last(synthesis.block("up", 1, column)))
    leave = synthesis.netOutput
    silence(leave.netMain[-1], leave.netShortcut)
    for channel in range(RGB):
        leave.netShortcut.weight[channel, channel] = 1.0
    metric = getattr(synthesis.netSoftmetric, "netOutput", None)
    if metric is not None:
        silence(metric.netMain[-1], metric.netShortcut)


def _lateral(block: nn.Module, row: int) -> None:
    last = _last(block)
    last.weight *= COLUMNS**-0.5  # a row adds up as many
    if row == 0:
        _nothing(last)


def _last(block: nn.Module) -> nn.Conv2d:
    assert isinstance(block, Block)
    layer = getattr(block, block.path)[-1]
    assert isinstance(layer, nn.Conv2d)
    return layer


def _nothing(*layers: nn.Module) -> None:
    """Let convolutions add nothing to the first three channels."""
    for layer in layers:
        assert isinstance(layer, nn.Conv2d)
        layer.weight[:RGB] = 0
