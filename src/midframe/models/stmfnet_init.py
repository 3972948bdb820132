"""An initialisation of ST-MFNet that starts at the average of the middle two frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from midframe.models.flow_init import silence
from midframe.models.gridnet import Block
from midframe.models.stmfnet_grid import COLUMNS, MIMOGridNet
from midframe.models.stmfnet_kernels import TAPS

if TYPE_CHECKING:
    from midframe.models.stmfnet import STMFNet

RGB = 3
SLOPE = 0.25  # of a PReLU to begin with
OFFSET_STEP = 0.01  # scale of the last layers of offsets, in pixels for features of size one
MIDDLE = 6.0  # log of how much more the middle tap weighs than each other


@torch.no_grad()
def start_from_average(network: STMFNet) -> None:
    """Draw kernels and GridNet by He et al. (ICCV 2015), so that the average comes out.

    With PyTorch's default the kernels blur over 25 taps and GridNet's output has little to do with
    its input, and thousands of steps pass until the frame is as good as the average. Here the
    kernels take the middle tap with nearly no offset, the first three channels of GridNet's middle
    row carry the average of both warped frames to the output, whatever else adds to them begins at
    zero, and so does the texture.

    Args:
        network: whose weights are drawn anew; its features, normalised by layers of their own, and
            its flow network are left alone.
    """
    for name, net in network.get_kernel.named_children():
        _kernels(net, weights=name.startswith("moduleWeight"))
    grid = network.scale_synthesis
    for layer in grid.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, a=SLOPE)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    _pass_through(grid)
    silence(network.dyntex_generator.outconv)


def _kernels(net: nn.Module, weights: bool) -> None:
    """Let a network of weights choose the middle tap, one of offsets say nearly zero."""
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight)
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)
    last = layers[-1]
    last.weight *= OFFSET_STEP
    if weights:
        assert last.bias is not None
        last.bias[TAPS // 2] = MIDDLE


def _pass_through(grid: MIMOGridNet) -> None:
    """Let the first three channels of the middle row carry what entered there."""
    enter, leave = _block(grid, "lateral_1_0"), _block(grid, "lateral_final_1")
    entering, leaving = (_shortcut(block) for block in (enter, leave))
    if entering is None or leaving is None or entering.out_channels < RGB:
        return  # a row of so few channels has no place for it
    _nothing(_last(enter), entering)
    for channel in range(RGB):
        for side in (0, 1):
            entering.weight[channel, channel + side * RGB, 1, 1] = 0.5
    for column in range(1, COLUMNS):
        _nothing(_last(_block(grid, f"lateral_1_{column}")))
    for step in range(COLUMNS // 2):
        _nothing(_last(_block(grid, f"down_0_{step}")), _last(_block(grid, f"up_1_{step}")))
    silence(_last(leave), leaving)
    for channel in range(RGB):
        leaving.weight[channel, channel, 1, 1] = 1.0


def _block(grid: MIMOGridNet, name: str) -> Block:
    block = grid.get_submodule(name)
    assert isinstance(block, Block)
    return block


def _shortcut(block: Block) -> nn.Conv2d | None:
    return getattr(block, block.shortcut) if block.shortcut else None


def _last(block: Block) -> nn.Conv2d:
    layer = block.get_submodule(block.path)[-1]  # type: ignore[index]
    assert isinstance(layer, nn.Conv2d)
    return layer


def _nothing(*layers: nn.Conv2d) -> None:
    """Let convolutions add nothing to the first three channels."""
    for layer in layers:
        layer.weight[:RGB] = 0
