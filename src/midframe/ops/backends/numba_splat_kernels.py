"""The compiled loops of the splat on the CPU. Needs numba: import this file inside functions only.

A band of target rows is summed up at a time, in a buffer of rows that holds a pixel's channels
side by side and stays in the cache; every source pixel that reaches the band is added in the order
of the image, so that neither the bands' height nor the number of threads changes a bit. A border
of one pixel takes the corners that fall outside.
"""

from __future__ import annotations

import math

import numpy as np

from midframe.ops.backends.numba_compiler import compiled
from midframe.ops.backends.numba_vectors import load, store, transpose
from midframe.ops.reference import SAFE_EXPONENT

CHUNK = 64  # source pixels of a row that are looked at together
NOWHERE = 1 << 30


@compiled
def inside(x, y, width, height):
    """Tell whether a target reaches a pixel of the image; NaN does not."""
    return x >= -1 and x < width and y >= -1 and y < height


@compiled
def extents(start, stop, flow, ramp, low, high):
    """Write each chunk's lowest and highest target row (north corner) for rows start..stop."""
    height, width = flow.shape[2:]
    for item in range(start, stop):
        n, y = item // height, item % height
        for chunk in range(low.shape[2]):
            least, most = NOWHERE, -NOWHERE
            for x in range(chunk * CHUNK, min(width, chunk * CHUNK + CHUNK)):
                right, down = ramp[x] + flow[n, 0, y, x], ramp[y] + flow[n, 1, y, x]
                if inside(right, down, width, height):
                    top = int(np.floor(down))
                    least, most = min(least, top), max(most, top)
            low[n, y, chunk], high[n, y, chunk] = least, most


@compiled
def shifts(start, stop, flow, metric, ramp, shift):
    """Raise ``shift`` (all 0) of samples start..stop to what exceeds 64 of what reaches a pixel."""
    height, width = flow.shape[2:]
    for n in range(start, stop):
        for y in range(height):
            for x in range(width):
                right, down = ramp[x] + flow[n, 0, y, x], ramp[y] + flow[n, 1, y, x]
                if not inside(right, down, width, height):
                    continue
                excess = metric[n, y, x] - SAFE_EXPONENT
                left, top = int(np.floor(right)), int(np.floor(down))
                for row in range(max(top, 0), min(top + 1 + (down > top), height)):
                    for column in range(max(left, 0), min(left + 1 + (right > left), width)):
                        if excess > shift[n, row, column] or excess != excess:
                            shift[n, row, column] = excess


@compiled
def divisor_of(count, shift, rule, epsilon):
    """Return D(N), never 0."""
    if rule == 1:
        divisor = count
    else:
        lifted = epsilon if shift == 0 else epsilon * math.exp(-shift)
        if rule == 0:
            divisor = count + lifted
        else:
            divisor = lifted if count < lifted else count
    return divisor if divisor != 0 else epsilon / epsilon


@compiled
def to_rows(planes, start, step, channels, rows, to, pitch, pixels, lanes):
    """rows[to + x pitch + c] = planes[start + c step + x] for channels and pixels."""
    size = len(lanes)
    whole = pixels - pixels % size
    full = channels - channels % size
    for c in range(0, full, size):
        for x in range(0, whole, size):
            transpose(planes, start + c * step + x, step, rows, to + x * pitch + c, pitch, lanes)
    for c in range(channels):
        for x in range(whole if c < full else 0, pixels):
            rows[to + x * pitch + c] = planes[start + c * step + x]


@compiled
def to_planes(rows, start, pitch, channels, planes, to, step, pixels, lanes):
    """planes[to + c step + x] = rows[start + x pitch + c] for channels and pixels."""
    size = len(lanes)
    whole = pixels - pixels % size
    full = channels - channels % size
    for c in range(0, full, size):
        for x in range(0, whole, size):
            transpose(rows, start + x * pitch + c, pitch, planes, to + c * step + x, step, lanes)
    for c in range(channels):
        for x in range(whole if c < full else 0, pixels):
            planes[to + c * step + x] = rows[start + x * pitch + c]


@compiled
def importance(metric, shift, n, y, x):
    """Return exp(min(metric - shift, 64)) at a corner, NaN for NaN; of the nearest if outside."""
    height, width = shift.shape[1:]
    exponent = metric - shift[n, min(max(y, 0), height - 1), min(max(x, 0), width - 1)]
    limit = shift.dtype.type(SAFE_EXPONENT)
    return math.exp(limit if exponent > limit else exponent)


@compiled
def importances(factor, shift, kind, n, y, x, top, left):
    """Return a source's importance at its four corners, row by row."""
    one = factor.dtype.type(1)
    if kind == 0:
        return one, one, one, one
    m = factor[n, y, x]
    if kind == 1:
        return m, m, m, m
    return (
        importance(m, shift, n, top, left),
        importance(m, shift, n, top, left + 1),
        importance(m, shift, n, top + 1, left),
        importance(m, shift, n, top + 1, left + 1),
    )


@compiled
def _add(
    tile, begin, pixels, n, y, first, last, flow, factor, shift, kind, ramp, sums, counts, pitch,
    lanes,
):  # fmt: skip
    """Add the sources of a chunk to the band of target rows first..last.

    Takes:
        tile: the chunk's values, C' a source.
        begin, pixels: the chunk's first column, and how many it has.
        n, y: its sample and row.
        first, last: rows of the band.
        flow, factor, shift, kind, ramp, lanes: as in `forward`.
        sums: C' numbers for each pixel of the band with its border.
        counts: one for each, or a single one where the tile has a lane of ones for them.
        pitch: C'.
    """
    height, width = flow.shape[2:]
    line, spare, one = (width + 2) * pitch, len(counts) == 1, flow.dtype.type(1)
    for x in range(begin, begin + pixels):
        right, down = ramp[x] + flow[n, 0, y, x], ramp[y] + flow[n, 1, y, x]
        if not inside(right, down, width, height):
            continue
        column, row = np.floor(right), np.floor(down)
        left, top = int(column), int(row)
        if top >= last or top < first - 1:
            continue
        west, east = column + one - right, right - column
        north, south = row + one - down, down - row
        m0, m1, m2, m3 = importances(factor, shift, kind, n, y, x, top, left)
        w0, w1, w2, w3 = north * west * m0, north * east * m1, south * west * m2, south * east * m3
        cell = (top - first + 1) * (width + 2) + left + 1
        if not spare:
            counts[cell] += w0
            counts[cell + 1] += w1
            counts[cell + width + 2] += w2
            counts[cell + width + 3] += w3
        a, b = cell * pitch, (x - begin) * pitch
        for c in range(0, pitch, len(lanes)):
            value = load(tile, b + c, lanes)
            store(sums, a + c, load(sums, a + c, lanes) + value * w0)
            i = a + pitch + c
            store(sums, i, load(sums, i, lanes) + value * w1)
            i = a + line + c
            store(sums, i, load(sums, i, lanes) + value * w2)
            i = a + line + pitch + c
            store(sums, i, load(sums, i, lanes) + value * w3)


@compiled
def _divide(sums, counts, shift, kind, rule, epsilon, n, y, cell, channels, pitch, count, lanes):
    """Divide the row of the band that begins at ``cell`` by its importances; write ``count``."""
    spare = len(counts) == 1
    for x in range(count.shape[2]):
        i = (cell + x) * pitch
        reached = sums[i + channels] if spare else counts[cell + x]
        count[n, y, x] = reached
        lowered = shift[n, y, x] if kind == 2 else epsilon - epsilon
        divisor = divisor_of(reached, lowered, rule, epsilon)
        for c in range(0, pitch, len(lanes)):
            store(sums, i + c, load(sums, i + c, lanes) / divisor)


@compiled
def forward(
    start, stop, band, image, channels, flow, factor, shift, kind, rule, epsilon, ramp, low, high,
    out, count, lanes,
):  # fmt: skip
    """Sum up and divide bands start..stop (of ``band`` rows, through all samples).

    Takes:
        start, stop: bands, counted through all samples.
        band: rows in a band.
        image: N C H W numbers.
        channels: C.
        flow: (N, 2, H, W).
        factor: (N, H, W), the importance (kind 1) or the metric (kind 2); unread for kind 0.
        shift: (N, H, W), read for kind 2.
        kind: 0 importance one, 1 importance ``factor``, 2 exp(min(factor - shift, 64)).
        rule: -1 no division, 0 addeps, 1 zeroeps, 2 clipeps.
        epsilon: of the division, in the flow's dtype.
        ramp: 0, 1, 2, ... in the flow's dtype, at least W and H of them.
        low, high: of `extents`.
        out: N C H W numbers, written.
        count: (N, H, W), written but for rule -1.
        lanes: a tuple as long as the vectors.
    """
    height, width = flow.shape[2:]
    plane, size = height * width, len(lanes)
    pitch = (channels + size - 1) // size * size
    spare = pitch > channels  # there is a lane for the importance beside the channels
    sums = np.empty((band + 2) * (width + 2) * pitch, image.dtype)
    counts = np.empty(1 if spare else (band + 2) * (width + 2), image.dtype)
    tile = np.zeros(CHUNK * pitch, image.dtype)
    if spare:
        for x in range(CHUNK):
            tile[x * pitch + channels] = 1
    bands = (height + band - 1) // band
    for item in range(start, stop):
        n, first = item // bands, item % bands * band
        last = min(height, first + band)
        sums[:] = 0
        counts[:] = 0
        for y in range(height):
            for chunk in range(low.shape[2]):
                if low[n, y, chunk] >= last or high[n, y, chunk] < first - 1:
                    continue
                begin = chunk * CHUNK
                pixels = min(CHUNK, width - begin)
                at = n * channels * plane + y * width + begin
                to_rows(image, at, plane, channels, tile, 0, pitch, pixels, lanes)
                _add(
                    tile, begin, pixels, n, y, first, last, flow, factor, shift, kind, ramp, sums,
                    counts, pitch, lanes,
                )  # fmt: skip
        for y in range(first, last):
            cell = (y - first + 1) * (width + 2) + 1
            if rule >= 0:
                _divide(
                    sums, counts, shift, kind, rule, epsilon, n, y, cell, channels, pitch, count,
                    lanes,
                )  # fmt: skip
            at = n * channels * plane + y * width
            to_planes(sums, cell * pitch, pitch, channels, out, at, plane, width, lanes)
