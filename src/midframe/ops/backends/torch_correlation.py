"""Correlation in plain PyTorch, for any device and without a tape: banded products of matrices."""

from __future__ import annotations

from torch import Tensor

from midframe.ops.backends import torch_correlation_lines, torch_correlation_tiles


def forward(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """Correlate; see `midframe.ops.correlation`.

    Args:
        first: (N, C, H, W).
        second: (N, C, H, W).
        radius: of the displacements, in pixels.

    Returns:
        (N, (2 radius + 1)^2, H, W) in the inputs' dtype.
    """
    # a GPU wants few large calls, a processor small ones whose data stay in its cache
    code = torch_correlation_tiles if first.device.type == "cpu" else torch_correlation_lines
    return code.forward(first, second, radius)


backward = torch_correlation_lines.backward
