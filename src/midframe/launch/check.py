"""Find what cannot work before anything is trained: from config, signatures and attributes.

No file of a data set is looked at, and the model is built without memory for its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from midframe.data.module import Data
from midframe.data.sampler import per_device_batch
from midframe.engine.build import plain
from midframe.engine.enrich import Enricher
from midframe.engine.misnamed import HANDED_ON, is_hydras
from midframe.errors import UserError
from midframe.launch import check_data as data_checks
from midframe.launch import check_parts, check_teaching, check_values, entry
from midframe.launch.commands import advised
from midframe.launch.runs import own_overrides
from midframe.losses import Term, WeightedSum
from midframe.models import zoo
from midframe.models.base import Interpolator
from midframe.models.motion import FIELD, motion_of
from midframe.models.weights import chosen_weights
from midframe.nodes import check_forward, check_options, find_class, find_target

_GROUPS = ("data", "loss", "optimizer", "teacher", "callbacks", "logger", "trainer")


def check(cfg: DictConfig) -> None:
    """Raise `UserError` with every problem of a training config, on one line."""
    problems = list(dict.fromkeys(find_problems(cfg)))
    if problems:
        raise UserError("; ".join(problems))


def find_problems(cfg: DictConfig) -> Iterator[str]:
    """Yield what is wrong with a training config, and what to do about it."""
    try:  # first of all, since other nodes follow from what its class says
        model = None if OmegaConf.missing_keys(cfg.model) else zoo.build_empty(plain(cfg.model))
    except UserError as error:
        yield str(error)
        return
    lacking = sorted(OmegaConf.missing_keys(cfg if model else cfg.model))
    if model is None or lacking:
        yield f"{', '.join(lacking)} must be given, for example {lacking[0]}=..."
        return
    wrong = [*_nodes(cfg), *check_values.find_problems(cfg), *_entries(cfg)]
    wrong = wrong or [*_built(cfg)]
    if wrong:
        yield from wrong
        return
    yield from _weights(cfg)
    yield from check_parts.find_problems(cfg, model)
    yield from data_checks.model_and_data(cfg, model)
    yield from _loss(cfg, model)
    yield from _sizes(cfg, model)
    yield from _sweep(cfg)


def check_data(cfg: DictConfig) -> None:
    """Raise `UserError` for what is wrong with ``data``, for commands that only read it."""
    node = OmegaConf.to_container(cfg.data, resolve=False)
    problems = [*_faults(cfg, node, "data")] or [*_refusal(partial(instantiate, cfg.data), "data")]
    if problems:
        raise UserError("; ".join(problems))


def check_labels(cfg: DictConfig, data: Data) -> None:
    """Raise `UserError` if a loss term needs flow labels that no training clip has.

    Which clips have some is known only once the data set is indexed.
    """
    needs = _needs(_active_terms(cfg))
    if any("flow" in _adds(node) for node in cfg.teacher.get("enrich") or []):
        return
    for name, need in needs.items():
        if "flow" in need and not any(clip.flow for clip in data.clips(data.split)):
            raise UserError(
                f"the loss term {name} needs flow labels, which no training clip of data="
                f"{cfg.data.name} has; give them with data.labels=DIR (midframe labels makes "
                f"some) or teacher=dis, or drop it with '~loss.terms.{name}'"
            )


def reads_labels(cfg: DictConfig) -> bool:
    """Return whether anything in a training may read flow labels; a loss of one's own may."""
    enrichers = (
        find_class(x._target_, "teacher", Enricher) for x in cfg.teacher.get("enrich") or []
    )
    if not _is_sum(cfg) or any("flow" in one.needs for one in enrichers):
        return True
    return any(_term_reads_flow(part.term) for part in _active_terms(cfg).values())


def _term_reads_flow(node: DictConfig) -> bool:
    """Whether a term, or one within, reads flow labels, if only where there are some."""
    found = find_target(node._target_, "loss")
    own = isinstance(found, type) and issubclass(found, Term)
    if own and "flow" in found.needs | found.reads:
        return True
    parts = [x for x in node.values() if OmegaConf.is_dict(x) and "_target_" in x]
    return any(map(_term_reads_flow, parts))


def _nodes(cfg: DictConfig) -> Iterator[str]:
    """Hold every node with a ``_target_`` against what it names."""
    for group in _GROUPS:
        if OmegaConf.is_config(cfg.get(group)):
            yield from _faults(cfg, OmegaConf.to_container(cfg[group], resolve=False), group)


def _faults(cfg: DictConfig, node: Any, where: str) -> Iterator[str]:
    if isinstance(node, list):
        for number, part in enumerate(node):
            yield from _faults(cfg, part, f"{where}[{number}]")
    if not isinstance(node, dict):
        return
    partial, given = node.get("_partial_") is True, HANDED_ON.get(where, ())
    if given and not ("_target_" in node and partial):
        yield f"{where} needs _target_: a function, and _partial_: true, as it is called later"
    elif "_target_" in node:
        target = OmegaConf.select(cfg, f"{where}._target_")
        options = [str(key) for key in node if not is_hydras(str(key))]
        late = "_args_" in node or (partial and not given)
        try:
            check_options(find_target(target, where), options, where, given=given, partial=late)
        except UserError as error:
            yield str(error)
    for key, part in node.items():
        yield from _faults(cfg, part, f"{where}.{key}")


def _built(cfg: DictConfig) -> Iterator[str]:
    """Build what costs little and says itself what is wrong with its values."""
    for name, part in _terms(cfg).items():
        where = f"loss.terms.{name}"
        yield from _refusal(partial(_look_for_files, name, part.term), f"{where}.term")
        for key in ("weight", "term"):
            node = part.get(key)
            if OmegaConf.is_dict(node) and not _reads_weights(node):
                for said in _refusal(partial(instantiate, node), f"{where}.{key}"):
                    yield said if said.startswith(where) else f"{where}.{key}: {said}"
    for number, node in enumerate(cfg.teacher.get("enrich") or []):
        yield from _refusal(partial(instantiate, node), f"teacher.enrich[{number}]")
    if FIELD in zoo.check_config(plain(cfg.model)).needs:
        yield from _refusal(partial(motion_of, plain(cfg.model)), "model.motion")
    yield from _refusal(partial(instantiate, cfg.data), "data")
    yield from _refusal(partial(_optimize, cfg), "optimizer")


def _look_for_files(name: str, node: DictConfig) -> None:
    locate = _locating_terms(name)
    locate(node._target_).check_files(node, locate)


def _locating_terms(name: str) -> Callable[[str], type[Term]]:
    return partial(_find_term, where=f"loss.terms.{name}.term")


def _find_term(target: Any, where: str) -> type[Term]:
    found: type[Term] = find_class(target, where, Term)
    check_forward(found, ("pred", "batch", "model"), where)
    return found


def _reads_weights(node: DictConfig) -> bool:
    """Whether a term, or one within, reads a file when it is built, or even fetches it."""
    return "weights" in node or any(map(_reads_weights, filter(OmegaConf.is_dict, node.values())))


def _refusal(build: Callable[[], object], where: str) -> Iterator[str]:
    """Yield what a call says that does not like its arguments."""
    try:
        build()
    except (UserError, InstantiationException, TypeError, ValueError) as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) else error
        said = str(cause or error).strip().splitlines()[0]
        yield said if isinstance(cause, UserError) else f"{where}: {said}"


def _optimize(cfg: DictConfig) -> None:
    """Build the optimizer for one number, and ask the schedule for its first factor."""
    instantiate(cfg.optimizer.build)([torch.nn.Parameter(torch.zeros(1))])
    schedule = cfg.optimizer.get("schedule")
    if schedule and cfg.trainer.max_steps is not None:  # else its length is not known yet
        instantiate(schedule)(0)


def _weights(cfg: DictConfig) -> Iterator[str]:
    try:
        path = chosen_weights(cfg.weights, cfg.model)
    except UserError as error:
        yield str(error)
        return
    if path is not None and not path.is_file():
        yield f"there is no weights file {path}"


def _terms(cfg: DictConfig) -> dict[str, Any]:
    """Return the entries of `WeightedSum`; none of a loss of one's own, which may be anything."""
    with suppress(UserError):
        if _is_sum(cfg):
            return {k: v for k, v in (cfg.loss.get("terms") or {}).items() if v is not None}
    return {}


def _is_sum(cfg: DictConfig) -> bool:
    found = find_target(cfg.loss.get("_target_"), "loss")
    return isinstance(found, type) and issubclass(found, WeightedSum)


def _active_terms(cfg: DictConfig) -> dict[str, DictConfig]:
    return {name: part for name, part in _terms(cfg).items() if part.get("weight") != 0}


def _entries(cfg: DictConfig) -> Iterator[str]:
    for name, part in _terms(cfg).items():
        if not check_values.is_loss_entry(part):
            yield (
                f"loss.terms.{name} must hold term, with a _target_, and weight, a number or a "
                "schedule with a _target_"
            )


def _needs(terms: Mapping[str, DictConfig]) -> dict[str, frozenset[str]]:
    """Return by the terms' names the fields without which they cannot be computed."""
    needs = {}
    for name, node in terms.items():
        locate = _locating_terms(name)
        needs[name] = locate(node.term._target_).needs_of(node.term, locate)
    return needs


def _adds(node: DictConfig) -> frozenset[str]:
    added: frozenset[str] = find_class(node._target_, "teacher.enrich", Enricher).adds
    return added


def _loss(cfg: DictConfig, model: Interpolator) -> Iterator[str]:
    active = _active_terms(cfg)
    if _is_sum(cfg) and not active:
        yield "the loss has no term with a weight other than 0; choose one with loss=..."
    # Flow counts as given until the data is indexed: see `check_labels`.
    provided = {f"pred.{name}" for name in model.provides} | {"target", "flow", "pred.frame"}
    try:
        for number, node in enumerate(cfg.teacher.get("enrich") or []):
            where = f"teacher.enrich[{number}]"
            enricher = find_class(node.get("_target_"), where, Enricher)
            lacking = sorted(enricher.needs - provided)
            if lacking:
                yield f"{where}: {enricher.__name__} needs {', '.join(lacking)}, given by nothing"
            provided |= enricher.adds
        needs = _needs(active)
    except UserError as error:
        yield str(error)
        return
    if active and model.learns == "flow" and not any("flow" in need for need in needs.values()):
        usual = cfg.model.get("loss") or cfg.model.name
        yield f"no loss term teaches a flow network; use loss={usual}"
    for name, need in needs.items():
        lacking = sorted(need - provided)
        if lacking:
            lacks = f"the loss term {name} needs {', '.join(lacking)}, which"
            drop = f"drop it with '~loss.terms.{name}'"
            if "teacher" not in lacking:
                giver = f"model={cfg.model.name} with data={cfg.data.name} does"
                yield f"{lacks} {giver} not give; {drop}"
            else:
                giver = check_teaching.what_gives_no_frames(cfg)
                yield f"{lacks} {giver}; choose a teacher=NAME, any of conf/model, or {drop}"
    yield from check_teaching.find_problems(cfg, model, needs)


def devices_of(cfg: DictConfig) -> int:
    """Return how many devices of a machine a config asks for, here."""
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
    if multirun and devices_of(cfg) != 1:
        yield (
            "hydra/launcher=basic with several devices per job would train one model with "
            "different settings on each rank; leave hydra/launcher=... out: a multirun (-m) then "
            "gives each job processes of its own"
        )


def _sizes(cfg: DictConfig, model: Interpolator) -> Iterator[str]:
    crop = cfg.data.get("crop")
    if crop:
        multiple = model.padding(**model.fixed_hints).multiple
        for size in [crop] if isinstance(crop, int) else list(crop):
            if size % multiple:
                near = max(size // multiple, 1) * multiple
                yield (
                    f"crop {size} is no multiple of {multiple}, which model={cfg.model.name} "
                    f"needs; use {near} or {near + multiple}"
                )
    world = devices_of(cfg) * cfg.trainer.num_nodes
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
    print(
        f"ok: model={cfg.model.name} data={cfg.data.name}: names and options are right\n"
        f"train it:  {advised('train', *own_overrides())}"
    )
    for line in check_parts.remarks(cfg, zoo.build_empty(plain(cfg.model))):
        print(line)
