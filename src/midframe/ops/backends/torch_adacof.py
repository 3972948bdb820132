"""AdaCoF in plain PyTorch, for any device and without a tape: block after block of pixels.

To clamp each corner to the image is to read an image with a replicated border of one pixel at a
clamped cell: one index then serves all four corners, each in its own shifted view of that image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 1 << 17  # numbers in a temporary of the CPU, which should stay in its cache
LARGEST = 1 << 26  # the same elsewhere
FARTHEST = 2.0**24  # the bound of an offset, so that it fits an index


def forward(image: Tensor, weight: Tensor, alpha: Tensor, beta: Tensor, dilation: int) -> Tensor:
    """Sum the taps; see `contract.AdaCoF`."""
    batch, _, height, width = weight.shape
    source = _bordered(image)
    table = source.permute(0, 2, 3, 1).flatten(1, 2).contiguous()
    out = image.new_empty(batch, image.shape[1], height * width)
    weight, alpha, beta = (x.detach().flatten(2) for x in (weight, alpha, beta))
    origin = _origins(weight, width, dilation, source.dtype)
    for number, span in _blocks(weight):
        # the taps of a pixel side by side, as one bag
        share, down, right = (
            _to_rows(planes[number, :, span], source.dtype) for planes in (weight, alpha, beta)
        )
        cell, v, u = _cells(down, right, [(x[0][span, None], x[1]) for x in origin], source)
        rows: Tensor | None = None
        for start, part in zip(_corners(source), _quarters(share, v, u)):
            shifted = table[number, start:]
            found = F.embedding_bag(cell, shifted, per_sample_weights=part, mode="sum")
            rows = found if rows is None else rows.add_(found)
        if rows is not None:
            out[number, :, span] = rows.t()
    return out.view(batch, -1, height, width)


def backward(
    grad: Tensor,
    image: Tensor,
    weight: Tensor,
    alpha: Tensor,
    beta: Tensor,
    dilation: int,
    needs: tuple[bool, bool, bool, bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients; see `contract.AdaCoF`."""
    source = _bordered(image)
    shape, width = weight.shape, weight.shape[3]
    to_source = torch.zeros_like(source) if needs[0] else None
    found = [weight.new_empty(shape if need else 0) for need in needs[1:]]
    planes = [x.flatten(2) if x.numel() else None for x in found]
    grad, weight, alpha, beta = (x.detach().flatten(2) for x in (grad, weight, alpha, beta))
    origin = _origins(weight, width, dilation, source.dtype)
    for number, span in _blocks(weight):
        g, share, down, right = (
            x[number, :, span].to(source.dtype) for x in (grad, weight, alpha, beta)
        )
        place = [(x[0][span], x[1][:, None]) for x in origin]
        cell, v, u = _cells(down, right, place, source)
        if to_source is not None:
            _scatter(to_source[number], cell, g, _quarters(share, v, u))
        if any(needs[1:]):
            for into, plane in zip(planes, _slopes(source[number], cell, g, share, v, u)):
                if into is not None:
                    into[number, :, span] = plane
    to_image = image.new_empty(0) if to_source is None else _unbordered(to_source).to(image.dtype)
    return to_image, found[0], found[1], found[2]


def _blocks(weight: Tensor) -> Iterator[tuple[int, slice]]:
    """Yield the number of an image and a range of its pixels."""
    batch, taps, pixels = weight.shape
    most = max((BLOCK if weight.device.type == "cpu" else LARGEST) // taps, 64)
    for number in range(batch):
        for first in range(0, pixels, most):
            yield number, slice(first, min(first + most, pixels))


def _bordered(image: Tensor) -> Tensor:
    """Return the image in the dtype of the sums, with a border of one pixel."""
    dtype = torch.promote_types(image.dtype, torch.float32)
    return F.pad(image.detach().to(dtype), (1, 1, 1, 1), mode="replicate").contiguous()


def _unbordered(grad: Tensor) -> Tensor:
    """Return the gradient of the image of that of the image with its border."""
    grad[:, :, 1] += grad[:, :, 0]
    grad[:, :, -2] += grad[:, :, -1]
    grad[..., 1] += grad[..., 0]
    grad[..., -2] += grad[..., -1]
    return grad[:, :, 1:-1, 1:-1].contiguous()


def _corners(source: Tensor) -> tuple[int, int, int, int]:
    """Return where, from a cell's index on, its four pixels are."""
    pitch = source.shape[-1]
    return 0, 1, pitch, pitch + 1


def _to_rows(planes: Tensor, dtype: torch.dtype) -> Tensor:
    """Return (p, k * k) of (k * k, p)."""
    if planes.device.type == "cpu":
        # planes are often a power of two apart, and then evict each other from the cache
        near = planes.new_empty(planes.shape[0], planes.shape[1] + 16, dtype=dtype)[:, :-16]
        planes = near.copy_(planes)
    return planes.to(dtype).t().contiguous()


def _origins(
    weight: Tensor, width: int, dilation: int, dtype: torch.dtype
) -> list[tuple[Tensor, Tensor]]:
    """Return a tap's place in the bordered image before it is moved, first y, then x.

    Each as two summands: of the pixel (H W) and of the tap (k * k).
    """
    taps, pixels = weight.shape[1:]
    side = math.isqrt(taps)
    y = torch.arange(pixels // width, dtype=dtype, device=weight.device)[:, None]
    x = torch.arange(width, dtype=dtype, device=weight.device)
    tap = torch.arange(side, dtype=dtype, device=weight.device) * dilation + 1
    return [
        ((y + 0 * x).flatten(), tap.repeat_interleave(side)),
        ((0 * y + x).flatten(), tap.repeat(side)),
    ]


def _cells(
    down: Tensor, right: Tensor, origin: list[tuple[Tensor, Tensor]], source: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the index of the cell that each tap falls into, and its place there, v and u."""
    part, index = [], []
    for offset, place, size in zip((down, right), origin, source.shape[-2:]):
        whole = _truncate(offset)
        part.append(offset - whole)
        index.append(whole.add_(place[0]).add_(place[1]).clamp_(0, size - 2).int())
    return index[0].mul_(source.shape[-1]).add_(index[1]), part[0], part[1]


def _truncate(offset: Tensor) -> Tensor:
    """Return the whole part, toward zero, bounded so that it fits an index; 0 of NaN."""
    whole = offset.clamp(-FARTHEST, FARTHEST)
    if offset.device.type != "cpu" or math.isnan(float(whole.sum())):  # it is slow on the CPU
        whole.nan_to_num_(0.0)
    return whole.int().to(whole.dtype)  # trunc() takes ten times as long on the CPU


def _quarters(share: Tensor, v: Tensor, u: Tensor) -> Iterator[Tensor]:
    """Yield the corners' shares of a tap, in the order of `_corners`."""
    for across in ((1 - v) * share, v * share):
        yield (1 - u) * across
        yield u * across


def _slopes(
    source: Tensor, cell: Tensor, grad: Tensor, share: Tensor, v: Tensor, u: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of one image's weight, alpha and beta (k * k, p)."""
    flat, index = source.flatten(1), cell.flatten()
    dot = []
    for start in _corners(source):
        total = share.new_zeros(share.shape)
        for plane, g in zip(flat, grad):
            total.addcmul_(plane[start:].index_select(0, index).view(cell.shape), g)
        dot.append(total)
    # between the left pixels and the right ones, above and below
    above, below = torch.lerp(dot[0], dot[1], u), torch.lerp(dot[2], dot[3], u)
    to_weight = torch.lerp(above, below, v)
    to_alpha = below.sub_(above).mul_(share)
    to_beta = torch.lerp(dot[1] - dot[0], dot[3] - dot[2], v).mul_(share)
    return to_weight, to_alpha, to_beta


def _scatter(into: Tensor, cell: Tensor, grad: Tensor, quarters: Iterator[Tensor]) -> None:
    """Add to one image's gradient (C, H, W) what its pixels gave to the output."""
    channels = into.shape[0]
    flat = into.flatten(1)
    index = cell.flatten().long().expand(channels, -1)
    for start, part in zip(_corners(into), quarters):
        flat[:, start:].scatter_add_(1, index, (grad[:, None] * part).flatten(1))
