"""From the weights of a network to those of the same network with narrower layers.

`Channels` says which channels of the wide network stand where in the narrow one: those survive
whose weights are largest. `transfer` copies what survives.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from midframe.engine.compress_channels import Layers, Survey, Tie, Transposed, linked, tie
from midframe.errors import UserError
from midframe.models.base import Interpolator
from midframe.types import Inputs

NEW = -1  # in the place of a channel of the wide network: there was none
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm)


class Channels:
    """Which channels of a wide network survive in a narrow one of the same structure.

    Channels that live and die together are ranked by the product of three numbers, each relative
    to the mean of its layer: how large the weights are that write the channel, how large those of
    the normalisation on its way, and how large those that read it; L1 norms, so that zeros count
    for nothing. Those of one kind (of the same layers on the same sides) compete with each other.

    A narrow network may also have more channels of some kind than the wide one, such as beside a
    path that is narrowed while their sum is not: these are `NEW`.

    Args:
        wide: the network with the weights.
        narrow: the other one.

    Attributes:
        sources: by layer and side: for each channel of the narrow network that of the wide one, or
            `NEW`. Sides that are not there keep all their channels.
        removed: ties of the wide network that do not survive.

    Raises:
        UserError: if they differ in more than widths.
    """

    def __init__(self, wide: Interpolator, narrow: Interpolator) -> None:
        _check_structure(wide, narrow)
        fresh = [_untrained(model) for model in (wide, narrow)]
        layers = [Layers(*fresh), Layers(*reversed(fresh))]
        self.layers = layers[0]
        differing = {
            (layer, side)
            for layer, by_side in layers[0].sizes.items()
            for side, size in by_side.items()
            if size != layers[1].sizes[layer][side]
        }
        self.sources: dict[tuple[str, str], list[int]] = {
            (layer, side): [NEW] * layers[1].sizes[layer][side] for layer, side in differing
        }
        self.removed: list[Tie] = []
        if not differing:
            return
        surveys = [Survey(model, one, probe_run) for model, one in zip(fresh, layers)]
        sides = linked(differing, surveys[0].links | surveys[1].links)
        feeds = [survey.feeds(sides) for survey in surveys]
        large, small = (
            _by_form(tie(one, sides, mine, other))
            for one, mine, other in zip(layers, feeds, reversed(feeds))
        )
        self.sources = {
            (layer, side): [NEW] * layers[1].sizes[layer][side] for layer, side in sides
        }
        strength = _Strength(wide, self.layers)
        for form, ties in large.items():
            self._survive(ties, small.get(form, []), strength)

    def _survive(
        self, ties: Sequence[Tie], places: Sequence[Tie], strength: Callable[[Tie], float]
    ) -> None:
        """Give the strongest ties of one form the places of the narrow network, in their order."""
        ranked = sorted(range(len(ties)), key=lambda n: -strength(ties[n]))
        kept = sorted(ranked[: len(places)])
        for number, place in zip(kept, places):
            for old, new in zip(ties[number].slots, place.slots):
                self.sources[new.layer, new.side][new.channel] = old.channel
        self.removed += [one for n, one in enumerate(ties) if n not in set(kept)]


def transfer(wide: Interpolator, narrow: Interpolator, channels: Channels) -> dict[str, Tensor]:
    """Return the weights of the narrow network, for its `load_state_dict`: those that survive.

    What writes `NEW` channels has the narrow network's own initial weights, and what reads them is
    zero, so that they do not change anything until they are trained.

    Raises:
        UserError: for weights of another shape that belong to no layer.
    """
    state = dict(narrow.state_dict())
    theirs = wide.state_dict()
    modules = dict(wide.named_modules())
    for key, own in state.items():
        layer, _, name = key.rpartition(".")
        source = theirs[key]
        if layer in channels.layers.blocks and name == "weight":
            state[key] = _weight(own, source, modules[layer], layer, channels)
            continue
        side = "out" if layer in channels.layers.blocks else "through"
        chosen = channels.sources.get((layer, side))
        if chosen is not None and source.dim() and len(source) == _size(channels, layer, side):
            index = torch.tensor(chosen)
            there = (index != NEW).view(-1, *[1] * (own.dim() - 1))
            state[key] = torch.where(there, source[index.clamp(min=0)], own)
        elif source.shape == own.shape:
            state[key] = source.clone()
        else:
            raise UserError(
                f"{key} has the shape {tuple(source.shape)}, and {tuple(own.shape)} in the narrow "
                "network, but is no weight of a layer: its channels cannot be transferred"
            )
    return state


@torch.no_grad()
def check_transfer(wide: Interpolator, narrow: Interpolator, channels: Channels) -> float:
    """Return by how much the networks differ where the wide one has its removed channels at zero.

    Both run in float64 on random frames. The difference is the mean over all pixels and channels.
    """
    both = [copy.deepcopy(model).double().eval() for model in (without(wide, channels), narrow)]
    outputs = [probe_run(model).frame for model in both]
    return float((outputs[0] - outputs[1]).abs().mean())


@torch.no_grad()
def without(wide: Interpolator, channels: Channels) -> Interpolator:
    """Return a copy of the wide network in which all that writes removed channels is zero."""
    model = copy.deepcopy(wide)
    modules = dict(model.named_modules())
    for slot in (slot for one in channels.removed for slot in one.slots if slot.side != "in"):
        module, side = modules[slot.layer], slot.side
        tensors = dict(module.named_parameters(recurse=False))
        if side == "through" and getattr(module, "running_mean", None) is not None:
            tensors["running_mean"] = module.running_mean
        for name, tensor in tensors.items():
            if side == "out" and name == "weight":
                _rows(tensor, module, channels, slot.layer, slot.channel).zero_()
            elif tensor.dim() and len(tensor) == _size(channels, slot.layer, side):
                tensor[slot.channel] = 0
    return model


def probe_run(model: Interpolator) -> Any:
    """Run a network once on small random frames of its own dtype."""
    generator = torch.Generator().manual_seed(0)
    multiple = model.padding(**model.fixed_hints).multiple
    side = -(-32 // multiple) * multiple
    frames = torch.rand(1, 2 * model.context, 3, side, side, generator=generator)
    times = torch.full((1, 1), 0.5)
    return model(Inputs(frames.to(model.dtype), times.to(model.dtype)), **model.fixed_hints)


class _Strength:
    """How large the weights of a tie are; see `Channels`."""

    def __init__(self, model: nn.Module, layers: Layers) -> None:
        self._by_side: dict[tuple[str, str], Tensor] = {}
        self._norms = {name for name, m in model.named_modules() if isinstance(m, _NORMS)}
        for layer in layers.sizes:
            module = model.get_submodule(layer)
            for side in layers.sizes[layer]:
                norms = _channel_norms(module, side, layers.sizes[layer][side])
                if norms is not None:
                    self._by_side[layer, side] = norms / norms.mean().clamp(min=1e-30)

    def __call__(self, one: Tie) -> float:
        kinds: dict[str, float] = defaultdict(float)
        for slot in one.slots:
            if slot.side != "through" or slot.layer in self._norms:
                found = self._by_side.get((slot.layer, slot.side))
                if found is not None:
                    kinds[slot.side] += float(found[slot.channel])
        strength = 1.0
        for value in kinds.values():
            strength *= value
        return strength


def _channel_norms(module: nn.Module, side: str, count: int) -> Tensor | None:
    """Return the L1 norm of a layer's weights by channel of a side."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor):
        return None
    weight = weight.detach().double().abs()
    if side == "through":
        if not weight.dim() or len(weight) != count:
            return None
        bias = getattr(module, "bias", None)
        found = weight.view(count, -1).sum(1)
        return found if bias is None else found + bias.detach().double().abs()
    bare = weight.flatten(2).sum(2) if weight.dim() > 2 else weight
    groups = getattr(module, "groups", 1)
    first = "in" if isinstance(module, Transposed) else "out"
    if side == first:
        return bare.sum(1)
    return bare.view(groups, -1, bare.shape[1]).sum(1).flatten()


def _weight(
    own: Tensor, source: Tensor, module: nn.Module, layer: str, channels: Channels
) -> Tensor:
    """Return the weight of a layer that mixes channels: its surviving rows and columns.

    The first axis counts all channels of a side, the second those of the other within a block.
    """
    first, second = ("in", "out") if isinstance(module, Transposed) else ("out", "in")
    blocks = channels.layers.blocks[layer]
    result = own.clone()
    rows, columns = (
        _split(channels, layer, side, count, blocks)
        for side, count in ((first, own.shape[0]), (second, own.shape[1] * blocks))
    )
    old, step = source.shape[1], own.shape[0] // blocks
    for block, (row, column) in enumerate(zip(rows, columns)):
        part = source[row.clamp(min=0)][:, (column - block * old).clamp(min=0)]
        writes, reads = (row, column) if first == "out" else (column, row)
        new = (writes == NEW)[:, None] if first == "out" else (writes == NEW)[None]
        unread = (reads == NEW)[None] if first == "out" else (reads == NEW)[:, None]
        mask = [1] * (own.dim() - 2)
        there = result[block * step : (block + 1) * step]
        part = torch.where(new.view(*new.shape, *mask), there, part)
        there.copy_(part.masked_fill(unread.view(*unread.shape, *mask), 0))
    return result


def _split(channels: Channels, layer: str, side: str, count: int, blocks: int) -> Sequence[Tensor]:
    chosen = channels.sources.get((layer, side))
    return torch.tensor(range(count) if chosen is None else chosen).chunk(blocks)


def _rows(
    weight: Tensor, module: nn.Module, channels: Channels, layer: str, channel: int
) -> Tensor:
    """Return the view of a layer's weight that writes one channel."""
    if not isinstance(module, Transposed):
        return weight[channel]
    block = channels.layers.block_of(layer, "out", channel)
    size = weight.shape[0] // channels.layers.blocks[layer]
    return weight[block * size : (block + 1) * size, channel - block * weight.shape[1]]


def _size(channels: Channels, layer: str, side: str) -> int:
    return channels.layers.sizes[layer][side]


def _by_form(ties: Sequence[Tie]) -> dict[Any, list[Tie]]:
    found: dict[Any, list[Tie]] = defaultdict(list)
    for one in ties:
        found[one.form].append(one)
    return found


def _untrained(model: Interpolator) -> Interpolator:
    """Return a copy whose normalisation neither hides nor scales anything, as sparse ones may."""
    model = copy.deepcopy(model).eval()
    for module in model.modules():
        if isinstance(module, (*_NORMS, nn.PReLU)):
            for name, parameter in module.named_parameters(recurse=False):
                nn.init.constant_(parameter, 0.0 if name == "bias" else 0.5)
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.reset_running_stats()
    return model


def _check_structure(wide: Interpolator, narrow: Interpolator) -> None:
    odd = sorted(wide.state_dict().keys() ^ narrow.state_dict().keys())
    others = dict(narrow.named_modules())
    for name, module in wide.named_modules():
        groups = getattr(module, "groups", 1)
        depthwise = groups > 1 and groups == module.in_channels
        if name in others and groups != getattr(others[name], "groups", 1) and not depthwise:
            odd.append(f"{name}: {groups} groups")
    if odd:
        raise UserError(
            f"{type(wide).__name__} has another structure with these widths, not only narrower "
            f"layers ({odd[0]}), so its channels cannot be transferred; give other widths"
        )
