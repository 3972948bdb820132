"""The operators in PyTorch's own ones, in few and large steps: what an exported graph holds.

`midframe.ops.reference` has them step by step, which is thousands of nodes for a network that
splats at every level; these are fewer, with the same results but for the order of sums. Pictures
are splatted as rows of channels, so that an index is stored once and not once for each channel.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from midframe.ops.reference import EPSILON, SAFE_EXPONENT

Add = Callable[[Tensor, Tensor, Tensor], Tensor]


def by_index_add(total: Tensor, index: Tensor, rows: Tensor) -> Tensor:
    """Add rows (M, C) to those of ``total`` (L, C) that ``index`` (M,) names: PyTorch's fastest."""
    return total.index_add(0, index, rows)


def by_index_put(total: Tensor, index: Tensor, rows: Tensor) -> Tensor:
    """Do the same by what becomes one ScatterND in ONNX."""
    return total.index_put((index,), rows, accumulate=True)


def splat(
    input: Tensor,
    flow: Tensor,
    metric: Tensor | None,
    mode: str,
    normalize: str,
    backend: str,
    add: Add = by_index_add,
) -> tuple[Tensor, Tensor, Tensor]:
    """Splat as `midframe.ops.splat` defines it, for input without NaN.

    Args:
        input: (N, C, H, W).
        flow: (N, 2, H, W) in float32.
        metric: (N, 1, H, W), or None.
        mode: "sum", "avg", "linear" or "soft".
        normalize: "addeps", "zeroeps" or "clipeps".
        backend: of no effect.
        add: how rows are summed.

    Returns:
        The result (N, C, H, W), the weight that reached each pixel, and its shift of exponents.
    """
    batch, channels, height, width = input.shape
    index, share = _corners(flow)
    value = input.to(flow.dtype).permute(0, 2, 3, 1).reshape(-1, channels)
    rows = torch.cat((value, torch.ones_like(value[:, :1])), 1)
    importance: list[Tensor] | None = None
    shift = flow.new_zeros(0)
    if metric is not None:
        exponent = metric.reshape(-1)
        importance = [exponent] * 4
        if mode == "soft":
            shift = torch.zeros_like(exponent)
            for target, weight in zip(index, share):
                reaching = torch.where(weight > 0, exponent - SAFE_EXPONENT, 0.0)
                shift = shift.scatter_reduce(0, target, reaching, "amax")
            lowered = [exponent - shift.index_select(0, target) for target in index]
            importance = [one.clamp(max=SAFE_EXPONENT).exp() for one in lowered]
    total = torch.zeros_like(rows)
    for corner, (target, weight) in enumerate(zip(index, share)):
        weight = weight if importance is None else weight * importance[corner]
        total = add(total, target, rows * weight[:, None])
    out, count = total[:, :channels], total[:, channels:]
    if mode != "sum":
        out = out / _divisor(count, shift[:, None] if mode == "soft" else None, normalize)

    def shaped(y: Tensor, depth: int) -> Tensor:
        return y.reshape(batch, height, width, depth).permute(0, 3, 1, 2).contiguous()

    weight = shaped(count, 1) if mode != "sum" else flow.new_zeros(0)
    shift = shaped(shift[:, None], 1) if mode == "soft" else shift
    return shaped(out, channels).to(input.dtype), weight, shift


def _corners(flow: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return each corner's row among all and its bilinear share, 0 where dropped: (N H W,)."""
    batch, _, height, width = flow.shape
    x = flow[:, 0] + torch.arange(width, dtype=flow.dtype, device=flow.device)
    y = flow[:, 1] + torch.arange(height, dtype=flow.dtype, device=flow.device)[:, None]
    inside = (x >= -1) & (x < width) & (y >= -1) & (y < height)  # never true of NaN
    x, y = torch.where(inside, x, 0.0), torch.where(inside, y, 0.0)
    left, top = x.floor(), y.floor()
    first = torch.arange(batch, device=flow.device)[:, None, None] * (height * width)
    index, share = [], []
    for dy in (0, 1):
        row, down = top + dy, (y - top if dy else 1 - (y - top))
        down = torch.where(inside & (row >= 0) & (row < height), down, 0.0)
        # whole numbers before the product: float32 counts pixels only up to 4096 x 4096
        start = first + row.clamp(0, height - 1).long() * width
        for dx in (0, 1):
            column, right = left + dx, (x - left if dx else 1 - (x - left))
            right = torch.where((column >= 0) & (column < width), right, 0.0)
            index.append((start + column.clamp(0, width - 1).long()).reshape(-1))
            share.append((down * right).reshape(-1))
    return index, share


def _divisor(count: Tensor, shift: Tensor | None, normalize: str) -> Tensor:
    if normalize == "zeroeps":
        return torch.where(count == 0, 1.0, count)
    epsilon = torch.full_like(count, EPSILON)
    if shift is not None:
        epsilon = epsilon * torch.exp(-shift)
        count = torch.where((count == 0) & (epsilon == 0), 1.0, count)
    return count + epsilon if normalize == "addeps" else torch.maximum(count, epsilon)


def correlation(first: Tensor, second: Tensor, radius: int, backend: str) -> Tensor:
    """Correlate as `midframe.ops.correlation` defines it, one row of displacements at a time.

    Args:
        first: (N, C, H, W).
        second: (N, C, H, W).
        radius: of the displacements, in pixels.
        backend: of no effect.

    Returns:
        (N, (2 radius + 1)^2, H, W).
    """
    batch, channels, height, width = first.shape
    side = 2 * radius + 1
    right = F.pad(second, [radius] * 4)
    steps = torch.arange(side, device=first.device)[:, None]
    places = (steps + torch.arange(width, device=first.device)).reshape(-1)
    found = []
    for dy in range(side):
        line = right[:, :, dy : dy + height].index_select(3, places)
        line = line.reshape(batch, channels, height, side, width)
        found.append((line * first[:, :, :, None]).mean(1).transpose(1, 2))
    return torch.cat(found, 1)


def adacof(
    image: Tensor, weight: Tensor, alpha: Tensor, beta: Tensor, dilation: int, backend: str
) -> Tensor:
    """Sum the taps as `midframe.ops.adacof` defines it, one row of taps at a time.

    Args:
        image: (N, C, H + (k - 1) d, W + (k - 1) d).
        weight: (N, k * k, H, W).
        alpha: (N, k * k, H, W) in pixels, vertical.
        beta: (N, k * k, H, W) in pixels, horizontal.
        dilation: d.
        backend: of no effect.

    Returns:
        (N, C, H, W).
    """
    batch, channels, high, wide = image.shape
    height, width = weight.shape[-2:]
    side = math.isqrt(weight.shape[1])
    flat = image.transpose(0, 1).reshape(channels, -1)
    first = torch.arange(batch, device=image.device)[:, None, None, None] * (high * wide)
    taps = torch.arange(side, device=image.device) * dilation
    columns = torch.arange(width, device=image.device) + taps[:, None, None]
    out = torch.zeros_like(weight[:, :1])
    for row in range(side):
        part = slice(row * side, (row + 1) * side)
        down, right, share = alpha[:, part], beta[:, part], weight[:, part]
        whole_y, whole_x = _truncated(down), _truncated(right)
        part_y, part_x = down - whole_y, right - whole_x
        rows = torch.arange(height, device=image.device)[:, None] + row * dilation
        y, x = whole_y.long() + rows, whole_x.long() + columns
        for dy in (0, 1):
            start = first + (y + dy).clamp(0, high - 1) * wide
            by_row = share * (part_y if dy else 1 - part_y)
            for dx in (0, 1):
                index = start + (x + dx).clamp(0, wide - 1)
                sample = flat.index_select(1, index.reshape(-1))
                sample = sample.reshape(channels, batch, side, height, width).transpose(0, 1)
                near = by_row * (part_x if dx else 1 - part_x)
                out = out + (sample * near[:, None]).sum(2)
    return out


def _truncated(offset: Tensor) -> Tensor:
    """Return the whole part, toward zero, bounded so that it fits an index."""
    bounded = torch.where(offset == offset, offset, 0.0).clamp(-(2.0**24), 2.0**24)
    return torch.where(bounded < 0, bounded.ceil(), bounded.floor())
