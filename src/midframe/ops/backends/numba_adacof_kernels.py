"""The compiled loops of AdaCoF on the CPU. Needs numba: import this file inside functions only.

The image lies in rows (N, H' + 2, W' + 2, C'), a pixel's channels side by side and filled up to a
multiple of 4, its outermost pixels repeated once: with positions clamped to [-1, size - 1] the four
corners are always neighbours, and equal where the operator clamps them.
"""

from __future__ import annotations

import numpy as np

from midframe.ops.backends.numba_compiler import compiled
from midframe.ops.backends.numba_splat_kernels import to_planes, to_rows
from midframe.ops.backends.numba_vectors import fill, load, store, totals

CHUNK = 32  # pixels whose taps are prepared together
LANES = (0, 0, 0, 0)
LIMIT = 1 << 24  # the largest whole part of an offset


@compiled
def pack(start, stop, image, shape, rows):
    """Write ``rows`` start..stop (of H' + 2 in each sample) of an image of N C H' W' numbers."""
    channels, height, width = shape
    pitch = (channels + 3) // 4 * 4
    line = (width + 2) * pitch
    for item in range(start, stop):
        n, y = item // (height + 2), item % (height + 2) - 1
        y = min(max(y, 0), height - 1)
        at, to = (n * channels * height + y) * width, item * line
        if channels < pitch:
            rows[to : to + line] = 0
        plane = height * width
        to_rows(image, at, plane, channels, rows, to + pitch, pitch, width, LANES)
        for c in range(channels):
            rows[to + c] = rows[to + pitch + c]
            rows[to + line - pitch + c] = rows[to + line - 2 * pitch + c]


@compiled
def _prepare(alpha, beta, dilation, side, n, y, begin, pixels, shape, index, down, right):
    """Write each tap's place (in pixels of the repeated image) and fractions for some pixels."""
    kind = down.dtype.type
    limit, nothing, ends = kind(LIMIT), kind(0), (kind(shape[1]), kind(shape[2]))
    line = np.int32(shape[2] + 2)
    ramp = np.arange(pixels).astype(down.dtype)
    for tap in range(side * side):
        row = kind(y + tap // side * dilation + 1)
        column = kind(begin + tap % side * dilation + 1)
        offset_y = alpha[n, tap, y, begin : begin + pixels]
        offset_x = beta[n, tap, y, begin : begin + pixels]
        places, part_y, part_x = index[tap], down[tap], right[tap]
        for x in range(pixels):
            v, u = offset_y[x], offset_x[x]
            whole_y, whole_x = np.trunc(v), np.trunc(u)
            whole_y = limit if whole_y > limit else whole_y
            whole_x = limit if whole_x > limit else whole_x
            whole_y = -limit if whole_y < -limit else whole_y
            whole_x = -limit if whole_x < -limit else whole_x
            whole_y = nothing if whole_y != whole_y else whole_y
            whole_x = nothing if whole_x != whole_x else whole_x
            part_y[x], part_x[x] = v - whole_y, u - whole_x
            top, left = whole_y + row, whole_x + (column + ramp[x])
            top = nothing if top < nothing else top
            left = nothing if left < nothing else left
            top = ends[0] if top > ends[0] else top
            left = ends[1] if left > ends[1] else left
            places[x] = np.int32(top) * line + np.int32(left)


@compiled
def _shares(weight, n, y, begin, pixels, down, right, shares):
    """Write each tap's weights of its four corners, row by row, for some pixels."""
    one = down.dtype.type(1)
    for tap in range(len(down)):
        m, part_y, part_x = weight[n, tap, y, begin : begin + pixels], down[tap], right[tap]
        w0, w1, w2, w3 = shares[tap, 0], shares[tap, 1], shares[tap, 2], shares[tap, 3]
        for x in range(pixels):
            s, e = part_y[x], part_x[x]
            top, low = (one - s) * m[x], s * m[x]
            w0[x], w1[x] = top * (one - e), top * e
            w2[x], w3[x] = low * (one - e), low * e


@compiled
def forward(start, stop, rows, shape, weight, alpha, beta, side, dilation, out):
    """Write output rows start..stop.

    Args:
        start, stop: output rows, counted through all samples.
        rows: of `pack`.
        shape: (C, H', W') of the image.
        weight, alpha, beta: (N, k k, H, W).
        side: k.
        dilation: d.
        out: N C H W numbers.
    """
    channels, tall, wide = shape
    taps, height, width = weight.shape[1:]
    pitch = (channels + 3) // 4 * 4
    line, zero = (wide + 2) * pitch, fill(out.dtype.type(0), LANES)
    index = np.empty((taps, CHUNK), np.int32)
    down, right = np.empty((taps, CHUNK), out.dtype), np.empty((taps, CHUNK), out.dtype)
    shares, found = np.empty((taps, 4, CHUNK), out.dtype), np.empty(CHUNK * pitch, out.dtype)
    for item in range(start, stop):
        n, y = item // height, item % height
        first = n * (tall + 2) * line
        for begin in range(0, width, CHUNK):
            pixels = min(CHUNK, width - begin)
            _prepare(alpha, beta, dilation, side, n, y, begin, pixels, shape, index, down, right)
            _shares(weight, n, y, begin, pixels, down, right, shares)
            for x in range(pixels):
                for c in range(0, pitch, 4):
                    north, south = zero, zero
                    for tap in range(taps):
                        i = first + index[tap, x] * pitch + c
                        north = north + load(rows, i, LANES) * shares[tap, 0, x]
                        north = north + load(rows, i + pitch, LANES) * shares[tap, 1, x]
                        south = south + load(rows, i + line, LANES) * shares[tap, 2, x]
                        south = south + load(rows, i + line + pitch, LANES) * shares[tap, 3, x]
                    store(found, x * pitch + c, north + south)
            at = (n * channels * height + y) * width + begin
            to_planes(found, 0, pitch, channels, out, at, height * width, pixels, LANES)


@compiled
def gather(
    start, stop, grad, rows, shape, weight, alpha, beta, side, dilation,
    grad_weight, grad_alpha, grad_beta, needs,
):  # fmt: skip
    """Write the gradients of weights and offsets for output rows start..stop.

    Args:
        start, stop: output rows, counted through all samples.
        grad: N C H W numbers.
        rows, shape, weight, alpha, beta, side, dilation: as in `forward`.
        grad_weight, grad_alpha, grad_beta: (N, k k, H, W).
        needs: three booleans, which of them are written.
    """
    channels, tall, wide = shape
    taps, height, width = weight.shape[1:]
    pitch = (channels + 3) // 4 * 4
    line, one = (wide + 2) * pitch, grad.dtype.type(1)
    zero = fill(one - one, LANES)
    index = np.empty((taps, CHUNK), np.int32)
    down, right = np.empty((taps, CHUNK), grad.dtype), np.empty((taps, CHUNK), grad.dtype)
    dots = np.empty(taps * CHUNK * 4, grad.dtype)
    tile = np.zeros(CHUNK * pitch, grad.dtype)
    for item in range(start, stop):
        n, y = item // height, item % height
        first = n * (tall + 2) * line
        for begin in range(0, width, CHUNK):
            pixels = min(CHUNK, width - begin)
            _prepare(alpha, beta, dilation, side, n, y, begin, pixels, shape, index, down, right)
            at = (n * channels * height + y) * width + begin
            to_rows(grad, at, height * width, channels, tile, 0, pitch, pixels, LANES)
            for tap in range(taps):
                for x in range(pixels):
                    t0, t1, t2, t3 = zero, zero, zero, zero
                    i = first + index[tap, x] * pitch
                    for c in range(0, pitch, 4):
                        g, j = load(tile, x * pitch + c, LANES), i + c
                        t0 = t0 + g * load(rows, j, LANES)
                        t1 = t1 + g * load(rows, j + pitch, LANES)
                        t2 = t2 + g * load(rows, j + line, LANES)
                        t3 = t3 + g * load(rows, j + line + pitch, LANES)
                    store(dots, (tap * CHUNK + x) * 4, totals(t0, t1, t2, t3))
            for tap in range(taps):
                found = dots[tap * CHUNK * 4 : (tap + 1) * CHUNK * 4]
                s, e, m = down[tap], right[tap], weight[n, tap, y, begin : begin + pixels]
                if needs[0]:
                    to = grad_weight[n, tap, y, begin : begin + pixels]
                    for x in range(pixels):
                        north = (one - e[x]) * found[4 * x] + e[x] * found[4 * x + 1]
                        south = (one - e[x]) * found[4 * x + 2] + e[x] * found[4 * x + 3]
                        to[x] = (one - s[x]) * north + s[x] * south
                if needs[1]:
                    to = grad_alpha[n, tap, y, begin : begin + pixels]
                    for x in range(pixels):
                        west = found[4 * x + 2] - found[4 * x]
                        east = found[4 * x + 3] - found[4 * x + 1]
                        to[x] = m[x] * ((one - e[x]) * west + e[x] * east)
                if needs[2]:
                    to = grad_beta[n, tap, y, begin : begin + pixels]
                    for x in range(pixels):
                        north = found[4 * x + 1] - found[4 * x]
                        south = found[4 * x + 3] - found[4 * x + 2]
                        to[x] = m[x] * ((one - s[x]) * north + s[x] * south)


@compiled
def scatter(
    start, stop, grad, shape, weight, alpha, beta, side, dilation, strips, sums
):  # fmt: skip
    """Add the image's gradient of strips start..stop, each in an image of its own.

    Args:
        start, stop: strips of output rows, counted through all samples.
        grad, shape, weight, alpha, beta, side, dilation: as in `gather`.
        strips: how many in a sample.
        sums: N S (H' + 2) (W' + 2) C' numbers, all 0.
    """
    channels, tall, wide = shape
    taps, height, width = weight.shape[1:]
    pitch = (channels + 3) // 4 * 4
    line = (wide + 2) * pitch
    index = np.empty((taps, CHUNK), np.int32)
    down, right = np.empty((taps, CHUNK), grad.dtype), np.empty((taps, CHUNK), grad.dtype)
    shares, tile = np.empty((taps, 4, CHUNK), grad.dtype), np.zeros(CHUNK * pitch, grad.dtype)
    for item in range(start, stop):
        n, strip = item // strips, item % strips
        first = item * (tall + 2) * line
        for y in range(strip * height // strips, (strip + 1) * height // strips):
            for begin in range(0, width, CHUNK):
                pixels = min(CHUNK, width - begin)
                _prepare(
                    alpha, beta, dilation, side, n, y, begin, pixels, shape, index, down, right
                )
                _shares(weight, n, y, begin, pixels, down, right, shares)
                at = (n * channels * height + y) * width + begin
                to_rows(grad, at, height * width, channels, tile, 0, pitch, pixels, LANES)
                for tap in range(taps):
                    for x in range(pixels):
                        w0, w1 = shares[tap, 0, x], shares[tap, 1, x]
                        w2, w3 = shares[tap, 2, x], shares[tap, 3, x]
                        for c in range(0, pitch, 4):
                            g = load(tile, x * pitch + c, LANES)
                            i = first + index[tap, x] * pitch + c
                            store(sums, i, load(sums, i, LANES) + g * w0)
                            i += pitch
                            store(sums, i, load(sums, i, LANES) + g * w1)
                            i += line
                            store(sums, i, load(sums, i, LANES) + g * w3)
                            i -= pitch
                            store(sums, i, load(sums, i, LANES) + g * w2)
