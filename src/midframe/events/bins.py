"""Events as pictures: signed counts in bins of time around a moment, and a bilinear voxel grid.

Times are integers of microseconds and are compared as such: a recording's clock stands near 1.6e15,
where float32 moves in steps of two minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from midframe.errors import UserError
from midframe.events.records import Events

Polarity = Literal["unit", "released"]
HALF = 4  # bins on each side of a moment
CLAMP = 10


def edges(previous: float, centre: float, following: float) -> np.ndarray:
    """Return the edges of the published bins around a moment: four before and four behind it.

    The bins of a side are equally long; the two sides differ where ``centre`` is not in the middle.
    Source: Yu et al., "Training Weakly Supervised Video Frame Interpolation with Events", ICCV
    2021, whose float64 edges are cut to whole microseconds.

    Args:
        previous: the moment one frame interval of the low rate before, in microseconds.
        centre: the moment.
        following: the moment one interval later.

    Returns:
        (9,) int64 in microseconds.
    """
    before = np.linspace(previous, centre, HALF + 1)
    behind = np.linspace(centre, following, HALF + 1)[1:]
    return np.floor(np.concatenate([before, behind])).astype(np.int64)


def edges_at(times: Sequence[int], t: float) -> np.ndarray:
    """Return the edges around time t of the gap between the middle two of four frames.

    What is one interval away is the same fraction of the neighbouring gap, as published; t = 0 and
    t = 1 give the bins around these two frames.

    Args:
        times: of the four frames, in microseconds.
        t: in [0, 1].

    Returns:
        (9,) int64, see `edges`.
    """
    first, start, end, last = (int(time) for time in times)
    return edges(first + t * (start - first), start + t * (end - start), end + t * (last - end))


def signed_counts(
    events: Events,
    edges: np.ndarray | Sequence[int],
    height: int,
    width: int,
    polarity: Polarity = "unit",
    clamp: int = CLAMP,
) -> np.ndarray:
    """Sum polarities per pixel and bin; bin i holds the events with edges[i] <= t < edges[i + 1].

    A bin whose edges fall is counted between them and negated: time runs backward.

    Args:
        events: in order of time; those outside of the edges don't matter.
        edges: (bins + 1,) int64 in microseconds.
        height: of the sensor.
        width: of the sensor.
        polarity: "unit": an ON event counts 1, an OFF event -1; "released": 1 and -3, which the
            published scripts produce by mapping polarity twice.
        clamp: sums are held to [-clamp, clamp].

    Returns:
        (bins, height, width) int8.

    Raises:
        UserError: for an event outside of the sensor, an unknown polarity or clamp.
    """
    if polarity not in get_args(Polarity) or not 0 < clamp <= 127:
        raise UserError(
            f"polarity={polarity}, clamp={clamp}: polarity is unit or released, clamp 1 to 127"
        )
    moments = np.asarray(edges, np.int64)
    places = np.searchsorted(events.t, moments, side="left")
    low, high = int(places.min()), int(places.max())
    index = _pixels(events, low, high, height, width)
    weight = events.p[low:high].astype(np.float64)  # sums of whole numbers are exact
    if polarity == "released":
        weight[weight < 0] = -3.0
    counts = np.zeros((len(moments) - 1, height * width), np.int8)
    for row, start, stop in zip(counts, places - low, places[1:] - low):
        if start == stop:
            continue
        run = slice(min(start, stop), max(start, stop))
        total = np.bincount(index[run], weight[run], minlength=row.size)
        np.clip(total, -clamp, clamp, out=total)
        row[:] = total if start < stop else -total
    return counts.reshape(-1, height, width)


def voxel_grid(
    events: Events, start: int, stop: int, bins: int, height: int, width: int
) -> np.ndarray:
    """Share each polarity among the two nearest of ``bins`` moments, by its distance from them.

    The first moment is ``start``, the last ``stop``. Source: Zhu et al., "Unsupervised Event-based
    Learning of Optical Flow, Depth, and Egomotion", CVPR 2019, equations 1 and 2.

    Args:
        events: in order of time; those with start <= t < stop count.
        start: in microseconds.
        stop: in microseconds.
        bins: 2 or more.
        height: of the sensor.
        width: of the sensor.

    Returns:
        (bins, height, width) float32; its sum is that of the polarities.

    Raises:
        UserError: for fewer bins, no time at all, or an event outside of the sensor.
    """
    if bins < 2 or stop <= start:
        raise UserError(f"bins={bins}, {start} to {stop} us: 2 bins or more, in rising time")
    low, high = np.searchsorted(events.t, (start, stop), side="left")
    index = _pixels(events, low, high, height, width)
    place = (events.t[low:high] - start) * ((bins - 1) / (stop - start))
    p = events.p[low:high].astype(np.float64)
    # time rises, so the events between two moments are a run
    cuts = np.searchsorted(place, np.arange(bins), side="left")
    cuts[-1] = len(place)
    grid = np.zeros((bins, height * width))
    for number, (first, last) in enumerate(zip(cuts, cuts[1:])):
        if first == last:
            continue
        part, sign = index[first:last], p[first:last]
        later = sign * (place[first:last] - number)
        grid[number] += np.bincount(part, sign - later, minlength=height * width)
        grid[number + 1] += np.bincount(part, later, minlength=height * width)
    return grid.reshape(bins, height, width).astype(np.float32)


def _pixels(events: Events, low: int, high: int, height: int, width: int) -> np.ndarray:
    """Return y * width + x of some events as int64, which is what `np.bincount` reads."""
    x, y = events.x[low:high], events.y[low:high]
    if high > low and not (
        0 <= int(x.min()) <= int(x.max()) < width and 0 <= int(y.min()) <= int(y.max()) < height
    ):
        raise UserError(
            f"events reach x={int(x.min())}..{int(x.max())}, y={int(y.min())}..{int(y.max())}, "
            f"outside of the sensor of {width}x{height}"
        )
    index = y.astype(np.int64)
    index *= width
    index += x
    return index
