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
    _seed_torch(int(first) << 32 | int(second))
    np.random.seed(third)  # noqa: NPY002 - the global one is meant
    random.seed(int(third))


def _seed_torch(seed: int) -> None:
    """Do what `torch.manual_seed` does, for the kind of device that there is alone.

    PyTorch notes the seed for every kind that it knows, and with it the formatted stack of the
    caller where that kind is not in use: a millisecond at every step.
    """
    torch.default_generator.manual_seed(seed)
    if torch.accelerator.is_available():
        kind = torch.get_device_module()
        getattr(kind, "manual_seed_all", kind.manual_seed)(seed)  # Apple's has a single device
