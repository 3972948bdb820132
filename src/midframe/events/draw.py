"""Events to look at: over frames, and their rate over time.

Pictures are (h, w, 3) uint8 RGB arrays. ON is red, OFF is green.
"""

from __future__ import annotations

import math

import numpy as np

from midframe.events.records import Events, Recording

ON, OFF = (255, 60, 50), (40, 200, 60)
_PAPER, _INK, _GRID, _FRAME = (24, 24, 24), (225, 225, 225), (62, 62, 62), (110, 160, 235)
_FULL = 3  # events of a pixel that are shown in full colour
_DIM = 0.75  # of the grey below the events
_LEFT, _RIGHT, _TOP, _BOTTOM = 86, 20, 34, 52  # margins of a plot in pixels
_SIDE = 900  # pictures that fit into it several times are enlarged


def overlay(frame: np.ndarray, events: Events) -> np.ndarray:
    """Lay events over a frame: per pixel the sum of polarities, red above 0 and green below.

    Args:
        frame: (H, W) grey or (H, W, 3) RGB uint8.
        events: of the same sensor.

    Returns:
        (H, W, 3); where there are no events the frame in grey, dimmed.
    """
    grey = frame if frame.ndim == 2 else frame.mean(-1)
    picture = np.repeat((grey * _DIM).astype(np.float32)[..., None], 3, 2)
    place = events.y.astype(np.int64) * grey.shape[1] + events.x
    total = np.bincount(place, weights=events.p, minlength=grey.size).reshape(grey.shape)
    share = np.clip(np.abs(total) / _FULL, 0, 1)[..., None] * 0.6 + 0.4
    colour = np.where(total[..., None] > 0, np.array(ON), np.array(OFF))
    mixed = picture * (1 - share) + colour * share
    return np.where(total[..., None] != 0, mixed, picture).round().astype(np.uint8)


def moment(recording: Recording, number: int, span: int | None = None) -> np.ndarray:
    """Draw a frame with the events around it, enlarged, under a line that says what is shown.

    Args:
        recording: with or without frames.
        number: of the frame; without frames, of so many spans since the first event.
        span: microseconds around the frame's time; None takes the time between frames, or 40 ms.
    """
    times = recording.times
    if len(times):
        span = span or (int(np.median(np.diff(times))) if len(times) > 1 else 40_000)
        start = int(times[number]) - span // 2
        frame, name = recording.frames[number], f"frame {number}"
        first = int(times[0])
    else:
        span = span or 40_000
        first = int(recording.events.t[0]) if len(recording.events) else 0
        start = first + number * span
        frame = np.full((recording.height, recording.width), 96, np.uint8)
        name = "events"
    events = recording.events.between(start, start + span)
    on = int((events.p > 0).sum())
    seconds = (start + span // 2 - first) / 1e6
    text = f"{name}, {seconds:.3f} s"
    counts = [(f"{on:,} ON", ON), (f"{len(events) - on:,} OFF", OFF), (_duration(span), _INK)]
    return _titled(_enlarged(overlay(frame, events)), text, counts)


def moments(recording: Recording, span: int | None = None) -> int:
    """Return how many spans `moment` can show of a recording without frames."""
    t = recording.events.t
    return 1 + int(t[-1] - t[0]) // (span or 40_000) if len(t) else 1


def rate_plot(recording: Recording, width: int = 960, height: int = 320) -> np.ndarray:
    """Draw events per second over time, ON and OFF, with the times of the frames below.

    Args:
        recording: of any length.
        width: of the picture in pixels.
        height: of the picture in pixels.
    """
    events, times = recording.events, recording.times
    edges = [int(t) for array in (events.t, times) for t in (*array[:1], *array[-1:])]
    start, stop = min(edges, default=0), max(edges, default=0) + 1
    columns, rows = width - _LEFT - _RIGHT, height - _TOP - _BOTTOM
    bins = max(columns // 4, 1)
    step = max(-(-(stop - start) // bins), 1)  # whole microseconds
    bins = -(-(stop - start) // step)
    lasting = np.full(bins, step / 1e6)
    lasting[-1] -= (bins * step - (stop - start)) / 1e6  # of the last bin only a part is there
    rates = [
        np.bincount((events.t[events.p == p] - start) // step, minlength=bins) / lasting
        for p in (1, -1)
    ]
    top = max(1.0, float(np.max(rates)))
    tick = _nice(top / 4)
    top = math.ceil(top / tick) * tick
    picture = np.full((height, width, 3), _PAPER, np.uint8)
    _axes(picture, (stop - start) / 1e6, top, tick)
    for time in ((times - start) / (stop - start) * columns).astype(int).tolist():
        picture[height - _BOTTOM + 2 : height - _BOTTOM + 8, _LEFT + min(time, columns - 1)] = (
            _FRAME
        )
    x = _LEFT + (np.arange(bins) + 0.5) * step / (stop - start) * columns
    for rate, colour in zip(rates, (ON, OFF)):
        y = height - _BOTTOM - rate / top * rows
        _line(picture, np.stack([x, y], 1), colour)
    _legend(picture, f"events a second, in bins of {_duration(step)}")
    return picture


def _axes(picture: np.ndarray, seconds: float, top: float, tick: float) -> None:
    height, width = picture.shape[:2]
    floor, right = height - _BOTTOM, width - _RIGHT
    for value in np.arange(0, top + tick / 2, tick):
        y = round(floor - value / top * (floor - _TOP))
        picture[y, _LEFT:right] = _GRID
        _text(picture, _short(value), (_LEFT - 8, y + 4), align="right")
    step = _nice(seconds / 8)
    for second in np.arange(0, seconds + step * 1e-6, step):
        x = round(_LEFT + second / seconds * (right - _LEFT))
        picture[_TOP:floor, min(x, right - 1)] = _GRID
        _text(picture, f"{second:g}", (x, floor + 22), align="middle")
    picture[floor, _LEFT:right] = _INK
    picture[_TOP : floor + 1, _LEFT] = _INK
    _text(picture, "time in s", ((_LEFT + right) // 2, height - 10), align="middle")


def _legend(picture: np.ndarray, title: str) -> None:
    at = _LEFT
    _text(picture, title, (at, 20))
    at = picture.shape[1] - _RIGHT
    for text, colour in (("| frames", _FRAME), ("OFF", OFF), ("ON", ON)):
        _text(picture, text, (at, 20), colour, align="right")
        at -= _text_width(text) + 18


def _line(picture: np.ndarray, points: np.ndarray, colour: tuple[int, int, int]) -> None:
    import cv2

    eighths = np.rint(points * 8).astype(np.int32)[:, None]
    cv2.polylines(picture, [eighths], False, colour, 1, cv2.LINE_AA, shift=3)


def _nice(step: float) -> float:
    """Return a step of 1, 2 or 5 times a power of ten that is not smaller."""
    if not step > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(f * power for f in (1, 2, 5, 10) if f * power >= step * 0.999)


def _short(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g} {letter}"
    return f"{value:g}"


def _duration(microseconds: int) -> str:
    if microseconds >= 1_000_000:
        return f"{microseconds / 1e6:.3g} s"
    return f"{microseconds / 1000:.3g} ms" if microseconds >= 1000 else f"{microseconds} us"


def _enlarged(picture: np.ndarray) -> np.ndarray:
    """Repeat pixels of a small picture, so that single events can be seen."""
    factor = max(1, _SIDE // max(picture.shape[:2]))
    return picture.repeat(factor, 0).repeat(factor, 1)


def _titled(
    picture: np.ndarray, title: str, parts: list[tuple[str, tuple[int, int, int]]]
) -> np.ndarray:
    width = max(picture.shape[1], 320)
    strip = np.full((24, width, 3), _PAPER, np.uint8)
    _text(strip, title, (6, 16))
    at = width - 6
    for text, colour in reversed(parts):
        _text(strip, text, (at, 16), colour, align="right")
        at -= _text_width(text) + 12
    room = width - picture.shape[1]
    body = np.pad(picture, ((0, 0), (0, room), (0, 0)), constant_values=_PAPER[0])
    return np.concatenate([strip, body])


def _text_width(text: str) -> int:
    import cv2

    return int(cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)[0][0])


def _text(
    picture: np.ndarray,
    text: str,
    at: tuple[int, int],
    colour: tuple[int, int, int] = _INK,
    align: str = "left",
) -> None:
    import cv2

    back = {"left": 0.0, "middle": 0.5, "right": 1.0}[align] * _text_width(text)
    at = (round(at[0] - back), at[1])
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
