"""What the forms of SoftSplat have in common besides GridNet: importance, motion, synthesis."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from midframe.models.blocks import both_flows, wide
from midframe.ops.warp import Grid, backwarp
from midframe.types import Inputs, Prediction


def brightness(frame: Tensor, other: Tensor, flow: Tensor, grid: Grid = "corners") -> Tensor:
    """How far a frame is from the other one, brought back by the flow: (N, C, H, W), at least 0.

    Args:
        frame: (N, C, H, W).
        other: the same shape.
        flow: (N, 2, H, W) from ``frame`` to ``other`` in pixels.
        grid: see `midframe.ops.backwarp`.
    """
    return (wide(frame) - wide(backwarp(other, flow, "zeros", grid=grid))).abs()


def other_half(x: Tensor) -> Tensor:
    """Swap the halves of the batch: with both frames in it, the other one of each."""
    return torch.cat(x.chunk(2)[::-1])


def toward(flow: Tensor, t: Tensor) -> Tensor:
    """Shorten flows (2 B, 2, h, w) from one frame to the other so that they end at times (B,)."""
    return flow * torch.cat((t, 1 - t)).reshape(-1, 1, 1, 1).to(flow.dtype)


def at_every_time(synthesise: Callable[[Tensor], Tensor], t: Tensor) -> Tensor:
    """Stack the frames (B, T, 3, H, W) that ``synthesise`` gives for times (B,), from t (B, T).

    One time after the other: GridNet fills a processor with one frame, and seven at once take seven
    times the memory and, on a CPU, longer.
    """
    return torch.stack([wide(synthesise(at)) for at in t.unbind(1)], 1)


def side_by_side(both: Tensor, lead: int = 0) -> Tensor:
    """Lay both frames' (2 N, C, h, w) side by side: (N, 2 C, h, w).

    The first ``lead`` channels of either come before the rest of either.
    """
    first, second = both.chunk(2)
    if not lead:
        return torch.cat((first, second), 1)
    heads, tails = (first[:, :lead], second[:, :lead]), (first[:, lead:], second[:, lead:])
    return torch.cat((*heads, *tails), 1)


def prediction(frame: Tensor, flow: Tensor | None, x: Inputs) -> Prediction:
    """Return frames (B, T, 3, H, W) and flows (2 B, 2, H, W), the same for every time."""
    if flow is None:
        return Prediction(frame)
    return Prediction(frame, flow=both_flows(flow, x.t.shape[1]), flow_kind="forward")
