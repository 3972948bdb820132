"""Metrics of optical flow; one value per image, over its known pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from midframe.types import known_flow


def epe(pred: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
    """Mean end-point error per image: the length of the difference, over known pixels.

    Args:
        pred: (N, 2, H, W) flow in pixels.
        target: the same shape; what `known_flow` says is unknown does not count.
        known: (N, H, W) bool, further pixels to leave out where false.

    Returns:
        (N,) in pixels, at least float32; NaN where no pixel is known.
    """
    error, _, known = _compared(pred, target, known)
    return _mean(error, known)


def fl_all(pred: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
    """Share of pixels that are wrong: off by more than 3 px and 5 % of the true length.

    KITTI's Fl-all, there in percent (Menze and Geiger, CVPR 2015). Arguments as of `epe`.

    Returns:
        (N,) in [0, 1]; NaN where no pixel is known.
    """
    error, length, known = _compared(pred, target, known)
    right = (error <= 3.0) | (error <= 0.05 * length)  # which NaN is not
    return _mean((~right).to(error.dtype), known)


def _compared(pred: Tensor, target: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return error and true length (N, H, W), and which pixels count."""
    if pred.shape != target.shape or pred.ndim != 4 or pred.shape[1] != 2:
        raise ValueError(
            "flow metrics compare fields (N, 2, H, W) of one shape, "
            f"got {tuple(pred.shape)} and {tuple(target.shape)}"
        )
    wide = torch.promote_types(torch.promote_types(pred.dtype, target.dtype), torch.float32)
    counts = known_flow(target) if known is None else known_flow(target) & known
    target = target.to(wide)
    target = torch.where(counts[:, None], target, torch.zeros_like(target))
    error = torch.linalg.vector_norm(pred.to(wide) - target, dim=1)
    return error, torch.linalg.vector_norm(target, dim=1), counts


def _mean(values: Tensor, known: Tensor) -> Tensor:
    total = torch.where(known, values, torch.zeros_like(values)).flatten(1).sum(1)
    return total / known.flatten(1).sum(1)
