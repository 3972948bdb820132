"""Learning-rate schedules by optimizer step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from midframe.errors import UserError


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


@dataclass(frozen=True)
class StepDecay:
    """Linear warm-up from zero, then a constant rate that is multiplied at given steps.

    PWC-Net: 1e-4, halved at 0.4, 0.6, 0.8 and 1 M of 1.2 M steps.

    Attributes:
        milestones: steps from which on the rate is multiplied by ``factor`` once more.
        factor: 0.5 halves it.
        warmup_steps: length of the warm-up.
    """

    milestones: Sequence[int]
    factor: float = 0.5
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        steps = list(self.milestones)
        if steps != sorted(steps) or any(step < 1 for step in steps):
            raise UserError(f"optimizer.milestones={steps}: give rising steps from 1 on")

    def __call__(self, step: int) -> float:
        """Return the factor on the base rate at ``step`` (from 0)."""
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        return float(self.factor ** sum(step >= milestone for milestone in self.milestones))
