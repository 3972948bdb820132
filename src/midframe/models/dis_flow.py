"""OpenCV's DIS optical flow, on the CPU.

Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016, arXiv 1603.03590.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from midframe.errors import UserError

LEAST = 32  # pixels on a side; OpenCV fails below a few patches
LUMA = (0.299, 0.587, 0.114)
FINE = "fine"  # "medium", down to single pixels: better flow in three times the time
PRESETS = ("ultrafast", "fast", "medium", FINE)


def create_dis(preset: str = "medium") -> Any:
    """Return OpenCV's estimator with the settings of a preset, one of `PRESETS`."""
    import cv2

    if preset not in PRESETS:
        raise UserError(f"DIS flow has no preset {preset!r}; choose {', '.join(PRESETS)}")
    named = "medium" if preset == FINE else preset
    dis = cv2.DISOpticalFlow.create(getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{named.upper()}"))
    if preset == FINE:
        dis.setFinestScale(0)
    return dis


def grey(frames: Tensor) -> np.ndarray:
    """Return (..., 3, H, W) frames in [0, 1] as (..., H, W) uint8 luma, on the CPU."""
    luma = (frames * frames.new_tensor(LUMA)[:, None, None]).sum(-3)
    return np.ascontiguousarray(luma.mul(255).round().clamp(0, 255).byte().cpu().numpy())


def estimate(dis: Any, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the flow (H, W, 2) in pixels between two (H, W) uint8 pictures of any size."""
    height, width = start.shape
    if min(height, width) >= LEAST:
        return dis.calc(start, end, None)
    missing = ((0, max(0, LEAST - height)), (0, max(0, LEAST - width)))
    start, end = (np.pad(picture, missing, mode="edge") for picture in (start, end))
    return dis.calc(start, end, None)[:height, :width]
