"""Layers that more than one model is built of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RowPReLU(nn.PReLU):
    """PReLU over whole rows of a channels_last picture; only for inference.

    PyTorch's CPU kernel runs over one pixel's channels at a time, which in bfloat16 takes longer
    than the convolution before it; a row with the slopes repeated is one long vector. A single
    slope for all channels is no such case: the usual kernel takes it in one go.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Apply to (N, C, H, W); other memory formats take the usual kernel."""
        if self.weight.numel() == 1 or input.stride(1) != 1 or input.device.type != "cpu":
            return super().forward(input)
        count, channels, height, width = input.shape
        rows = input.permute(0, 2, 3, 1).reshape(count * height, width * channels)
        rows = F.prelu(rows, self.weight.to(rows.dtype).repeat(width))
        return rows.reshape(count, height, width, channels).permute(0, 3, 1, 2)


def conv(inside: int, outside: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size at stride 1."""
    return nn.Conv2d(inside, outside, kernel, stride, kernel // 2)


def leaky(*layers: nn.Module) -> nn.Sequential:
    """Put LeakyReLU(0.1) behind each layer."""
    both = [module for layer in layers for module in (layer, nn.LeakyReLU(0.1))]
    return nn.Sequential(*both)


def conv_prelu(inside: int, outside: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution that keeps the size at stride 1, then a PReLU with one slope per channel."""
    return nn.Sequential(conv(inside, outside, kernel, stride), nn.PReLU(outside))


def resize(x: Tensor, factor: float) -> Tensor:
    """Resize (N, C, H, W) bilinearly by ``factor``, corners not aligned; 1 returns ``x``."""
    if factor == 1:
        return x
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def resized(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (N, C, h, w) bilinearly to (height, width), corners not aligned."""
    # PyTorch's resize is not the identity's copy at equal sizes in all dtypes: skip it
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


def resized_flow(flow: Tensor, size: Sequence[int]) -> Tensor:
    """Resize a flow (N, 2, h, w) in pixels, which then are the new size's."""
    return resized(flow, size) * (size[1] / flow.shape[-1])


def both_flows(flow: Tensor, times: int) -> Tensor:
    """Return flows (2 B, 2, h, w), 0->1 then 1->0, as (B, T, 2, 2, h, w): of every time."""
    return torch.stack(flow.chunk(2), 1)[:, None].expand(-1, times, -1, -1, -1, -1)


def bgr(x: Tensor) -> Tensor:
    """Turn RGB (N, 3, H, W) into BGR, in which some published weights are trained, or back."""
    return x.flip(1)


def wide(x: Tensor) -> Tensor:
    """At least float32: a bfloat16 flow of 32 px would move in steps of 1/8 px."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def lacking(size: int, multiple: int) -> int:
    """Return how many pixels a side lacks to a multiple.

    What is divided is positive: exporters that leave sizes open follow no other division.
    """
    return (size + multiple - 1) // multiple * multiple - size


def per_time(x: Tensor, times: int) -> Tensor:
    """Repeat (B, ...) for each target time: (B * T, ...)."""
    return x if times == 1 else x.repeat_interleave(times, 0)


def join(*parts: Tensor) -> Tensor:
    """Concatenate (N, C, H, W) along the channels in the memory format of the first.

    Of mixed formats `torch.cat` makes a contiguous tensor, which a channels_last convolution then
    has to turn around as a whole.
    """
    if parts[0].stride(1) == 1:
        parts = tuple(p.contiguous(memory_format=torch.channels_last) for p in parts)
    return torch.cat(parts, 1)
