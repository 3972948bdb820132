"""Frames to measure with: the same each time, and with something for a flow to find."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from midframe.models.base import Interpolator
from midframe.types import Inputs

MOVE = 4  # pixels from frame to frame, down and to the right


def label(size: Sequence[int]) -> str:
    """Return "448x256"."""
    return f"{size[0]}x{size[1]}"


def example(
    model: Interpolator, size: tuple[int, int], batch: int = 1, times: Sequence[float] = (0.5,)
) -> Inputs:
    """Return frames of a picture that moves, the same every time and in every sample."""
    random = torch.Generator().manual_seed(0)
    count, (width, height) = 2 * model.context, size
    high, wide = height + MOVE * count, width + MOVE * count
    rough = torch.rand(1, 3, high // 8 + 1, wide // 8 + 1, generator=random)
    picture = F.interpolate(rough, (high, wide), mode="bicubic", align_corners=False)
    picture = (picture + 0.1 * torch.rand(1, 3, high, wide, generator=random)).clamp(0, 1)
    starts = [MOVE * (count - i) for i in range(count)]
    frames = [picture[..., s : s + height, s : s + width] for s in starts]
    x = torch.stack(frames, 1).repeat(batch, 1, 1, 1, 1)
    return given(model, x, torch.tensor([*times]).repeat(batch, 1))


def noise(
    model: Interpolator, size: tuple[int, int], batch: int = 1, times: Sequence[float] = (0.5,)
) -> Inputs:
    """Return normal noise, N(0, 1), as published scripts time models on; the same every time."""
    random = torch.Generator().manual_seed(0)
    width, height = size
    frames = torch.randn(batch, 2 * model.context, 3, height, width, generator=random)
    return given(model, frames, torch.tensor([*times]).repeat(batch, 1))


def given(model: Interpolator, frames: Tensor, t: Tensor) -> Inputs:
    """Return inputs with all that the model needs: of events one or two of each kind everywhere.

    Args:
        model: any; of the number of bins of events it says ``bins``.
        frames: (B, 2c, 3, H, W).
        t: (B, T).
    """
    height, width = frames.shape[-2:]
    network = getattr(model, "model", model)  # of one that makes its motion
    counts = (torch.arange(getattr(network, "bins", 0)) % 5 - 2).to(frames)[:, None, None]
    fields = {
        "events": counts.expand(*t.shape, -1, height, width),
        "events_ends": counts.expand(len(t), 2, -1, height, width),
        "motion": frames.new_full((1,), MOVE / 2).expand(*t.shape, 2, 2, height, width),
    }
    return Inputs(frames, t, **{name: fields[name].contiguous() for name in model.needs})
