"""Splatting in plain PyTorch on a CPU, plane by plane and without a tape: scatter and gather.

Targets lie in planes with a margin of one pixel all around, and a spare place behind them for the
sources that count nowhere. So no corner needs a test: all four are one index into shifted planes,
and what falls on the margin is cut off.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from midframe.ops.reference import EPSILON, SAFE_EXPONENT

BLOCK = 1 << 18  # pixels in a temporary of one channel, at most, where images are small
GROUP = 4  # channels at a time


class _Sources(NamedTuple):
    """Where some images' sources go, all (n, 1, H W).

    Attributes:
        place: of the first corner in a plane with margin.
        u: how far right of the first corner.
        v: how far below it.
        kept: whether the source counts.
    """

    place: Tensor
    u: Tensor
    v: Tensor
    kept: Tensor

    def shares(self) -> list[Tensor]:
        """Return the bilinear shares of the four corners."""
        u, v = 1 - self.u, 1 - self.v
        return [u * v, self.u * v, u.mul_(self.v), v.copy_(self.u).mul_(self.v)]


def forward(
    input: Tensor, flow: Tensor, metric: Tensor | None, mode: str, normalize: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Splat; the arguments and results are those of `torch_splat.forward`."""
    batch, channels, height, width = input.shape
    pixels = height * width
    output = input.new_empty(input.shape)
    count = flow.new_empty((batch, 1, height, width) if mode != "sum" else 0)
    shift = flow.new_zeros((batch, 1, height, width) if mode == "soft" else 0)
    value, grid = input.detach().flatten(2), _grid(flow)
    for images in _images(batch, pixels):
        sources = _sources(flow[images], grid)
        weight = sources.shares()
        lowered = None
        if mode == "soft" and metric is not None:
            lowered = _shift(sources, weight, metric[images], height, width)
            if lowered is not None:
                shift[images] = _inner(lowered, height, width)
        _weigh(weight, sources, metric, lowered, images, mode)
        divisor = None
        if mode != "sum":
            sums = _planes(flow, weight[0].shape[0], 1)
            for at, share in zip(_corners(sums, width), weight):
                at.scatter_add_(2, sources.place, share)
            inner = _inner(sums, height, width)
            count[images] = inner
            moved = None if lowered is None else shift[images]
            divisor, _ = _divisor(count[images], moved, normalize)
        buffer = flow.new_empty(0)
        for group in _groups(channels):
            part = value[images, group]
            place = sources.place.expand(part.shape)
            sums = _planes(flow, *part.shape[:2])
            for at, share in zip(_corners(sums, width), weight):
                torch.mul(part, share, out=buffer.resize_(part.shape))
                at.scatter_add_(2, place, buffer)
            inner = _inner(sums, height, width)
            into = output[images, group]
            if divisor is None:
                into.copy_(inner)
            else:
                torch.div(inner, divisor, out=into)
    return output, count, shift


def backward(
    grad: Tensor,
    input: Tensor,
    flow: Tensor,
    metric: Tensor | None,
    output: Tensor | None,
    weight: Tensor,
    shift: Tensor,
    mode: str,
    normalize: str,
    needs: tuple[bool, bool, bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients, as `torch_splat.backward` does of the same arguments."""
    batch, channels, height, width = input.shape
    pixels = height * width
    to_input = input.new_empty(input.shape if needs[0] else 0)
    to_flow = flow.new_empty(flow.shape if needs[1] else 0)
    to_metric = flow.new_empty((batch, 1, height, width) if needs[2] else 0)
    value, grid = input.detach().flatten(2), _grid(flow)
    moved = shift if shift.numel() and bool(shift.any()) else None
    for images in _images(batch, pixels):
        sources = _sources(flow[images], grid)
        own = value[images]
        shares = sources.shares()
        importance = [x.clone() for x in shares]
        lowered = None
        if moved is not None:
            lowered = _planes(flow, own.shape[0], 1)
            _inner(lowered, height, width).copy_(moved[images])
        factors = _weigh(importance, sources, metric, lowered, images, mode)
        divisor = slope = lost = None
        if output is not None:
            part = None if moved is None else moved[images]
            divisor, slope = _divisor(weight[images], part, normalize)
        products = [flow.new_zeros(sources.u.shape) for _ in range(4)]
        buffer = flow.new_empty(0)
        if output is not None and any(needs[1:]):
            lost = flow.new_zeros(own.shape[0], 1, height, width)
        for group in _groups(channels):
            part = own[:, group]
            table = _planes(flow, *part.shape[:2])
            inner = _inner(table, height, width)
            if divisor is None:
                inner.copy_(grad[images, group])
            else:
                torch.div(grad[images, group], divisor, out=inner)
            if lost is not None:
                for channel, its in enumerate(output[images, group].unbind(1)):
                    lost[:, 0].addcmul_(inner[:, channel], its.to(lost.dtype))
            place = sources.place.expand(part.shape)
            found = None
            if needs[0]:
                found = flow.new_zeros(part.shape)
            part = part.to(flow.dtype)
            for at, share, product in zip(_corners(table, width), importance, products):
                rows = torch.gather(at, 2, place, out=buffer.resize_(part.shape))
                if found is not None:
                    found.addcmul_(rows, share)
                if any(needs[1:]):
                    for channel in range(part.shape[1]):
                        product[:, 0].addcmul_(rows[:, channel], part[:, channel])
            if found is not None:
                to_input[images, group] = found.view(found.shape[:2] + (height, width))
        if lost is not None:
            table = _planes(flow, own.shape[0], 1)
            inner = _inner(table, height, width)
            inner.copy_(lost if slope is None else lost * slope)
            for at, product in zip(_corners(table, width), products):
                product -= at.gather(2, sources.place)
        if needs[2]:
            total = flow.new_zeros(sources.u.shape)
            for share, product in zip(shares if mode == "linear" else importance, products):
                total.addcmul_(share, product)
            to_metric[images] = total.masked_fill_(~sources.kept, 0).view(-1, 1, height, width)
        if needs[1]:
            if factors is not None:
                for product, factor in zip(products, factors):
                    product *= factor
            a, b, c, d = products
            right, down = b - a, c - a
            rest = (d - c).sub_(right)
            right.addcmul_(rest, sources.v).masked_fill_(~sources.kept, 0)
            down.addcmul_(rest, sources.u).masked_fill_(~sources.kept, 0)
            to_flow[images, 0] = right.view(-1, height, width)
            to_flow[images, 1] = down.view(-1, height, width)
    return to_input, to_flow, to_metric


def _images(batch: int, pixels: int) -> Iterator[slice]:
    """Yield images to treat together."""
    several = max(BLOCK // pixels, 1)
    for first in range(0, batch, several):
        yield slice(first, min(first + several, batch))


def _groups(channels: int) -> Iterator[slice]:
    """Yield channels to treat together."""
    for first in range(0, channels, GROUP):
        yield slice(first, min(first + GROUP, channels))


def _grid(flow: Tensor) -> Tensor:
    """Return the sources' own coordinates, x and y (2, H W)."""
    height, width = flow.shape[2:]
    x = torch.arange(width, dtype=flow.dtype, device=flow.device)
    y = torch.arange(height, dtype=flow.dtype, device=flow.device)[:, None]
    return torch.stack((x.expand(height, width), y.expand(height, width))).flatten(1)


def _sources(flow: Tensor, grid: Tensor) -> _Sources:
    """Find where the sources go."""
    height, width = flow.shape[2:]
    place = flow.detach().flatten(2) + grid
    x, y = place.split(1, 1)
    kept = (x >= -1) & (x < width) & (y >= -1) & (y < height)  # never true of NaN
    place.masked_fill_(~kept, 0)
    corner = place.floor()
    u, v = place.sub_(corner).split(1, 1)
    left, top = corner.long().split(1, 1)
    first = torch.add(left, top, alpha=width + 2).add_(width + 3)
    first.masked_fill_(~kept, (height + 2) * (width + 2))
    return _Sources(first, u, v, kept)


def _planes(flow: Tensor, images: int, channels: int) -> Tensor:
    """Return planes with a margin and the spare place, all zero (images, channels, ...)."""
    height, width = flow.shape[2:]
    return flow.new_zeros(images, channels, (height + 3) * (width + 2) + 2)


def _inner(planes: Tensor, height: int, width: int) -> Tensor:
    """Return the view without the margin (n, c, H, W)."""
    inner = planes[..., : (height + 2) * (width + 2)].unflatten(2, (height + 2, width + 2))
    return inner[..., 1:-1, 1:-1]


def _corners(planes: Tensor, width: int) -> list[Tensor]:
    """Return the view for each corner, in which its sources' first corner is its own place."""
    most = planes.shape[2] - width - 3
    return [planes[..., at : at + most] for at in (0, 1, width + 2, width + 3)]


def _weigh(
    weight: list[Tensor],
    sources: _Sources,
    metric: Tensor | None,
    lowered: Tensor | None,
    images: slice,
    mode: str,
) -> list[Tensor] | None:
    """Multiply the corners' shares by the sources' importance, and return that."""
    if metric is None:
        return None
    own = metric[images].detach().flatten(2).masked_fill(~sources.kept, 0)
    if mode == "linear":
        factors = [own] * 4
    elif lowered is None:
        factors = [own.clamp_(max=SAFE_EXPONENT).exp_()] * 4
    else:
        width = metric.shape[3]
        factors = [
            (own - at.gather(2, sources.place)).clamp_(max=SAFE_EXPONENT).exp_()
            for at in _corners(lowered, width)
        ]
    for share, factor in zip(weight, factors):
        share.mul_(factor)
    return factors


def _shift(
    sources: _Sources, shares: list[Tensor], metric: Tensor, height: int, width: int
) -> Tensor | None:
    """Return by how much each target's exponents are lowered, as planes; None if it's nowhere."""
    metric = metric.detach()
    if bool(metric.max() <= SAFE_EXPONENT):
        return None
    above = metric.flatten(2) - SAFE_EXPONENT
    lowered = _planes(metric, metric.shape[0], 1)
    for at, share in zip(_corners(lowered, width), shares):
        at.scatter_reduce_(2, sources.place, above.masked_fill(~(share > 0), 0), "amax")
    return lowered


def _divisor(count: Tensor, lowered: Tensor | None, normalize: str) -> tuple[Tensor, Tensor | None]:
    """Return D of the accumulated importance, and dD/dN (None where it is one all over)."""
    if normalize == "zeroeps":
        return count.masked_fill(count == 0, 1), (count != 0).to(count.dtype)
    epsilon = torch.full_like(count, EPSILON)
    if lowered is not None:
        epsilon *= torch.exp(-lowered)
    if normalize == "addeps":
        divisor, slope = count + epsilon, None
    else:
        divisor, slope = torch.maximum(count, epsilon), (count >= epsilon).to(count.dtype)
    return divisor.masked_fill_(divisor == 0, 1), slope
