"""The operators as they are usually written in PyTorch: what the backends are measured against."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def taped_splat(input: Tensor, flow: Tensor, metric: Tensor | None, mode: str) -> Tensor:
    """Splat with four scatter_add of whole images, everything left to autograd.

    The importance travels as a channel more, which is split off and divided by (addeps).

    Args:
        input: (N, C, H, W).
        flow: (N, 2, H, W) in pixels.
        metric: (N, 1, H, W) for soft, else None.
        mode: "sum", "avg" or "soft".
    """
    if mode == "avg":
        input = torch.cat([input, torch.ones_like(input[:, :1])], 1)
    elif mode == "soft" and metric is not None:
        importance = metric.exp().to(input.dtype)
        input = torch.cat([input * importance, importance], 1)
    batch, channels, height, width = input.shape
    x = torch.arange(width, device=flow.device, dtype=flow.dtype) + flow[:, :1]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1:]
    left, top = x.floor(), y.floor()
    values = input.flatten(2)
    out = input.new_zeros(batch, channels, height * width)
    for dy in (0, 1):
        for dx in (0, 1):
            column, row = left + dx, top + dy
            share = (1 - (x - column).abs()) * (1 - (y - row).abs())
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            share = (share * inside).to(input.dtype).flatten(2)
            index = row.clamp(0, height - 1).long() * width + column.clamp(0, width - 1).long()
            index = index.flatten(2).expand(-1, channels, -1)
            out = out.scatter_add(2, index, values * share)
    out = out.view(batch, channels, height, width)
    return out if mode == "sum" else out[:, :-1] / (out[:, -1:] + 1e-7)


def shift_loop(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """Correlate by shifting the second map (2 radius + 1)^2 times.

    Args:
        first: (N, C, H, W).
        second: (N, C, H, W).
        radius: of the displacements.
    """
    height, width = first.shape[-2:]
    padded = F.pad(second, [radius] * 4)
    side = range(2 * radius + 1)
    planes = [
        (first * padded[..., dy : dy + height, dx : dx + width]).mean(1, keepdim=True)
        for dy in side
        for dx in side
    ]
    return torch.cat(planes, 1)


def grid_samples(
    image: Tensor, weight: Tensor, alpha: Tensor, beta: Tensor, dilation: int
) -> Tensor:
    """Sum one grid_sample a tap: AdaCoF as it is usually written, with floor.

    Another function where an offset is negative: it interpolates there, the published kernel
    truncates and extrapolates.

    Args:
        image: (N, C, H + (k - 1) d, W + (k - 1) d).
        weight: (N, k * k, H, W).
        alpha: (N, k * k, H, W), vertical.
        beta: (N, k * k, H, W), horizontal.
        dilation: d.
    """
    taps, height, width = weight.shape[1:]
    side = math.isqrt(taps)
    last_y, last_x = image.shape[2] - 1, image.shape[3] - 1
    rows = torch.arange(height, device=image.device, dtype=image.dtype)[:, None]
    columns = torch.arange(width, device=image.device, dtype=image.dtype)
    out = image.new_zeros(image.shape[0], image.shape[1], height, width)
    for tap in range(taps):
        y = rows + tap // side * dilation + alpha[:, tap]
        x = columns + tap % side * dilation + beta[:, tap]
        grid = torch.stack([2 * x / last_x - 1, 2 * y / last_y - 1], -1)
        sample = F.grid_sample(image, grid, padding_mode="border", align_corners=True)
        out = out + weight[:, tap : tap + 1] * sample
    return out
