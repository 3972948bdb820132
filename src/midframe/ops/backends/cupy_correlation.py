"""Correlation as CUDA kernels.

Forward, a block holds a tile of both maps in shared memory, one chunk of channels after another,
and each thread some 70 sums in registers. Backward, a thread holds the output's gradient of its
pixels in registers instead, and channels stream past. No atomics: results are always the same.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from midframe.ops.backends import launcher
from midframe.ops.backends.launcher import Argument, Kernel

LARGEST_TILED = 8  # with a larger radius the sums of a pixel do not fit into registers
LARGEST_TILED_DOUBLE = 4
TILE = 32  # pixels of a tile in x
THREADS = 256  # of the kernels without tiles

ENOUGH_BLOCKS = 264  # two on each multiprocessor of a large GPU
SHARE = 24  # channels that make it worth a block of their own


@dataclass(frozen=True)
class Forward:
    """The forward kernel's tile: see ``kernels/correlation.cu``.

    Attributes:
        rows: rows of the tile.
        warps: displacement rows of a block.
        groups: blocks that share the displacement rows of a tile.
        kernel: the kernel.
        mean: the kernel that joins the sums of blocks with different channels.
    """

    rows: int
    warps: int
    groups: int
    kernel: Kernel
    mean: Kernel


@dataclass(frozen=True)
class Backward:
    """The backward kernel's tile: see ``kernels/correlation_backward.cu``.

    Attributes:
        rows: rows of the tile.
        groups: threads that share the displacement rows of a pixel.
        kernel: the kernel.
    """

    rows: int
    groups: int
    kernel: Kernel


@functools.cache
def forward_plan(radius: int, dtype: torch.dtype, wide: bool) -> Forward:
    """Return the tile for a radius."""
    side = 2 * radius + 1
    groups = 1 if side <= 9 else -(-side // 7)
    warps = -(-side // groups)
    groups = -(-side // warps)
    rows = 4 if dtype == torch.float64 else 8
    blocks = 1 if wide or rows == 4 or radius > 4 else 2  # else registers are spilled
    macros = {"RADIUS": radius, "ROWS": rows, "DYS": warps, "BLOCKS": blocks}
    kernel, mean = (
        launcher.kernel("correlation", name, dtype, wide, **macros)
        for name in ("correlation", "correlation_mean")
    )
    return Forward(rows, warps, groups, kernel, mean)


@functools.cache
def backward_plan(radius: int, dtype: torch.dtype, wide: bool) -> Backward:
    """Return the tile for a radius."""
    side = 2 * radius + 1
    double = dtype == torch.float64
    most = 1 if double else max(1, 136 // (4 * side))  # registers for gradients
    groups = -(-side // most)
    each = -(-side // groups)
    groups = -(-side // each)
    rows = 4 if double or radius > 4 else 8
    macros = {
        "RADIUS": radius,
        "ROWS": rows,
        "DYS": each,
        "CHUNK": 2 if double else 4 if radius < 8 else 3,
    }
    kernel = launcher.kernel("correlation_backward", "correlation_backward", dtype, wide, **macros)
    return Backward(rows, groups, kernel)


def is_tiled(radius: int, dtype: torch.dtype) -> bool:
    """Whether the kernels with tiles take this radius."""
    return radius <= (LARGEST_TILED_DOUBLE if dtype == torch.float64 else LARGEST_TILED)


def forward(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """Correlate; see `contract.Correlation`."""
    first, second = first.contiguous(), second.contiguous()
    batch, channels, height, width = first.shape
    planes = (2 * radius + 1) ** 2
    out = first.new_empty(batch, planes, height, width)
    if not is_tiled(radius, first.dtype):
        wide = launcher.is_wide(first.numel(), out.numel() + THREADS)
        kernel = launcher.kernel("correlation_plain", "correlation_plain", first.dtype, wide)
        arguments = (first, second, out, batch, channels, height, width, radius)
        launcher.launch(kernel, _flat(out.numel()), (THREADS, 1, 1), arguments, first.device)
        return out
    plan = forward_plan(radius, first.dtype, False)
    blocks = -(-width // TILE) * -(-height // plan.rows) * plan.groups * batch
    splits = max(1, min(channels // SHARE, ENOUGH_BLOCKS // blocks))
    share = -(-channels // splits)
    splits = -(-channels // share)
    reach = first.numel() + 8 * height * width  # a chunk of channels beyond the last one
    if launcher.is_wide(reach, splits * out.numel() + THREADS):
        plan = forward_plan(radius, first.dtype, True)
    real = torch.promote_types(first.dtype, torch.float32)
    partial = out if splits == 1 else out.new_empty(splits * out.numel(), dtype=real)
    launcher.launch(
        plan.kernel,
        (blocks * splits, 1, 1),
        (32, plan.warps, 1),
        (
            *(first, second, out, partial, batch, channels, height, width, splits, share),
            _aligned(width, first, second),
        ),
        first.device,
    )
    if splits > 1:
        launcher.launch(
            plan.mean,
            _flat(out.numel()),
            (THREADS, 1, 1),
            (partial, out, channels, splits, out.numel()),
            first.device,
        )
    return out


def backward(
    grad: Tensor, first: Tensor, second: Tensor, radius: int, needs: tuple[bool, bool]
) -> tuple[Tensor, Tensor]:
    """Return the gradients; see `contract.Correlation`."""
    first, second, grad = first.contiguous(), second.contiguous(), grad.contiguous()
    batch, channels, height, width = first.shape
    found = [first.new_empty(first.shape if need else 0) for need in needs]
    maps = sum(needs)
    if not maps:
        return found[0], found[1]
    start = 0 if needs[0] else 1
    wide = launcher.is_wide(first.numel() + THREADS, grad.numel())
    tensors: list[Argument] = [grad, first, second, *found]
    sizes: list[Argument] = [batch, channels, height, width]
    if not is_tiled(radius, first.dtype):
        kernel = launcher.kernel(
            "correlation_plain", "correlation_plain_backward", first.dtype, wide
        )
        grid = (*_flat(first.numel())[:1], maps, 1)
        arguments = (grad, first, second, *found, *sizes, start, radius)
        launcher.launch(kernel, grid, (THREADS, 1, 1), arguments, first.device)
        return found[0], found[1]
    plan = backward_plan(radius, first.dtype, wide)
    blocks = -(-width // TILE) * -(-height // plan.rows) * batch * maps
    splits = max(1, min(channels // SHARE, 2 * ENOUGH_BLOCKS // blocks))
    share = -(-channels // splits)
    splits = -(-channels // share)
    launcher.launch(
        plan.kernel,
        (blocks * splits, 1, 1),
        (TILE // 4, plan.rows, plan.groups),
        [*tensors, *sizes, start, maps, splits, share, _aligned(width, first, second)],
        first.device,
    )
    return found[0], found[1]


def variants() -> Iterator[Kernel]:
    """Name every kernel that networks make use of."""
    for dtype in launcher.SCALARS:
        for wide in (False, True):
            for radius in (3, 4, 8):
                if is_tiled(radius, dtype):
                    plan = forward_plan(radius, dtype, wide)
                    yield from (plan.kernel, plan.mean)
                    yield backward_plan(radius, dtype, wide).kernel
            for name in ("correlation_plain", "correlation_plain_backward"):
                yield launcher.kernel("correlation_plain", name, dtype, wide)


def _flat(count: int) -> tuple[int, int, int]:
    return (-(-count // THREADS), 1, 1)


def _aligned(width: int, *maps: Tensor) -> int:
    """Whether rows begin where four elements can be moved as one."""
    bytes_ = min(16, 4 * maps[0].element_size())
    return int(width % 4 == 0 and all(x.data_ptr() % bytes_ == 0 for x in maps))
