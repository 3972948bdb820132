"""Sub-pixel attention of the event model's stage 2: what a neighbouring frame has to offer.

Each place of the target frame, at a quarter of the size, looks for the place of the neighbour whose
features are nearest, refines it to fractions of a pixel and takes the features from there.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midframe.models.blocks import per_time, wide
from midframe.models.wevi_parts import ConvBlock
from midframe.ops import backwarp, correlation

RADIUS = 8  # of the search, at a quarter of the size
SIDE = 2 * RADIUS + 1
SIGMA = 0.5  # of the fit's weights, in places
ROWS = 4  # of the fit that are used: both curvatures and both slopes
KNOWN = 1152  # channels of patches that are gathered at once, which bounds the memory

# of one frame: features of 1, 1/2 and 1/4 of its size
Pyramid = tuple[Tensor, Tensor, Tensor]


def fit_matrix() -> Tensor:
    """Return how a paraboloid follows from nine values around a place, as (4, 1, 1, 3, 3).

    The weighted least-squares fit of ``A x^2 / 2 + B y^2 / 2 + C x + D y + E``, values in rows from
    the top left; the four kernels give A, B, C and D.
    """
    axis = torch.arange(-1.0, 2.0, dtype=torch.float64)
    y, x = (part.flatten() for part in torch.meshgrid(axis, axis, indexing="ij"))
    design = torch.stack((x * x / 2, y * y / 2, x, y, torch.ones_like(x)), 1)
    weight = torch.exp(-(x * x + y * y) / (2 * SIGMA**2)) / (2 * math.pi * SIGMA**2)
    weighted = design.T * weight
    fit = torch.linalg.solve(weighted @ design, weighted)
    return fit[:ROWS].reshape(ROWS, 1, 1, 3, 3).float()


class Features(nn.Module):
    """Features of a frame with the events around it at 1, 1/2 and 1/4 of its size."""

    def __init__(self, inside: int, channels: tuple[int, int, int]) -> None:
        super().__init__()
        full, half, quarter = channels
        self.slice1 = ConvBlock(inside, full, bias=True)
        self.slice2 = _halving(full, half)
        self.slice3 = _halving(half, quarter)

    def forward(self, x: Tensor) -> Pyramid:
        """Return the three levels, finest first, for sizes that are multiples of 4."""
        full = self.slice1(x)
        half = self.slice2(full)
        return full, half, self.slice3(half)


def _halving(inside: int, outside: int) -> nn.Sequential:
    layers = nn.Sequential()
    layers.add_module("conv1", ConvBlock(inside, inside, bias=True))
    layers.add_module("pool", nn.MaxPool2d(2))
    layers.add_module("conv2", ConvBlock(inside, outside, bias=True))
    return layers


class Attention(nn.Module):
    """Finds each place of the target in a neighbour and brings the neighbour's features there.

    Args:
        inside: channels of the features at a quarter of the size.
        width: channels in which places are compared.
    """

    def __init__(self, inside: int, width: int) -> None:
        super().__init__()
        self.ConvIn = nn.Conv2d(9 * inside, width, 1, bias=False)

    def described(self, features: Tensor) -> Tensor:
        """Return the descriptors (N, width, h, w) of all places, of length one, in float32."""
        height, width = features.shape[-2:]
        patches = F.unfold(features, 3, padding=1).unflatten(2, (height, width))
        return F.normalize(wide(self.ConvIn(patches)))

    def forward(
        self, target: Tensor, other: Tensor, values: Pyramid, fit: Tensor
    ) -> tuple[Tensor, Pyramid]:
        """Return how alike the best places are, (N, 1, h, w), and the features found there.

        Args:
            target: descriptors (N, C, h, w) of the target.
            other: descriptors of the neighbour.
            values: of the neighbour, finest first; all have N samples.
            fit: see `fit_matrix`.
        """
        alike, hard, sub = find(target, other, fit)
        full, half, quarter = values
        offset = hard + sub
        found = (gather(full, offset, 4), gather(half, offset, 2), gather(quarter, offset, 1))
        return alike, found


def find(target: Tensor, other: Tensor, fit: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the greatest likeness (N, 1, h, w) and where it is: whole and fractional offset.

    Args:
        target: descriptors (N, C, h, w) of length one.
        other: those that are searched, up to `RADIUS` places away.
        fit: see `fit_matrix`.

    Returns:
        The likeness, a cosine; the whole offset (N, 2, h, w), x then y, without gradient; and what
        is to be added, within -1 to 1.
    """
    # the operator's mean over channels becomes the scalar product
    volume = correlation(target, other, RADIUS) * target.shape[1]
    alike, best = volume.max(1, keepdim=True)
    column, row = best % SIDE, best // SIDE
    hard = (torch.cat((column, row), 1) - RADIUS).to(volume.dtype)
    # outside of the search the distance 2 - 2 cos is 2
    padded = F.pad(volume.unflatten(1, (SIDE, SIDE)).permute(0, 3, 4, 1, 2), (1, 1, 1, 1))
    around = torch.cat(
        [(row + dy) * (SIDE + 2) + column + dx for dy in range(3) for dx in range(3)], 1
    )
    near = padded.flatten(3).gather(3, around.permute(0, 2, 3, 1))  # (N, h, w, 9)
    kernels = fit.reshape(ROWS, 9).to(near.dtype)
    bend_x, bend_y, slope_x, slope_y = ((2 - 2 * near) @ kernels.T).unbind(-1)
    sub = torch.stack((-slope_x / bend_x.clamp(min=1e-6), -slope_y / bend_y.clamp(min=1e-6)), 1)
    return alike, hard, sub.clamp(-1, 1)


def gather(values: Tensor, offset: Tensor, scale: int) -> Tensor:
    """Bring features from where offsets point to, as overlapping patches of 3 x 3 places.

    Args:
        values: (N, C, h * scale, w * scale).
        offset: (N, 2, h, w) in places, x then y.
        scale: pixels of a side of a place.

    Returns:
        As ``values``. The patches' sum is divided by 9 everywhere, so borders, which fewer patches
        cover, are darker, as published.
    """
    shape = {"kernel_size": 3 * scale, "padding": scale, "stride": scale}
    size, places = values.shape[-2:], offset.shape[-2:]
    found = []
    for part in values.split(max(KNOWN // (3 * scale) ** 2, 1), 1):
        patches = F.unfold(part, **shape).unflatten(2, places)
        patches = backwarp(patches, offset, "zeros")
        found.append(F.fold(patches.flatten(2), size, **shape) / 9)
    return torch.cat(found, 1)


def chosen(
    alike: tuple[Tensor, Tensor], found: tuple[Pyramid, Pyramid]
) -> tuple[Tensor, Tensor, Tensor]:
    """Take the features of the neighbour that is more alike, times one plus the likeness.

    Args:
        alike: (N, 1, h, w) of both neighbours.
        found: their features, finest first.

    Returns:
        Features of the three sizes, finest first.
    """
    levels = []
    for scale, first, second in zip((4, 2, 1), *found):
        one, two = (
            y
            if scale == 1
            else F.interpolate(y, scale_factor=scale, mode="bilinear", align_corners=True)
            for y in alike
        )
        levels.append(torch.where(one >= two, first * (one + 1), second * (two + 1)))
    return levels[0], levels[1], levels[2]


def spread(pyramid: Pyramid, times: int) -> Pyramid:
    """Repeat the features of a frame for each target time."""
    full, half, quarter = (per_time(level, times) for level in pyramid)
    return full, half, quarter
