"""Steps of a trainer and bare ones in turns, with the time that either spends in the model's work.

`midframe.engine.speed` says what is made of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from time import perf_counter, process_time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

from midframe.types import Batch


@dataclass(frozen=True)
class Step:
    """What a step took, in seconds.

    Attributes:
        clock: from its begin to its end.
        processor: of all threads.
        outside: of that, outside of enrichers, model, loss, backward pass and optimizer.
    """

    clock: float
    processor: float
    outside: float


class Within:
    """Adds up the processor's seconds within: ``with within: ...``."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._since = 0.0

    def __enter__(self) -> None:
        self._since = process_time()

    def __exit__(self, *args: Any) -> None:
        self.seconds += process_time() - self._since

    def watch(self, owner: Any, name: str) -> None:
        """Count the calls of a method of an object; of those watched, none calls another."""
        method = getattr(owner, name)

        @wraps(method)
        def counted(*args: Any, **kwargs: Any) -> Any:
            with self:
                return method(*args, **kwargs)

        setattr(owner, name, counted)


class Turns(Callback):
    """Takes a bare step after each step of the trainer, and the times of both.

    A step of the trainer lasts from the end of the bare step before it, so everything that happens
    between two steps counts as the platform's.

    Args:
        step: takes a bare step.
        within: what it spends in the model's work.

    Attributes:
        ours: the steps of the trainer.
        bare: the bare step after each of them.
    """

    def __init__(self, step: Callable[[Batch], None], within: Within) -> None:
        self.step, self.within = step, within
        self.ours: list[Step] = []
        self.bare: list[Step] = []
        self._ours = Within()
        self._since = self._now()

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        for owner, name in (
            (pl_module, "enrich"),
            (pl_module.model, "forward"),
            (pl_module.loss, "forward"),
            (pl_module, "backward"),
        ):
            self._ours.watch(owner, name)
        # Lightning's optimizers take forward and backward pass within their step
        trainer.optimizers[0].register_step_post_hook(self._ours.__exit__)
        self._since = self._now()

    def on_before_optimizer_step(self, *args: Any) -> None:
        self._ours.__enter__()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        middle = self._now()
        self.step(batch)
        end = self._now()
        self.ours.append(_between(self._since, middle, 2))
        self.bare.append(_between(middle, end, 3))
        self._since = end

    def _now(self) -> tuple[float, float, float, float]:
        return perf_counter(), process_time(), self._ours.seconds, self.within.seconds


def _between(begin: tuple[float, ...], end: tuple[float, ...], which: int) -> Step:
    clock, processor = end[0] - begin[0], end[1] - begin[1]
    return Step(clock, processor, processor - (end[which] - begin[which]))
