"""What splatting in plain PyTorch divides by."""

from __future__ import annotations

import torch
from torch import Tensor

from midframe.ops.reference import EPSILON


def divisor(count: Tensor, lowered: Tensor | None, normalize: str) -> tuple[Tensor, Tensor | None]:
    """Return D of the accumulated importance, and dD/dN (None where it is one all over)."""
    if normalize == "zeroeps":
        return count.masked_fill(count == 0, 1), (count != 0).to(count.dtype)
    epsilon = torch.full_like(count, EPSILON)
    if lowered is not None:
        epsilon *= torch.exp(-lowered)
    if normalize == "addeps":
        divisor, slope = count + epsilon, None
    else:
        divisor, slope = torch.maximum(count, epsilon), (count >= epsilon).to(count.dtype)
    return divisor.masked_fill_(divisor == 0, 1), slope
