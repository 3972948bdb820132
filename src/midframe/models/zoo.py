"""Models by name: one yaml in conf/model says how each is built, for Python and command line."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import Any

from midframe.choices import read_choice
from midframe.errors import UserError, known_names
from midframe.models.base import Interpolator, check_class
from midframe.models.empty import without_values
from midframe.models.flow import FlowNetwork
from midframe.models.inference import for_inference
from midframe.models.parts import Source, check_names, load_parts, overruled
from midframe.models.weights import chosen_weights, load_weights
from midframe.nodes import check_forward, check_hints, check_options, find_class
from midframe.paths import config_files

__all__ = [
    "build",
    "build_empty",
    "check_config",
    "config_of",
    "create_flow",
    "create_model",
    "describe",
    "for_inference",
    "list_flow_networks",
    "list_models",
    "load_weights",
]


def list_models() -> list[str]:
    """Return the names that `create_model` takes, sorted."""
    return list(config_files("model"))


def list_flow_networks() -> list[str]:
    """Return the names that `create_flow` takes, sorted."""
    names = []
    for name in list_models():
        with suppress(Exception):  # what is broken of a model is told to who asks for it
            if issubclass(check_config(config_of(name)), FlowNetwork):
                names.append(name)
    return names


def create_model(
    name: str,
    weights: str | PathLike[str] | Mapping[str, Any] | None = None,
    parts: Mapping[str, Source | None] | None = None,
    **options: Any,
) -> Interpolator:
    """Build a model in eval mode.

    One that needs more than frames gets it by its inputs; `midframe.models.motion.guided` lets it
    make its motion itself.

    Args:
        name: one of `list_models`.
        weights: a path or a state dict, see `load_weights`; "none" leaves the initial weights, and
            None those that the yaml names, if any.
        parts: weights of networks within it by their names, such as
            ``{"flow_estimator": "pwcnet.pth"}`` of ST-MFNet, in any form that ``weights`` takes;
            read only where the whole model gets none.
        **options: replace the arguments of the network in conf/model/<name>.yaml.

    Raises:
        UserError: for an unknown name, part or option, or weights that do not fit.

    Warns:
        UserWarning: where ``parts`` are not read.
    """
    config = config_of(name)
    config["net"] = {**config["net"], **options}
    if weights is not None:
        config["weights"] = weights
    config["parts"] = {**(config.get("parts") or {}), **(parts or {})}
    line = overruled(config)
    if line and _whole_weights(config) is not None:
        warnings.warn(line, stacklevel=2)
    return build(config)


def create_flow(
    name: str, weights: str | PathLike[str] | Mapping[str, Any] | None = None, **options: Any
) -> FlowNetwork:
    """Build an optical flow network in eval mode; ``estimate(a, b)`` gives the flow in pixels.

    Args:
        name: of a flow network, such as "pwcnet"; see `list_flow_networks`.
        weights: as in `create_model`; published checkpoints load as they are.
        **options: as in `create_model`.

    Raises:
        UserError: as `create_model`, or if the model is no flow network.
    """
    model = create_model(name, weights, **options)
    if not isinstance(model, FlowNetwork):
        raise UserError(f"{name} is no flow network; there are {', '.join(list_flow_networks())}")
    return model


def build(config: Mapping[str, Any]) -> Interpolator:
    """Build a model in eval mode from a config node with name, net, weights, parts and hints.

    The node is a content of conf/model, composed or read: ``net`` holds ``_target_`` and the
    arguments, ``hints`` the options that every call of `Interpolator.interpolate` shall have.
    ``parts`` are weights of networks within, see `midframe.models.parts`; they are read where
    there are no ``weights``. Only ``net`` must be there.

    Raises:
        UserError: for an unknown class, option, part or hint, or weights that do not fit.
    """
    model = _construct(check_config(config), config)
    check_names(model, config)
    weights = _whole_weights(config)
    if weights is not None:
        load_weights(model, weights)
    else:
        load_parts(model, config)
    _fix_hints(model, config)
    return model.eval()


def check_config(config: Mapping[str, Any]) -> type[Interpolator]:
    """Return the class that `build` would use, without building it.

    Raises:
        UserError: for an unknown class, option or hint.
    """
    where = f"model {_name(config)}"
    net = config.get("net") or {}
    cls = find_class(net.get("_target_"), f"{where}: net", Interpolator)
    check_class(cls, where)
    check_forward(cls, ("x",), where, hints=True)
    check_options(cls, _options(config), where)
    check_hints(cls, config.get("hints") or {}, where)
    return cls


def config_of(name: str) -> dict[str, Any]:
    """Return what conf/model/<name>.yaml says: a config that `build` takes.

    Keys that the file may leave out are there: weights, hints.

    Raises:
        UserError: for an unknown name, or a file that is no model's or has another's name.
    """
    known = config_files("model")
    if name not in known:
        raise UserError(f"there is no model {name!r}; {known_names(str(name), known)}")
    return {"weights": None, "hints": {}, **read_choice("model", known[name])}


def build_empty(config: Mapping[str, Any]) -> Interpolator:
    """Build a model on the device "meta": its attributes and shapes, without memory for weights.

    Args:
        config: as `build` takes it; its weights and its parts' are not looked at.

    Raises:
        UserError: as `build`.
    """
    cls = check_config(config)
    try:
        with without_values():
            model = _construct(cls, config)
    except RuntimeError:  # its constructor looks at values, which "meta" has none of
        model = _construct(cls, config)
    _fix_hints(model, config)
    return model.eval()


def describe(name: str) -> dict[str, Any]:
    """Return what is known about a model, for tables.

    Keys: name, target, options, weights, hints, context, times, multiple, needs, provides,
    trainable, learns, parameters, and those of ``info`` in its yaml (paper, licence, official
    weights). What its class says wins over ``info``; parameters are counted where ``info`` does
    not say how many were published.
    """
    config = config_of(name)
    model, info = build_empty(config), config.get("info") or {}
    parameters = info.get("parameters")
    if parameters is None:
        parameters = sum(p.numel() for p in model.parameters())
    return {
        **info,
        "parameters": parameters,
        "name": name,
        "target": config["net"]["_target_"],
        "options": _options(config),
        "weights": config["weights"],
        "hints": dict(model.fixed_hints),
        "context": model.context,
        "times": model.times,
        "multiple": model.padding(**model.fixed_hints).multiple,
        "needs": sorted(model.needs),
        "provides": sorted(model.provides),
        "trainable": model.trainable,
        "learns": model.learns,
    }


def _whole_weights(config: Mapping[str, Any]) -> Path | Mapping[str, Any] | None:
    weights = config.get("weights")
    return weights if isinstance(weights, Mapping) else chosen_weights(None, config)


def _construct(cls: type[Interpolator], config: Mapping[str, Any]) -> Interpolator:
    options = _options(config)
    try:
        model = cls(**options)
    except (TypeError, ValueError) as error:
        raise UserError(f"model {_name(config)} cannot be built with {options}: {error}") from error
    except AttributeError as error:
        if "before Module.__init__() call" not in str(error):
            raise
        raise _without_super(cls, config) from error
    if "_modules" not in vars(model):
        raise _without_super(cls, config)
    return model


def _fix_hints(model: Interpolator, config: Mapping[str, Any]) -> None:
    """Give a model its hints; `UserError` for values of which it cannot tell the padding."""
    hints = _plain(config.get("hints") or {})
    try:
        model.padding(**hints)
    except (TypeError, ValueError, ArithmeticError) as error:
        given = ", ".join(f"{key}={value}" for key, value in hints.items())
        raise UserError(
            f"model {_name(config)} cannot take the hints {given} (model.hints): {error}"
        ) from error
    model.fixed_hints = hints


def _without_super(cls: type, config: Mapping[str, Any]) -> UserError:
    return UserError(
        f"model {_name(config)}: {cls.__name__}.__init__ must begin with super().__init__()"
    )


def _name(config: Mapping[str, Any]) -> str:
    return str(config.get("name", "model"))


def _options(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in _plain(config["net"]).items() if key != "_target_"}


def _plain(node: Any) -> Any:
    """Turn nested config nodes into dicts and lists."""
    if isinstance(node, Mapping):
        return {str(k): _plain(v) for k, v in node.items()}
    if isinstance(node, Sequence) and not isinstance(node, (str, bytes)):
        return [_plain(v) for v in node]
    return node
