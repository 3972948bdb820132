"""Pictures whose motion is known, of which fake data sets are made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Size = tuple[int, int]
SIZE: Size = (32, 48)
VELOCITY = (3.0, -2.0)  # pixels (x, y) from time 0 to time 1


def texture(x: np.ndarray, y: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return a smooth colour picture (h, w, 3) float in [0, 255] at these coordinates."""
    rng = np.random.default_rng([seed, 7])
    out = np.zeros((*x.shape, 3))
    for _ in range(5):
        kx, ky = rng.uniform(-0.28, 0.28, 2)
        phase = rng.uniform(0, 2 * np.pi, 3)
        out += np.sin(kx * x[..., None] + ky * y[..., None] + phase)
    return np.clip(127.5 + 24 * out, 0, 255)


def moving(time: float, size: Size = SIZE, velocity: Sequence[float] = VELOCITY, seed: int = 0):
    """Return the picture (h, w, 3) uint8 of a texture that moves evenly, at ``time``."""
    y, x = np.mgrid[: size[0], : size[1]].astype(float)
    shifted = texture(x - velocity[0] * time, y - velocity[1] * time, seed)
    return np.round(shifted).astype(np.uint8)


def moving_flow(
    start: float, end: float, size: Size = SIZE, velocity: Sequence[float] = VELOCITY
) -> np.ndarray:
    """Return the exact flow (h, w, 2) of `moving` from one time to another."""
    return np.full((*size, 2), np.array(velocity) * (end - start), np.float32)
