"""Peers of the CUDA splat: the published kernels' form, and the same in Triton."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from midframe.ops.backends import launcher

KERNEL_FILE = str(Path(__file__).with_name("per_element"))  # an absolute name, as launcher joins it
BLOCK = 512
Splat = Callable[[Tensor, Tensor], Tensor]


class PerElement(torch.autograd.Function):
    """The published kernels' form: a thread for each element, four scalar atomic additions."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, flow: Tensor) -> Tensor:
        """Splat the sum of ``input``, float32, along ``flow``."""
        input, flow = input.contiguous(), flow.contiguous()
        ctx.save_for_backward(input, flow)
        output = input.new_zeros(input.shape)
        _launch("splat_out", output, input, (input, flow, output))
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of input and flow, each by its own kernel."""
        input, flow = ctx.saved_tensors
        grad = grad.contiguous()
        by_input, by_flow = torch.zeros_like(input), torch.zeros_like(flow)
        _launch("splat_ingrad", by_input, input, (grad, flow, by_input))
        _launch("splat_flowgrad", by_flow, input, (input, grad, flow, by_flow))
        return by_input, by_flow


def _launch(name: str, result: Tensor, input: Tensor, tensors: tuple[Tensor, ...]) -> None:
    count = result.numel()
    sizes = (count, *input.shape)
    kernel = launcher.kernel(KERNEL_FILE, name, torch.float32)
    grid = (-(-count // BLOCK), 1, 1)
    launcher.launch(kernel, grid, (BLOCK, 1, 1), (*tensors, *sizes), input.device)


def soft(splat_sum: Splat, input: Tensor, flow: Tensor, metric: Tensor) -> Tensor:
    """Wrap a summing splat as the published softmax splatting does, in PyTorch (addeps).

    Like it, half precision is computed in float32.

    Args:
        splat_sum: splats (N, C, H, W) along (N, 2, H, W).
        input: (N, C, H, W).
        flow: (N, 2, H, W).
        metric: (N, 1, H, W).
    """
    value = input.float()
    joined = torch.cat([value * metric.exp(), metric.exp()], 1)
    out = splat_sum(joined, flow.float())
    return (out[:, :-1] / (out[:, -1:] + 1e-7)).to(input.dtype)


def why_no_triton() -> str | None:
    """Return why Triton's peer can't run here, or None."""
    try:
        _triton_kernel()
    except Exception as error:  # whatever a package that does not fit raises
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return None


def triton_splat(input: Tensor, flow: Tensor) -> Tensor:
    """Splat the sum with one Triton program for each 1024 elements; forward only.

    Args:
        input: (N, C, H, W), float32.
        flow: (N, 2, H, W), float32.
    """
    input, flow = input.contiguous(), flow.contiguous()
    output = torch.zeros_like(input)
    _, channels, height, width = input.shape
    count, block = input.numel(), 1024
    grid = (-(-count // block),)
    _triton_kernel()[grid](input, flow, output, count, channels, height, width, BLOCK=block)
    return output


@functools.cache
def _triton_kernel() -> Any:
    global tl  # Triton looks names up among the module's
    import triton
    import triton.language as tl

    @triton.jit
    def splat(input, flow, output, count, channels, height, width, BLOCK: tl.constexpr):
        at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        live = at < count
        x = at % width
        y = (at // width) % height
        plane = at // (width * height)
        by_u = (plane // channels * 2 * height + y) * width + x
        u = x + tl.load(flow + by_u, mask=live, other=0.0)
        v = y + tl.load(flow + by_u + height * width, mask=live, other=0.0)
        value = tl.load(input + at, mask=live, other=0.0)
        left = tl.floor(u)
        top = tl.floor(v)
        for corner in tl.static_range(4):
            column = left + corner % 2
            row = top + corner // 2
            share = (1.0 - tl.abs(u - column)) * (1.0 - tl.abs(v - row))
            inside = live & (column >= 0) & (column < width) & (row >= 0) & (row < height)
            target = (plane * height + row.to(tl.int32)) * width + column.to(tl.int32)
            tl.atomic_add(output + target, value * share, mask=inside, sem="relaxed")

    return splat
