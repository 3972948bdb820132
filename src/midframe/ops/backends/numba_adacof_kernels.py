"""The compiled loops of AdaCoF on the CPU. Needs numba: import this file inside functions only.

The image lies in rows (N, H' + 2, W' + 2, C'), a pixel's channels side by side and filled up to a
multiple of 4, its outermost pixels repeated once: with positions clamped to [-1, size - 1] the four
corners are always neighbours, and equal where the operator clamps them.
"""

from __future__ import annotations

import numpy as np

from midframe.ops.backends.numba_compiler import compiled
from midframe.ops.backends.numba_splat_kernels import to_planes, to_rows
from midframe.ops.backends.numba_vectors import fill, load, store, totals, transpose

CHUNK = 128  # pixels whose taps are prepared together, a multiple of len(WIDE)
LANES = (0,) * 4
WIDE = (0,) * 16
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
    one = fill(down.dtype.type(1), WIDE)
    near = np.zeros(CHUNK, down.dtype)
    for tap in range(len(down)):
        near[:pixels] = weight[n, tap, y, begin : begin + pixels]
        part_y, part_x, to = down[tap], right[tap], tap * 4 * CHUNK
        for x in range(0, CHUNK, len(WIDE)):
            s, e, m = load(part_y, x, WIDE), load(part_x, x, WIDE), load(near, x, WIDE)
            low = s * m
            top, w = (one - s) * m, one - e
            store(shares, to + x, top * w)
            store(shares, to + CHUNK + x, top * e)
            store(shares, to + 2 * CHUNK + x, low * w)
            store(shares, to + 3 * CHUNK + x, low * e)


@compiled
def _slopes(dots, m, s, e, planar, results):
    """Write a tap's gradients of weight, alpha and beta from its corners' products with g.

    Takes:
        dots: four products for each of CHUNK pixels.
        m, s, e: weight and fractions, CHUNK each.
        planar: room for 4 CHUNK numbers.
        results: 3 CHUNK numbers, written.
    """
    one = fill(m.dtype.type(1), WIDE)
    for x in range(0, CHUNK, 4):
        transpose(dots, 4 * x, 4, planar, x, CHUNK, LANES)
    for x in range(0, CHUNK, len(WIDE)):
        d0, d1 = load(planar, x, WIDE), load(planar, CHUNK + x, WIDE)
        d2, d3 = load(planar, 2 * CHUNK + x, WIDE), load(planar, 3 * CHUNK + x, WIDE)
        factor, down, right = load(m, x, WIDE), load(s, x, WIDE), load(e, x, WIDE)
        up, left = one - down, one - right
        store(results, x, up * (left * d0 + right * d1) + down * (left * d2 + right * d3))
        store(results, CHUNK + x, factor * (left * (d2 - d0) + right * (d3 - d1)))
        store(results, 2 * CHUNK + x, factor * (up * (d1 - d0) + down * (d3 - d2)))


@compiled
def forward(start, stop, rows, shape, weight, alpha, beta, side, dilation, out):
    """Write output rows start..stop.

    Takes:
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
    down, right = np.zeros((taps, CHUNK), out.dtype), np.zeros((taps, CHUNK), out.dtype)
    shares, found = np.empty(taps * 4 * CHUNK, out.dtype), np.empty(CHUNK * pitch, out.dtype)
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
                        i, j = first + index[tap, x] * pitch + c, tap * 4 * CHUNK
                        north = north + load(rows, i, LANES) * shares[j + x]
                        north = north + load(rows, i + pitch, LANES) * shares[j + CHUNK + x]
                        south = south + load(rows, i + line, LANES) * shares[j + 2 * CHUNK + x]
                        south = (
                            south + load(rows, i + line + pitch, LANES) * shares[j + 3 * CHUNK + x]
                        )
                    store(found, x * pitch + c, north + south)
            at = (n * channels * height + y) * width + begin
            to_planes(found, 0, pitch, channels, out, at, height * width, pixels, LANES)


@compiled
def gather(
    start, stop, grad, rows, shape, weight, alpha, beta, side, dilation,
    grad_weight, grad_alpha, grad_beta, needs,
):  # fmt: skip
    """Write the gradients of weights and offsets for output rows start..stop.

    Takes:
        start, stop: output rows, counted through all samples.
        grad: N C H W numbers.
        rows, shape, weight, alpha, beta, side, dilation: as in `forward`.
        grad_weight, grad_alpha, grad_beta: (N, k k, H, W).
        needs: three booleans, which of them are written.
    """
    channels, tall, wide = shape
    taps, height, width = weight.shape[1:]
    pitch = (channels + 3) // 4 * 4
    line, zero = (wide + 2) * pitch, fill(grad.dtype.type(0), LANES)
    index = np.empty((taps, CHUNK), np.int32)
    down, right = np.zeros((taps, CHUNK), grad.dtype), np.zeros((taps, CHUNK), grad.dtype)
    dots, near = np.zeros(taps * CHUNK * 4, grad.dtype), np.zeros(CHUNK, grad.dtype)
    planar, results = np.empty(4 * CHUNK, grad.dtype), np.empty(3 * CHUNK, grad.dtype)
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
                near[:pixels] = weight[n, tap, y, begin : begin + pixels]
                found = dots[tap * CHUNK * 4 : (tap + 1) * CHUNK * 4]
                _slopes(found, near, down[tap], right[tap], planar, results)
                if needs[0]:
                    grad_weight[n, tap, y, begin : begin + pixels] = results[:pixels]
                if needs[1]:
                    far = CHUNK + pixels
                    grad_alpha[n, tap, y, begin : begin + pixels] = results[CHUNK:far]
                if needs[2]:
                    far = 2 * CHUNK + pixels
                    grad_beta[n, tap, y, begin : begin + pixels] = results[2 * CHUNK : far]


@compiled
def scatter(
    start, stop, grad, shape, weight, alpha, beta, side, dilation, strips, sums
):  # fmt: skip
    """Add the image's gradient of strips start..stop, each in an image of its own.

    Takes:
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
    down, right = np.zeros((taps, CHUNK), grad.dtype), np.zeros((taps, CHUNK), grad.dtype)
    shares, tile = np.empty(taps * 4 * CHUNK, grad.dtype), np.zeros(CHUNK * pitch, grad.dtype)
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
                        j = tap * 4 * CHUNK
                        w0, w1 = shares[j + x], shares[j + CHUNK + x]
                        w2, w3 = shares[j + 2 * CHUNK + x], shares[j + 3 * CHUNK + x]
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
