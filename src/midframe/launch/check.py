"""Find what cannot work before anything is trained: from config and class attributes alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from midframe.data.sampler import per_device_batch
from midframe.errors import UserError
from midframe.launch import entry


def check(cfg: DictConfig) -> None:
    """Raise `UserError` with every problem of a training config, one line each."""
    problems = list(find_problems(cfg))
    if problems:
        raise UserError("; ".join(problems))


def find_problems(cfg: DictConfig) -> Iterator[str]:
    """Yield what is wrong with a training config, and what to do about it."""
    missing = sorted(OmegaConf.missing_keys(cfg))
    if missing:
        yield f"{', '.join(missing)} must be given, for example {missing[0]}=..."
        return
    wrong = list(_types(cfg))
    if wrong:
        yield from wrong
        return
    model = get_class(cfg.model.net._target_)
    yield from _model_and_data(cfg, model)
    yield from _loss(cfg, model)
    yield from _sizes(cfg, model)
    yield from _sweep(cfg)


_WHOLE = (
    "trainer.val_check_interval",
    "trainer.checkpoint_every",
    "trainer.log_every_n_steps",
    "trainer.accumulate_grad_batches",
    "data.global_batch",
)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _types(cfg: DictConfig) -> Iterator[str]:
    for key in _WHOLE:
        value = OmegaConf.select(cfg, key)
        if not _is_count(value):
            yield f"{key}={value} must be a whole number from 1 on"
    if cfg.trainer.max_steps is None and not cfg.epochs:
        yield "trainer.max_steps and epochs are both null; give one of them"
    elif cfg.trainer.max_steps is not None and not _is_count(cfg.trainer.max_steps):
        yield f"trainer.max_steps={cfg.trainer.max_steps} must be a whole number from 1 on"
    crop = cfg.data.get("crop")
    if crop is not None and not all(map(_is_count, crop if OmegaConf.is_list(crop) else [crop])):
        yield f"data.crop={crop} must be a whole number of pixels, or two of them"
    if str(cfg.trainer.accelerator) in ("gpu", "cuda") and not torch.cuda.is_available():
        yield "PyTorch finds no GPU here; use trainer=cpu (or trainer=auto: the best there is)"
    if not isinstance(cfg.seed, int) or cfg.seed < 0:
        yield f"seed={cfg.seed} must be a whole number from 0 on"
    if cfg.data.get("times", "fixed") not in ("fixed", "any"):
        yield f"data.times={cfg.data.times} must be fixed or any"
    rate = OmegaConf.select(cfg, "optimizer.lr")
    if not isinstance(rate, (int, float)) or not rate > 0:
        yield f"optimizer.lr={rate} must be a positive number"


def _model_and_data(cfg: DictConfig, model: Any) -> Iterator[str]:
    if not model.trainable:
        yield (
            f"model={cfg.model.name} has nothing to train; use evaluate.py or midframe interpolate"
        )
    if cfg.data.context < model.context:
        yield (
            f"model={cfg.model.name} reads {2 * model.context} frames but data.context="
            f"{cfg.data.context} gives {2 * cfg.data.context}; drop the data.context override"
        )
    if model.times == "half" and cfg.data.get("times") == "any":
        yield f"model={cfg.model.name} knows only t = 0.5; use data.times=fixed"
    yield from _what_is_learnt(cfg, model)
    if "events" in model.needs and not cfg.data.get("events"):
        yield f"model={cfg.model.name} needs events, data={cfg.data.name} has none"


def _what_is_learnt(cfg: DictConfig, model: Any) -> Iterator[str]:
    """A flow network learns from flow at the frames' own times, all others from frames between."""
    offered = cfg.data.layout.get("learns", "frames")
    if model.learns == "flow" and offered != "flow":
        yield (
            f"model={cfg.model.name} is a flow network and learns from flow between its two "
            f"frames, which data={cfg.data.name} does not give; use data=flyingchairs or "
            "data=synthetic"
        )
    elif model.learns == "flow" and cfg.data.get("times") == "any":
        yield f"model={cfg.model.name} learns from the frames' own times; use data.times=fixed"
    elif model.learns != "flow" and offered == "flow":
        yield (
            f"data={cfg.data.name} gives flow between two frames, but model={cfg.model.name} "
            "learns from frames between; use it with model=pwcnet or model=liteflownet, or other "
            "data"
        )


def _loss(cfg: DictConfig, model: Any) -> Iterator[str]:
    terms = cfg.loss.get("terms") or {}
    active = {name: node for name, node in terms.items() if node and node.get("weight") != 0}
    if not active:
        yield "the loss has no term with a weight other than 0; choose one with loss=..."
    provided = {f"pred.{name}" for name in model.provides} | {"target", "pred.frame"}
    provided |= {"flow"} if cfg.data.get("flow", True) else set()
    for node in cfg.teacher.get("enrich") or []:
        provided |= set(get_class(node._target_).adds)
    needs = {n: get_class(v.term._target_).needs_of(v.term, get_class) for n, v in active.items()}
    if active and model.learns == "flow" and not any("flow" in need for need in needs.values()):
        yield f"no loss term teaches a flow network; use loss={cfg.model.name}"
    for name, need in needs.items():
        lacking = sorted(need - provided)
        if lacking:
            yield (
                f"the loss term {name} needs {', '.join(lacking)}, which model={cfg.model.name} "
                f"with data={cfg.data.name} does not give; drop it with ~loss.terms.{name}"
            )


def _devices(cfg: DictConfig) -> int:
    devices = cfg.trainer.devices
    if OmegaConf.is_list(devices):
        return max(len(devices), 1)
    if devices in ("auto", -1, "-1"):
        gpu = cfg.trainer.accelerator != "cpu" and torch.cuda.is_available()
        return torch.cuda.device_count() if gpu else 1
    return int(devices)


def _sweep(cfg: DictConfig) -> Iterator[str]:
    """Ranks of an in-process sweep would start the whole sweep again, each with its own values."""
    multirun = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    if multirun and _devices(cfg) != 1:
        yield (
            "a multirun (-m) with several devices per job would train one model with different "
            "settings on each rank; use trainer.devices=1 in a multirun"
        )


def _sizes(cfg: DictConfig, model: Any) -> Iterator[str]:
    crop = cfg.data.get("crop")
    if crop:
        multiple = model.pad.multiple
        for size in [crop] if isinstance(crop, int) else list(crop):
            if size % multiple:
                near = max(size // multiple, 1) * multiple
                yield (
                    f"crop {size} is no multiple of {multiple}, which model={cfg.model.name} "
                    f"needs; use {near} or {near + multiple}"
                )
    world = _devices(cfg) * cfg.trainer.num_nodes
    try:
        per_device_batch(cfg.data.global_batch, world, cfg.trainer.accumulate_grad_batches)
    except UserError as error:
        yield str(error)


def main(argv: Sequence[str] | None = None) -> int:
    """Check a training config without running it; returns the exit code."""
    return entry.run("train", _report, entry.with_recipe(argv))


def _report(cfg: DictConfig) -> None:
    """Raise what `check` finds, or say that there is nothing."""
    check(cfg)
    print(f"ok: model={cfg.model.name} data={cfg.data.name} can be trained")
