"""The splat on the CPU, compiled by numba."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from midframe.ops.backends.numba_threads import plain, spread
from midframe.ops.reference import EPSILON, SAFE_EXPONENT
from midframe.ops.splat import NORMALIZE

CACHE = 1 << 20  # bytes: what one core keeps near
ROUND = 32 << 20  # bytes of gradient in rows at a time: more is slow to get from the system
OVERLAP = 1.75  # bands that read a source chunk, on average


def forward(
    input: Tensor, flow: Tensor, metric: Tensor | None, mode: str, normalize: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Splat; see `contract.Splat`."""
    kernels = _kernels()
    batch, channels, height, width = input.shape
    dtype = flow.dtype
    image, flow = plain(input, dtype), plain(flow, dtype)
    out = torch.empty(input.shape, dtype=dtype)
    count = torch.empty((batch, 1, height, width) if mode != "sum" else (0,), dtype=dtype)
    factor, shift, kind = _importance(flow, metric, mode)
    motion, ramp = flow.numpy(), np.arange(max(height, width), dtype=flow.numpy().dtype)
    low = np.empty((batch, height, -(-width // kernels.CHUNK)), np.int32)
    high = np.empty_like(low)
    spread(kernels.extents, batch * height, 16384 // width, motion, ramp, low, high)
    lanes = _lanes(channels)
    row = (width + 2) * -(-channels // len(lanes)) * len(lanes) * image.element_size()
    band = _band(low, high, batch, height, row)
    spread(
        kernels.forward, batch * -(-height // band), -(-65536 * 4 // (row * band)), band,
        image.view(-1).numpy(), channels, motion, _planes(factor, dtype), _planes(shift, dtype),
        kind, -1 if mode == "sum" else NORMALIZE.index(normalize), motion.dtype.type(EPSILON), ramp,
        low, high, out.view(-1).numpy(), _planes(count, dtype), lanes,
    )  # fmt: skip
    if mode == "soft" and shift.numel() == 0:
        shift = torch.zeros_like(count)
    return out.to(input.dtype), count, shift


def backward(
    grad: Tensor,
    input: Tensor,
    flow: Tensor,
    metric: Tensor | None,
    output: Tensor | None,
    weight: Tensor,
    shift: Tensor,
    mode: str,
    normalize: str,
    needs: tuple[bool, bool, bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients; see `contract.Splat`."""
    batch, channels, height, width = input.shape
    dtype = flow.dtype
    grad, image, flow = plain(grad, dtype), plain(input, dtype), plain(flow, dtype)
    out = grad if output is None else plain(output, dtype)
    found = [
        torch.empty(shape if need else 0, dtype=dtype)
        for shape, need in zip((input.shape, flow.shape, (batch, 1, height, width)), needs)
    ]
    factor, shift, kind = _importance(flow, metric, mode, plain(shift, dtype))
    whole = (
        image, flow, _filled(factor, batch), _filled(shift, batch), _filled(weight, batch),
        grad, out, *(_filled(x, batch) for x in found),
    )  # fmt: skip
    lanes = _lanes(channels)
    pitch = -(-channels // len(lanes)) * len(lanes)
    cells = (height + 2) * (width + 2)
    together = min(batch, max(1, ROUND // (cells * pitch * image.element_size())))
    rows = torch.empty(together * cells * pitch, dtype=dtype)
    along = torch.empty((together, height + 2, width + 2), dtype=dtype)
    rule = -1 if mode == "sum" else NORMALIZE.index(normalize)
    for begin in range(0, batch, together):
        part = tuple(x[begin : begin + together] for x in whole)
        _gradients(part, channels, kind, mode, rule, rows.numpy(), along.numpy(), needs, lanes)
    return found[0].to(input.dtype), found[1], found[2]


def _gradients(
    part: tuple[Tensor, ...],
    channels: int,
    kind: int,
    mode: str,
    rule: int,
    rows: np.ndarray[Any, Any],
    along: np.ndarray[Any, Any],
    needs: tuple[bool, ...],
    lanes: tuple[int, ...],
) -> None:
    """Fill the gradients of a few samples."""
    kernels = _gradient_kernels()
    image, flow, factor, shift, count, grad, out, to_image, to_flow, to_factor = part
    batch, _, height, width = flow.shape
    motion, dtype = flow.numpy(), flow.dtype
    ramp = np.arange(max(height, width), dtype=motion.dtype)
    least = -(-16384 // (width * len(lanes)))
    shifts, along = _planes(shift, dtype), along[:batch]
    spread(
        kernels.divide, batch * height, least, grad.reshape(-1).numpy(), channels,
        out.reshape(-1).numpy(), _planes(count, dtype), shifts, kind == 2, rule,
        motion.dtype.type(EPSILON), rows, along, lanes,
    )  # fmt: skip
    spread(
        kernels.gather, batch * height, least, image.reshape(-1).numpy(), channels, motion,
        _planes(factor, dtype), shifts, kind, mode == "soft", ramp, rows, along,
        to_image.view(-1).numpy(),
        to_flow.view(-1, 2, height, width).numpy() if needs[1] else motion,
        _planes(to_factor, dtype), tuple(map(bool, needs)), lanes,
    )  # fmt: skip


def _importance(
    flow: Tensor, metric: Tensor | None, mode: str, shift: Tensor | None = None
) -> tuple[Tensor, Tensor, int]:
    """Return what the kernels read of the metric: a factor, the shift (empty for none), the kind.

    The shift is needed only where a metric exceeds 64; everywhere else the factor is exp(metric).
    """
    nothing = flow.new_empty(0)
    if metric is None or mode not in ("linear", "soft"):
        return nothing, nothing, 0
    metric = plain(metric, flow.dtype)
    if mode == "linear":
        return metric, nothing, 1
    if not bool((metric > SAFE_EXPONENT).any()):
        return metric.exp(), nothing, 1
    if shift is None:
        shift = torch.zeros_like(metric)
        ramp = np.arange(max(flow.shape[-2:]), dtype=flow.numpy().dtype)
        planes = _planes(metric, flow.dtype), ramp, _planes(shift, flow.dtype)
        spread(_kernels().shifts, len(flow), 1, flow.numpy(), *planes)
    return metric, shift, 2


def _band(
    low: np.ndarray[Any, Any], high: np.ndarray[Any, Any], batch: int, height: int, row: int
) -> int:
    """Return how many target rows to sum up at a time: few, but few chunks in several bands."""
    threads = torch.get_num_threads()
    most = -(-height // -(-threads // batch))
    band = min(most, max(8, CACHE // 2 // row))
    used = low <= high
    if not used.any():
        return band
    first, last = low[used], high[used] + 1
    while band < most and np.mean(last // band - first // band) + 1 > OVERLAP:
        band = min(most, 2 * band)
    return band


def _lanes(channels: int) -> tuple[int, ...]:
    return (0,) * (4 if channels <= 8 else 16)


def _planes(x: Tensor, dtype: torch.dtype) -> np.ndarray[Any, Any]:
    """Return (N, 1, H, W) as an array (N, H, W); of one size for nothing, so that it has a type."""
    plane = x if x.numel() else torch.zeros(1, 1, 1, 1, dtype=dtype)
    return plane.flatten(0, 1).numpy()


def _filled(x: Tensor, batch: int) -> Tensor:
    """Return ``x``, or an empty tensor that can be cut into samples."""
    return x if x.numel() else x.new_empty(batch, 0)


@functools.cache
def _kernels() -> Any:
    from midframe.ops.backends import numba_splat_kernels

    return numba_splat_kernels


@functools.cache
def _gradient_kernels() -> Any:
    from midframe.ops.backends import numba_splat_gradients

    return numba_splat_gradients
