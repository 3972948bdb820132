"""The operators as plain formulas on PyTorch's tape.

Slow and hungry for memory, but each line can be held against the definition: the truth for the
other backends (in float64), the form that exports to other runtimes, and the one that can be
differentiated twice.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-7
SAFE_EXPONENT = 64.0


def splat(input: Tensor, flow: Tensor, metric: Tensor | None, mode: str, normalize: str) -> Tensor:
    """Splat by four scatter_add; see `midframe.ops.splat` for the definition.

    Args:
        input: (N, C, H, W).
        flow: (N, 2, H, W) in float32 or float64, in which all sums are computed.
        metric: (N, 1, H, W) in the flow's dtype, or None.
        mode: "sum", "avg", "linear" or "soft".
        normalize: "addeps", "zeroeps" or "clipeps".

    Returns:
        (N, C, H, W) in the input's dtype.
    """
    batch, channels, height, width = input.shape
    value = input.to(flow.dtype)
    index, share, kept = _corners(flow)
    total = value.new_zeros(batch, channels, height * width)
    count = value.new_zeros(batch, 1, height * width)
    shift = _shift(metric, index, share) if mode == "soft" and metric is not None else None
    for corner in range(4):
        target, weight, inside = index[corner], share[corner], kept[corner]
        if mode == "linear" and metric is not None:
            weight = weight * metric.flatten(2)
        elif shift is not None and metric is not None:
            exponent = metric.flatten(2) - shift.gather(2, target)
            weight = weight * exponent.clamp(max=SAFE_EXPONENT).exp()
        # dropped corners have some index, and zero times a NaN would be a NaN there
        add = torch.where(inside, value.flatten(2) * weight, 0.0)
        total = total.scatter_add(2, target.expand(-1, channels, -1), add)
        count = count.scatter_add(2, target, torch.where(inside, weight, 0.0))
    if mode != "sum":
        total = total / _divisor(count, shift, normalize)
    return total.view(batch, channels, height, width).to(input.dtype)


def _corners(flow: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return each corner's target index, bilinear share and whether it is kept, (N, 1, HW)."""
    height, width = flow.shape[-2:]
    x = torch.arange(width, dtype=flow.dtype, device=flow.device) + flow[:, 0]
    y = torch.arange(height, dtype=flow.dtype, device=flow.device)[:, None] + flow[:, 1]
    inside = (x >= -1) & (x < width) & (y >= -1) & (y < height)  # never true of NaN
    x, y = torch.where(inside, x, 0.0), torch.where(inside, y, 0.0)
    left, top = x.detach().floor(), y.detach().floor()
    index, share, kept_all = [], [], []
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        column, row = left + dx, top + dy
        weight = (x - left if dx else left + 1 - x) * (y - top if dy else top + 1 - y)
        kept = inside & (column >= 0) & (column < width) & (row >= 0) & (row < height)
        at = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
        index.append(at.long().flatten(1)[:, None])
        share.append(torch.where(kept, weight, 0.0).flatten(1)[:, None])
        kept_all.append(kept.flatten(1)[:, None])
    return index, share, kept_all


def _shift(metric: Tensor, index: list[Tensor], share: list[Tensor]) -> Tensor:
    """Return by how much each target's exponents are lowered, (N, 1, HW); no gradient."""
    exponent = metric.detach().flatten(2)
    top = torch.zeros_like(exponent)
    for target, weight in zip(index, share):
        reaching = torch.where(weight.detach() > 0, exponent - SAFE_EXPONENT, 0.0)
        top = top.scatter_reduce(2, target, reaching, "amax")
    return top


def _divisor(count: Tensor, shift: Tensor | None, normalize: str) -> Tensor:
    if normalize == "zeroeps":
        return torch.where(count == 0, 1.0, count)
    epsilon = torch.as_tensor(EPSILON, dtype=count.dtype, device=count.device)
    if shift is not None:
        epsilon = epsilon * torch.exp(-shift)
        count = torch.where((count == 0) & (epsilon == 0), 1.0, count)
    return count + epsilon if normalize == "addeps" else torch.maximum(count, epsilon)


def correlation(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """Correlate by one product per displacement; see `midframe.ops.correlation`.

    Args:
        first: (N, C, H, W).
        second: (N, C, H, W).
        radius: of the displacements, in pixels.

    Returns:
        (N, (2 radius + 1)^2, H, W) in the inputs' dtype.
    """
    dtype = torch.promote_types(first.dtype, torch.float32)
    height, width = first.shape[-2:]
    left, right = first.to(dtype), F.pad(second.to(dtype), [radius] * 4)
    planes = [
        (left * right[..., dy : dy + height, dx : dx + width]).mean(1)
        for dy in range(2 * radius + 1)
        for dx in range(2 * radius + 1)
    ]
    return torch.stack(planes, 1).to(first.dtype)


def adacof(image: Tensor, weight: Tensor, alpha: Tensor, beta: Tensor, dilation: int) -> Tensor:
    """Sum the taps one by one; see `midframe.ops.adacof`.

    Args:
        image: (N, C, H + (k - 1) d, W + (k - 1) d).
        weight: (N, k * k, H, W).
        alpha: (N, k * k, H, W) in pixels, vertical.
        beta: (N, k * k, H, W) in pixels, horizontal.
        dilation: d.

    Returns:
        (N, C, H, W) in the image's dtype.
    """
    dtype = torch.promote_types(image.dtype, torch.float32)
    batch, taps, height, width = weight.shape
    side = math.isqrt(taps)
    source = image.to(dtype)
    rows = torch.arange(height, device=image.device)[:, None]
    columns = torch.arange(width, device=image.device)
    out = source.new_zeros(batch, image.shape[1], height, width)
    for tap in range(taps):
        down, right = alpha[:, tap].to(dtype), beta[:, tap].to(dtype)
        whole_y, whole_x = _truncate(down), _truncate(right)
        y = rows + (tap // side) * dilation + whole_y.long()
        x = columns + (tap % side) * dilation + whole_x.long()
        part_y, part_x = down - whole_y, right - whole_x
        sample = sum(
            _at(source, y + dy, x + dx)
            * ((part_y if dy else 1 - part_y) * (part_x if dx else 1 - part_x))[:, None]
            for dy in (0, 1)
            for dx in (0, 1)
        )
        out = out + weight[:, tap, None].to(dtype) * sample
    return out.to(image.dtype)


def _truncate(offset: Tensor) -> Tensor:
    """Return the whole part, toward zero, bounded so that it fits an index; no gradient."""
    return offset.detach().nan_to_num(0.0).clamp(-(2.0**24), 2.0**24).trunc()


def _at(image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Return (N, C, H, W): ``image`` at rows and columns (N, H, W), each clamped to it."""
    height, width = image.shape[-2:]
    index = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
    flat = index.flatten(1)[:, None].expand(-1, image.shape[1], -1)
    return image.flatten(2).gather(2, flat).view(*image.shape[:2], *y.shape[1:])
