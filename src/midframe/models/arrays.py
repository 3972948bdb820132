"""Interpolation of plain arrays and tensors in one call, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from midframe.errors import UserError
from midframe.models.base import Interpolator
from midframe.models.motion import guided
from midframe.models.zoo import create_model
from midframe.types import Inputs

Frame = TypeVar("Frame", np.ndarray, Tensor)


def interpolate(
    model: Interpolator | str, frame0: Frame, frame1: Frame, t: float | Sequence[float] = 0.5
) -> Frame:
    """Return the frame, or the frames, between two frames of any size.

    Args:
        model: a model, or a name for `create_model` (then with initial weights: for baselines).
        frame0: uint8 RGB array (H, W, 3), or float RGB tensor (3, H, W) or (B, 3, H, W) in [0, 1].
        frame1: the same kind and size.
        t: a time in [0, 1], or several.

    Returns:
        The kind that came in. One time: the shape that came in. Several: one more axis of times,
        first or, with a batch, second. Bytes are rounded, not cut off.

    Raises:
        UserError: if the frames or times cannot be used with this model.
    """
    model = create_model(model) if isinstance(model, str) else model
    if model.context != 1:
        raise UserError(f"{type(model).__name__} needs {2 * model.context} frames, not two")
    model = guided(model)  # where it needs motion, by the least of means
    several = not isinstance(t, (int, float))
    times = _times([t] if isinstance(t, (int, float)) else t, model)
    if not isinstance(frame0, (np.ndarray, Tensor)):
        raise UserError(f"frames are arrays or tensors, not {_kind(frame0)}")
    if type(frame0) is not type(frame1) or frame0.shape != frame1.shape:
        raise UserError(
            f"the two frames differ: {_kind(frame0)} and {_kind(frame1)}; give the same kind twice"
        )
    pair = [_batched(frame) for frame in (frame0, frame1)]
    weight = next(model.parameters(), None)
    device = pair[0].device if weight is None else weight.device
    frames = torch.stack(pair, 1).to(device)
    at = torch.tensor([times] * len(frames), dtype=torch.float32, device=device)
    out = model.interpolate(Inputs(frames, at)).frame  # (B, T, 3, H, W)

    if isinstance(frame0, np.ndarray):
        bytes_ = out[0].mul(255).round().byte().permute(0, 2, 3, 1).cpu().numpy()
        return bytes_ if several else bytes_[0]
    out = out.to(frame0.device, frame0.dtype)
    out = out if several else out[:, 0]
    return out if frame0.ndim == 4 else out[0]


def _times(t: Sequence[float], model: Interpolator) -> list[float]:
    times = [float(value) for value in t]
    if not times or not all(0 <= value <= 1 for value in times):
        raise UserError(f"t is one or more times in [0, 1], not {t}")
    if model.times == "half" and any(value != 0.5 for value in times):
        raise UserError(f"{type(model).__name__} knows only t = 0.5; call it again on its frames")
    return times


def _batched(frame: np.ndarray | Tensor) -> Tensor:
    """Return (B, 3, H, W) float in [0, 1]."""
    if isinstance(frame, np.ndarray):
        image = frame.ndim == 3 and frame.shape[2] == 3 and frame.size > 0
        if image and frame.dtype == np.uint8:
            return torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float() / 255
    else:
        image = frame.ndim in (3, 4) and frame.shape[-3] == 3 and frame.numel() > 0
        if image and frame.is_floating_point():
            return (frame if frame.ndim == 4 else frame[None]).float()
    raise UserError(
        f"a frame is a uint8 RGB array (H, W, 3) or a float tensor (3, H, W) or (B, 3, H, W) in "
        f"[0, 1], not {_kind(frame)}"
    )


def _kind(frame: object) -> str:
    shape = tuple(getattr(frame, "shape", ()))
    return f"{type(frame).__name__} {shape} of {getattr(frame, 'dtype', 'no numbers')}"
