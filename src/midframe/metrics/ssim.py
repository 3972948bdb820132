"""Structural similarity in the variants that published tables use."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from midframe.metrics.pixel import Rounding, prepare

Variant = Literal["gaussian_2d", "gaussian_3d", "skimage"]

C1, C2 = 0.01**2, 0.03**2  # for a peak of 1
RADIUS, SIGMA = 5, 1.5
_BELL = [math.exp(-(i**2) / (2 * SIGMA**2)) for i in range(-RADIUS, RADIUS + 1)]
GAUSSIAN = [x / sum(_BELL) for x in _BELL]


def ssim(
    pred: Tensor,
    target: Tensor,
    variant: Variant = "gaussian_2d",
    *,
    rounding: Rounding = "none",
) -> Tensor:
    """Structural similarity (Wang et al., IEEE TIP 2004), mean of the map over all channels.

    Args:
        pred: (N, 3, H, W) in [0, 1].
        target: the same shape.
        variant: the window and what happens at the border. "gaussian_2d": 11x11, sigma 1.5,
            per channel, the border replicated. "gaussian_3d": the same window with the colour
            channels as a third, replicated axis, which video interpolation papers call "matlab"
            (IFRNet, UPR-Net, ST-MFNet). "skimage": 7x7 uniform, sample covariance, valid part.
        rounding: "uint8" first clamps and rounds both to 8 bits.

    Returns:
        (N,) in at least float32.
    """
    pred, target = prepare(pred, target, rounding)
    if variant == "skimage":
        if min(pred.shape[-2:]) < 7:
            raise ValueError(f"ssim 'skimage' needs 7x7 pixels, got {tuple(pred.shape[-2:])}")
        return _compare(pred, target, _uniform, 49 / 48)
    if variant == "gaussian_2d":
        return _compare(pred, target, _gaussian, 1.0)
    if variant == "gaussian_3d":
        return _compare(pred, target, _gaussian_volume, 1.0)
    raise ValueError(f"ssim has gaussian_2d, gaussian_3d and skimage, not {variant!r}")


def _compare(
    pred: Tensor, target: Tensor, smooth: Callable[[Tensor], Tensor], correction: float
) -> Tensor:
    # The variances of both enter only as their sum, which saves one of five filtered maps.
    maps = torch.stack((pred, target, pred * pred + target * target, pred * target))
    mean1, mean2, squares, product = smooth(maps)
    means = mean1 * mean2
    mean_squares = mean1 * mean1 + mean2 * mean2
    variances = (squares - mean_squares) * correction
    covariance = (product - means) * correction
    top = (2 * means + C1) * (2 * covariance + C2)
    return (top / ((mean_squares + C1) * (variances + C2))).flatten(1).mean(1)


def _gaussian(x: Tensor) -> Tensor:
    """Blur (..., H, W) by the 11x11 Gaussian, border replicated."""
    flat = x.reshape(1, -1, *x.shape[-2:])
    return _separable(F.pad(flat, (RADIUS,) * 4, mode="replicate"), GAUSSIAN).reshape(x.shape)


def _gaussian_volume(x: Tensor) -> Tensor:
    """Blur (..., C, H, W) by the Gaussian along C too, where the border is replicated as well."""
    channels = x.shape[-3]
    rows = [[0.0] * channels for _ in range(channels)]
    for i, row in enumerate(rows):
        for offset, weight in enumerate(GAUSSIAN, start=-RADIUS):
            row[min(max(i + offset, 0), channels - 1)] += weight
    mixed = x.new_tensor(rows) @ _gaussian(x).flatten(-2)
    return mixed.reshape(x.shape)


def _uniform(x: Tensor) -> Tensor:
    """Average (..., H, W) over 7x7, only where the window fits."""
    return _separable(x, [1 / 7] * 7)


def _separable(x: Tensor, taps: list[float]) -> Tensor:
    """Filter the last two axes by symmetric taps, only where they fit.

    Sums of shifted views: on a CPU several times faster than a convolution of so few channels.
    """
    for axis in (-2, -1):
        radius, size = len(taps) // 2, x.shape[axis] - len(taps) + 1
        out = x.narrow(axis, radius, size) * taps[radius]
        for i in range(radius):
            pair = x.narrow(axis, i, size) + x.narrow(axis, 2 * radius - i, size)
            out.add_(pair, alpha=taps[i])
        x = out
    return x
