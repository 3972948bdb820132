"""How much a training step costs through the platform, against a bare loop of the same step."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from itertools import pairwise
from statistics import fmean, median, stdev
from typing import Any

import lightning as L
import torch
from omegaconf import DictConfig, open_dict
from torch.utils.data import DataLoader

from midframe.engine.build import build_data, build_module, build_trainer, plain
from midframe.engine.compose import compose
from midframe.engine.module import VFIModule
from midframe.engine.speed_turns import Step, Turns, Within
from midframe.errors import UserError
from midframe.models import zoo
from midframe.models.base import Interpolator
from midframe.types import Batch

# What has no counterpart in a bare loop, and does nothing at most steps.
_LEFT_OUT = ("best", "last", "preemption", "pictures", "progress")
_EVENTS = {"events", "events_ends"}
_WARM_UP = 2  # steps in which either side touches its memory for the first time
_DISTINCT = 4  # batches that are made; they are taken again and again


def bench_train(
    model: str = "ifrnet_s", batch: int = 4, size: int = 224, steps: int = 30
) -> dict[str, Any]:
    """Time training steps in a bare loop and under Hydra and Lightning, one by one in turns.

    Both run the same model, loss and optimizer on the same batches: synthetic scenes with what the
    model needs of them, flow labels and events included. The platform's side has the default
    loggers and callbacks; what is printed, checkpoints and validation are left out of both. After
    each step of the trainer one bare step runs, so that what else the machine does weighs on both
    alike.

    Args:
        model: a name of conf/model.
        batch: samples of a step.
        size: their height and width.
        steps: that are timed, after those that warm up.

    Returns:
        By the clock and of the processor: median seconds per step of either side, the overhead in
        percent, which is the median of how much longer a step of the trainer took than the mean of
        the bare steps before and after it, and ``noise_percent``, the standard error of that
        median (None of a single step).

        ``outside_model``: milliseconds of the processor that a step of the trainer spends outside
        of enrichers, model, loss, backward pass and optimizer beyond what a bare one does there;
        what a step that logs spends beyond that; and the part of a bare step that both make, one
        step of ``trainer.log_every_n_steps`` logging. This hardly moves with what else the machine
        does.

    Raises:
        UserError: for a model that has nothing to train, or numbers that cannot be.
    """
    if min(batch, size, steps) < 1:
        raise UserError(f"--batch {batch}, --size {size}, --steps {steps}: each is at least 1")
    with tempfile.TemporaryDirectory() as directory:
        taken = steps + _WARM_UP
        cfg = bench_config(model, batch, size, taken, directory)
        _check(model, zoo.build_empty(plain(cfg.model)), size)
        made = step_batches(cfg, min(taken, _DISTINCT))
        turns = Turns(*_bare_step(build_module(cfg)))
        trainer: L.Trainer = build_trainer(cfg)
        trainer.callbacks.append(turns)
        batches = [made[i % len(made)] for i in range(taken)]
        loader: DataLoader = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
        trainer.fit(build_module(cfg), train_dataloaders=loader)
    return {
        "benchmark": "train",
        "model": model,
        "data": cfg.data.name,
        "batch": batch,
        "size": size,
        "steps": steps,
        "threads": torch.get_num_threads(),
        **_measured(turns.ours, turns.bare, cfg.trainer.log_every_n_steps),
    }


def _measured(ours: list[Step], bare: list[Step], every: int) -> dict[str, Any]:
    """Return what was measured, without the steps that warm up.

    Args:
        ours: steps of the trainer.
        bare: the bare step after each of them.
        every: steps from one that logs to the next; the last one logs in any case.
    """
    found: dict[str, Any] = {}
    timed, around = ours[_WARM_UP:], bare[_WARM_UP - 1 :]
    for unit in ("clock", "processor"):
        times, plain_times = ([getattr(step, unit) for step in side] for side in (timed, around))
        means = (sum(two) / 2 for two in pairwise(plain_times))
        ratios = [100 * (one / two - 1) for one, two in zip(times, means)]
        error = 1.2533 * stdev(ratios) / len(ratios) ** 0.5 if len(ratios) > 1 else None
        found[unit] = {
            "platform_s": round(median(times), 4),
            "bare_s": round(median(plain_times[1:]), 4),
            "overhead_percent": round(median(ratios), 2),
            "noise_percent": error if error is None else round(error, 2),
        }
    more = [one.outside - two.outside for one, two in zip(timed, around[1:])]
    numbers = range(_WARM_UP + 1, len(ours) + 1)
    logs = [done % every == 0 or done == len(ours) for done in numbers]
    most = [x for x, log in zip(more, logs) if not log] or more  # of a single step that one
    logging = fmean(x for x, log in zip(more, logs) if log) - fmean(most)
    part = (fmean(most) + logging / every) / found["processor"]["bare_s"]
    found["outside_model"] = {
        "ms": round(1e3 * fmean(most), 3),
        "logging_ms": round(1e3 * logging, 3),
        "percent": round(100 * part, 3),
    }
    return found


def _check(name: str, network: Interpolator, size: int) -> None:
    """Raise `UserError` for a model that cannot be measured so."""
    if not network.trainable:
        raise UserError(f"model {name} has nothing to train, so no step of it can be timed")
    multiple = network.padding(**network.fixed_hints).multiple
    if size % multiple:
        near = max(size // multiple, 1) * multiple
        raise UserError(
            f"--size {size} is no multiple of {multiple}, which model {name} needs; use {near}"
        )


def bench_config(model: str, batch: int, size: int, steps: int, directory: str) -> DictConfig:
    """Return the config of a training on scenes that hold what the model needs.

    Args:
        model: a name of conf/model.
        batch: samples of a step.
        size: their height and width.
        steps: of the training.
        directory: what the run may write to.
    """
    needs = _EVENTS & _class_of(model).needs
    overrides = [f"model={model}", f"data={'events_synthetic' if needs else 'synthetic'}"]
    if needs:  # all that it reads and no more, as either takes time to simulate
        overrides += [f"data.layout.gives=[{','.join(sorted(needs))}]"]
    overrides += [f"data.crop={size}", f"data.layout.size={size}", f"data.global_batch={batch}"]
    overrides += ["data.workers=0", f"trainer.max_steps={steps}"]
    overrides += [f"~callbacks.{name}" for name in _LEFT_OUT]
    overrides += ["trainer=cpu"]
    cfg = compose(overrides)
    with open_dict(cfg):
        cfg.run = {"dir": directory, "id": "bench", "step": None}
        cfg.channels_last = False
    return cfg


def step_batches(cfg: DictConfig, count: int) -> list[Batch]:
    """Return the first batches of a training, as its loader gives them."""
    return list(build_data(cfg).train_loader(steps=count))


def _class_of(model: str) -> type[Interpolator]:
    return zoo.check_config(zoo.config_of(model))


def _bare_step(module: VFIModule) -> tuple[Callable[[Batch], None], Within]:
    """The step as anyone would write it without a framework, and what takes its times."""
    model, loss = module.model, module.loss
    optimizer = module._optimizer([p for p in model.parameters() if p.requires_grad])
    within = Within()

    def step(batch: Batch) -> None:
        batch = batch.float()
        with within:
            batch = module.enrich(batch)
            out = loss(model(batch.inputs, **model.fixed_hints), batch, model, 0)
        optimizer.zero_grad()
        with within:
            out.total.backward()
            optimizer.step()

    return step, within
