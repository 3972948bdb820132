"""Layers that more than one model is built of."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def conv_prelu(inside: int, outside: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution that keeps the size at stride 1, then a PReLU with one slope per channel."""
    return nn.Sequential(nn.Conv2d(inside, outside, kernel, stride, kernel // 2), nn.PReLU(outside))


def resize(x: Tensor, factor: float) -> Tensor:
    """Resize (N, C, H, W) bilinearly by ``factor``, corners not aligned; 1 returns ``x``."""
    if factor == 1:
        return x
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
