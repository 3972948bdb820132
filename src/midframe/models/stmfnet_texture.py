"""ST-MFNet's texture network: a 3D U-Net over five frames, whose features are gated."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FRAMES = 5
SLOPE = 0.2
Stride = tuple[int, int, int]  # time, height, width
HALVED: Stride = (1, 2, 2)  # time keeps its length everywhere


class Conv3d(nn.Conv3d):
    """A 3D convolution that takes PyTorch's fast code on a processor at small sizes, too.

    Of a single small picture PyTorch takes its slow code, which needs thirteen times as long.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return (N, C, T, h, w)."""
        # plain tensors: what only has a shape, as where operations are counted, is not for oneDNN
        exact = type(input) is Tensor and input.dtype == self.weight.dtype == torch.float32
        eager = exact and not (torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling())
        fast = eager and input.device.type == "cpu" and torch.backends.mkldnn.is_available()
        if not fast or isinstance(self.padding, str):  # oneDNN takes numbers, no "same"
            return super().forward(input)
        return torch.mkldnn_convolution(
            input, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups
        )


def _conv(inside: int, outside: int, stride: Stride = (1, 1, 1)) -> nn.Sequential:
    """Return a convolution and its normalisation."""
    layer = Conv3d(inside, outside, 3, stride, 1, bias=False)
    return nn.Sequential(layer, nn.BatchNorm3d(outside))


class FeatureGate(nn.Module):
    """Scales each channel by what the mean over time and space says (Xie et al., S3D-G, 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn_layer = nn.Sequential(Conv3d(width, width, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, width, T, h, w) gated."""
        return x * self.attn_layer(x.mean((2, 3, 4), keepdim=True))


class Residual(nn.Module):
    """Two convolutions and a gate beside the shortcut."""

    def __init__(self, inside: int, outside: int, stride: Stride) -> None:
        super().__init__()
        self.conv1 = _conv(inside, outside, stride)
        self.conv2 = _conv(outside, outside)
        self.fg = FeatureGate(outside)
        self.downsample: nn.Module = nn.Identity()
        self.step = max(stride)
        if inside != outside or self.step > 1:
            layer = Conv3d(inside, outside, 1, bias=False)  # strides by slices: SparsePointwise
            self.downsample = nn.Sequential(layer, nn.BatchNorm3d(outside))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outside, T, h, w)."""
        out = self.fg(self.conv2(F.relu(self.conv1(x), inplace=True)))
        out += self.downsample(x[..., :: self.step, :: self.step])
        return F.relu(out, inplace=True)


class Encoder(nn.Module):
    """3D ResNet-18 that halves height and width three times: H/2, H/2, H/4, H/8, H/8."""

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        stem = Conv3d(3, widths[0], (3, 7, 7), HALVED, (1, 3, 3), bias=False)
        self.stem = nn.Sequential(stem, nn.BatchNorm3d(widths[0]), nn.ReLU(inplace=True))
        inside = widths[0]
        strides = ((1, 1, 1), HALVED, HALVED, (1, 1, 1))
        for level, (outside, stride) in enumerate(zip(widths, strides), start=1):
            blocks = Residual(inside, outside, stride), Residual(outside, outside, (1, 1, 1))
            self.add_module(f"layer{level}", nn.Sequential(*blocks))
            inside = outside
        for layer in self.modules():
            if isinstance(layer, nn.Conv3d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return what the stem and the four layers give."""
        out = [self.stem(x)]
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            out.append(layer(out[-1]))
        return out


class Step(nn.Module):
    """A layer of the decoder, its gate and its normalisation, under the name it has in weights."""

    def __init__(self, name: str, inside: int, outside: int) -> None:
        super().__init__()
        self.name = name
        layer: nn.Module = Conv3d(inside, outside, 3, 1, 1)
        if name == "upconv":
            layer = nn.ConvTranspose3d(inside, outside, (3, 4, 4), HALVED, 1)
        self.add_module(name, nn.Sequential(layer, FeatureGate(outside), nn.BatchNorm3d(outside)))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outside, T, h, w), h doubled by "upconv"."""
        return F.leaky_relu(getattr(self, self.name)(x), SLOPE, inplace=True)


class TextureNetwork(nn.Module):
    """What is missing in the middle one of five frames.

    Args:
        widths: channels at H/2, H/4, H/8 and H/8.
        fuse: channels to which the five times' features are fused.
    """

    def __init__(self, widths: Sequence[int], fuse: int) -> None:
        super().__init__()
        w1, w2, w3, w4 = widths
        self.encoder = Encoder(widths)
        self.decoder = nn.Sequential(
            Step("conv", w4, w3),
            Step("upconv", 2 * w3, w2),
            Step("upconv", 2 * w2, w1),
            Step("conv", 2 * w1, w1),
            Step("upconv", 2 * w1, w1),
        )
        self.feature_fuse = nn.Sequential(
            nn.Conv2d(FRAMES * w1, fuse, 1, bias=False),
            nn.BatchNorm2d(fuse),
            nn.LeakyReLU(SLOPE, inplace=True),
        )
        self.outconv = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(fuse, 3, 7))

    def forward(self, frames: Tensor) -> Tensor:
        """Return (N, 3, H, W) from frames (N, 3, 5, H, W)."""
        *skips, x = self.encoder(frames)
        first, *steps = self.decoder
        x = first(x)
        for step, skip in zip(steps, reversed(skips)):
            x = step(torch.cat((x, skip), 1))
        return self.outconv(self.feature_fuse(x.transpose(1, 2).flatten(1, 2)))
