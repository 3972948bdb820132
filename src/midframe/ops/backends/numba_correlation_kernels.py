"""The compiled loops of the correlation on the CPU. Needs numba: import it inside functions only.

Maps lie in rows (N, H, C, W'): a row's channels side by side, with a margin of zeros around each,
so that a vector of 16 neighbouring pixels is read at any displacement without a check.
"""

from __future__ import annotations

from midframe.ops.backends.numba_compiler import compiled
from midframe.ops.backends.numba_vectors import fill, lane, load, store

SIZE = 16
LANES = (0,) * SIZE


@compiled
def _keep(row, x, value):
    """row[x : x + 16] = value, as far as the row goes."""
    if x + SIZE <= len(row):
        store(row, x, value)
    else:
        for k in range(len(row) - x):
            row[x + k] = lane(value, k)


@compiled
def forward(start, stop, first, second, radius, shape, pitch, margin, out):
    """Write ``out`` for rows start..stop.

    Takes:
        start, stop: rows, counted through all samples.
        first, second: N H C W' numbers.
        radius: r.
        shape: (C, H, W).
        pitch: W'.
        margin: zeros before each row, at least r; as many after it, and what fills a vector.
        out: (N, (2 r + 1)^2, H, W).
    """
    channels, height, width = shape
    side = 2 * radius + 1
    scale = first.dtype.type(channels)
    zero = fill(first.dtype.type(0), LANES)
    for item in range(start, stop):
        n, y = item // height, item % height
        for down in range(-radius, radius + 1):
            base = (down + radius) * side
            if y + down < 0 or y + down >= height:
                for d in range(base, base + side):
                    out[n, d, y, :] = 0
                continue
            for x in range(0, width, SIZE):
                for right in range(0, side, 9):
                    i = item * channels * pitch + margin + x
                    j = i + down * channels * pitch + right - radius
                    a0, a1, a2, a3, a4 = zero, zero, zero, zero, zero
                    a5, a6, a7, a8 = zero, zero, zero, zero
                    for _ in range(channels):
                        value = load(first, i, LANES)
                        a0 = a0 + value * load(second, j, LANES)
                        a1 = a1 + value * load(second, j + 1, LANES)
                        a2 = a2 + value * load(second, j + 2, LANES)
                        a3 = a3 + value * load(second, j + 3, LANES)
                        a4 = a4 + value * load(second, j + 4, LANES)
                        a5 = a5 + value * load(second, j + 5, LANES)
                        a6 = a6 + value * load(second, j + 6, LANES)
                        a7 = a7 + value * load(second, j + 7, LANES)
                        a8 = a8 + value * load(second, j + 8, LANES)
                        i += pitch
                        j += pitch
                    found = (a0, a1, a2, a3, a4, a5, a6, a7, a8)
                    for k in range(min(9, side - right)):
                        _keep(out[n, base + right + k, y], x, found[k] / scale)


@compiled
def backward(start, stop, grad, other, radius, shape, pitch, grad_pitch, margin, sign, out):
    """Write the gradient of one of the maps for rows start..stop.

    Takes:
        start, stop: rows, counted through all samples.
        grad: N H (2 r + 1)^2 W' numbers.
        other: the other map, N H C W' numbers.
        radius: r.
        shape: (C, H, W).
        pitch: W' of ``other``.
        grad_pitch: W' of ``grad``.
        margin: zeros before each row.
        sign: 1 for the first map's gradient, -1 for the second's.
        out: (N, C, H, W).
    """
    channels, height, width = shape
    side = 2 * radius + 1
    scale = other.dtype.type(channels)
    zero = fill(other.dtype.type(0), LANES)
    for item in range(start, stop):
        n, y = item // height, item % height
        for x in range(0, width, SIZE):
            for c in range(0, channels, 8):
                last = channels - 1 - c
                o1, o2, o3 = min(1, last) * pitch, min(2, last) * pitch, min(3, last) * pitch
                o4, o5, o6 = min(4, last) * pitch, min(5, last) * pitch, min(6, last) * pitch
                o7 = min(7, last) * pitch
                a0, a1, a2, a3 = zero, zero, zero, zero
                a4, a5, a6, a7 = zero, zero, zero, zero
                for down in range(-radius, radius + 1):
                    there = sign * down
                    if y + there < 0 or y + there >= height:
                        continue
                    i = item if sign > 0 else item + there
                    i = (i * side * side + (down + radius) * side) * grad_pitch + margin + x
                    j = ((item + there) * channels + c) * pitch + margin + x - sign * radius
                    i += 0 if sign > 0 else radius
                    for _ in range(side):
                        g = load(grad, i, LANES)
                        a0 = a0 + g * load(other, j, LANES)
                        a1 = a1 + g * load(other, j + o1, LANES)
                        a2 = a2 + g * load(other, j + o2, LANES)
                        a3 = a3 + g * load(other, j + o3, LANES)
                        a4 = a4 + g * load(other, j + o4, LANES)
                        a5 = a5 + g * load(other, j + o5, LANES)
                        a6 = a6 + g * load(other, j + o6, LANES)
                        a7 = a7 + g * load(other, j + o7, LANES)
                        i += grad_pitch if sign > 0 else grad_pitch - 1
                        j += sign
                found = (a0, a1, a2, a3, a4, a5, a6, a7)
                for k in range(min(8, channels - c)):
                    _keep(out[n, c + k, y], x, found[k] / scale)
