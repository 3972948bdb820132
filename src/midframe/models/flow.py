"""The contract of optical flow networks."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midframe.models.base import Pad


class FlowNetwork(nn.Module):
    """Base class of networks that estimate the flow between two frames.

    A subclass writes `forward`, which works in the network's own units; `estimate` is what
    everybody else calls.

    Attributes:
        multiple: heights and widths that `forward` takes are multiples of this.
        unit: pixels per unit of the finest flow of `forward`, at the input's resolution.
    """

    multiple: ClassVar[int] = 64
    unit: ClassVar[float] = 20.0

    def forward(self, first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
        """Estimate the flow from ``first`` to ``second`` at every level; differentiable.

        Args:
            first: (B, 3, H, W) RGB in [0, 1]; sizes are multiples of ``multiple``.
            second: the same.

        Returns:
            Flows (B, 2, h, w), finest first, in units of ``unit`` pixels of the *input*.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def estimate(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the flow from ``first`` to ``second`` in pixels, for frames of any size.

        Frames are resized to what the network takes and the flow back, as published.

        Args:
            first: (B, 3, H, W) RGB in [0, 1].
            second: the same.

        Returns:
            (B, 2, H, W) in pixels, x then y: ``first[p]`` is found at ``second[p + flow[p]]``.
        """
        if first.shape != second.shape or first.ndim != 4 or first.shape[1] != 3:
            raise ValueError(
                f"estimate takes two frames (B, 3, H, W) of one size, got {tuple(first.shape)} "
                f"and {tuple(second.shape)}"
            )
        height, width = first.shape[-2:]
        left, right, top, bottom = Pad(self.multiple).amounts(height, width)
        size = (height + top + bottom, width + left + right)
        flow = self(_resized(first, size), _resized(second, size))[0].to(first.dtype) * self.unit
        flow = _resized(flow, (height, width))
        ratio = flow.new_tensor([width / size[1], height / size[0]])
        return flow * ratio[:, None, None]


def _resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    # PyTorch's resize is not the identity's copy at equal sizes in all dtypes: skip it
    if tuple(x.shape[-2:]) == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


def leaky(*layers: nn.Module) -> nn.Sequential:
    """Put LeakyReLU(0.1) behind each layer."""
    both = [module for layer in layers for module in (layer, nn.LeakyReLU(0.1))]
    return nn.Sequential(*both)


def bgr(x: Tensor) -> Tensor:
    """Turn RGB (B, 3, H, W) into BGR, in which the published weights are trained."""
    return torch.flip(x, (1,))
