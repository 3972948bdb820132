"""Metrics that compare pixels one by one; one value per image."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Rounding = Literal["none", "uint8"]


def psnr(
    pred: Tensor,
    target: Tensor,
    *,
    max_value: float = 1.0,
    rounding: Rounding = "none",
    cap: float | None = None,
) -> Tensor:
    """Peak signal-to-noise ratio in dB.

    Args:
        pred: (N, 3, H, W) in [0, max_value].
        target: the same shape.
        max_value: the peak.
        rounding: "uint8" first clamps and rounds both to 8 bits.
        cap: what equal images get, in dB; without it they get infinity. As published by ST-MFNet
            (80): the error is raised by 10^(-cap/10), which also moves others by a hair.

    Returns:
        (N,) in at least float32.
    """
    pred, target = prepare(pred, target, rounding, max_value)
    error = (pred - target).square().flatten(1).mean(1) / max_value**2
    if cap is not None:
        error = error + 10.0 ** (-cap / 10)
    return -10 * torch.log10(error)


def interpolation_error(pred: Tensor, target: Tensor) -> Tensor:
    """Mean |round(255 pred) - round(255 target)| per image (IE), as IFRNet measures Middlebury.

    Args:
        pred: (N, 3, H, W) in [0, 1].
        target: the same shape.

    Returns:
        (N,) in grey levels of 8 bits.
    """
    pred, target = prepare(pred, target)
    return ((255 * pred).round() - (255 * target).round()).abs().flatten(1).mean(1)


def prepare(
    pred: Tensor, target: Tensor, rounding: Rounding = "none", max_value: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Check the shapes, widen to at least float32, and round to 8 bits if asked to."""
    if pred.shape != target.shape or pred.ndim != 4:
        raise ValueError(
            f"a metric compares images (N, C, H, W) of one shape, "
            f"got {tuple(pred.shape)} and {tuple(target.shape)}"
        )
    if rounding not in ("none", "uint8"):
        raise ValueError(f"rounding is 'none' or 'uint8', not {rounding!r}")
    wide = torch.promote_types(torch.promote_types(pred.dtype, target.dtype), torch.float32)
    pred, target = pred.to(wide), target.to(wide)
    if rounding == "uint8":
        step = max_value / 255
        pred, target = ((x / step).clamp(0, 255).round() * step for x in (pred, target))
    return pred, target
