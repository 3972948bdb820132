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

from midframe.ops.backends.torch_splat_divisor import divisor
from midframe.ops.reference import SAFE_EXPONENT

BLOCK = 1 << 18  # numbers in a thread's share of a temporary, which should stay in its cache
FEW = 1 << 15  # pixels below which a call costs more than its work


class _Sources(NamedTuple):
    """Where some images' sources go, all (n, 1, H W).

    Attributes:
        place: of the first corner in a plane with margin.
        u: how far right of the first corner.
        v: how far below it.
        dropped: whether the source counts nowhere.
    """

    place: Tensor
    u: Tensor
    v: Tensor
    dropped: Tensor

    def shares(self) -> list[Tensor]:
        """Return the bilinear shares of the four corners."""
        u, v = 1 - self.u, 1 - self.v
        return [u * v, self.u * v, u.mul_(self.v), v.copy_(self.u).mul_(self.v)]


def forward(
    input: Tensor, flow: Tensor, metric: Tensor | None, mode: str, normalize: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Splat; see `contract.Splat`."""
    batch, channels, height, width = input.shape
    output = input.new_empty(input.shape)
    count = flow.new_empty((batch, 1, height, width) if mode != "sum" else 0)
    shift = flow.new_zeros((batch, 1, height, width) if mode == "soft" else 0)
    value = input.detach().flatten(2)
    for images in _images(batch, height * width):
        sources = _sources(flow[images])
        weight = sources.shares()
        moved = below = None
        if metric is not None:
            if mode == "soft":
                moved = _shift(sources, weight, metric[images])
            if moved is not None:
                shift[images] = below = _inner(moved, height, width)
            factors = _importance(sources, metric[images], moved, mode)
            weight = [share.mul_(factor) for share, factor in zip(weight, factors)]
        under = None
        if mode != "sum":
            count[images] = _scatter(None, sources, weight, flow)
            under, _ = divisor(count[images], below, normalize)
        for group in _groups(channels, weight[0].numel()):
            sums = _scatter(value[images, group], sources, weight, flow)
            if under is None:
                output[images, group] = sums
            else:
                torch.div(sums, under, out=output[images, group])
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
    """Return the gradients; see `contract.Splat`."""
    batch, _, height, width = input.shape
    to_input = input.new_empty(input.shape if needs[0] else 0)
    to_flow = flow.new_empty(flow.shape if needs[1] else 0)
    to_metric = flow.new_empty((batch, 1, height, width) if needs[2] else 0)
    value = input.detach().flatten(2)
    lowered = bool(shift.any()) if shift.numel() else False
    for images in _images(batch, height * width):
        sources = _sources(flow[images])
        share = sources.shares()
        moved, factors, weights = None, None, share
        if lowered:
            moved = _planes(flow, sources.u.shape[0], 1)
            _inner(moved, height, width).copy_(shift[images])
        if metric is not None:
            factors = _importance(sources, metric[images], moved, mode)
            weights = [part * factor for part, factor in zip(share, factors)]
        under = slope = result = None
        if output is not None:
            below = shift[images] if lowered else None
            under, slope = divisor(weight[images], below, normalize)
            result = output[images].detach()
        into = to_input[images].flatten(2) if needs[0] else None
        given = grad[images], value[images], sources, weights, under
        products = _gather(*given, into, any(needs[1:]), result, slope)
        if needs[2]:
            found = torch.zeros_like(sources.u)
            for part, product in zip(share if mode == "linear" else weights, products):
                found.addcmul_(part, product)
            to_metric[images] = found.masked_fill_(sources.dropped, 0).view_as(to_metric[images])
        if needs[1]:
            if factors is not None:
                products = [product.mul_(factor) for product, factor in zip(products, factors)]
            to_flow[images] = _along_flow(sources, products).view_as(to_flow[images])
    return to_input, to_flow, to_metric


def _scatter(
    values: Tensor | None, sources: _Sources, weight: list[Tensor], flow: Tensor
) -> Tensor:
    """Return the sums at targets (n, c, H, W) of the weights times the values (n, c, H W), or 1."""
    height, width = flow.shape[2:]
    shape = weight[0].shape if values is None else values.shape
    place, buffer = sources.place.expand(shape), flow.new_empty(0 if values is None else shape)
    sums = _planes(flow, shape[0], shape[1])
    for at, share in zip(_corners(sums, width), weight):
        part = share if values is None else torch.mul(values, share, out=buffer)
        at.scatter_add_(2, place, part)
    return _inner(sums, height, width)


def _gather(
    grad: Tensor,
    value: Tensor,
    sources: _Sources,
    weight: list[Tensor],
    under: Tensor | None,
    to_input: Tensor | None,
    wanted: bool,
    output: Tensor | None,
    slope: Tensor | None,
) -> list[Tensor]:
    """Fill the gradient of the input (n, C, H W), if not None, and return the corners' products.

    Those are for each corner q the sum over channels of G(q) (value - dD/dN output(q)), with
    G = grad / D; four of (n, 1, H W), zero unless ``wanted``.
    """
    channels, height, width = grad.shape[1:]
    products = [torch.zeros_like(sources.u) for _ in weight]
    lost = _planes(grad, grad.shape[0], 1, sources.u.dtype)
    lost_inner = _inner(lost, height, width)
    for group in _groups(channels, sources.u.numel()):
        own = value[:, group]
        place, buffer = sources.place.expand(own.shape), sources.u.new_empty(own.shape)
        table = _planes(grad, own.shape[0], own.shape[1], sources.u.dtype)
        inner = _inner(table, height, width)
        if under is None:
            inner.copy_(grad[:, group])
        else:
            torch.div(grad[:, group], under, out=inner)
        if output is not None and wanted:
            _add_products(lost_inner, inner, output[:, group])
        found = None if to_input is None else torch.zeros_like(buffer)
        for at, share, product in zip(_corners(table, width), weight, products):
            rows = torch.gather(at, 2, place, out=buffer)
            if found is not None:
                found.addcmul_(rows, share)
            if wanted:
                _add_products(product, rows, own)
        if to_input is not None and found is not None:
            to_input[:, group] = found
    if output is not None and wanted:
        if slope is not None:
            lost_inner *= slope
        for at, product in zip(_corners(lost, width), products):
            product -= at.gather(2, sources.place)
    return products


def _add_products(sums: Tensor, first: Tensor, second: Tensor) -> None:
    """Add the sum over channels of first * second to ``sums`` (n, 1, ...)."""
    if sums.numel() < FEW:
        sums += (first * second).sum(1, keepdim=True)
        return
    for a, b in zip(first.split(1, 1), second.split(1, 1)):
        sums.addcmul_(a, b.to(a.dtype))


def _along_flow(sources: _Sources, products: list[Tensor]) -> Tensor:
    """Return the derivative of sum share_k product_k by u and v (n, 2, H W)."""
    a, b, c, d = products
    right, down = b - a, c - a
    rest = (d - c).sub_(right)
    right.addcmul_(rest, sources.v)
    down.addcmul_(rest, sources.u)
    return torch.cat((right, down), 1).masked_fill_(sources.dropped, 0)


def _images(batch: int, pixels: int) -> Iterator[slice]:
    """Yield images to treat together."""
    several = max(BLOCK // pixels, 1)
    for first in range(0, batch, several):
        yield slice(first, min(first + several, batch))


def _groups(channels: int, pixels: int) -> Iterator[slice]:
    """Yield channels to treat together, so that each thread has some."""
    several = max(BLOCK // pixels, 1) * torch.get_num_threads()
    for first in range(0, channels, several):
        yield slice(first, min(first + several, channels))


def _sources(flow: Tensor) -> _Sources:
    """Find where the sources go."""
    height, width = flow.shape[2:]
    place = flow.detach().clone(memory_format=torch.contiguous_format)
    place[:, 0] += torch.arange(width, dtype=flow.dtype, device=flow.device)
    place[:, 1] += torch.arange(height, dtype=flow.dtype, device=flow.device)[:, None]
    place = place.flatten(2)
    x, y = place.split(1, 1)
    kept = (x >= -1) & (x < width) & (y >= -1) & (y < height)  # never true of NaN
    dropped = kept.logical_not_()
    place.masked_fill_(dropped, 0)
    corner = place.floor()
    u, v = place.sub_(corner).split(1, 1)
    left, top = corner.long().split(1, 1)
    first = torch.add(left, top, alpha=width + 2).add_(width + 3)
    first.masked_fill_(dropped, (height + 2) * (width + 2))
    return _Sources(first, u, v, dropped)


def _planes(like: Tensor, images: int, channels: int, dtype: torch.dtype | None = None) -> Tensor:
    """Return planes with a margin and the spare place, all zero (images, channels, ...)."""
    height, width = like.shape[2:]
    return like.new_zeros(images, channels, (height + 3) * (width + 2) + 2, dtype=dtype)


def _inner(planes: Tensor, height: int, width: int) -> Tensor:
    """Return the view without the margin (n, c, H, W)."""
    inner = planes[..., : (height + 2) * (width + 2)].unflatten(2, (height + 2, width + 2))
    return inner[..., 1:-1, 1:-1]


def _corners(planes: Tensor, width: int) -> list[Tensor]:
    """Return the view for each corner, in which its sources' first corner is its own place."""
    most = planes.shape[2] - width - 3
    return [planes[..., at : at + most] for at in (0, 1, width + 2, width + 3)]


def _importance(
    sources: _Sources, metric: Tensor, lowered: Tensor | None, mode: str
) -> list[Tensor]:
    """Return the sources' importance m at each corner, 0 where they don't count."""
    unimportant = 0 if mode == "linear" else -torch.inf
    own = metric.detach().flatten(2).masked_fill(sources.dropped, unimportant)
    if mode == "linear":
        return [own] * 4
    if lowered is None:
        return [own.clamp_(max=SAFE_EXPONENT).exp_()] * 4
    # outside the image it does not matter by how much: nothing is read from there but zeros
    corners = _corners(lowered, metric.shape[3])
    moved = (own - at.gather(2, sources.place) for at in corners)
    return [x.clamp_(max=SAFE_EXPONENT).exp_() for x in moved]


def _shift(sources: _Sources, shares: list[Tensor], metric: Tensor) -> Tensor | None:
    """Return by how much each target's exponents are lowered, as planes; None if it's nowhere."""
    metric = metric.detach()
    if bool(metric.max() <= SAFE_EXPONENT):
        return None
    above = metric.flatten(2) - SAFE_EXPONENT
    lowered = _planes(metric, metric.shape[0], 1)
    for at, share in zip(_corners(lowered, metric.shape[3]), shares):
        at.scatter_reduce_(2, sources.place, above.masked_fill(~(share > 0), 0), "amax")
    return lowered
