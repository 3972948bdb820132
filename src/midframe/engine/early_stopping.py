"""Ending a run whose validation has stopped getting better."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason

from midframe.errors import UserError


class EarlyStop(EarlyStopping):
    """Lightning's, whose count and best value are kept over a resume, but not its options.

    Patience and progress are those of the config at hand, so that a run which it has ended goes on
    with more patience. With no more of it, one that was killed after the decision ends at once.

    Args:
        monitor: what the validation logs, such as "val/psnr".
        mode: "max" where more is better, "min" where less is.
        patience: validations in a row without progress that end the run.
        min_delta: by how much a value must be better to count as progress.

    Raises:
        UserError: for another mode, or numbers that make no sense.
    """

    def __init__(
        self, monitor: str, mode: str = "max", patience: int = 10, min_delta: float = 0.0
    ) -> None:
        if mode not in ("max", "min") or patience < 1 or min_delta < 0:
            raise UserError(
                f"callbacks.early_stopping: mode={mode} is max or min, patience={patience} is 1 "
                f"or more, min_delta={min_delta} is not negative"
            )
        super().__init__(
            monitor=monitor,
            mode=mode,
            patience=patience,
            min_delta=min_delta,
            check_on_train_epoch_end=False,
        )

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over count, best value and reason; patience stays the config's."""
        super().load_state_dict({**state_dict, "patience": self.patience})
        if self.has_ended and self.wait_count < self.patience:
            self.stopping_reason = EarlyStoppingReason.NOT_STOPPED

    @property
    def has_ended(self) -> bool:
        """Whether it has decided to end the run."""
        return self.stopping_reason != EarlyStoppingReason.NOT_STOPPED

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        if self.has_ended:  # and the run was killed before it knew
            trainer.should_stop = True

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if self.has_ended and trainer.is_global_zero and self.stopping_reason_message:
            print(f"stopped early after step {trainer.global_step}: {self._reason()}", flush=True)

    def _reason(self) -> str:
        if self.stopping_reason != EarlyStoppingReason.PATIENCE_EXHAUSTED:
            return f"{self.monitor} is not finite"
        best, count = float(self.best_score), self.wait_count
        return f"{self.monitor} has not got better than {best:.4g} in {count} validations"


def has_ended(trainer: L.Trainer) -> bool:
    """Whether a run ended since it no longer got better; it is finished then."""
    return any(isinstance(x, EarlyStop) and x.has_ended for x in trainer.callbacks)
