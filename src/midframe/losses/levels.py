"""What losses on flow of several resolutions share: units, and labels averaged down."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def scale_to(like: Tensor, flow: Tensor) -> Tensor | float:
    """Return the factor, or (2, 1, 1) factors, from pixels of ``flow`` to pixels of ``like``.

    Args:
        like: (..., H, W), whose size counts.
        flow: (..., 2, h, w).
    """
    across, down = (like.shape[i] / flow.shape[i] for i in (-1, -2))
    if across == down:
        return across  # no constant to send to the device
    return flow.new_tensor([across, down]).view(2, 1, 1)


def known_mean(label: Tensor, known: Tensor, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Average labels down to a coarser size, over those pixels that are known.

    Args:
        label: (..., 2, H, W), 0 where unknown; their values stay in the same unit.
        known: (..., H, W), 1 or 0, in the labels' dtype.
        size: (h, w).

    Returns:
        The mean of the known pixels (..., 2, h, w), 0 where there is none, and their share
        (..., h, w).
    """
    if label.shape[-2:] == size:
        return label, known
    share = F.interpolate(known.flatten(0, -3)[None], size=size, mode="area")
    share = share.reshape(*known.shape[:-2], *size)
    mean = F.interpolate(label.flatten(0, -4), size=size, mode="area")
    mean = mean.reshape(*label.shape[:-2], *size)
    return mean / share.clamp(min=1e-6).unsqueeze(-3), share
