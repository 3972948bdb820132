"""What values the keys of a training config may have, and what to write instead."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, get_args

import torch
from lightning.fabric.connector import _PRECISION_INPUT
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.strategies import StrategyRegistry
from omegaconf import DictConfig, OmegaConf

from midframe.engine.build import trainer_options
from midframe.errors import did_you_mean


def find_problems(cfg: DictConfig) -> Iterator[str]:
    """Yield which values are of a wrong kind, one by one."""
    unknown = sorted(set(map(str, cfg.trainer)) - trainer_options())
    if unknown:
        hint = did_you_mean(unknown, sorted(trainer_options())) or "see conf/trainer/auto.yaml"
        yield f"trainer has no option {', '.join(unknown)}; {hint}"
    for keys, allowed, words in _RULES:
        for key in keys.split():
            value = OmegaConf.select(cfg, key)
            if not allowed(value):
                yield f"{key}={value} must be {words}"
    if cfg.trainer.max_steps is None and not cfg.epochs:
        yield "trainer.max_steps and epochs are both null; give one of them"
    if str(cfg.trainer.accelerator) in ("gpu", "cuda") and not torch.cuda.is_available():
        yield "PyTorch finds no GPU here; use trainer=cpu (or trainer=auto: the best there is)"


def is_loss_entry(value: Any) -> bool:
    """Whether this is an entry of `WeightedSum`: a term's node and a number or schedule."""
    if not (OmegaConf.is_dict(value) and _is_node(value.get("term"))):
        return False
    weight = value.get("weight", 1.0)
    return _is_number(weight) or _is_node(weight)


def _is_node(value: Any) -> bool:
    return OmegaConf.is_dict(value) and "_target_" in value


def _is_number(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_count(value: Any) -> bool:
    return _is_whole(value) and value >= 1


def _is_crop(value: Any) -> bool:
    sides = list(value) if OmegaConf.is_list(value) else [value]
    return len(sides) in (1, 2) and all(map(_is_count, sides))


def _is_devices(value: Any) -> bool:
    if OmegaConf.is_list(value):
        return len(value) > 0 and all(map(_is_whole, value))
    return str(value) in ("auto", "-1") or (str(value).isdecimal() and int(value) >= 1)


def _or_null(allowed: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or allowed(value)


def _one_of(*known: str) -> Callable[[Any], bool]:
    return lambda value: str(value) in known


_THEIRS = (str(x) for part in get_args(_PRECISION_INPUT) for x in get_args(part))
_PRECISIONS = tuple(dict.fromkeys(("auto", "fast", *_THEIRS)))
_STRATEGIES = ("auto", *StrategyRegistry.available_strategies())
_ACCELERATORS = ("auto", "gpu", *sorted(AcceleratorRegistry.available_accelerators()))
_PROFILERS = ("simple", "advanced", "pytorch", "xla")

# Keys, what they may be, and this in words.
_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    (
        "trainer.checkpoint_every trainer.log_every_n_steps "
        "trainer.accumulate_grad_batches trainer.num_nodes data.global_batch",
        _is_count,
        "a whole number from 1 on",
    ),
    (
        "trainer.max_steps trainer.val_check_interval trainer.threads",
        _or_null(_is_count),
        "a whole number from 1 on, or null",
    ),
    ("epochs", _or_null(lambda x: _is_number(x) and x > 0), "a positive number, or null"),
    ("seed data.context", _is_whole, "a whole number from 0 on"),
    ("optimizer.lr", lambda x: _is_number(x) and x > 0, "a positive number"),
    (
        "trainer.gradient_clip_val trainer.limit_val_batches trainer.overfit_batches",
        _or_null(lambda x: _is_number(x) and x >= 0),
        "a number from 0 on, or null",
    ),
    ("data.crop", _or_null(_is_crop), "a whole number of pixels, or two of them"),
    ("data.times", _or_null(_one_of("fixed", "any")), "fixed or any"),
    ("trainer.devices", _is_devices, "a whole number from 1 on, -1, auto or a list of devices"),
    ("trainer.precision", _one_of(*_PRECISIONS), f"one of {', '.join(_PRECISIONS)}"),
    ("trainer.strategy", _one_of(*_STRATEGIES), f"one of {', '.join(_STRATEGIES)}"),
    ("trainer.accelerator", _one_of(*_ACCELERATORS), f"one of {', '.join(_ACCELERATORS)}"),
    (
        "trainer.profiler",
        _or_null(lambda x: _is_node(x) or x in _PROFILERS),
        f"null, one of {', '.join(_PROFILERS)}, or a node with a _target_",
    ),
    (
        "channels_last compile trainer.detect_anomaly",
        lambda x: isinstance(x, bool),
        "true or false",
    ),
)
