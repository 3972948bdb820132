"""Learning-rate schedules by optimizer step.

A schedule is a function: step -> factor on the base rate. One that depends on more than the step
has `observe`, which is called with the means of every validation, and `state_dict` and
`load_state_dict` for the checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

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


@dataclass(frozen=True)
class EpochDecay:
    """A constant rate that is multiplied after every so many epochs: StepLR of a run by epochs.

    Steps are counted, epochs are not: the run stands for ``epochs`` of them, however many steps it
    has. So a run that is made short goes through the same rates.

    Attributes:
        every: epochs with one rate.
        epochs: that the run stands for.
        steps: of the run.
        factor: 0.5 halves it.
    """

    every: float
    epochs: float | None
    steps: int
    factor: float = 0.5

    def __post_init__(self) -> None:
        if not self.epochs:
            raise UserError(
                f"optimizer.every={self.every} counts epochs, but the run has none; give epochs=N "
                "(where trainer.max_steps is given too, its steps stand for so many epochs)"
            )
        if self.every <= 0:
            raise UserError(f"optimizer.every={self.every}: give a positive number of epochs")

    def __call__(self, step: int) -> float:
        """Return the factor on the base rate at ``step`` (from 0)."""
        assert self.epochs
        # in whole numbers where they are: (step / steps) * epochs may fall short of an epoch
        return float(self.factor ** math.floor(step * self.epochs / (self.steps * self.every)))


class Plateau:
    """A rate that is multiplied when validation stops getting better.

    PyTorch's ReduceLROnPlateau with an absolute threshold, as a schedule by step that learns of
    validations: `observe` is called after each, and what it keeps goes into the checkpoint.

    Args:
        metric: of the validation, such as "psnr".
        mode: "max" where more is better, "min" where less is.
        factor: what the rate is multiplied by.
        patience: validations in a row without progress that are let pass.
        threshold: by how much more than the best a value must be better.

    Raises:
        UserError: for another mode, a factor outside of 0 to 1 or a negative number.
    """

    def __init__(
        self,
        metric: str = "psnr",
        mode: Literal["max", "min"] = "max",
        factor: float = 0.5,
        patience: int = 5,
        threshold: float = 0.01,
    ) -> None:
        if mode not in ("max", "min") or not 0 < factor < 1 or patience < 0 or threshold < 0:
            raise UserError(
                f"optimizer: mode={mode} is max or min, factor={factor} lies between 0 and 1, "
                f"patience={patience} and threshold={threshold} are not negative"
            )
        self.metric, self.mode = metric, mode
        self.factor, self.patience, self.threshold = factor, patience, threshold
        self.best: float | None = None
        self.idle = 0  # validations since the best, or since the rate was lowered
        self.lowered = 0  # how often the rate was

    def __call__(self, step: int) -> float:
        """Return the factor on the base rate, at any step."""
        return float(self.factor**self.lowered)

    def observe(self, means: Mapping[str, float]) -> None:
        """Take note of a validation; from now on the factor may be another.

        Raises:
            UserError: if the metric was not measured.
        """
        if self.metric not in means:
            raise UserError(
                f"the rate follows {self.metric} of the validation, which measured "
                f"{', '.join(means) or 'nothing'}; set optimizer.schedule.metric, or choose an "
                "optimizer whose rate follows the step"
            )
        value = float(means[self.metric])
        sign = 1 if self.mode == "max" else -1
        if self.best is None or sign * value > sign * self.best + self.threshold:
            self.best, self.idle = value, 0
            return
        self.idle += 1
        if self.idle > self.patience:
            self.lowered, self.idle = self.lowered + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        return {"best": self.best, "idle": self.idle, "lowered": self.lowered}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self.best, self.idle, self.lowered = state["best"], state["idle"], state["lowered"]
