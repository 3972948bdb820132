"""What losses on flow share: units, labels averaged down, and how many samples have labels."""

from __future__ import annotations

import torch
import torch.distributed as dist
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


def labelled(count: Tensor) -> Tensor:
    """Return by what a sum over this process's samples with labels is divided.

    Processes that train together have different numbers of them, and the mean of their gradients is
    taken. With the mean of those numbers in each denominator, that is the gradient of one process
    with all samples. All of them have to call it, also one without labels. Parts of a step, where
    gradients are accumulated, count alike whatever labels they have.

    Args:
        count: of this process's samples with labels, in a floating type.

    Returns:
        Its mean over all processes, above 0; where nothing is learnt, the count itself.
    """
    world = dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
    if world > 1 and torch.is_grad_enabled():
        count = count.detach().clone()
        dist.all_reduce(count)
        return count.clamp(min=1.0) / world
    return count.clamp(min=1.0)
