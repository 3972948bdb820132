"""Splatting in plain PyTorch, for any device and without a tape."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from midframe.ops.backends import torch_splat_cpu, torch_splat_gpu


def forward(
    input: Tensor, flow: Tensor, metric: Tensor | None, mode: str, normalize: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Splat; see `contract.Splat`."""
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
    """Return the gradients; see `contract.Splat`."""
    given = grad, input, flow, metric, output, weight, shift, mode, normalize, needs
    return _code(flow.device).backward(*given)


def _code(device: torch.device) -> ModuleType:
    """Return the module for a device: scatter_add_ has one order of summation only on a CPU."""
    return torch_splat_cpu if device.type == "cpu" else torch_splat_gpu
