"""The compiled loops of the splat's gradient on the CPU. Needs numba: import it in functions only.

First the incoming gradient is divided and laid out in rows, a pixel's channels side by side, with
a border of zeros; then each source pixel gathers from its four corners. Nothing is scattered.
"""

from __future__ import annotations

import numpy as np

from midframe.ops.backends.numba_compiler import compiled
from midframe.ops.backends.numba_splat_kernels import (
    CHUNK,
    corner_of,
    divisor_of,
    importances,
    inside,
    to_planes,
    to_rows,
)
from midframe.ops.backends.numba_vectors import fill, lane, load, store, totals

WIDE = (0,) * 16


@compiled
def _edges(rows, along, n, y, height, begin, channels, pitch, line):
    """Fill with zeros what surrounds row y of ``rows``: it begins at ``begin`` with its border."""
    width = along.shape[2] - 2
    if y == 0:
        rows[begin - line : begin] = 0
        along[n, 0] = 0
    if y == height - 1:
        rows[begin + line : begin + 2 * line] = 0
        along[n, height + 1] = 0
    rows[begin : begin + pitch] = 0
    rows[begin + line - pitch : begin + line] = 0
    if channels < pitch:
        for x in range(width):
            i = begin + (x + 1) * pitch
            rows[i + channels : i + pitch] = 0


@compiled
def _dots(grad, out, at, plane, channels, dots):
    """dots[x] = the sum over channels of grad out, whose first ones lie at ``at``."""
    width = len(dots)
    dots[:] = 0
    for c in range(channels):
        i = at + c * plane
        for x in range(0, width - width % 16, 16):
            product = load(grad, i + x, WIDE) * load(out, i + x, WIDE)
            store(dots, x, load(dots, x, WIDE) + product)
        for x in range(width - width % 16, width):
            dots[x] += grad[i + x] * out[i + x]


@compiled
def divide(
    start, stop, grad, channels, out, count, shift, soft, rule, epsilon, rows, along, lanes
):  # fmt: skip
    """Write ``rows`` = g / D and ``along`` = dD/dN sum_c g out / D for rows start..stop.

    Takes:
        start, stop: rows of the image, counted through all samples.
        grad: N C H W numbers, g.
        channels: C.
        out: N C H W numbers, the result of the forward pass; unread for rule -1.
        count, shift: (N, H, W); ``shift`` is read where ``soft``.
        rule: -1 no division, 0 addeps, 1 zeroeps, 2 clipeps.
        epsilon: of the division.
        rows: N (H + 2) (W + 2) C' numbers, C' the multiple of the lanes that C needs.
        along: (N, H + 2, W + 2).
        lanes: a tuple as long as the vectors.
    """
    height, width = along.shape[1] - 2, along.shape[2] - 2
    plane, size = height * width, len(lanes)
    pitch = (channels + size - 1) // size * size
    line = (width + 2) * pitch
    nothing, dots = epsilon - epsilon, np.empty(width, grad.dtype)
    for item in range(start, stop):
        n, y = item // height, item % height
        begin = (n * (height + 2) + y + 1) * line
        _edges(rows, along, n, y, height, begin, channels, pitch, line)
        at = n * channels * plane + y * width
        to_rows(grad, at, plane, channels, rows, begin + pitch, pitch, width, lanes)
        along[n, y + 1] = 0
        if rule < 0:
            continue
        _dots(grad, out, at, plane, channels, dots)
        for x in range(width):
            lowered = shift[n, y, x] if soft else nothing
            divisor = divisor_of(count[n, y, x], lowered, rule, epsilon)
            i = begin + (x + 1) * pitch
            for c in range(i, i + pitch, size):
                store(rows, c, load(rows, c, lanes) / divisor)
            moves = (
                rule == 0
                or (rule == 1 and count[n, y, x] != 0)
                or (rule == 2 and not count[n, y, x] < divisor)
            )
            if moves:
                along[n, y + 1, x + 1] = dots[x] / divisor


@compiled
def _nothing(found, b, grad_flow, grad_factor, needs, n, y, x, pitch, lanes):
    """Write the gradients of a source that counts nowhere."""
    zero = fill(found.dtype.type(0), lanes)
    for c in range(0, pitch, len(lanes)):
        store(found, b + c, zero)
    if needs[1]:
        grad_flow[n, 0, y, x] = 0
        grad_flow[n, 1, y, x] = 0
    if needs[2]:
        grad_factor[n, y, x] = 0


@compiled
def _sums(rows, a, line, pitch, weights, found, b, lanes):
    """Write the weighted sums of a source's four corners: the image's gradient, by itself."""
    w0, w1, w2, w3 = weights
    for c in range(0, pitch, len(lanes)):
        i = a + c
        north = load(rows, i, lanes) * w0 + load(rows, i + pitch, lanes) * w1
        i += line
        south = load(rows, i, lanes) * w2 + load(rows, i + pitch, lanes) * w3
        store(found, b + c, north + south)


@compiled
def _products(rows, a, line, pitch, weights, tile, found, b, lanes):
    """Write the sums of `_sums`; return each corner's product with the source, in four lanes."""
    zero = fill(tile.dtype.type(0), lanes)
    w0, w1, w2, w3 = weights
    t0, t1, t2, t3 = zero, zero, zero, zero
    for c in range(0, pitch, len(lanes)):
        i = a + c
        value = load(tile, b + c, lanes)
        g0, g1 = load(rows, i, lanes), load(rows, i + pitch, lanes)
        i += line
        g2, g3 = load(rows, i, lanes), load(rows, i + pitch, lanes)
        t0, t1 = t0 + value * g0, t1 + value * g1
        t2, t3 = t2 + value * g2, t3 + value * g3
        store(found, b + c, (g0 * w0 + g1 * w1) + (g2 * w2 + g3 * w3))
    return totals(t0, t1, t2, t3)


@compiled
def _from_corners(
    tile, found, begin, pixels, n, y, flow, factor, shift, kind, soft, ramp, rows, along,
    grad_flow, grad_factor, needs, pitch, lanes,
):  # fmt: skip
    """Write the gradients of a chunk's sources, the image's to ``found``.

    Takes:
        tile: the chunk's values, C' a source.
        found: as many numbers.
        begin, pixels: the chunk's first column, and how many it has.
        n, y: its sample and row.
        pitch: C'.
        the others: as in `gather`.
    """
    height, width = flow.shape[2:]
    line, one = (width + 2) * pitch, flow.dtype.type(1)
    for x in range(begin, begin + pixels):
        b = (x - begin) * pitch
        right, down = ramp[x] + flow[n, 0, y, x], ramp[y] + flow[n, 1, y, x]
        if not inside(right, down, width, height):
            _nothing(found, b, grad_flow, grad_factor, needs, n, y, x, pitch, lanes)
            continue
        left, top, (west, east), (north, south) = corner_of(right, down, one)
        m0, m1, m2, m3 = importances(factor, shift, kind, n, y, x, top, left)
        weights = north * west * m0, north * east * m1, south * west * m2, south * east * m3
        a = ((n * (height + 2) + top + 1) * (width + 2) + left + 1) * pitch
        if not (needs[1] or needs[2]):
            _sums(rows, a, line, pitch, weights, found, b, lanes)
            continue
        products = _products(rows, a, line, pitch, weights, tile, found, b, lanes)
        s0 = lane(products, 0) - along[n, top + 1, left + 1]
        s1 = lane(products, 1) - along[n, top + 1, left + 2]
        s2 = lane(products, 2) - along[n, top + 2, left + 1]
        s3 = lane(products, 3) - along[n, top + 2, left + 2]
        if needs[2]:
            if soft:
                s0, s1, s2, s3 = m0 * s0, m1 * s1, m2 * s2, m3 * s3
                m0, m1, m2, m3 = one, one, one, one
            grad_factor[n, y, x] = north * (west * s0 + east * s1) + south * (west * s2 + east * s3)
        if needs[1]:
            s0, s1, s2, s3 = m0 * s0, m1 * s1, m2 * s2, m3 * s3
            grad_flow[n, 0, y, x] = north * (s1 - s0) + south * (s3 - s2)
            grad_flow[n, 1, y, x] = west * (s2 - s0) + east * (s3 - s1)


@compiled
def gather(
    start, stop, image, channels, flow, factor, shift, kind, soft, ramp, rows, along,
    grad_image, grad_flow, grad_factor, needs, lanes,
):  # fmt: skip
    """Write the gradients of source rows start..stop.

    Takes:
        start, stop: rows of the image, counted through all samples.
        image: N C H W numbers.
        channels: C.
        flow: (N, 2, H, W).
        factor, shift, kind: as in the forward pass.
        soft: the metric is the logarithm of the importance, not the importance.
        ramp: 0, 1, 2, ...
        rows, along: of `divide`.
        grad_image: N C H W numbers.
        grad_flow: (N, 2, H, W).
        grad_factor: (N, H, W).
        needs: three booleans, which of the gradients are written.
        lanes: a tuple as long as the vectors.
    """
    height, width = flow.shape[2:]
    plane, size = height * width, len(lanes)
    pitch = (channels + size - 1) // size * size
    tile = np.zeros(CHUNK * pitch, image.dtype)
    found = np.zeros(CHUNK * pitch, image.dtype)
    for item in range(start, stop):
        n, y = item // height, item % height
        for begin in range(0, width, CHUNK):
            pixels = min(CHUNK, width - begin)
            at = n * channels * plane + y * width + begin
            if needs[1] or needs[2]:
                to_rows(image, at, plane, channels, tile, 0, pitch, pixels, lanes)
            _from_corners(
                tile, found, begin, pixels, n, y, flow, factor, shift, kind, soft, ramp, rows,
                along, grad_flow, grad_factor, needs, pitch, lanes,
            )  # fmt: skip
            if needs[0]:
                to_planes(found, 0, pitch, channels, grad_image, at, plane, pixels, lanes)
