"""Chance that follows from where in a run it is drawn, and not from what was drawn before."""

from __future__ import annotations

import random

import numpy as np
import torch


def draw_by(*numbers: int) -> None:
    """Seed what draws without a generator of its own: PyTorch on all devices, NumPy, Python.

    Called with (seed, step, part, rank) it lets dropout, or noise that a loss adds, go on over a
    resume as if nothing had happened, with nothing kept of any rank's generators.

    Args:
        numbers: not negative; other numbers give independent streams.
    """
    first, second, third = np.random.SeedSequence(numbers).generate_state(3, np.uint32)
    torch.manual_seed(int(first) << 32 | int(second))
    np.random.seed(third)  # noqa: NPY002 - the global one is meant
    random.seed(int(third))
