"""How much a training step costs through the platform, against a bare loop of the same step."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, open_dict
from torch.utils.data import DataLoader

from midframe.engine.build import build_module, build_trainer
from midframe.engine.module import VFIModule
from midframe.paths import config_dir
from midframe.types import Batch, Inputs


def bench_train(
    model: str = "ifrnet_s", batch: int = 4, size: int = 224, steps: int = 10, rounds: int = 3
) -> dict[str, Any]:
    """Time training steps in a bare loop and under Hydra and Lightning, taking turns.

    Both run the same model, loss and optimizer on the same batches. The platform's side has the
    default loggers and callbacks; what is printed, checkpoints and validation are left out of both.

    Returns:
        Seconds per step of either side per round, their medians, and the overhead in percent
        (median over rounds of the ratio within a round).
    """
    batches = [_batch(batch, size, seed) for seed in range(steps + 1)]
    with tempfile.TemporaryDirectory() as directory:
        cfg = _config(model, steps + 1, directory)
        bare = _bare_step(build_module(cfg))
        bare(batches[0])
        pairs = []
        for _ in range(rounds):
            start = time.perf_counter()
            for item in batches[1:]:
                bare(item)
            alone = (time.perf_counter() - start) / steps
            pairs.append((alone, _platform_step(cfg, batches)))
    overhead = statistics.median(ours / alone for alone, ours in pairs) - 1
    return {
        "benchmark": "train",
        "model": model,
        "batch": batch,
        "size": size,
        "threads": torch.get_num_threads(),
        "bare_s": [round(a, 4) for a, _ in pairs],
        "platform_s": [round(b, 4) for _, b in pairs],
        "median_bare_s": round(statistics.median(a for a, _ in pairs), 4),
        "median_platform_s": round(statistics.median(b for _, b in pairs), 4),
        "overhead_percent": round(100 * overhead, 2),
    }


def _batch(count: int, size: int, seed: int) -> Batch:
    rng = torch.Generator().manual_seed(seed)

    def frames(n: int) -> torch.Tensor:
        return torch.randint(0, 256, (count, n, 3, size, size), generator=rng, dtype=torch.uint8)

    inputs = Inputs(frames(2), torch.full((count, 1), 0.5))
    return Batch(inputs, frames(1), ids=tuple(f"{seed}-{i}" for i in range(count)))


def _config(model: str, steps: int, directory: str) -> DictConfig:
    overrides = [f"model={model}", "data=synthetic", f"trainer.max_steps={steps}"]
    overrides += [f"~callbacks.{name}" for name in ("best", "last", "pictures", "progress")]
    overrides += ["trainer=cpu", "trainer.log_every_n_steps=5"]
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        cfg = compose("train", overrides)
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
        out = loss(model(batch.inputs), batch, model, 0)
        optimizer.zero_grad()
        out.total.backward()
        optimizer.step()

    return step


class _Clock(Callback):
    """Times all steps after the first, from the end of the first to the end of the last."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.ends.append(time.perf_counter())


def _platform_step(cfg: DictConfig, batches: list[Batch]) -> float:
    clock = _Clock()
    trainer: L.Trainer = build_trainer(cfg)
    trainer.callbacks.append(clock)
    loader: DataLoader = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    trainer.fit(build_module(cfg), train_dataloaders=loader)
    return (clock.ends[-1] - clock.ends[0]) / (len(clock.ends) - 1)
