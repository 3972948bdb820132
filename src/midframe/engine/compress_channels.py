"""Which channels of a network's layers belong together, found out by gradients.

To remove a channel is to remove one output of a convolution, its entry in the normalisation behind
it, the inputs of all layers that read it, and the outputs of all layers that are added to it. What
lies between layers (sums, concatenations, splits, warps, gates, reshapes) is the model's own code,
and no list of it is kept here: the output of every layer is replaced by a probe, so that no layer
sees another, and one backward pass from the input of a layer tells which probes it reads. Which
channel of the probe reaches which input is read off a code: the passes weight the inputs by the
bits of their numbers as signs, so that log2(inputs) passes name them all.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

Conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
Transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_SEED = 0
_PLACES = 1024  # of a probe that are looked at


class Slot(NamedTuple):
    """One channel of one layer.

    Attributes:
        layer: name of the module.
        side: "out", "in", or "through" of layers that keep channels apart.
        block: the group of a grouped convolution, else 0: groups never exchange channels.
        channel: its number, over all groups.
    """

    layer: str
    side: str
    block: int
    channel: int


# by (producer, reader) and the producer's channel: the reader's channels that it reaches
Feeds = Mapping[tuple[str, str], Mapping[int, frozenset[int]]]
Model = TypeVar("Model", bound=nn.Module)
Side = tuple[str, str]  # a layer and "out", "in" or "through"


@dataclass
class Tie:
    """Channels that live and die together.

    Attributes:
        slots: all of them, sorted.
    """

    slots: list[Slot] = field(default_factory=list)

    @property
    def form(self) -> tuple[tuple[str, str, int, int], ...]:
        """How many slots it has of which layer, side and block; alike in wide and narrow nets."""
        counts: dict[tuple[str, str, int], int] = defaultdict(int)
        for layer, side, block, _ in self.slots:
            counts[layer, side, block] += 1
        return tuple((*key, count) for key, count in counts.items())


class Layers:
    """The layers of two networks that differ in nothing but widths.

    Attributes:
        sizes: of the first network's layers: number of channels by side; all others have no
            weights or are no layers.
        blocks: groups between which no channel passes, of the layers that mix channels: any output
            of a block may depend on all inputs of it. 1 but for grouped convolutions.
    """

    def __init__(self, model: nn.Module, other: nn.Module) -> None:
        theirs = dict(other.named_modules())
        self.sizes: dict[str, dict[str, int]] = {}
        self.blocks: dict[str, int] = {}
        for name, module in model.named_modules():
            pair = module, theirs.get(name, module)
            if isinstance(module, nn.Linear):
                self.blocks[name] = 1
                self.sizes[name] = {"out": module.out_features, "in": module.in_features}
            elif isinstance(module, (*Conv, *Transposed)) and not all(map(_is_depthwise, pair)):
                self.blocks[name] = module.groups
                self.sizes[name] = {"out": module.out_channels, "in": module.in_channels}
            elif size := _through(module):
                self.sizes[name] = {"through": size}

    def entrance(self, layer: str) -> str:
        """Return which side of a layer reads."""
        return "in" if layer in self.blocks else "through"

    def slot(self, layer: str, side: str, index: int) -> Slot:
        """Return the slot of a channel."""
        return Slot(layer, side, self.block_of(layer, side, index), index)

    def block_of(self, layer: str, side: str, index: int) -> int:
        """Return in which of its layer's blocks a channel is."""
        return index * self.blocks.get(layer, 1) // self.sizes[layer][side]


def _is_depthwise(layer: nn.Module) -> bool:
    return (
        isinstance(layer, (*Conv, *Transposed))
        and layer.groups == layer.in_channels == layer.out_channels
        and layer.groups > 1
    )


def _through(module: nn.Module) -> int:
    """Return the channels of a layer that keeps them apart, 0 of what has no weights by channel."""
    own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    return 0 if any(module.children()) else max((len(t) for t in own if t.dim()), default=0)


class Survey:
    """What each layer of a network reads directly.

    Args:
        model: in eval mode; it is left as it was.
        layers: of it.
        run: calls it once.

    Attributes:
        links: sides of layers, where anything of the first may reach the second.
    """

    def __init__(self, model: Model, layers: Layers, run: Callable[[Model], Any]) -> None:
        self._layers = layers
        self._probes: dict[int, _Call] = {}
        self._inputs: list[_Call] = []
        with _probed(model, layers, self._probes, self._inputs), torch.enable_grad():
            run(model)
        self._producers = [_leaves(call.value) & self._probes.keys() for call in self._inputs]
        self.links: set[tuple[Side, Side]] = {
            ((self._probes[probe].layer, "out"), (call.layer, layers.entrance(call.layer)))
            for call, producers in zip(self._inputs, self._producers)
            for probe in producers
        }

    def feeds(self, sides: set[Side]) -> Feeds:
        """Return which channels of producers reach which of readers, of these sides of layers."""
        found: dict[tuple[str, str], dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
        for reader, producers in zip(self._inputs, self._producers):
            if (reader.layer, self._layers.entrance(reader.layer)) not in sides:
                continue
            calls = [call for number, call in self._probes.items() if number in producers]
            calls = [call for call in calls if (call.layer, "out") in sides]
            for call, pairs in zip(calls, _read(reader, calls)):
                for channel, index in pairs:
                    found[call.layer, reader.layer][channel].add(index)
        return {key: {c: frozenset(i) for c, i in by.items()} for key, by in found.items()}


def linked(sides: set[Side], links: Iterable[tuple[Side, Side]]) -> set[Side]:
    """Return sides of layers, and all those that any number of links leads to from them."""
    near: dict[Side, set[Side]] = defaultdict(set)
    for one, other in links:
        near[one].add(other)
        near[other].add(one)
    found, new = set(sides), list(sides)
    while new:
        more = near[new.pop()] - found
        found |= more
        new += more
    return found


def tie(layers: Layers, sides: set[Side], feeds: Feeds, other: Feeds) -> list[Tie]:
    """Return all channels of these sides of layers, put together by what feeds what.

    A channel that feeds as many inputs of a layer in this network as in a narrower or wider one
    is carried there. One that feeds more of them the wider the network is, such as flow by which
    all features are warped, only steers them, and is not tied to them.

    Args:
        layers: of the network.
        sides: of layers, to look at.
        feeds: of this network, see `Survey`.
        other: of the narrower or wider one.
    """
    parent: dict[Slot, Slot] = {}

    def root(slot: Slot) -> Slot:
        while parent[slot] != slot:
            parent[slot] = slot = parent[parent[slot]]
        return slot

    order = {name: number for number, name in enumerate(layers.sizes)}
    for layer, side in sides:
        for index in range(layers.sizes[layer][side]):
            slot = layers.slot(layer, side, index)
            parent[slot] = slot
    for (producer, reader), by_channel in feeds.items():
        there = {len(slots) for slots in other.get((producer, reader), {}).values()}
        side = layers.entrance(reader)
        for channel, indices in by_channel.items():
            if len(indices) in there:
                for index in indices:
                    one = root(layers.slot(reader, side, index))
                    parent[one] = root(layers.slot(producer, "out", channel))
    ties: dict[Slot, Tie] = defaultdict(Tie)
    for slot in sorted(parent, key=lambda s: (order[s.layer], s.side != "out", s.channel)):
        ties[root(slot)].slots.append(slot)
    return list(ties.values())


class _Call(NamedTuple):
    """A tensor that one call of a layer gives or takes, and which axis is of channels."""

    layer: str
    value: Tensor
    axis: int


@contextmanager
def _probed(
    model: nn.Module, layers: Layers, probes: dict[int, _Call], inputs: list[_Call]
) -> Iterator[None]:
    """Replace the outputs of layers that mix channels by probes, and collect what layers read."""
    generator = torch.Generator().manual_seed(_SEED)

    def probe(name: str, module: nn.Module, axis: int) -> Callable[[Tensor], Tensor]:
        shaped = copy.deepcopy(module).to("meta")

        def forward(x: Tensor) -> Tensor:
            shape = shaped(torch.empty_like(x, device="meta")).shape
            # small and positive: ReLU lets it pass, flow stays inside of the picture
            value = torch.rand(shape, generator=generator, dtype=x.dtype) * 0.1 + 0.05
            if torch.is_grad_enabled():
                probes[id(value)] = _Call(name, value.requires_grad_(), axis)
            return value.clone()  # which may be written to, as by ReLU in place

        return forward

    def collect(name: str, axis: int) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            count = layers.sizes[name][layers.entrance(name)]
            # a PReLU with one slope for all channels has none of its own
            if args[0].requires_grad and args[0].shape[axis] == count:
                inputs.append(_Call(name, args[0], axis))

        return hook

    handles, replaced = [], []
    for name, module in model.named_modules():
        axis = -1 if isinstance(module, nn.Linear) else 1
        if name in layers.blocks:
            replaced.append(module)
            module.forward = probe(name, module, axis)
        if name in layers.sizes:
            handles.append(module.register_forward_pre_hook(collect(name, axis)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module in replaced:
            del module.forward


def _read(reader: _Call, calls: list[_Call]) -> list[set[tuple[int, int]]]:
    """Return, for each producer's call, its channels with those of the reader that they reach."""
    if not calls:
        return []
    count = reader.value.shape[reader.axis]
    generator = torch.Generator().manual_seed(_SEED)
    weights = torch.rand(reader.value.shape, generator=generator, dtype=reader.value.dtype) + 0.5
    shape = [1] * reader.value.dim()
    shape[reader.axis] = count

    def gradients(code: Tensor, of: list[_Call]) -> list[Tensor]:
        """By channel and place, (C, P) each, of inputs with these weights."""
        outward = weights * code.to(weights.dtype).view(shape)
        found = torch.autograd.grad(
            *(reader.value, [call.value for call in of], outward),
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        return [_some_places(g.movedim(call.axis, 0).flatten(1)) for g, call in zip(found, of)]

    numbers = torch.arange(count)
    bits = range(max(count - 1, 1).bit_length())
    plain = gradients(torch.ones(count), calls)
    coded = [gradients((numbers >> bit & 1) * 2.0 - 1, calls) for bit in bits]
    pairs = [_decode(one, torch.stack(bit)) for one, *bit in zip(plain, *coded)]
    mixed = [number for number, found in enumerate(pairs) if found is None]
    results = [found or set() for found in pairs]
    for index in range(count) if mixed else ():  # several inputs read one place: one by one
        for number, g in zip(mixed, gradients(numbers == index, [calls[n] for n in mixed])):
            hit = (g != 0).any(1).nonzero().flatten().tolist()
            results[number] |= {(channel, index) for channel in hit}
    return results


def _some_places(gradient: Tensor) -> Tensor:
    """Return (C, P) with at most so many places, the same every time: they are all alike."""
    count = gradient.shape[1]
    if count <= _PLACES:
        return gradient
    generator = torch.Generator().manual_seed(_SEED)
    return gradient[:, torch.randint(count, (_PLACES,), generator=generator)]


def _leaves(value: Tensor) -> set[int]:
    """Return the identities of all tensors that a tensor was computed from and need a gradient."""
    found: set[int] = set()
    seen: set[Any] = set()
    nodes = [value.grad_fn] if value.grad_fn is not None else []
    if value.grad_fn is None:
        found.add(id(value))  # a probe itself
    while nodes:
        node = nodes.pop()
        if node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        nodes += [after for after, _ in node.next_functions if after is not None]
    return found


def _decode(plain: Tensor, coded: Tensor) -> set[tuple[int, int]] | None:
    """Return (channel, input) pairs; None if a place of the probe reaches several inputs.

    Args:
        plain: gradients (C, P) for inputs of weight 1.
        coded: the same (bits, C, P) where inputs have the sign of a bit of their number.
    """
    size = plain.abs()
    live = (size > 0) | (coded != 0).any(0)
    clear = ((coded.abs() - size).abs() <= 1e-4 * size).all(0)
    if bool((live & ~clear).any()):
        return None
    ones = coded * plain > 0
    number = (ones * (1 << torch.arange(len(coded)))[:, None, None]).sum(0)
    channel = torch.arange(len(plain))[:, None].expand_as(number)
    pairs = torch.stack((channel[live], number[live]), 1).unique(dim=0)
    return {(int(c), int(n)) for c, n in pairs.tolist()}
