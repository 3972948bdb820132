"""ST-MFNet's adaptive warps: kernels from features, and AdaCoF at three scales."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midframe.models.blocks import conv, resize, wide
from midframe.ops import adacof

KERNEL = 5
TAPS = KERNEL**2
SIGMA = 0.5
HALF_PIXEL = (-1, 4, -11, 40, 40, -11, 4, -1)  # / 64: HEVC's filter between two pixels
# What the features (H/2) are enlarged by for each scale, as the checkpoints call it.
SCALES = {"_ds": 1, "": 2, "_us": 4}
KINDS = ("Weight", "Alpha", "Beta")


def gaussian() -> Tensor:
    """Return the blur (3, 1, 5, 5) before a frame is halved."""
    x = torch.arange(KERNEL, dtype=torch.float32) - KERNEL // 2
    bell = torch.exp(-(x**2) / (2 * SIGMA**2))
    window = bell[:, None] * bell
    return (window / window.sum()).repeat(3, 1, 1, 1)


def halved(frames: Tensor, kernel: Tensor) -> Tensor:
    """Return (N, 3, H, W) blurred by ``kernel`` (3, 1, 5, 5), then resized to half of the size."""
    with torch.autocast(frames.device.type, enabled=False):
        padded = F.pad(frames, (2, 2, 2, 2), mode="reflect")
        return resize(F.conv2d(padded, kernel.to(frames.dtype), groups=3), 0.5)


class Upsampler(nn.Module):
    """Doubles frames: pixels stay at even places, an 8-tap filter gives those between them."""

    def __init__(self) -> None:
        super().__init__()
        taps = torch.tensor(HALF_PIXEL, dtype=torch.float32) / 64
        self.filter = nn.Parameter(taps.repeat(3, 1, 1, 1), requires_grad=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Return (N, 3, 2 H, 2 W) from (N, 3, H, W)."""
        with torch.autocast(frames.device.type, enabled=False):
            across = self.filter.to(frames.dtype)
            down = F.pad(frames, (0, 0, 3, 4), mode="reflect")
            down = F.conv2d(down, across.transpose(2, 3), groups=3)
            rows = torch.stack((frames, down), 3).flatten(2, 3)
            between = F.conv2d(F.pad(rows, (3, 4, 0, 0), mode="reflect"), across, groups=3)
            return torch.stack((rows, between), 4).flatten(3)


class KernelEstimation(nn.Module):
    """Eighteen small networks: weights and offsets of the taps, of either frame, at three scales.

    Args:
        inside: channels of the features.
        width: channels inside of each network.
    """

    def __init__(self, inside: int, width: int) -> None:
        super().__init__()

        def relu() -> nn.ReLU:
            return nn.ReLU(inplace=True)

        for scale, factor in SCALES.items():
            for side in (1, 2):
                for kind in KINDS:
                    layers = [conv(inside, width), relu(), conv(width, width), relu()]
                    layers.append(conv(width, TAPS))
                    if factor > 1:
                        up = nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=True)
                        layers += [relu(), up, conv(TAPS, TAPS)]
                    self.add_module(f"module{kind}{side}{scale}", nn.Sequential(*layers))

    def forward(self, features: Tensor, side: int, scale: str) -> tuple[Tensor, Tensor, Tensor]:
        """Return weights, vertical and horizontal offsets (N, 25, h, w) in float32.

        Args:
            features: (N, C, H/2, W/2).
            side: of frame 1 or 2.
            scale: "_ds" (of H/2), "" (of H) or "_us" (of 2 H).
        """
        nets = (getattr(self, f"module{kind}{side}{scale}") for kind in KINDS)
        weight, alpha, beta = (wide(net(features)) for net in nets)
        return weight.softmax(1), alpha, beta


def warp(frame: Tensor, kernels: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Return a frame (N, 3, h, w) collected by its kernels, with the border replicated."""
    padded = F.pad(frame, (KERNEL // 2,) * 4, mode="replicate")
    return adacof(padded, *kernels)
