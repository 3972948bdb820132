"""From a sparse network to the config of a narrower one.

The rule: an option that sets the channels of some layers is multiplied by the density of these
layers' weights, the share of them that is not zero, and rounded up to what the model takes
(`Width.multiple`, `Width.least`). So is ST-MFNet Mini's recipe in the manner of CDFI (Ding et al.,
"CDFI: Compression-Driven Network Design for Frame Interpolation", CVPR 2021), where it was done by
hand: the density of a layer says how much of what it may write it needs. The layers of an option
are pooled, weight by weight, so that a large layer counts more than a small one.

As a layer's inputs narrow as well as its outputs, fewer weights are left than were not zero: the
narrow network is dense, and is trained anew. ``rule="root"`` multiplies by the square root of the
density instead, which keeps about as many weights as were not zero.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import nn

from midframe.engine.sparsity import Layer, density, layers_of
from midframe.errors import UserError
from midframe.models import zoo
from midframe.models.base import Interpolator
from midframe.models.widths import Width

Rule = Literal["density", "root"]


@dataclass(frozen=True)
class Change:
    """What becomes of one width.

    Attributes:
        width: as it is.
        density: of the weights that it counts, from 0 to 1.
        channels: what it becomes.
    """

    width: Width
    density: float
    channels: int


def derive(
    model: Interpolator,
    *,
    threshold: float = 0.0,
    rule: Rule = "density",
    least: int = 1,
    given: Mapping[str, int] | None = None,
) -> list[Change]:
    """Derive the widths of a smaller network from what is zero in a model's weights.

    Args:
        model: with its weights.
        threshold: magnitudes up to it count as zero.
        rule: see the module's page.
        least: no width falls below it.
        given: channels by option, which win over the rule.

    Raises:
        UserError: for a model that says nothing about its widths, or options out of range.
    """
    widths = model.widths()
    if not widths:
        raise UserError(
            f"{type(model).__name__} does not say which options set its layers' channels, so it "
            "cannot be compressed; its class has to define widths()"
        )
    if rule not in get_args(Rule):
        raise UserError(f"rule={rule} is not known; use {' or '.join(get_args(Rule))}")
    if least < 1 or threshold < 0:
        raise UserError(f"least={least} must be 1 or more, threshold={threshold} 0 or more")
    given = dict(given or {})
    unknown = sorted(set(given) - {width.option for width in widths})
    if unknown:
        known = ", ".join(width.option for width in widths)
        raise UserError(f"{unknown[0]} is no width of {type(model).__name__}; there are {known}")
    layers = {layer.name: layer for layer in layers_of(model, threshold)}
    return [_change(width, layers, model, rule, least, given.get(width.option)) for width in widths]


def _change(
    width: Width,
    layers: Mapping[str, Layer],
    model: Interpolator,
    rule: Rule,
    least: int,
    given: int | None,
) -> Change:
    counted = [layers[name] for name in width.parameters if name not in model.idle]
    share = density(counted)
    if given is not None:
        if given < width.least or given % width.multiple or given > width.channels:
            raise UserError(
                f"{width.option}={given} must be a multiple of {width.multiple} from "
                f"{width.least} to {width.channels}"
            )
        return Change(width, share, given)
    factor = math.sqrt(share) if rule == "root" else share
    # 0.3 * 10 lies above 3
    wanted = max(math.ceil(factor * width.channels - 1e-9), least, width.least)
    rounded = math.ceil(wanted / width.multiple) * width.multiple
    return Change(width, share, min(rounded, width.channels))


def narrowed(config: Mapping[str, Any], changes: Sequence[Change]) -> dict[str, Any]:
    """Return a model's config with changed widths; the given one is left as it is.

    Args:
        config: content of conf/model.
        changes: of all widths, also of those that stay: see `derive`.
    """
    net = copy.deepcopy(dict(config["net"]))
    defaults = inspect.signature(zoo.check_config(config)).parameters
    for change in changes:
        option, *path = change.width.option.split(".")
        if not path:
            net[option] = change.channels
            continue
        if net.get(option) is None:
            default = defaults[option].default
            net[option] = copy.deepcopy(default) if default is not inspect.Parameter.empty else None
        net[option] = _set(net[option], path, change, changes)
    return {**config, "net": net}


def _set(node: Any, path: Sequence[str], change: Change, changes: Sequence[Change]) -> Any:
    """Return a list or mapping with one width in it, made of all widths where there is none."""
    key, rest = path[0], path[1:]
    if key.isdecimal():
        before = change.width.option.rsplit(".", len(path))[0]
        values = list(node) if node is not None else _present(before, changes)
        values[int(key)] = (
            _set(values[int(key)], rest, change, changes) if rest else change.channels
        )
        return values
    node = dict(node or {})
    node[key] = _set(node.get(key), rest, change, changes) if rest else change.channels
    return node


def _present(option: str, changes: Sequence[Change]) -> list[Any]:
    """Return the present values of a list of widths."""
    places = {c.width.option: c.width.channels for c in changes}
    count = sum(name.rpartition(".")[0] == option for name in places)
    return [places[f"{option}.{place}"] for place in range(count)]


def keep_structure(
    config: Mapping[str, Any], model: nn.Module, changes: Sequence[Change]
) -> list[Change]:
    """Widen by single steps what would change which layers there are.

    Where two widths become equal, a network may need no layer between them.

    Args:
        config: content of conf/model, of the model as it is.
        model: the model.
        changes: of all its widths.

    Returns:
        The changes; with other layers than the model's still where single steps do not help.
    """
    changes, wanted = list(changes), set(model.state_dict())

    def odd(candidate: Sequence[Change]) -> int:
        narrow = zoo.build_empty({**narrowed(config, candidate), "weights": None})
        return len(wanted ^ set(narrow.state_dict()))

    left = odd(changes)
    while left:
        steps = []
        for place, change in enumerate(changes):
            wider = change.channels + change.width.multiple
            if change.channels < change.width.channels and wider <= change.width.channels:
                candidate = [*changes]
                candidate[place] = replace(change, channels=wider)
                steps.append((odd(candidate), place, candidate))
        best = min(steps, default=(left, 0, changes))
        if best[0] >= left:
            return changes
        left, _, changes = best
    return changes


def table(changes: Sequence[Change], before: int, after: int) -> str:
    """Return a table of what changes, and the numbers of parameters.

    Args:
        changes: see `derive`.
        before: parameters of the network.
        after: parameters of the narrow one.
    """
    rows = [("option", "channels", "density", "becomes")]
    rows += [
        (c.width.option, str(c.width.channels), f"{c.density:.3f}", str(c.channels))
        for c in changes
    ]
    width = max(len(row[0]) for row in rows)
    lines = [f"{a:<{width}}  {b:>8}  {c:>7}  {d:>7}" for a, b, c, d in rows]
    share = f"{after / before:.1%}"
    return "\n".join([*lines, f"{before:,} parameters become {after:,}: {share}"])


def parameters_of(model: nn.Module) -> int:
    """Return how many numbers the parameters of a model are."""
    return sum(parameter.numel() for parameter in model.parameters())


@torch.no_grad()
def describe(model: Interpolator, threshold: float) -> float:
    """Return the density of a whole model, as published: see `midframe.engine.sparsity`."""
    return density(layers_of(model, threshold))
