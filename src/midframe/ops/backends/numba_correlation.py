"""The correlation on the CPU, compiled by numba."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from midframe.ops.backends.numba_threads import spread

GROUP = 9  # displacements whose sums are held at a time
WORK = 1 << 18  # multiplications that are worth a thread


def forward(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """Correlate; see `contract.Correlation`."""
    kernels = _kernels()
    batch, channels, height, width = first.shape
    side = 2 * radius + 1
    dtype = torch.promote_types(first.dtype, torch.float32)
    margin = -(-side // GROUP) * GROUP
    margin = -(-margin // kernels.SIZE) * kernels.SIZE  # reads of the first map stay aligned
    one, pitch = _rows(first, margin, dtype)
    two, _ = _rows(second, margin, dtype)
    out = torch.empty((batch, side**2, height, width), dtype=dtype)
    spread(
        kernels.forward, batch * height, -(-WORK // (channels * width * side**2)), one.numpy(),
        two.numpy(), radius, (channels, height, width), pitch, margin, out.numpy(),
    )  # fmt: skip
    return out.to(first.dtype)


def backward(
    grad: Tensor, first: Tensor, second: Tensor, radius: int, needs: tuple[bool, bool]
) -> tuple[Tensor, Tensor]:
    """Return the gradients; see `contract.Correlation`."""
    kernels = _kernels()
    batch, channels, height, width = first.shape
    dtype = torch.promote_types(first.dtype, torch.float32)
    least = -(-WORK // (channels * width * (2 * radius + 1) ** 2))
    seen, grad_pitch = _rows(grad, radius, dtype)
    found = []
    for other, sign, need in ((second, 1, needs[0]), (first, -1, needs[1])):
        if not need:
            found.append(first.new_empty(0))
            continue
        rows, pitch = _rows(other, radius, dtype)
        out = torch.empty((batch, channels, height, width), dtype=dtype)
        spread(
            kernels.backward, batch * height, least, seen.numpy(), rows.numpy(), radius,
            (channels, height, width), pitch, grad_pitch, radius, sign, out.numpy(),
        )  # fmt: skip
        found.append(out.to(first.dtype))
    return found[0], found[1]


def _rows(x: Tensor, margin: int, dtype: torch.dtype) -> tuple[Tensor, int]:
    """Return (N, C, H, W) as N H C W' numbers with ``margin`` zeros around each row, and W'."""
    batch, channels, height, width = x.shape
    size = _kernels().SIZE
    filled = -(-width // size) * size
    pitch = filled + 2 * margin
    rows = torch.empty(batch, height, channels, pitch, dtype=dtype)
    rows[..., :margin] = 0
    rows[..., margin + width :] = 0
    rows[..., margin : margin + width].copy_(x.detach().permute(0, 2, 1, 3))
    return rows.view(-1), pitch


@functools.cache
def _kernels() -> Any:
    from midframe.ops.backends import numba_correlation_kernels

    return numba_correlation_kernels
