"""GridNet: synthesis at three scales, in the form that SoftSplat and its reproductions share.

Fourure et al., "Residual Conv-Deconv Grid Network for Semantic Segmentation", BMVC 2017, arXiv
1707.07958, in the form of Niklaus and Liu, CVPR 2018: three rows and six columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from midframe.models.blocks import resize

ROWS = (32, 64, 96)
COLUMNS = 6
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
            x = resize(x, 2.0)
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
        raise NotImplementedError(f"{type(self).__name__} does not define block")

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
