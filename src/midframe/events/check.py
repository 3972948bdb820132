"""What every recording keeps to, wherever it comes from."""

from __future__ import annotations

import numpy as np

from midframe.errors import UserError
from midframe.events.container import LARGEST
from midframe.events.records import Events, Recording

# name, dtype of the columns of `Events`
COLUMNS = (("t", np.int64), ("x", np.int16), ("y", np.int16), ("p", np.int8))


def check_recording(recording: Recording, name: str) -> None:
    """Raise `UserError` unless a recording is one: forms, order of times, events on the sensor.

    Args:
        recording: to be checked.
        name: of its file, for the message.
    """
    frames, times = recording.frames, recording.times
    height, width = recording.height, recording.width
    if not (0 < height <= LARGEST and 0 < width <= LARGEST):
        raise UserError(f"{name}: a sensor of {width}x{height} pixels; {LARGEST} is the most")
    if frames.dtype != np.uint8 or frames.ndim not in (3, 4) or frames.shape[3:] not in ((), (3,)):
        raise UserError(f"{name}: frames are (N, H, W) or (N, H, W, 3) uint8, not {frames.shape}")
    if frames.shape[1:3] != (height, width):
        raise UserError(
            f"{name}: frames of {frames.shape[2]}x{frames.shape[1]} pixels and a sensor of "
            f"{width}x{height}"
        )
    if times.dtype != np.int64 or times.shape != frames.shape[:1]:
        raise UserError(f"{name}: {len(frames)} frames and {times.shape} times {times.dtype}")
    if not (np.diff(times) > 0).all():
        raise UserError(f"{name}: the times of its frames do not rise")
    _check_events(recording.events, height, width, name)


def _check_events(events: Events, height: int, width: int, name: str) -> None:
    for column, dtype in COLUMNS:
        array = getattr(events, column)
        if array.dtype != dtype or array.shape != events.t.shape or array.ndim != 1:
            raise UserError(f"{name}: its events' {column} is {array.dtype} {array.shape}")
    if not (np.diff(events.t) >= 0).all():
        raise UserError(f"{name}: the times of its events go backward")
    for column, most in (("x", width), ("y", height)):
        array = getattr(events, column)
        if len(array) and not 0 <= array.min() <= array.max() < most:
            raise UserError(f"{name}: events outside of its sensor of {width}x{height} pixels")
    if not (np.abs(events.p) == 1).all():
        raise UserError(f"{name}: a polarity that is neither 1 (ON) nor -1 (OFF)")
