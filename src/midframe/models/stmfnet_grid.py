"""ST-MFNet's GridNet: warps enter at three scales, the frame leaves at the middle one."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from midframe.models.gridnet import Block, Style

STYLE = Style("f", bias=True, shared=True)
COLUMNS = 4
# Row 0 is not read behind the second column, though the checkpoints hold these blocks: by name
# with the numbers of their slopes and of their convolutions.
UNREAD = {name: (0, 2, 1, 3) for name in ("lateral_0_2", "lateral_0_3")}
UNREAD |= {name: (1, 3, 2, 4) for name in ("up_0_0", "up_0_1")}
IDLE = frozenset(
    f"{name}.f.{layer}.{kind}"
    for name, layers in UNREAD.items()
    for place, layer in enumerate(layers)
    for kind in (("weight",) if place < 2 else ("weight", "bias"))
)


class MIMOGridNet(nn.Module):
    """Three rows (2 H, H, H/2) and four columns; the rows' inputs are what was warped to them.

    Args:
        inside: channels of the three inputs.
        widths: channels of the three rows.
    """

    def __init__(self, inside: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        for row, width in enumerate(widths):
            for column in range(COLUMNS):
                entering = width if column else inside[row]
                self.add_module(f"lateral_{row}_{column}", Block(STYLE, "lateral", entering, width))
        for way in ("down", "up"):
            for row, (fine, coarse) in enumerate(zip(widths, widths[1:])):
                for step in range(COLUMNS // 2):
                    ends = (fine, coarse) if way == "down" else (coarse, fine)
                    self.add_module(f"{way}_{row}_{step}", Block(STYLE, way, *ends))
        self.lateral_final_1 = Block(STYLE, "lateral", widths[1], 3)

    def forward(self, rows: Sequence[Tensor]) -> Tensor:
        """Return (N, 3, H, W) from (N, C, 2 H, 2 W), (N, C, H, W) and (N, C, H/2, W/2)."""
        fine, middle, coarse = rows
        for column in (0, 1):
            fine = getattr(self, f"lateral_0_{column}")(fine)
            down, across = getattr(self, f"down_0_{column}"), getattr(self, f"lateral_1_{column}")
            middle = across(middle).add_(down(fine))
            down, across = getattr(self, f"down_1_{column}"), getattr(self, f"lateral_2_{column}")
            coarse = across(coarse).add_(down(middle))
        for column in (2, 3):
            coarse = getattr(self, f"lateral_2_{column}")(coarse)
            up, across = getattr(self, f"up_1_{column - 2}"), getattr(self, f"lateral_1_{column}")
            middle = across(middle).add_(up(coarse))
        return self.lateral_final_1(middle)
