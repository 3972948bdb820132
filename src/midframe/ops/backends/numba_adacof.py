"""AdaCoF on the CPU, compiled by numba."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch import Tensor

from midframe.ops.backends.numba_threads import plain, spread

STRIPS = 4  # of the image's gradient, each summed on its own: a number that no machine changes
WORK = 1 << 14  # taps that are worth a thread


def forward(image: Tensor, weight: Tensor, alpha: Tensor, beta: Tensor, dilation: int) -> Tensor:
    """Sum the taps; see `contract.AdaCoF`."""
    batch, taps, height, width = weight.shape
    dtype = torch.promote_types(image.dtype, torch.float32)
    rows = _packed(image, dtype)
    fields = [plain(x, dtype).numpy() for x in (weight, alpha, beta)]
    out = torch.empty((batch, image.shape[1], height, width), dtype=dtype)
    spread(
        _kernels().forward, batch * height, -(-WORK // (taps * width)), rows.numpy(),
        tuple(image.shape[1:]), *fields, math.isqrt(taps), dilation, out.view(-1).numpy(),
    )  # fmt: skip
    return out.to(image.dtype)


def backward(
    grad: Tensor,
    image: Tensor,
    weight: Tensor,
    alpha: Tensor,
    beta: Tensor,
    dilation: int,
    needs: tuple[bool, bool, bool, bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients; see `contract.AdaCoF`."""
    kernels = _kernels()
    batch, taps, height, width = weight.shape
    dtype = torch.promote_types(image.dtype, torch.float32)
    fields = [plain(x, dtype).numpy() for x in (weight, alpha, beta)]
    seen = plain(grad, dtype).view(-1).numpy()
    shape, side = tuple(image.shape[1:]), math.isqrt(taps)
    found = [torch.empty(weight.shape if need else (1, 1, 1, 1), dtype=dtype) for need in needs[1:]]
    if any(needs[1:]):
        spread(
            kernels.gather, batch * height, -(-WORK // (taps * width)), seen,
            _packed(image, dtype).numpy(), shape, *fields, side, dilation,
            *(x.numpy() for x in found), tuple(map(bool, needs[1:])),
        )  # fmt: skip
    result = [x if need else x.new_empty(0) for x, need in zip(found, needs[1:])]
    to_image = torch.empty(0, dtype=dtype)
    if needs[0]:
        channels, tall, wide = shape
        pitch = -(-channels // 4) * 4
        sums = torch.zeros(batch, STRIPS, tall + 2, wide + 2, pitch, dtype=dtype)
        spread(
            kernels.scatter, batch * STRIPS, -(-WORK * STRIPS // (taps * height * width)), seen,
            shape, *fields, side, dilation, STRIPS, sums.view(-1).numpy(),
        )  # fmt: skip
        to_image = _folded(sums.sum(1))[..., :channels].permute(0, 3, 1, 2)
    gradients = [x.to(image.dtype).contiguous() for x in (to_image, *result)]
    return gradients[0], gradients[1], gradients[2], gradients[3]


def _packed(image: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the image as the kernels read it."""
    batch, channels, height, width = image.shape
    rows = torch.empty(batch * (height + 2) * (width + 2) * -(-channels // 4) * 4, dtype=dtype)
    spread(
        _kernels().pack, batch * (height + 2), -(-WORK * 4 // width),
        plain(image, dtype).view(-1).numpy(), (channels, height, width), rows.numpy(),
    )  # fmt: skip
    return rows


def _folded(sums: Tensor) -> Tensor:
    """Add the gradient of the repeated outermost rows and columns to those repeated."""
    sums[:, 1] += sums[:, 0]
    sums[:, -2] += sums[:, -1]
    sums[:, :, 1] += sums[:, :, 0]
    sums[:, :, -2] += sums[:, :, -1]
    return sums[:, 1:-1, 1:-1]


@functools.cache
def _kernels() -> Any:
    from midframe.ops.backends import numba_adacof_kernels

    return numba_adacof_kernels
