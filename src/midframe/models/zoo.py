"""Models by name: one yaml in conf/model says how each is built, for Python and command line."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from os import PathLike
from typing import Any

import yaml
from torch import nn

from midframe.errors import UserError
from midframe.models.base import Interpolator
from midframe.models.flow import FlowNetwork
from midframe.models.inference import for_inference
from midframe.models.weights import load_weights
from midframe.paths import config_files

__all__ = [
    "build",
    "create_flow",
    "create_model",
    "describe",
    "for_inference",
    "list_models",
    "load_weights",
]


def list_models() -> list[str]:
    """Return the names that `create_model` takes, sorted."""
    return list(config_files("model"))


def create_model(
    name: str, weights: str | PathLike[str] | Mapping[str, Any] | None = None, **options: Any
) -> Interpolator:
    """Build a model in eval mode.

    Args:
        name: one of `list_models`.
        weights: a path or a state dict, see `load_weights`; None leaves the initial weights.
        **options: replace the arguments of the network in conf/model/<name>.yaml.

    Raises:
        UserError: for an unknown name or option, or weights that do not fit.
    """
    config = _read(name)
    config["net"] = {**config["net"], **options}
    if weights is not None:
        config["weights"] = weights
    return build(config)


def create_flow(
    name: str, weights: str | PathLike[str] | Mapping[str, Any] | None = None, **options: Any
) -> FlowNetwork:
    """Build an optical flow network in eval mode; ``estimate(a, b)`` gives the flow in pixels.

    Args:
        name: "pwcnet" or "liteflownet".
        weights: as in `create_model`; published checkpoints load as they are.
        **options: as in `create_model`.

    Raises:
        UserError: as `create_model`, or if the model is no flow network.
    """
    model = create_model(name, weights, **options)
    if not isinstance(model, FlowNetwork):
        known = [n for n in list_models() if describe(n)["learns"] == "flow"]
        raise UserError(f"{name} is no flow network; there are {', '.join(known)}")
    return model


def build(config: Mapping[str, Any]) -> Interpolator:
    """Build a model in eval mode from a config node with name, net, weights and hints.

    The node is a content of conf/model, composed or read: ``net`` holds ``_target_`` and the
    arguments, ``hints`` the options that every call of `Interpolator.interpolate` shall have.

    Raises:
        UserError: for an unknown class or option, or weights that do not fit.
    """
    name = str(config.get("name", "model"))
    options = _plain(config["net"])
    target = options.pop("_target_", None)
    cls = _find_class(name, target)
    _check_options(name, cls, options)
    try:
        model = cls(**options)
    except (TypeError, ValueError) as error:
        raise UserError(f"model {name} cannot be built with {options}: {error}") from error
    weights = config.get("weights")
    if weights is not None:
        load_weights(model, weights)
    model.fixed_hints = _plain(config.get("hints") or {})
    return model.eval()


def describe(name: str) -> dict[str, Any]:
    """Return what is known about a model without building it, for tables.

    Keys: name, target, options, weights, hints, context, times, multiple, needs, provides,
    trainable, learns, and those of ``info`` in its yaml (paper, licence, official weights,
    parameters).
    """
    config = _read(name)
    options = dict(config["net"])
    target = options.pop("_target_")
    cls = _find_class(name, target)
    return {
        "context": cls.context,
        "times": cls.times,
        **(config.get("info") or {}),
        "name": name,
        "target": target,
        "options": options,
        "weights": config.get("weights"),
        "hints": config.get("hints") or {},
        "multiple": cls.pad.multiple,
        "needs": sorted(cls.needs),
        "provides": sorted(cls.provides),
        "trainable": cls.trainable,
        "learns": cls.learns,
    }


def _read(name: str) -> dict[str, Any]:
    known = config_files("model")
    if name not in known:
        near = get_close_matches(str(name), known, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
        raise UserError(f"there is no model {name!r}; {hint}")
    config = yaml.safe_load(known[name].read_text(encoding="utf-8"))
    if not isinstance(config, dict) or "_target_" not in (config.get("net") or {}):
        raise UserError(f"{known[name]} has no net._target_: the class to build")
    return config


def _find_class(name: str, target: Any) -> type[Interpolator]:
    module, _, attribute = str(target or "").rpartition(".")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"model {name}: net._target_ {target} not found: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Interpolator)):
        raise UserError(f"model {name}: net._target_ {target} is no Interpolator class")
    return found


def _check_options(name: str, cls: type[Interpolator], options: Mapping[str, Any]) -> None:
    if cls.__init__ is nn.Module.__init__:  # takes anything, and complains later
        parameters: list[inspect.Parameter] = []
    else:
        parameters = list(inspect.signature(cls).parameters.values())
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return
    known = [p.name for p in parameters]
    unknown = [key for key in options if key not in known]
    if unknown:
        raise UserError(
            f"model {name} has no option {', '.join(unknown)}; known: {', '.join(known) or 'none'}"
        )


def _plain(node: Any) -> Any:
    """Turn nested config nodes into dicts and lists."""
    if isinstance(node, Mapping):
        return {str(k): _plain(v) for k, v in node.items()}
    if isinstance(node, Sequence) and not isinstance(node, (str, bytes)):
        return [_plain(v) for v in node]
    return node
