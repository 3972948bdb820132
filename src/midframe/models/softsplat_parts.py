"""What the forms of SoftSplat have in common: GridNet and its blocks, splatting, importance.

GridNet: Fourure et al., "Residual Conv-Deconv Grid Network for Semantic Segmentation", BMVC 2017,
arXiv 1707.07958, in the form of Niklaus and Liu, CVPR 2018: three rows and six columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midframe.models.base import Interpolator, Pad
from midframe.models.blocks import wide
from midframe.models.flow import FlowNetwork
from midframe.ops.warp import Grid, backwarp
from midframe.types import Inputs, Prediction

ROWS = (32, 64, 96)
COLUMNS = 6
LARGEST_METRIC = 20.0
Way = Literal["lateral", "down", "up"]


@dataclass(frozen=True)
class Style:
    """How one form of the network writes its blocks; the numbers and names follow from it.

    Attributes:
        path: name of a block's layers in the state dict.
        bias: whether convolutions have one.
        shared: whether a PReLU has one slope for all channels.
        counted: whether the enlargement of an "up" block is a layer with a number.
    """

    path: str
    bias: bool
    shared: bool
    counted: bool = True

    def conv(self, inside: int, outside: int, stride: int = 1, kernel: int = 3) -> nn.Conv2d:
        """Return a convolution that keeps the size at stride 1."""
        return nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=self.bias)

    def slope(self, channels: int) -> nn.PReLU:
        """Return an activation."""
        return nn.PReLU() if self.shared else nn.PReLU(channels)


class Block(nn.Module):
    """Activation, convolution, activation, convolution: one edge of the grid.

    Args:
        style: see `Style`.
        way: "lateral" adds its input, "down" halves the size, "up" doubles it before the layers.
        inside: channels of the input.
        outside: channels of the output.
        shortcut: name of the 3x3 convolution through which a lateral block adds an input with
            other channels than its output.
    """

    def __init__(
        self, style: Style, way: Way, inside: int, outside: int, shortcut: str = "conv"
    ) -> None:
        super().__init__()
        self.way, self.path = way, style.path
        self.shortcut = shortcut if way == "lateral" and inside != outside else None
        layers = [
            style.slope(inside),
            style.conv(inside, outside, 2 if way == "down" else 1),
            style.slope(outside),
            style.conv(outside, outside),
        ]
        if way == "up" and style.counted:
            layers.insert(0, nn.Identity())
        self.add_module(style.path, nn.Sequential(*layers))
        if self.shortcut is not None:
            self.add_module(self.shortcut, style.conv(inside, outside))

    def forward(self, x: Tensor, size: Sequence[int] | None = None) -> Tensor:
        """Return (N, outside, h, w).

        Args:
            x: (N, inside, h', w').
            size: (h, w) of the row above, to which "up" comes.
        """
        if self.way == "up":
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        out = getattr(self, self.path)(x)
        if self.way == "up":  # an odd row was rounded up on the way down
            out = out[..., : size[0], : size[1]] if size is not None else out
        if self.way == "lateral":
            out = out + (x if self.shortcut is None else getattr(self, self.shortcut)(x))
        return out


class GridNet(nn.Module):
    """Synthesis from what is known at three scales; subclasses name the blocks.

    Attributes:
        enters_down: whether row 0 reaches rows 1 and 2 already at column 0.
    """

    enters_down: bool = True

    def block(self, way: Way, row: int, column: int) -> nn.Module:
        """Return a block by the node that it starts from, (0, 0) being the upper left one."""
        raise NotImplementedError

    def through(self, rows: list[Tensor]) -> Tensor:
        """Return row 0 at the last column from all rows (N, C, h, w) at column 0."""
        rows, last = list(rows), len(rows) - 1
        for column in range(COLUMNS // 2):
            for row in range(last + 1):
                if column:
                    rows[row] = self.block("lateral", row, column - 1)(rows[row])
                if row and (column or self.enters_down):
                    rows[row] = rows[row] + self.block("down", row - 1, column)(rows[row - 1])
        for column in range(COLUMNS // 2, COLUMNS):
            for row in range(last, -1, -1):
                rows[row] = self.block("lateral", row, column - 1)(rows[row])
                if row < last:
                    up = self.block("up", row + 1, column)
                    rows[row] = rows[row] + up(rows[row + 1], rows[row].shape[-2:])
        return rows[0]


def brightness(frame: Tensor, other: Tensor, flow: Tensor, grid: Grid = "corners") -> Tensor:
    """How far a frame is from the other one, brought back by the flow: (N, C, H, W), at least 0.

    Args:
        frame: (N, C, H, W).
        other: the same shape.
        flow: (N, 2, H, W) from ``frame`` to ``other`` in pixels.
        grid: see `midframe.ops.backwarp`.
    """
    return (wide(frame) - wide(backwarp(other, flow, "zeros", grid=grid))).abs()


def both_ways(network: FlowNetwork, first: Tensor, second: Tensor) -> Tensor:
    """Return the flows (2 B, 2, H, W) of frames (B, 3, H, W): first to second, then back.

    As ``network.estimate`` of either way, with the features of each frame computed once.
    """
    height, width = first.shape[-2:]
    left, right, top, bottom = Pad(network.multiple).amounts(height, width)
    size = (height + top + bottom, width + left + right)
    flow = network.both_ways(sized(first, size), sized(second, size))[0]
    flow = sized(flow.to(first.dtype) * network.unit, (height, width))
    return flow * flow.new_tensor([width / size[1], height / size[0]])[:, None, None]


def other_half(x: Tensor) -> Tensor:
    """Swap the halves of the batch: with both frames in it, the other one of each."""
    return torch.cat(x.chunk(2)[::-1])


def toward(flow: Tensor, t: Tensor) -> Tensor:
    """Shorten flows (2 B, 2, h, w) from one frame to the other so that they end at times (B,)."""
    return flow * torch.cat((t, 1 - t)).reshape(-1, 1, 1, 1).to(flow.dtype)


def at_every_time(synthesise: Callable[[Tensor], Tensor], t: Tensor) -> Tensor:
    """Stack the frames (B, T, 3, H, W) that ``synthesise`` gives for times (B,), from t (B, T).

    One time after the other: GridNet fills a processor with one frame, and seven at once take seven
    times the memory and, on a CPU, longer.
    """
    return torch.stack([wide(synthesise(at)) for at in t.unbind(1)], 1)


def side_by_side(both: Tensor, lead: int = 0) -> Tensor:
    """Lay both frames' (2 N, C, h, w) side by side: (N, 2 C, h, w).

    The first ``lead`` channels of either come before the rest of either.
    """
    first, second = both.chunk(2)
    if not lead:
        return torch.cat((first, second), 1)
    heads, tails = (first[:, :lead], second[:, :lead]), (first[:, lead:], second[:, lead:])
    return torch.cat((*heads, *tails), 1)


def prediction(frame: Tensor, flow: Tensor | None, x: Inputs) -> Prediction:
    """Return frames (B, T, 3, H, W) and flows (2 B, 2, H, W), the same for every time."""
    if flow is None:
        return Prediction(frame)
    flow = torch.stack(flow.chunk(2), 1)[:, None].expand(-1, x.t.shape[1], -1, -1, -1, -1)
    return Prediction(frame, flow=flow, flow_kind="forward")


def check_size(model: Interpolator, x: Inputs) -> None:
    """Raise ValueError for sizes that the model does not take; it names the multiple."""
    multiple = model.pad.multiple
    height, width = x.frames.shape[-2:]
    if height % multiple or width % multiple:
        raise ValueError(
            f"{type(model).__name__} takes heights and widths that are multiples of {multiple}, "
            f"not {height}x{width}; `interpolate` pads to them"
        )


def sized(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (N, C, h, w) bilinearly to (height, width), corners not aligned."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def sized_flow(flow: Tensor, size: Sequence[int]) -> Tensor:
    """Resize a flow in pixels, which then are the new size's."""
    return sized(flow, size) * (size[1] / flow.shape[-1])
