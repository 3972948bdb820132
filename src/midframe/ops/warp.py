"""Backward warping: sample an image where the flow points to."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Border = Literal["border", "zeros", "reflection"]
Kernel = Literal["bilinear", "bicubic"]
Grid = Literal["corners", "centers", "mixed", "shrunk"]

GRIDS = ("corners", "centers", "mixed", "shrunk")


def pixel_grid(height: int, width: int, like: Tensor) -> Tensor:
    """Return the pixel coordinates (2, H, W), x first, on ``like``'s device.

    In float32, or float64 like a float64 tensor: a bfloat16 coordinate is off by whole pixels.
    """
    dtype = torch.promote_types(like.dtype, torch.float32)
    y = torch.arange(height, device=like.device, dtype=dtype)
    x = torch.arange(width, device=like.device, dtype=dtype)
    return torch.stack((x.expand(height, width), y[:, None].expand(height, width)))


def backwarp(
    image: Tensor,
    flow: Tensor,
    border: Border = "border",
    kernel: Kernel = "bilinear",
    grid: Grid = "corners",
    visible: float | None = None,
) -> Tensor:
    """Warp ``image`` backward: ``out[p] = image[p + flow[p]]``.

    Published networks differ in where they sample for the same flow, and their weights are trained
    with it. ``grid`` names the four ways; W is the width, likewise for the height:

    ======== ======================== ==========================================================
    grid     samples at               used by
    ======== ======================== ==========================================================
    corners  x + u                    IFRNet, UPR-Net, SoftSplat, LiteFlowNet, today's PWC-Net
    centers  x + u W / (W - 1)        ST-MFNet and its PWC-Net: flow a little too long
    mixed    (x + u) W / (W - 1) - .5 PWC-Net in re-implementations of SoftSplat
    shrunk   (x + u) (W - 1) / W      the brightness check of a re-implementation of SoftSplat
    ======== ======================== ==========================================================

    Coordinates are computed in float32 (float64 for float64) under any autocast.

    Args:
        image: (N, C, H, W).
        flow: (N, 2, H, W) in pixels, x then y, from the output grid into ``image``.
        border: what lies outside: the nearest pixel, zeros, or the reflection.
        kernel: "bilinear" as in the networks; "bicubic" is sharper and may overshoot.
        grid: where a flow points to.
        visible: what part of a sample must come from inside the image, else the pixel is 0:
            0.999 in PWC-Net and ST-MFNet, 0.9999 in the flow network of WEVI. Goes with
            ``border="zeros"``.

    Returns:
        (N, C, H, W) in ``image``'s dtype.

    Raises:
        ValueError: if the shapes or options do not fit.

    Source: Jaderberg et al., Spatial Transformer Networks, 2015, eq. 5.
    """
    _check(image, flow, border, grid, visible)
    with torch.autocast(image.device.type, enabled=False):
        dtype = torch.promote_types(image.dtype, torch.float32)
        where, aligned = _positions(flow, grid)
        where = where.to(dtype)
        how = {"mode": kernel, "padding_mode": border, "align_corners": aligned}
        out = F.grid_sample(image.to(dtype), where, **how)  # type: ignore[arg-type]
        if visible is not None:
            inside = torch.ones_like(image[:, :1], dtype=dtype)
            out = out * (F.grid_sample(inside, where, **how) > visible)  # type: ignore[arg-type]
    return out.to(image.dtype)


def _check(image: Tensor, flow: Tensor, border: str, grid: str, visible: float | None) -> None:
    if flow.ndim != 4 or flow.shape[1] != 2 or image.shape[0] != flow.shape[0]:
        raise ValueError(
            f"backwarp needs image (N, C, H, W) and flow (N, 2, H, W), "
            f"got {tuple(image.shape)} and {tuple(flow.shape)}"
        )
    if grid not in GRIDS:
        raise ValueError(f"backwarp: grid is one of {', '.join(GRIDS)}, not {grid!r}")
    if visible is not None and border != "zeros":
        raise ValueError(f"backwarp: visible goes with border='zeros', not {border!r}")


def _positions(flow: Tensor, grid: str) -> tuple[Tensor, bool]:
    """Return grid_sample's positions (N, H, W, 2) in [-1, 1], and whether corners are aligned.

    Each is written as the published code computes it, so that rounding agrees as well.
    """
    height, width = flow.shape[-2:]
    flow = flow.to(torch.promote_types(flow.dtype, torch.float32))
    size = flow.new_tensor([width, height])
    span = (size - 1).clamp(min=1)
    pixel = pixel_grid(height, width, flow).permute(1, 2, 0)
    moved = flow.permute(0, 2, 3, 1)
    if grid == "centers":
        return (2 * pixel + 1) / size - 1 + moved / (span / 2), False
    position = pixel + moved
    if grid == "shrunk":
        return 2 * position / size - 1, True
    return position / (span / 2) - 1, grid == "corners"
