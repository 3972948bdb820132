"""The value of correlation in plain PyTorch on a CPU: many small products, which suit its cache."""

from __future__ import annotations

import torch
from torch import Tensor

TILE = 8  # pixels across; of the TILE + 2 radius displacements computed, 2 radius + 1 count


def forward(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """Correlate; see `contract.Correlation`.

    The first map is taken in tiles of 8 columns. Each of its blocks of 2 radius + 1 lines is
    multiplied with a slightly wider line of the second map, the one in the middle of its lines; the
    wanted sums lie on diagonals of the product. Both maps are read with the layout they come in.
    """
    batch, channels, height, width = first.shape
    side, wide = 2 * radius + 1, TILE + 2 * radius
    out = first.new_empty(batch, side, side, height, width)
    dtype = torch.promote_types(first.dtype, torch.float32)
    # buffers of one tile, used again and again: what lies outside the image stays zero in them
    tile = first.new_zeros(channels, height + 2 * radius, TILE, dtype=dtype)
    lines, row, pixel = tile.stride()
    blocks = tile.as_strided((height, side * TILE, channels), (row, pixel, lines))
    products = first.new_zeros(height + 2 * radius, side * TILE, wide, dtype=dtype)
    line, entry, _ = products.stride()
    # displacement dy pairs line y with the product of line y + dy, in which y is dy lines up
    strides, start = (line - TILE * wide, 1, line, entry + 1), (side - 1) * TILE * wide
    for left in range(0, width, TILE):
        right = min(left + TILE, width)
        window = _Window(second, left - radius, wide, dtype)
        sums = products.as_strided((side, side, height, right - left), strides, start)
        for image in range(batch):
            tile[:, radius : radius + height, : right - left] = first[image, :, :, left:right]
            torch.bmm(blocks, window(image), out=products[radius : radius + height])
            torch.div(sums, channels, out=out[image, :, :, :, left:right])
    return out.view(batch, side * side, height, width)


class _Window:
    """Some columns of a map, one matrix (C, columns) a line; zeros outside the image."""

    def __init__(self, images: Tensor, left: int, columns: int, dtype: torch.dtype) -> None:
        _, channels, height, width = images.shape
        first, last = max(left, 0), min(left + columns, width)
        self._part = images[:, :, :, first:last]
        self._copy: Tensor | None = None
        if last - first < columns or images.dtype != dtype:
            self._copy = images.new_zeros(channels, height, columns, dtype=dtype)
            self._inside = self._copy[:, :, first - left : last - left]

    def __call__(self, image: int) -> Tensor:
        """Return (H, C, columns) of one image of the batch."""
        if self._copy is None:
            return self._part[image].transpose(0, 1)
        self._inside.copy_(self._part[image])
        return self._copy.transpose(0, 1)
