"""Splatting in plain PyTorch on a GPU, without a tape: weighted sums of pixels' rows.

The forward pass sorts all (source, corner) pairs by target, so that each target is one bag of
`torch.nn.functional.embedding_bag`: no atomics, one order of summation, and the host
never waits. In the backward pass each source is a bag of its four targets.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from midframe.ops.backends.torch_splat_divisor import divisor
from midframe.ops.reference import SAFE_EXPONENT


def forward(
    input: Tensor, flow: Tensor, metric: Tensor | None, mode: str, normalize: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Splat; see `contract.Splat`."""
    batch, channels, height, width = input.shape
    pixels = height * width
    averaged = mode != "sum"
    target, (share,), kept = _corners(flow, derivatives=False)
    lowered = _shift(target, share, metric) if mode == "soft" and metric is not None else None
    importance = _importance(target, kept, metric, lowered, mode)
    share = share if importance is None else share.mul_(importance)
    source, weight, offset = _bags(target, share, batch * pixels)
    del target, share, importance

    # the channel of ones sums up to the accumulated importance
    table = flow.new_ones(batch * pixels + 1, channels + averaged)
    table[-1] = 0
    table[:-1, :channels].view(batch, pixels, channels).copy_(_rows(input))
    rows = F.embedding_bag(
        source, table, offset, per_sample_weights=weight, mode="sum", include_last_offset=True
    ).view(batch, pixels, -1)
    del table

    output = input.new_empty(batch, channels, pixels)
    shift = flow.new_empty(0) if lowered is None else lowered.view(batch, 1, height, width)
    count = flow.new_empty(0)
    if averaged:
        count = rows[..., channels].contiguous()
        moved = None if lowered is None else lowered.view(batch, pixels)
        under, _ = divisor(count, moved, normalize)
        count = count.view(batch, 1, height, width)
        rows = rows[..., :channels] / under[..., None]
    output.copy_(rows.transpose(1, 2))
    return output.view(input.shape), count, shift


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
    batch, channels, height, width = input.shape
    table = _scaled(grad, flow.dtype, output, weight, shift, normalize)
    lowered = shift.reshape(-1) if mode == "soft" else None
    target, share, kept = _corners(flow, derivatives=needs[1])
    importance = _importance(target, kept, metric, lowered, mode)
    own = flow.new_ones(*kept.shape, table.shape[1])
    own[..., :channels] = _rows(input)
    to_input, to_metric = input.new_empty(0), flow.new_empty(0)
    # the metric is the weight of mode linear, and so not part of its own derivative
    plain = importance is None or mode == "linear"
    if needs[2] and plain:
        to_metric = _products(table, target, share[0], own, kept)
    if importance is not None:
        share = [x.mul_(importance) for x in share]
    if needs[0]:
        rows = _interpolate(table, target, share[0]).view_as(own)[..., :channels]
        to_input = input.new_empty(batch, channels, height * width).copy_(rows.transpose(1, 2))
    if needs[2] and not plain:
        to_metric = _products(table, target, share[0], own, kept)
    changes = [_products(table, target, change, own, kept) for change in share[1:]]
    return (
        to_input.view(input.shape) if needs[0] else to_input,
        torch.stack(changes, 1).view(flow.shape) if needs[1] else flow.new_empty(0),
        to_metric.view(batch, 1, height, width) if needs[2] else to_metric,
    )


def _rows(planes: Tensor) -> Tensor:
    """Return the view (N, H W, C) of (N, C, H, W)."""
    return planes.detach().flatten(2).transpose(1, 2)


def _grid(flow: Tensor) -> Tensor:
    """Return the sources' own coordinates, x and y (2, H W)."""
    height, width = flow.shape[2:]
    x = torch.arange(width, dtype=flow.dtype, device=flow.device)
    y = torch.arange(height, dtype=flow.dtype, device=flow.device)[:, None]
    return torch.stack((x.expand(height, width), y.expand(height, width))).flatten(1)


def _corners(flow: Tensor, derivatives: bool) -> tuple[Tensor, list[Tensor], Tensor]:
    """Find the four corners of each source, in the order of their addresses.

    Returns:
        The corners' rows (n, p, 4), N H W where a corner is dropped; their bilinear shares
        (n, p, 4) and, if wanted, the shares' derivatives by u and by v, anything where dropped;
        whether the source counts at all (n, p).
    """
    batch, _, height, width = flow.shape
    kind = torch.int32 if 4 * batch * height * width < 2**31 else torch.int64
    place = flow.detach().flatten(2) + _grid(flow)
    x, y = place.unbind(1)
    kept = (x >= -1) & (x < width) & (y >= -1) & (y < height)  # never true of NaN
    place.masked_fill_(~kept[:, None], 0)
    corner = place.floor()
    u, v = place.sub_(corner).unbind(1)
    left, top = corner.to(kind).unbind(1)
    first = torch.arange(batch, device=flow.device, dtype=kind)[:, None]
    corner = (first * height + top) * width + left
    west, east = kept & (left >= 0), kept & (left < width - 1)
    north, south = top >= 0, top < height - 1
    nowhere = batch * height * width
    inside = torch.stack((west & north, east & north, west & south, east & south), -1)
    target = torch.stack((corner, corner + 1, corner + width, corner + (width + 1)), -1)
    target.masked_fill_(inside.logical_not_(), nowhere)
    u_, v_ = 1 - u, 1 - v
    share = [torch.stack((u_ * v_, u * v_, u_ * v, u * v), -1)]
    if derivatives:
        share += [torch.stack((-v_, v_, -v, v), -1), torch.stack((-u_, -u, u_, u), -1)]
    return target, share, kept


def _importance(
    target: Tensor,
    kept: Tensor,
    metric: Tensor | None,
    lowered: Tensor | None,
    mode: str,
) -> Tensor | None:
    """Return each source's m (n, p, 1), or (n, p, 4) where it depends on the target, or None."""
    if metric is None:
        return None
    own = metric.detach().flatten(1).masked_fill(~kept, 0)[..., None]
    if mode == "linear":
        return own
    if lowered is not None:
        lowered = F.pad(lowered, (0, 1))  # the row of the dropped corners
        own = own - lowered.index_select(0, target.flatten()).view(target.shape)
    return own.clamp(max=SAFE_EXPONENT).exp() * kept[..., None]


def _shift(target: Tensor, share: Tensor, metric: Tensor) -> Tensor:
    """Return by how much each target's exponents are lowered (N H W)."""
    metric = metric.detach()
    above = (metric.flatten(1)[..., None] - SAFE_EXPONENT).expand_as(share)
    above = above.masked_fill(~(share > 0), 0).flatten()
    lowered = metric.new_zeros(metric.numel() + 1)
    lowered.scatter_reduce_(0, target.flatten().long(), above, "amax")
    return lowered[:-1].clone()  # its storage is kept for the gradient


def _bags(target: Tensor, share: Tensor, targets: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sort the pairs of source and corner by target.

    Returns:
        The sources and shares of all pairs (4 N H W), those of the first target first; where
        each target's begin, and where the last one's end (N H W + 1).
    """
    key, share = target.flatten(), share.flatten()
    # the last bag takes all that is left: the dropped pairs go to any bag, as zeros
    dropped = key == targets
    place = torch.arange(4 * targets, dtype=key.dtype, device=key.device) >> 2
    key, share = torch.where(dropped, place, key), share.masked_fill(dropped, 0)
    _, order = key.sort(stable=True)
    many = torch.zeros(targets + 2, dtype=key.dtype, device=key.device)
    many.scatter_add_(0, key.long() + 1, torch.ones_like(key))
    offset = many.cumsum(0, dtype=key.dtype)[: targets + 1]
    source = (order >> 2).to(key.dtype)
    source.masked_fill_(dropped.index_select(0, order), targets)
    return source, share.index_select(0, order), offset


def _interpolate(table: Tensor, target: Tensor, share: Tensor) -> Tensor:
    """Return the sums of four rows of the table each, (n p, channels)."""
    return F.embedding_bag(
        target.flatten(0, 1), table, per_sample_weights=share.flatten(0, 1), mode="sum"
    )


def _products(table: Tensor, target: Tensor, share: Tensor, own: Tensor, kept: Tensor) -> Tensor:
    """Return the products of the sources' rows with `_interpolate`'s (n, p), 0 where dropped."""
    rows = _interpolate(table, target, share).view_as(own)
    return torch.linalg.vecdot(rows, own).masked_fill_(~kept, 0)


def _scaled(
    grad: Tensor,
    dtype: torch.dtype,
    output: Tensor | None,
    weight: Tensor,
    shift: Tensor,
    normalize: str,
) -> Tensor:
    """Return G = grad / D as rows, the last one of zeros: (N H W + 1, channels).

    Where the sums were divided there is one channel more, minus the sum of G dD/dN output: what a
    pixel's importance changes in D.
    """
    batch, channels, height, width = grad.shape
    averaged = output is not None
    table = grad.new_empty(batch * height * width + 1, channels + averaged, dtype=dtype)
    table[-1] = 0
    rows = table[:-1].view(batch, height * width, -1)
    rows[..., :channels] = _rows(grad)
    if output is not None:
        moved = shift.flatten(1) if shift.numel() else None
        under, slope = divisor(weight.flatten(1), moved, normalize)
        lost = (grad.to(dtype) * output.detach().to(dtype)).sum(1).flatten(1)
        rows[..., channels] = -lost if slope is None else -lost * slope
        rows /= under[..., None]
    return table
