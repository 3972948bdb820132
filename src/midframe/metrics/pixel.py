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


def interpolation_error(
    pred: Tensor, target: Tensor, *, form: Literal["mean", "rms"] = "mean"
) -> Tensor:
    """Interpolation error (IE) of the images in 8 bits, in one of two forms.

    Args:
        pred: (N, 3, H, W) in [0, 1].
        target: the same shape.
        form: "mean" is the mean |round(255 pred) - round(255 target)| over pixels and colours, as
            IFRNet and most papers measure Middlebury "other". "rms" is the definition of the
            Middlebury website: the root of the mean over pixels of d_R^2 + d_G^2 + d_B^2, of the
            images clamped to 8 bits.

    Returns:
        (N,) in grey levels of 8 bits; lower is better.

    Source: Baker et al., "A Database and Evaluation Methodology for Optical Flow", IJCV 2011,
    section 4.2 ("rms": with the L2 norm of the vector of RGB differences).
    """
    if form == "mean":
        pred, target = prepare(pred, target)
        return ((255 * pred).round() - (255 * target).round()).abs().flatten(1).mean(1)
    if form != "rms":
        raise ValueError(f"form is 'mean' or 'rms', not {form!r}")
    pred, target = prepare(pred, target, "uint8")
    return (255 * (pred - target)).square().sum(1).flatten(1).mean(1).sqrt()


def normalised_interpolation_error(pred: Tensor, target: Tensor, *, epsilon: float = 1.0) -> Tensor:
    """Normalised interpolation error (NIE, NE): errors weigh less where the truth has edges.

    sqrt(mean over pixels of |d|^2 / (|grad target|^2 + epsilon)), in grey levels of 8 bits: d is
    the vector of the three colours' differences, and the gradient is taken of each colour
    separately, all six derivatives counting. The paper does not say how a derivative is taken;
    here it is half the difference of the two neighbours, at the border that to the one neighbour.

    Args:
        pred: (N, 3, H, W) in [0, 1]; clamped and rounded to 8 bits, as the target.
        target: the same shape, at least 2x2 pixels.
        epsilon: what a flat region is divided by, in squared grey levels per pixel; 1 in the paper.

    Returns:
        (N,), without a unit, from 0 on; lower is better.

    Source: Baker et al., "A Database and Evaluation Methodology for Optical Flow", IJCV 2011,
    section 4.2, "normalized interpolation error".
    """
    if epsilon <= 0:
        raise ValueError(f"epsilon={epsilon} must be positive: flat regions are divided by it")
    pred, target = prepare(pred, target, "uint8")
    if min(pred.shape[-2:]) < 2:
        raise ValueError(f"NIE needs 2x2 pixels, got {tuple(pred.shape[-2:])}")
    down, right = torch.gradient(255 * target, dim=(-2, -1))
    edges = (down.square() + right.square()).sum(1)
    error = (255 * (pred - target)).square().sum(1)
    return (error / (edges + epsilon)).flatten(1).mean(1).sqrt()


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
