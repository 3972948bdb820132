"""Backward warping: sample an image where the flow points to."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Border = Literal["border", "zeros", "reflection"]
Kernel = Literal["bilinear", "bicubic"]


def pixel_grid(height: int, width: int, like: Tensor) -> Tensor:
    """Return the pixel coordinates (2, H, W), x first, on ``like``'s device in float32."""
    y = torch.arange(height, device=like.device, dtype=torch.float32)
    x = torch.arange(width, device=like.device, dtype=torch.float32)
    return torch.stack((x.expand(height, width), y[:, None].expand(height, width)))


def backwarp(
    image: Tensor, flow: Tensor, border: Border = "border", kernel: Kernel = "bilinear"
) -> Tensor:
    """Warp ``image`` backward: ``out[p] = image[p + flow[p]]``.

    The convention of IFRNet, UPR-Net and SoftSplat: pixel centres are at integers and corners are
    aligned. Coordinates are computed in float32 under any autocast, since a bfloat16 coordinate
    would be off by whole pixels.

    Args:
        image: (N, C, H, W).
        flow: (N, 2, H, W) in pixels, x then y, from the output grid into ``image``.
        border: what lies outside: the nearest pixel, zeros, or the reflection.
        kernel: "bilinear" as in the networks; "bicubic" is sharper and may overshoot.

    Returns:
        (N, C, H, W) in ``image``'s dtype.

    Raises:
        ValueError: if the shapes do not fit.
    """
    if flow.ndim != 4 or flow.shape[1] != 2 or image.shape[0] != flow.shape[0]:
        raise ValueError(
            f"backwarp needs image (N, C, H, W) and flow (N, 2, H, W), "
            f"got {tuple(image.shape)} and {tuple(flow.shape)}"
        )
    height, width = flow.shape[-2:]
    with torch.autocast(image.device.type, enabled=False):
        size = flow.new_tensor([max(width - 1, 1) / 2, max(height - 1, 1) / 2], dtype=torch.float32)
        position = pixel_grid(height, width, flow) + flow.float()
        grid = position.permute(0, 2, 3, 1) / size - 1.0
        source = image.float() if image.dtype != torch.float64 else image
        grid = grid.to(source.dtype)
        out = F.grid_sample(source, grid, mode=kernel, padding_mode=border, align_corners=True)
    return out.to(image.dtype)
