"""Splatting in plain PyTorch, for any device and without a tape."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from midframe.ops.backends import torch_splat_planes, torch_splat_rows


def forward(
    input: Tensor, flow: Tensor, metric: Tensor | None, mode: str, normalize: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Splat; see `midframe.ops.splat`.

    Args:
        input: (N, C, H, W).
        flow: (N, 2, H, W) in float32 or float64, in which all sums are computed.
        metric: (N, 1, H, W) in the flow's dtype, or None.
        mode: "sum", "avg", "linear" or "soft".
        normalize: "addeps", "zeroeps" or "clipeps".

    Returns:
        The output (N, C, H, W) in the input's dtype; the accumulated importance (N, 1, H, W), in
        mode sum empty; by how much exponents are lowered (N, 1, H, W), empty but in mode soft.
    """
    return _code(flow.device).forward(input, flow, metric, mode, normalize)


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
    """Return the gradients of `forward`'s input, flow and metric.

    Args:
        grad: of the output, in the input's dtype.
        input: as `forward` got it.
        flow: as `forward` got it.
        metric: as `forward` got it.
        output: what `forward` returned; None in mode sum.
        weight: what `forward` returned.
        shift: what `forward` returned.
        mode: as `forward` got it.
        normalize: as `forward` got it.
        needs: which of the three are wanted; the others come back empty.
    """
    given = grad, input, flow, metric, output, weight, shift, mode, normalize, needs
    return _code(flow.device).backward(*given)


def _code(device: torch.device) -> ModuleType:
    """Return the module for a device: scatter_add_ has one order of summation only on a CPU."""
    return torch_splat_planes if device.type == "cpu" else torch_splat_rows
