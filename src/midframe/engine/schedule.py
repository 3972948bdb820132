"""Learning-rate schedules by optimizer step."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class WarmupCosine:
    """Linear warm-up from zero, then cosine from ``lr`` to ``lr_end`` at ``steps``.

    Without warm-up it is IFRNet's and UPR-Net's schedule:
    lr_end + (lr - lr_end) * (1 + cos(pi * step / steps)) / 2.
    """

    lr: float
    lr_end: float
    steps: int
    warmup_steps: int = 0

    def __call__(self, step: int) -> float:
        """Return the factor on the base rate ``lr`` at ``step`` (from 0)."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        span = max(self.steps - self.warmup_steps, 1)
        progress = min((step - self.warmup_steps) / span, 1.0)
        rate = self.lr_end + (self.lr - self.lr_end) * (1 + math.cos(math.pi * progress)) / 2
        return rate / self.lr
