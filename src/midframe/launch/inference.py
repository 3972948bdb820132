"""From options to a model that is ready to predict, for all commands that do."""

from __future__ import annotations

import inspect
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from os import PathLike
from typing import Any

import torch
import yaml

from midframe.errors import UserError
from midframe.models import zoo
from midframe.models.base import Interpolator
from midframe.models.motion import guided
from midframe.models.of_run import model_of_run
from midframe.models.parts import overruled
from midframe.models.tiles import BLENDS, Tiled
from midframe.models.weights import UNTRAINED, weights_to_use

PRECISIONS = ("fp32", "bf16")


def resolve_device(device: str, rank: int | None = None) -> torch.device:
    """Turn "auto", "cpu", "cuda" or "cuda:1" into a device that is there.

    Args:
        device: what was asked for; "auto" is a GPU where there is one.
        rank: number of this process on its machine, where several share its GPUs in turn: "cuda"
            and "auto" then mean this process's own.

    Raises:
        UserError: for another name, or a GPU that is not there.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        device = "cuda" if gpus else "cpu"
    if device == "cuda" and gpus and rank is not None:
        return torch.device("cuda", rank % gpus)
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise UserError(f"device={device} is not known; use auto, cpu or cuda") from error
    if found.type not in ("cpu", "cuda"):
        raise UserError(f"device={device} is not supported; use auto, cpu or cuda")
    if found.type == "cuda" and (found.index or 0) >= gpus:
        raise UserError(f"device={device}: there are {gpus} CUDA devices here; use auto or cpu")
    return found


def load_model(
    config: Mapping[str, Any],
    weights: str | None,
    device: torch.device,
    *,
    precision: str = "fp32",
    option: str = "weights=",
    mend: str | None = None,
) -> Interpolator:
    """Build a model with its weights on a device, ready for inference.

    One that needs motion makes it itself, by ``config["motion"]``.

    Weights of a run whose network has other options are loaded if they fit, and a line says so.

    Args:
        config: content of conf/model; its own ``weights`` count where ``weights`` is None, see
            `midframe.models.weights.weights_to_use`.
        weights: a file, a run directory, "shipped", "none" for untrained ones, or None.
        device: where to put it.
        precision: "fp32" or "bf16", see `midframe.models.inference.for_inference`.
        option: how this command's option for weights is written, for messages.
        mend: how this command is told to build the network of a run, for messages; None where it
            takes overrides, which are then named.

    Raises:
        UserError: for an unknown precision, if a model that learns gets no weights, or weights do
            not fit.
    """
    if precision not in PRECISIONS:
        raise UserError(f"precision={precision} is not known; use {' or '.join(PRECISIONS)}")
    path = weights_to_use(weights, config)
    there = path is not None and path.is_file()
    run = model_of_run(path) if there else None
    words = [] if run is None else _overrides_for(run, config)
    try:
        model = zoo.build({**config, "weights": path})
    except UserError as error:
        if not words:
            raise
        how = mend or f"add {' '.join(words)}"
        raise UserError(f"{path} is of a run with another network: {how}\n{error}") from error
    if path is not None and (line := overruled(config)):
        print(f"note: {line}")
    if words:
        print(f"note: {path} fits, but was trained with {' '.join(words)}")
    if model.trainable and path is None and UNTRAINED not in (weights, config.get("weights")):
        raise UserError(
            f"model {config.get('name')} needs trained weights: {option}FILE "
            "(midframe ships none for this network with these options; official ones: see "
            "`midframe models` and conf/model), "
            f"or {option}{UNTRAINED} to run it untrained"
        )
    ready = zoo.for_inference(model, "bf16" if precision == "bf16" else "fp32").to(device)
    return guided(ready, config)


def in_blocks(
    model: Interpolator,
    block: int | None,
    overlap: int | None = None,
    blend: str | None = None,
    prefix: str = "",
) -> Interpolator:
    """Have a model work on blocks of its frames, where a command's options say so.

    Args:
        model: any.
        block: None where it sees whole frames; for all three see `midframe.models.tiles.Tiled`.
        overlap: None as ``block``, or for the default.
        blend: the same.
        prefix: how this command's options begin, for messages.

    Raises:
        UserError: for an overlap or a blend without a block, or what does not fit.
    """
    if block is not None:
        return Tiled(model, block, overlap, blend or BLENDS[0])
    for name, value in (("overlap", overlap), ("blend", blend)):
        if value is not None:
            raise UserError(f"{prefix}{name} is of blocks: give {prefix}block as well")
    return model


def as_trained(weights: str | PathLike[str] | None, name: str | None) -> dict[str, Any] | None:
    """Return the model that a run trained, where weights are of one, and say so.

    The one rule of all commands: a run knows its model and its options, so that nobody has to.

    Args:
        weights: what the command was given.
        name: the model that it was told to take; that of the run or None, or the run's does not
            count.

    Raises:
        UserError: for a folder without checkpoints.
    """
    run = model_of_run(weights)
    if run is None or name not in (None, run["name"]):
        return None
    print(f"model {run['name']}, as it was trained in {weights}")
    return run


def with_model_of_run(words: Sequence[str]) -> list[str]:
    """Return overrides with those before them that choose the model of a run, where they do not.

    Args:
        words: of a command line. Where ``model=`` is not among them and ``weights`` are of a run,
            its model and options are added; those that the words give as well stay theirs.

    Raises:
        UserError: for the run of a model that is not in conf/model, and for weights that are of
            no run where nothing names their model.
    """
    given = {word.lstrip("+~").partition("=")[0]: word.partition("=")[2] for word in words}
    weights = given.get("weights") or given.get("model.weights")
    run = None if "model" in given or not weights else as_trained(weights.strip("'\""), None)
    if run is None and weights and "model" not in given and weights not in ("null", UNTRAINED):
        raise UserError(
            f"weights={weights} needs the name of the model that they are for: add model=NAME "
            "(only a run directory, or a checkpoint inside one, knows its model)"
        )
    if run is None:
        return list(words)
    if run["name"] not in zoo.list_models():
        raise UserError(
            f"{weights} is of a run of model {run['name']}, which is not in conf/model; name the "
            "folder that holds it in MIDFRAME_PROJECT, or give model=NAME"
        )
    config = zoo.config_of(run["name"])
    added = [word for text in _overrides_for(run, config) for word in shlex.split(text)]
    for group in ("hints", "motion"):
        here, wanted = (_leaves(x.get(group) or {}) for x in (config, run))
        added += [f"~model.{group}.{key}" for key in here if key not in wanted]
        for key, value in wanted.items():
            if key not in here or here[key] != value:
                added.append(f"{'' if key in here else '+'}model.{group}.{key}={_value(value)}")
    added = [word for word in added if word.lstrip("+~").partition("=")[0] not in given]
    first = next(at for at, word in enumerate(words) if "=" in word and word[0] != "-")
    return [*words[:first], f"model={run['name']}", *added, *words[first:]]


def _overrides_for(run: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """Return the overrides that give ``config`` the network of a run; none where it has it."""
    wanted, words = _network(run), []
    if _network(config) == wanted:
        return []
    name = run["name"]
    if name != config.get("name") and name in zoo.list_models():
        config, words = zoo.config_of(name), [f"model={name}"]
    here, stated = _network(config), _leaves(config["net"])
    for key, value in wanted.items():
        if key not in here or here[key] != value:
            new = "" if key in stated else "+"
            words.append(shlex.quote(f"{new}model.net.{key}={_value(value)}"))
    return words


def _network(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options of a network by their dotted names, those left at their default too."""
    defaults: dict[str, Any] = {}
    with suppress(UserError):  # what is wrong with it shows when it is built
        for name, one in inspect.signature(zoo.check_config(config)).parameters.items():
            if one.default is not one.empty:
                defaults[name] = one.default
    return _leaves({**defaults, **config["net"]})


def _leaves(node: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            found |= _leaves(value, f"{before}{key}.")
        else:
            found[f"{before}{key}"] = list(value) if isinstance(value, tuple) else value
    return found


def _value(value: Any) -> str:
    """Return a value as an override has it."""
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w./-]*", value)
    if plain and not isinstance(yaml.safe_load(str(value)), str):
        plain = None  # such as "no"
    return str(value) if plain else json.dumps(value, default=str)
