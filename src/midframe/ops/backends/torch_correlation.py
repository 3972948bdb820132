"""Correlation in plain PyTorch, for any device and without a tape: few, large products of matrices.

Both maps become one long row of pixels (the border between two lines or images is zeros), cut into
tiles. The product of a tile of one map with a slightly wider window of the other, one line of
displacements at a time, holds the wanted sums on its diagonals.
"""

from __future__ import annotations

import torch
from torch import Tensor

from midframe.ops.backends import torch_correlation_cpu

TILE = 16  # pixels; the product computes TILE + 2 radius displacements of which 2 radius + 1 count


def forward(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """Correlate; see `contract.Correlation`."""
    # a GPU wants few large calls, a processor small ones whose data stay in its cache
    by = torch_correlation_cpu.forward if first.device.type == "cpu" else in_lines
    return by(first, second, radius)


def in_lines(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """Correlate as this file's head tells, on any device; see `contract.Correlation`."""
    batch, channels, height, width = first.shape
    side = 2 * radius + 1
    layout = tile, tiles, _ = _layout(first, radius)
    left, right = _line(first, radius), _line(second, radius)
    out = first.new_empty(batch, side * side, height, width)
    own = _windows(left, radius, 0, 0, layout)
    product = left.new_empty(tiles, tile, tile + 2 * radius)
    for row in range(side):
        other = _windows(right, radius, row - radius, radius, layout)
        torch.bmm(own, other.transpose(1, 2), out=product)
        band = product.as_strided(
            (side, tiles, tile), (1, product.stride(0), product.stride(1) + 1)
        )
        sums = band.div(channels).view(side, -1)
        out[:, row * side : (row + 1) * side] = _unline(sums, first, radius)
    return out


def backward(
    grad: Tensor, first: Tensor, second: Tensor, radius: int, needs: tuple[bool, bool]
) -> tuple[Tensor, Tensor]:
    """Return the gradients; see `contract.Correlation`."""
    found = [first.new_empty(0), first.new_empty(0)]
    for which, other in enumerate((second, first)):
        if needs[which]:
            found[which] = _one_gradient(grad, other, radius, 1 if which == 0 else -1)
    return found[0], found[1]


def _one_gradient(grad: Tensor, other: Tensor, radius: int, sign: int) -> Tensor:
    """Sum grad[d] at p (sign 1) or at p - d (sign -1) times the other map at p + sign d."""
    batch, channels, height, width = other.shape
    side = 2 * radius + 1
    layout = tile, tiles, pitch = _layout(other, radius)
    line = _line(other, radius)
    factor = line.new_zeros(tiles, tile, tile + 2 * radius)
    total = line.new_zeros(tiles, tile, channels)
    margin = radius * pitch + radius
    planes = line.new_zeros(side, tiles * tile + 2 * margin)
    inner = planes[:, margin : margin + batch * (height + radius) * pitch]
    inner = inner.view(side, batch, height + radius, pitch)[:, :, :height, :width]
    band = factor.as_strided((side, tiles, tile), (1, factor.stride(0), factor.stride(1) + 1))
    for row in range(side):
        down = row - radius
        part = grad[:, row * side : (row + 1) * side].transpose(0, 1)
        start, step = margin, planes.stride(0)
        if sign < 0:
            # column j of the band is j - radius to the right: of the displacement radius - j
            part = part.flip(0)
            start, step = margin - down * pitch - radius, step + 1
        inner.copy_(part)
        band.copy_(planes.as_strided((side, tiles, tile), (step, tile, 1), start))
        window = _windows(line, radius, sign * down, radius, layout)
        torch.baddbmm(total, factor, window, out=total)
    total = total.view(-1, channels).t().div_(channels)
    return _unline(total, other, radius).to(other.dtype).contiguous()


def _layout(x: Tensor, radius: int) -> tuple[int, int, int]:
    """Return the tiles' length, how many there are, and the length of a line with its border."""
    pitch = x.shape[3] + radius
    length = x.shape[0] * (x.shape[2] + radius) * pitch
    return TILE, -(-length // TILE), pitch


def _line(x: Tensor, radius: int) -> Tensor:
    """Return (pixels, C) with zeros between lines, between images and at both ends."""
    batch, channels, height, width = x.shape
    tile, tiles, pitch = _layout(x, radius)
    margin = radius * pitch + radius
    dtype = torch.promote_types(x.dtype, torch.float32)
    line = x.new_zeros(tiles * tile + 2 * margin, channels, dtype=dtype)
    inner = line[margin : margin + batch * (height + radius) * pitch]
    inner = inner.view(batch, height + radius, pitch, channels)[:, :height, :width]
    inner.copy_(x.detach().permute(0, 2, 3, 1))
    return line


def _windows(
    line: Tensor, radius: int, down: int, around: int, layout: tuple[int, int, int]
) -> Tensor:
    """Return each tile with the pixels ``around`` it, ``down`` lines below: a view."""
    tile, tiles, pitch = layout
    channels = line.shape[1]
    start = (radius + down) * pitch + radius - around
    shape = (tiles, tile + 2 * around, channels)
    return line.as_strided(shape, (tile * channels, channels, 1), start * channels)


def _unline(flat: Tensor, like: Tensor, radius: int) -> Tensor:
    """Cut the borders off (k, pixels), giving (N, k, H, W)."""
    batch, _, height, width = like.shape
    pitch = width + radius
    flat = flat[:, : batch * (height + radius) * pitch]
    grid = flat.unflatten(1, (batch, height + radius, pitch))
    return grid[:, :, :height, :width].transpose(0, 1)
