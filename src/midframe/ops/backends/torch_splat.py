"""Splatting in plain PyTorch, for any device and without a tape: weighted sums of pixels' rows.

The forward pass sorts all (source, corner) pairs by target, so that each target is one bag of
`torch.nn.functional.embedding_bag`: no atomics, one order of summation on every device. In the
backward pass each source is a bag of its four targets.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from midframe.ops.reference import EPSILON, SAFE_EXPONENT

BLOCK = 1 << 18  # numbers in a temporary of the CPU, which should stay in its cache


def forward(
    input: Tensor, flow: Tensor, metric: Tensor | None, mode: str, normalize: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Splat; see `midframe.ops.splat`.

    Args:
        input: (N, C, H, W).
        flow: (N, 2, H, W) in float32 or float64, in which all sums are computed.
        metric: (N, 1, H, W) in the flow's dtype, or None.
        mode: "sum", "avg", "linear" or "soft".
        normalize: "addeps", "zeroeps" or "clipeps".

    Returns:
        The output (N, C, H, W) in the input's dtype; the accumulated importance (N, 1, H, W), in
        mode sum empty; by how much exponents are lowered (N, 1, H, W), but in mode soft empty.
    """
    batch, channels, height, width = input.shape
    pixels = height * width
    averaged = mode != "sum"
    everything = slice(0, batch), slice(0, pixels)
    target, (share,), kept = _corners(flow, _grid(flow), everything, derivatives=False)
    lowered = _shift(target, share, metric) if mode == "soft" and metric is not None else None
    importance = _importance(target, kept, metric, lowered, everything, mode)
    share = share if importance is None else share.mul_(importance)
    source, weight, offset = _bags(target, share, batch * pixels)
    del target, share, importance

    # the channel of ones sums up to the accumulated importance
    table = flow.new_ones(batch * pixels + 1, channels + averaged)
    table[-1] = 0
    rows = table[:-1].view(batch, pixels, -1)
    value = input.detach().flatten(2)
    for images, span in _blocks(batch, pixels, channels, input.device):
        _to_rows(value[images, :, span], rows[images, span, :channels])

    total = input.new_empty(batch, channels, pixels)
    count = flow.new_empty(batch if averaged else 0, pixels)
    for images, span in _blocks(batch, pixels, channels, input.device):
        first, last = images.start * pixels + span.start, (images.stop - 1) * pixels + span.stop
        rows = _gather(table, source, weight, offset, first, last)
        rows = rows.view(images.stop - images.start, -1, rows.shape[-1])
        if averaged:
            count[images, span] = rows[..., channels]
            moved = None if lowered is None else lowered.view(batch, pixels)[images, span]
            divisor, _ = _divisor(rows[..., channels], moved, normalize)
            rows = rows[..., :channels] / divisor[..., None]
        total[images, :, span].copy_(rows.transpose(1, 2))

    shift = flow.new_empty(0)
    if mode == "soft":
        shift = flow.new_zeros(batch * pixels) if lowered is None else lowered
        shift = shift.view(batch, 1, height, width)
    count = count.view(batch, 1, height, width) if averaged else flow.new_empty(0)
    return total.view(input.shape), count, shift


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
    """Return the gradients of `forward`'s input, flow and metric.

    Args:
        grad: of the output, in the input's dtype.
        input: as `forward` got it.
        flow: as `forward` got it.
        metric: as `forward` got it.
        output: what `forward` returned; None in mode sum.
        weight: what `forward` returned.
        shift: what `forward` returned.
        mode: as `forward` got it.
        normalize: as `forward` got it.
        needs: which of the three are wanted; the others come back empty.
    """
    batch, channels, height, width = input.shape
    pixels = height * width
    table = _scaled(grad, flow.dtype, output, weight, shift, normalize)
    lowered = shift.reshape(-1) if mode == "soft" else None
    if lowered is not None and lowered.device.type == "cpu" and not lowered.any():
        lowered = None
    value = input.detach().flatten(2)
    to_input = input.new_empty(batch if needs[0] else 0, channels, pixels)
    to_flow = flow.new_empty(batch if needs[1] else 0, 2, pixels)
    to_metric = flow.new_empty(batch if needs[2] else 0, pixels)
    grid, buffer = _grid(flow), flow.new_empty(0)
    for images, span in _blocks(batch, pixels, channels, input.device):
        block = images, span
        target, share, kept = _corners(flow, grid, block, derivatives=needs[1])
        importance = _importance(target, kept, metric, lowered, block, mode)
        if not buffer.numel():  # the first block is the largest
            buffer = flow.new_ones(kept.numel(), table.shape[1])
        own = buffer[: kept.numel()].view(*kept.shape, -1)
        _to_rows(value[images, :, span], own[..., :channels])
        # the metric is the weight of mode linear, and so not part of its own derivative
        plain = importance is None or mode == "linear"
        if needs[2] and plain:
            rows = _interpolate(table, target, share[0]).view_as(own)
            to_metric[block] = torch.linalg.vecdot(rows, own).masked_fill_(~kept, 0)
        if importance is not None:
            share = [x.mul_(importance) for x in share]
        if needs[0] or (needs[2] and not plain):
            rows = _interpolate(table, target, share[0]).view_as(own)
            if needs[0]:
                part = rows[..., :channels].contiguous()  # which is faster to transpose
                to_input[images, :, span].copy_(part.transpose(1, 2))
            if needs[2] and not plain:
                to_metric[block] = torch.linalg.vecdot(rows, own).masked_fill_(~kept, 0)
        for axis, change in enumerate(share[1:]):
            rows = _interpolate(table, target, change).view_as(own)
            found = torch.linalg.vecdot(rows, own).masked_fill_(~kept, 0)
            to_flow[images, axis, span] = found
    return (
        to_input.view(input.shape) if needs[0] else to_input.view(-1),
        to_flow.view(flow.shape) if needs[1] else to_flow.view(-1),
        to_metric.view(batch, 1, height, width) if needs[2] else to_metric.view(-1),
    )


def _blocks(
    batch: int, pixels: int, channels: int, device: torch.device
) -> Iterator[tuple[slice, slice]]:
    """Yield (images, pixels): some whole images or a part of one; on a GPU all at once."""
    if device.type != "cpu":
        yield slice(0, batch), slice(0, pixels)
        return
    most = max(BLOCK // max(channels, 16), 64)
    if pixels <= most:
        several = most // pixels
        for first in range(0, batch, several):
            yield slice(first, min(first + several, batch)), slice(0, pixels)
        return
    for image in range(batch):
        for first in range(0, pixels, most):
            yield slice(image, image + 1), slice(first, min(first + most, pixels))


def _to_rows(planes: Tensor, rows: Tensor) -> None:
    """Copy (n, channels, p) into (n, p, channels)."""
    if planes.device.type == "cpu" and planes.stride(2) == 1:
        # planes are often a power of two apart, and then evict each other from the cache
        near = rows.new_empty(*planes.shape[:2], planes.shape[2] + 16)[..., :-16]
        planes = near.copy_(planes)
    rows.copy_(planes.transpose(1, 2))


def _grid(flow: Tensor) -> Tensor:
    """Return the sources' own coordinates, x and y (2, H W)."""
    height, width = flow.shape[2:]
    x = torch.arange(width, dtype=flow.dtype, device=flow.device)
    y = torch.arange(height, dtype=flow.dtype, device=flow.device)[:, None]
    return torch.stack((x.expand(height, width), y.expand(height, width))).flatten(1)


def _corners(
    flow: Tensor, grid: Tensor, block: tuple[slice, slice], derivatives: bool
) -> tuple[Tensor, list[Tensor], Tensor]:
    """Find the four corners of each source in a block, in the order of their addresses.

    Returns:
        The corners' rows (n, p, 4), N H W where a corner is dropped; their bilinear shares
        (n, p, 4) and, if wanted, the shares' derivatives by u and by v, anything where dropped;
        whether the source counts at all (n, p).
    """
    batch, _, height, width = flow.shape
    images, span = block
    kind = torch.int32 if 4 * batch * height * width < 2**31 else torch.int64
    place = flow.detach().flatten(2)[images, :, span] + grid[:, span]
    x, y = place.unbind(1)
    kept = (x >= -1) & (x < width) & (y >= -1) & (y < height)  # never true of NaN
    place.masked_fill_(~kept[:, None], 0)
    corner = place.floor()
    u, v = place.sub_(corner).unbind(1)
    left, top = corner.to(kind).unbind(1)
    first = torch.arange(images.start, images.stop, device=flow.device, dtype=kind)[:, None]
    corner = (first * height + top) * width + left
    west, east = kept & (left >= 0), kept & (left < width - 1)
    north, south = top >= 0, top < height - 1
    nowhere = batch * height * width
    inside = _side_by_side(west & north, east & north, west & south, east & south)
    target = _side_by_side(corner, corner + 1, corner + width, corner + (width + 1))
    target.masked_fill_(inside.logical_not_(), nowhere)
    u_, v_ = 1 - u, 1 - v
    share = [_side_by_side(u_ * v_, u * v_, u_ * v, u * v)]
    if derivatives:
        share += [_side_by_side(-v_, v_, -v, v), _side_by_side(-u_, -u, u_, u)]
    return target, share, kept


def _side_by_side(*planes: Tensor) -> Tensor:
    """Stack along a last dimension: what torch.stack does, five times as fast on the CPU."""
    out = planes[0].new_empty(*planes[0].shape, len(planes))
    for number, plane in enumerate(planes):
        out[..., number].copy_(plane)
    return out


def _importance(
    target: Tensor,
    kept: Tensor,
    metric: Tensor | None,
    lowered: Tensor | None,
    block: tuple[slice, slice],
    mode: str,
) -> Tensor | None:
    """Return each source's m (n, p, 1), or (n, p, 4) where it depends on the target, or None."""
    if metric is None:
        return None
    images, span = block
    own = metric.detach().flatten(1)[images, span].masked_fill(~kept, 0)[..., None]
    if mode == "linear":
        return own
    if lowered is not None:
        lowered = F.pad(lowered, (0, 1))  # the row of the dropped corners
        own = own - lowered.index_select(0, target.flatten()).view(target.shape)
    return own.clamp(max=SAFE_EXPONENT).exp() * kept[..., None]


def _shift(target: Tensor, share: Tensor, metric: Tensor) -> Tensor | None:
    """Return by how much each target's exponents are lowered (N H W), None if it's nowhere."""
    metric = metric.detach()
    if metric.device.type == "cpu" and bool(metric.max() <= SAFE_EXPONENT):
        return None
    above = (metric.flatten(1)[..., None] - SAFE_EXPONENT).expand_as(share)
    above = above.masked_fill(~(share > 0), 0).flatten()
    lowered = metric.new_zeros(metric.numel() + 1)
    lowered.scatter_reduce_(0, target.flatten().long(), above, "amax")
    return lowered[:-1]


def _bags(target: Tensor, share: Tensor, targets: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sort the pairs of source and corner by target.

    Returns:
        The sources and shares of all pairs (4 N H W), those of the first target first; where
        each target's begin, and where the last one's end (N H W + 1).
    """
    key, share = target.flatten(), share.flatten()
    dropped = None
    if key.device.type != "cpu":
        # there the last bag takes all that is left: the dropped pairs go to any bag, as zeros
        dropped = key == targets
        place = torch.arange(4 * targets, dtype=key.dtype, device=key.device) >> 2
        key, share = torch.where(dropped, place, key), share.masked_fill(dropped, 0)
    _, order = key.sort(stable=True)
    many = torch.zeros(targets + 2, dtype=key.dtype, device=key.device)
    many.scatter_add_(0, key.long() + 1, torch.ones_like(key))
    offset = many.cumsum(0, dtype=key.dtype)[: targets + 1]
    source = (order >> 2).to(key.dtype)
    if dropped is not None:
        source.masked_fill_(dropped.index_select(0, order), targets)
    return source, share.index_select(0, order), offset


def _gather(
    table: Tensor, source: Tensor, weight: Tensor, offset: Tensor, first: int, last: int
) -> Tensor:
    """Return the sums of the bags ``first`` to ``last``, (last - first, channels)."""
    begin, end = 0, source.numel()
    bounds = offset[first : last + 1]
    if bounds.numel() < offset.numel():
        begin, end = int(bounds[0]), int(bounds[-1])
        bounds = bounds - begin
    elif offset.device.type == "cpu":
        end = int(bounds[-1])
    return F.embedding_bag(
        source[begin:end],
        table,
        bounds,
        per_sample_weights=weight[begin:end],
        mode="sum",
        include_last_offset=True,
    )


def _interpolate(table: Tensor, target: Tensor, share: Tensor) -> Tensor:
    """Return the sums of four rows of the table each, (n p, channels)."""
    return F.embedding_bag(
        target.flatten(0, 1), table, per_sample_weights=share.flatten(0, 1), mode="sum"
    )


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
    pixels = height * width
    averaged = output is not None
    table = grad.new_empty(batch * pixels + 1, channels + averaged, dtype=dtype)
    table[-1] = 0
    rows = table[:-1].view(batch, pixels, -1)
    grad = grad.flatten(2)
    for images, span in _blocks(batch, pixels, channels, grad.device):
        part, into = grad[images, :, span], rows[images, span]
        _to_rows(part, into[..., :channels])
        if output is None:
            continue
        moved = shift.flatten(1)[images, span] if shift.numel() else None
        divisor, slope = _divisor(weight.flatten(1)[images, span], moved, normalize)
        result = output.detach().flatten(2)[images, :, span]
        lost = (part.to(dtype) * result.to(dtype)).sum(1)
        into[..., channels] = -lost if slope is None else -lost * slope
        into /= divisor[..., None]
    return table


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
