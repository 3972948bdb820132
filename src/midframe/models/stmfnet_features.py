"""Features of ST-MFNet: a U-Net of ResNeXt blocks with a small and a large kernel side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS = 32
SQUEEZE = 16
# Of each layer: whether it enlarges, its stride, its small and its large kernel.
DOWN = ((False, 2, 3, 7), (False, 2, 3, 7), (False, 2, 3, 5), (False, 2, 3, 5))
UP = ((True, 2, 4, 8), (True, 2, 4, 8), (True, 2, 4, 6), (False, 1, 3, 5))


def _layer(
    inside: int, outside: int, kernel: int, stride: int, enlarges: bool, groups: int = 1
) -> nn.Conv2d | nn.ConvTranspose2d:
    """Return a convolution that divides the size by ``stride``, or multiplies it."""
    if enlarges:
        padding = (kernel - stride) // 2
        return nn.ConvTranspose2d(
            inside, outside, kernel, stride, padding, groups=groups, bias=False
        )
    padding = (kernel - 1) // 2
    return nn.Conv2d(inside, outside, kernel, stride, padding, groups=groups, bias=False)


class SparsePointwise(nn.Conv2d):
    """A 1x1 convolution with a stride, as one without on every ``every``-th pixel.

    oneDNN's own writes beyond its memory in the backward pass of fewer than 16 channels in
    channels_last (github.com/uxlfoundation/oneDNN/issues/6035).
    """

    def __init__(self, inside: int, outside: int, every: int) -> None:
        super().__init__(inside, outside, 1, bias=False)
        self.every = every

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outside, h / every, w / every)."""
        return super().forward(x[..., :: self.every, :: self.every])


class ResNextBlock(nn.Module):
    """Grouped bottleneck with a shortcut that changes size and width (Xie et al., CVPR 2017)."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, enlarges: bool) -> None:
        super().__init__()
        width = max(outside * 4 // 64, 1) * GROUPS
        self.conv1 = nn.Conv2d(inside, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = _layer(width, width, kernel, stride, enlarges, GROUPS)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outside, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outside)
        self.downsample = nn.Sequential(
            _layer(inside, outside, 2, stride, True)
            if enlarges
            else SparsePointwise(inside, outside, stride),
            nn.BatchNorm2d(outside),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outside, h, w)."""
        out = F.relu(self.bn1(self.conv1(x)), inplace=True)
        out = F.relu(self.bn2(self.conv2(out)), inplace=True)
        return F.relu(self.bn3(self.conv3(out)).add_(self.downsample(x)), inplace=True)


class Attention(nn.Module):
    """Squeeze and excitation of channels (Hu et al., CVPR 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        squeezed = max(width // SQUEEZE, 1)
        self.fc = nn.Sequential(
            nn.Linear(width, squeezed), nn.ReLU(), nn.Linear(squeezed, width), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Scale the channels of (N, width, h, w)."""
        return x * self.fc(x.mean((2, 3)))[..., None, None]


class MultiScaleResNextBlock(nn.Module):
    """Two blocks, of a small and of a large kernel, which give half of the channels each."""

    def __init__(self, inside: int, outside: int, form: tuple[bool, int, int, int]) -> None:
        super().__init__()
        enlarges, stride, small, large = form
        self.resnext_small = ResNextBlock(inside, outside // 2, small, stride, enlarges)
        self.resnext_large = ResNextBlock(inside, outside // 2, large, stride, enlarges)
        self.attention = Attention(outside)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outside, h, w)."""
        return self.attention(torch.cat((self.resnext_small(x), self.resnext_large(x)), 1))


class UMultiScaleResNext(nn.Module):
    """Features of two frames together: (N, 6, H, W) -> (N, widths[0], H/2, W/2).

    Args:
        widths: channels at H/2, H/4, H/8 and H/16; even numbers.
    """

    conv1: MultiScaleResNextBlock
    conv2: MultiScaleResNextBlock
    conv3: MultiScaleResNextBlock
    conv4: MultiScaleResNextBlock
    deconv1: MultiScaleResNextBlock
    deconv2: MultiScaleResNextBlock
    deconv3: MultiScaleResNextBlock
    deconv4: MultiScaleResNextBlock

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        inside = 6
        for level, (outside, form) in enumerate(zip(widths, DOWN), start=1):
            self.add_module(f"conv{level}", MultiScaleResNextBlock(inside, outside, form))
            inside = outside
        for level in (4, 3, 2, 1):
            outside = widths[level - 1]
            block = MultiScaleResNextBlock(inside, outside, UP[level - 1])
            self.add_module(f"deconv{level}", block)
            inside = outside

    def forward(self, x: Tensor) -> Tensor:
        """Return the features at half of the size."""
        two = self.conv2(self.conv1(x))
        three = self.conv3(two)
        four = self.conv4(three)
        out = self.deconv3(self.deconv4(four) + four)
        return self.deconv1(self.deconv2(out + three) + two)
