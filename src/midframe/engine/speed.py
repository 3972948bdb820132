"""How much a training step costs through the platform, against a bare loop of the same step."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, open_dict
from torch.utils.data import DataLoader

from midframe.engine.build import build_module, build_trainer
from midframe.engine.compose import compose
from midframe.engine.module import VFIModule
from midframe.types import Batch, Inputs

# What has no counterpart in a bare loop, and does nothing at most steps.
_LEFT_OUT = ("best", "last", "preemption", "pictures", "progress")


def bench_train(
    model: str = "ifrnet_s", batch: int = 4, size: int = 224, steps: int = 30
) -> dict[str, Any]:
    """Time training steps in a bare loop and under Hydra and Lightning, one by one in turns.

    Both run the same model, loss and optimizer on the same batches. The platform's side has the
    default loggers and callbacks; what is printed, checkpoints and validation are left out of both.
    After each step of the trainer one bare step runs, so that what else the machine does weighs on
    both alike.

    Returns:
        Median seconds per step of either side, by the clock and of the processor, and the overhead
        in percent: the median over steps of the ratio of two neighbours.
    """
    with tempfile.TemporaryDirectory() as directory:
        cfg = _config(model, steps + 1, directory)
        batches = [_batch(batch, size, seed, cfg.data.context) for seed in range(steps + 1)]
        turns = _Turns(_bare_step(build_module(cfg)))
        trainer: L.Trainer = build_trainer(cfg)
        trainer.callbacks.append(turns)
        loader: DataLoader = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
        trainer.fit(build_module(cfg), train_dataloaders=loader)
    result: dict[str, Any] = {
        "benchmark": "train",
        "model": model,
        "batch": batch,
        "size": size,
        "steps": steps,
        "threads": torch.get_num_threads(),
    }
    for unit, index in (("clock", 0), ("processor", 1)):
        # the first step of either side warms up
        pairs = [(ours[index], bare[index]) for ours, bare in turns.pairs[1:]]
        ratio = statistics.median(ours / bare for ours, bare in pairs)
        result[unit] = {
            "platform_s": round(statistics.median(ours for ours, _ in pairs), 4),
            "bare_s": round(statistics.median(bare for _, bare in pairs), 4),
            "overhead_percent": round(100 * (ratio - 1), 2),
        }
    return result


def _batch(count: int, size: int, seed: int, context: int) -> Batch:
    rng = torch.Generator().manual_seed(seed)

    def frames(n: int) -> torch.Tensor:
        return torch.randint(0, 256, (count, n, 3, size, size), generator=rng, dtype=torch.uint8)

    inputs = Inputs(frames(2 * context), torch.full((count, 1), 0.5))
    return Batch(inputs, frames(1), ids=tuple(f"{seed}-{i}" for i in range(count)))


def _config(model: str, steps: int, directory: str) -> DictConfig:
    overrides = [f"model={model}", "data=synthetic", f"trainer.max_steps={steps}"]
    overrides += [f"~callbacks.{name}" for name in _LEFT_OUT]
    overrides += ["trainer=cpu", "trainer.log_every_n_steps=5"]
    cfg = compose(overrides)
    with open_dict(cfg):
        cfg.run = {"dir": directory, "id": "bench", "step": None}
        cfg.channels_last = False
    return cfg


def _bare_step(module: VFIModule) -> Callable[[Batch], None]:
    """The step as anyone would write it without a framework."""
    model, loss = module.model, module.loss
    optimizer = module._optimizer(model.parameters())

    def step(batch: Batch) -> None:
        batch = batch.float()
        out = loss(model(batch.inputs, **model.fixed_hints), batch, model, 0)
        optimizer.zero_grad()
        out.total.backward()
        optimizer.step()

    return step


class _Turns(Callback):
    """Takes a bare step after each step of the trainer, and the times of both.

    A step of the trainer lasts from the end of the bare step before it, so everything that happens
    between two steps counts as the platform's.
    """

    def __init__(self, bare: Callable[[Batch], None]) -> None:
        self.bare = bare
        self.pairs: list[tuple[tuple[float, float], tuple[float, float]]] = []
        self._since = _now()

    def on_train_start(self, *args: Any) -> None:
        self._since = _now()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Any, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        middle = _now()
        self.bare(batch)
        end = _now()
        ours = (middle[0] - self._since[0], middle[1] - self._since[1])
        self.pairs.append((ours, (end[0] - middle[0], end[1] - middle[1])))
        self._since = end


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()
