"""The compiled loops of the splat's gradient on the CPU. Needs numba: import it in functions only.

First the incoming gradient is divided and laid out in rows, a pixel's channels side by side, with
a border of zeros; then each source pixel gathers from its four corners. Nothing is scattered.
"""

from __future__ import annotations

import numpy as np

from midframe.ops.backends.numba_compiler import compiled
from midframe.ops.backends.numba_splat_kernels import (
    CHUNK,
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
    plane, size, one = height * width, len(lanes), flow.dtype.type(1)
    pitch = (channels + size - 1) // size * size
    line, zero = (width + 2) * pitch, fill(one - one, lanes)
    tile = np.zeros(CHUNK * pitch, image.dtype)
    found = np.zeros(CHUNK * pitch, image.dtype)
    dots = needs[1] or needs[2]
    for item in range(start, stop):
        n, y = item // height, item % height
        for begin in range(0, width, CHUNK):
            pixels = min(CHUNK, width - begin)
            at = n * channels * plane + y * width + begin
            if dots:
                to_rows(image, at, plane, channels, tile, 0, pitch, pixels, lanes)
            # one long loop: functions of its parts would take a tenth more time
            for x in range(begin, begin + pixels):
                b = (x - begin) * pitch
                right, down = ramp[x] + flow[n, 0, y, x], ramp[y] + flow[n, 1, y, x]
                if not inside(right, down, width, height):
                    for c in range(0, pitch, size):
                        store(found, b + c, zero)
                    if needs[1]:
                        grad_flow[n, 0, y, x] = 0
                        grad_flow[n, 1, y, x] = 0
                    if needs[2]:
                        grad_factor[n, y, x] = 0
                    continue
                column, row = np.floor(right), np.floor(down)
                left, top = int(column), int(row)
                west, east = column + one - right, right - column
                north, south = row + one - down, down - row
                m0, m1, m2, m3 = importances(factor, shift, kind, n, y, x, top, left)
                w0, w1 = north * west * m0, north * east * m1
                w2, w3 = south * west * m2, south * east * m3
                a = ((n * (height + 2) + top + 1) * (width + 2) + left + 1) * pitch
                if not dots:
                    for c in range(0, pitch, size):
                        i = a + c
                        above = load(rows, i, lanes) * w0 + load(rows, i + pitch, lanes) * w1
                        i += line
                        below = load(rows, i, lanes) * w2 + load(rows, i + pitch, lanes) * w3
                        store(found, b + c, above + below)
                    continue
                t0, t1, t2, t3 = zero, zero, zero, zero
                for c in range(0, pitch, size):
                    i = a + c
                    value = load(tile, b + c, lanes)
                    g0, g1 = load(rows, i, lanes), load(rows, i + pitch, lanes)
                    i += line
                    g2, g3 = load(rows, i, lanes), load(rows, i + pitch, lanes)
                    t0, t1 = t0 + value * g0, t1 + value * g1
                    t2, t3 = t2 + value * g2, t3 + value * g3
                    store(found, b + c, (g0 * w0 + g1 * w1) + (g2 * w2 + g3 * w3))
                sums = totals(t0, t1, t2, t3)
                s0 = lane(sums, 0) - along[n, top + 1, left + 1]
                s1 = lane(sums, 1) - along[n, top + 1, left + 2]
                s2 = lane(sums, 2) - along[n, top + 2, left + 1]
                s3 = lane(sums, 3) - along[n, top + 2, left + 2]
                if needs[2]:
                    if soft:
                        s0, s1, s2, s3 = m0 * s0, m1 * s1, m2 * s2, m3 * s3
                        m0, m1, m2, m3 = one, one, one, one
                    upper, lower = west * s0 + east * s1, west * s2 + east * s3
                    grad_factor[n, y, x] = north * upper + south * lower
                if needs[1]:
                    s0, s1, s2, s3 = m0 * s0, m1 * s1, m2 * s2, m3 * s3
                    grad_flow[n, 0, y, x] = north * (s1 - s0) + south * (s3 - s2)
                    grad_flow[n, 1, y, x] = west * (s2 - s0) + east * (s3 - s1)
            if needs[0]:
                to_planes(found, 0, pitch, channels, grad_image, at, plane, pixels, lanes)
