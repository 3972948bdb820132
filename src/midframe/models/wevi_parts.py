"""Blocks of the event model: U-Nets of events and of frames, and how their features are fused.

Names of modules are those of the official checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from midframe.models.blocks import join

GROUPS = 4  # of every group normalisation
SLOPE = 0.1  # of the U-Nets' and the head's LeakyReLU, 0.2 in fusion
LEVELS = 5


def edged(inside: int, outside: int, stride: int = 1, bias: bool = False) -> list[nn.Module]:
    """A 3x3 convolution behind the replication of the border pixels."""
    return [nn.ReplicationPad2d(1), nn.Conv2d(inside, outside, 3, stride, bias=bias)]


def doubled(x: Tensor, factor: int = 2) -> Tensor:
    """Enlarge (N, C, H, W) bilinearly, corners aligned."""
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=True)


class ConvBlock(nn.Module):
    """A 3x3 convolution, group normalisation, LeakyReLU."""

    def __init__(self, inside: int, outside: int, stride: int = 1, bias: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential(*edged(inside, outside, stride, bias))
        self.norm2d = nn.GroupNorm(GROUPS, outside)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C', h, w)."""
        return F.leaky_relu(self.norm2d(self.conv(x)), SLOPE)


class UpBlock(nn.Module):
    """Twice the size, then as `ConvBlock`; the encoder's features are put behind the result."""

    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        enlarge = nn.UpsamplingBilinear2d(scale_factor=2)  # corners aligned
        self.deconv = nn.Sequential(enlarge, *edged(inside, outside))
        self.norm2d = nn.GroupNorm(GROUPS, outside)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Return (N, C' + C of ``skip``, 2 h, 2 w)."""
        return join(F.leaky_relu(self.norm2d(self.deconv(x)), SLOPE), skip)


class UNet(nn.Module):
    """Features of five sizes.

    Args:
        inside: channels of the input.
        channels: of the encoder at H, H/2, H/4, H/8 and H/16.
    """

    def __init__(self, inside: int, channels: Sequence[int]) -> None:
        super().__init__()
        for level, width in enumerate(channels, start=1):
            self.add_module(f"conv{level}", ConvBlock(inside, width, 1 if level == 1 else 2))
            inside = width
        for level, width in enumerate(reversed(channels[:-1]), start=2):
            self.add_module(f"deconv{level}", UpBlock(inside, width))
            inside = 2 * width

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return features (N, C, H, W) for (N, inside, H, W) at H/16, H/8, H/4, H/2 and H.

        Those of the smallest size have the encoder's channels, all others twice as many.
        """
        skips = []
        for level in range(1, LEVELS + 1):
            x = self.get_submodule(f"conv{level}")(x)
            skips.append(x)
        found = [skips.pop()]
        for level in range(2, LEVELS + 1):
            found.append(self.get_submodule(f"deconv{level}")(found[-1], skips.pop()))
        return found


class FuseLayer(nn.Module):
    """Features normalised, then scaled and shifted by events and by frames; a mask chooses.

    After Li et al., "FaceShifter", 2019, eq. 5-8 (adaptive attentional denormalisation).
    """

    def __init__(self, channels: int, events: int, frames: int) -> None:
        super().__init__()
        self.convE1, self.convE2 = (nn.Conv2d(events, channels, 1) for _ in range(2))
        self.convF1, self.convF2 = (nn.Conv2d(frames, channels, 1) for _ in range(2))
        self.convMask = nn.Sequential(*edged(channels, 1, bias=True))

    def forward(self, normed: Tensor, events: Tensor, frames: Tensor) -> Tensor:
        """Return (N, C, h, w) from normalised features of this shape."""
        by_events = self.convE1(events) * normed + self.convE2(events)
        by_frames = self.convF1(frames) * normed + self.convF2(frames)
        mask = self.convMask(normed).sigmoid()
        return by_frames + mask * (by_events - by_frames)


class FuseBlock(nn.Module):
    """Two fusing layers with a convolution behind each, and a third pair as the shortcut.

    Args:
        inside: channels of the features.
        outside: channels of the result.
        events: channels of what scales and shifts in the first place.
        frames: the same in the second place.
    """

    def __init__(self, inside: int, outside: int, events: int, frames: int) -> None:
        super().__init__()

        def step(width: int) -> nn.Sequential:
            return nn.Sequential(nn.LeakyReLU(0.2), *edged(inside, width))

        self.AAD1, self.conv1 = FuseLayer(inside, events, frames), step(inside)
        self.AAD2, self.conv2 = FuseLayer(inside, events, frames), step(outside)
        self.narrows = inside != outside
        if self.narrows:
            self.AAD3, self.conv3 = FuseLayer(inside, events, frames), step(outside)

    def forward(self, x: Tensor, events: Tensor, frames: Tensor) -> Tensor:
        """Return (N, outside, h, w); all arguments have one size."""
        normed = F.instance_norm(x)
        y = self.conv1(self.AAD1(normed, events, frames))
        y = self.conv2(self.AAD2(F.instance_norm(y), events, frames))
        return y + (self.conv3(self.AAD3(normed, events, frames)) if self.narrows else x)


class FuseNet(nn.Module):
    """Features of events and of frames become a picture, from coarse to fine.

    Args:
        channels: as of `UNet`.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        inside = 2 * channels[-1]
        self.ConvIn = nn.Conv2d(inside, inside, 1, bias=False)
        for level, width in enumerate(reversed(channels[:-1]), start=1):
            self.add_module(f"AADBlk{level}", FuseBlock(inside, width, 2 * width, 2 * width))
            inside = width
        last = [nn.LeakyReLU(SLOPE), nn.Conv2d(inside, 3, 1)]
        self.ItStage1 = nn.Sequential(*edged(inside, inside, bias=True), *last)

    def forward(
        self, events: Sequence[Tensor], frames: Sequence[Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """Return the picture (N, 3, H, W), and features at H/4, H/2 and H.

        Args:
            events: of a `UNet`.
            frames: the same.
        """
        x = self.ConvIn(join(events[0], frames[0]))
        found = []
        for level in range(1, LEVELS):
            x = self.get_submodule(f"AADBlk{level}")(doubled(x), events[level], frames[level])
            found.append(x)
        return self.ItStage1(x), (found[1], found[2], found[3])


def draw_published(network: nn.Module, gain: float = 0.2) -> None:
    """Draw convolutions by Glorot and Bengio (2010), normal, with biases zero, as published."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.xavier_normal_(layer.weight, gain)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
