"""Events that a camera would report of given frames: a simulator, and recordings made by it.

Each pixel keeps the log intensity of its last event as reference and reports every threshold that
the intensity, linear between frames, crosses since (ESIM: Rebecq et al., CoRL 2018). What real
pixels add follows v2e (Hu et al., CVPRW 2021): unequal thresholds, a low-pass, leak and shot noise.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from midframe.errors import UserError
from midframe.events.records import Events, Recording

_STILL = 1e-6  # smaller changes of log intensity wait until they have grown
_MET = 1e-9  # of a threshold: a level that a frame ends on is met, however sums were rounded
_LEAST_THRESHOLD = 0.01
_LEAK_SPREAD = 0.1  # decades between the pixels' leak rates
_LEAK_JITTER = 0.1  # of the leak, step by step


class Simulator:
    """Turns frames into events, step by step.

    Args:
        threshold_on: rise of the log intensity that makes an ON event.
        threshold_off: fall that makes an OFF event.
        mismatch: standard deviation of the thresholds between pixels, a fixed pattern; v2e: 0.03.
        cutoff_hz: of the photoreceptor's low-pass at full white, lower in the dark; 0 for none.
            Frames must come some times as often.
        leak_hz: ON events per second and pixel without any change; v2e: 0.01 to 0.1.
        shot_hz: noise events per second and pixel in the dark, fewer in the light; v2e: up to 5.
        refractory_us: microseconds after an event in which its pixel is silent.
        seed: of the pattern and the noise.
        log_eps: added to the intensity before its logarithm, where white is 1.

    Raises:
        UserError: for an option out of range.
    """

    def __init__(
        self,
        threshold_on: float = 0.2,
        threshold_off: float = 0.2,
        *,
        mismatch: float = 0.0,
        cutoff_hz: float = 0.0,
        leak_hz: float = 0.0,
        shot_hz: float = 0.0,
        refractory_us: int = 0,
        seed: int = 0,
        log_eps: float = 1e-3,
    ) -> None:
        for name, value, least in (
            ("threshold_on", threshold_on, _LEAST_THRESHOLD),
            ("threshold_off", threshold_off, _LEAST_THRESHOLD),
            ("mismatch", mismatch, 0.0),
            ("cutoff_hz", cutoff_hz, 0.0),
            ("leak_hz", leak_hz, 0.0),
            ("shot_hz", shot_hz, 0.0),
            ("refractory_us", refractory_us, 0),
            ("seed", seed, 0),
            ("log_eps", log_eps, 1e-9),
        ):
            if not least <= value < math.inf:
                raise UserError(f"{name}={value}: give a number from {least:g} on")
        self.thresholds = (float(threshold_off), float(threshold_on))
        self.mismatch, self.cutoff_hz = float(mismatch), float(cutoff_hz)
        self.leak_hz, self.shot_hz = float(leak_hz), float(shot_hz)
        self.refractory_us, self.log_eps = int(refractory_us), float(log_eps)
        self._rng = np.random.default_rng(seed)
        self._table = np.log(np.arange(256) / 255 + self.log_eps)
        self._shape: tuple[int, int] | None = None
        self._time = 0

    def step(self, frame: np.ndarray, time_us: int) -> Events:
        """Return the events after the frame before and up to this one; none for the first frame.

        Args:
            frame: (H, W) grey or (H, W, 3) RGB; uint8, or floating with white at 1.
            time_us: of the frame, in microseconds.

        Returns:
            Events in order of time, row and column, at times in (time before, ``time_us``].

        Raises:
            UserError: if the frame has another size than the first, or is not later than the last.
        """
        grey = to_grey(frame)
        if grey.dtype == np.uint8:
            return self.advance(self._table[grey], time_us, grey)
        return self.advance(np.log(grey.astype(np.float64) + self.log_eps), time_us, 255 * grey)

    def advance(self, level: np.ndarray, time_us: int, grey: np.ndarray | float = 127.5) -> Events:
        """Do what `step` does with a log intensity.

        Args:
            level: (H, W) natural logarithm of the intensity.
            time_us: in microseconds.
            grey: intensity from 0 to 255, on which low-pass and shot noise depend.
        """
        time_us, level = int(time_us), np.asarray(level, np.float64)
        if self._shape is None:
            self._begin(level)
            self._time = time_us
            return Events.empty()
        if level.shape != self._shape:
            raise UserError(f"a frame of {level.shape} after frames of {self._shape}")
        start, self._time = self._time, time_us
        if time_us <= start:
            raise UserError(f"a frame at {time_us} us after one at {start} us: times must rise")
        light = (np.asarray(grey, np.float64).ravel() + 20.0) / 275.0
        seconds = 1e-6 * (time_us - start)
        end = self._seen(level.ravel(), light, seconds)
        time, pixel, on = self._crossings(end, start, time_us)
        if self.shot_hz:
            noise = self._shots(light, seconds, end, start, time_us)
            time, pixel, on = (np.concatenate(pair) for pair in zip((time, pixel, on), noise))
        return self._report(time, pixel, on)

    def _begin(self, level: np.ndarray) -> None:
        self._shape = (level.shape[0], level.shape[1])
        count = level.size
        self._last = level.ravel().copy()  # the signal at the time before
        self._reference = self._last.copy()
        self._filtered = self._last.copy()
        # in the order OFF, ON, so that a polarity is an index
        self._steps = np.repeat(np.array(self.thresholds)[:, None], count, 1)
        if self.mismatch:
            self._steps += self._rng.normal(0, self.mismatch, self._steps.shape)
            np.maximum(self._steps, _LEAST_THRESHOLD, out=self._steps)
        self._leak = np.zeros(count)  # the signal's drift so far
        if self.leak_hz:
            spread = np.exp(math.log(10) * _LEAK_SPREAD * self._rng.normal(size=count))
            self._leak_rate = self.leak_hz * self._steps[1] * spread
        self._silent_until = np.full(count, np.iinfo(np.int64).min)

    def _seen(self, level: np.ndarray, light: np.ndarray, seconds: float) -> np.ndarray:
        """Return the signal that the comparators see: filtered, and drifting by the leak.

        A leak that lowers every reference is a signal that rises against fixed ones, so that
        crossing times are exact for it as well.
        """
        if self.cutoff_hz:
            share = np.minimum(1.0, light * (seconds * 2 * math.pi * self.cutoff_hz))
            self._filtered += share * (level - self._filtered)
            level = self._filtered
        if not self.leak_hz:
            return level
        jitter = 1 - _LEAK_JITTER * self._rng.normal(size=level.size)
        self._leak += seconds * self._leak_rate * jitter
        return level + self._leak

    def _crossings(
        self, end: np.ndarray, start_us: int, stop_us: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return times, pixels and polarities (1 for ON) of all levels crossed in a step."""
        change = end - self._last
        way = end - self._reference
        moved = np.abs(change) > _STILL
        rising = change > 0
        # a level lies beyond the reference in the direction of the change
        reach = np.where(rising, self._steps[1], -self._steps[0])
        counts = np.floor(way / reach + _MET)
        crossed = np.flatnonzero(moved & (counts >= 1))
        many = counts[crossed].astype(np.int64)
        pixel = np.repeat(crossed, many)
        number = np.arange(len(pixel)) - np.repeat(np.cumsum(many) - many, many) + 1
        level = self._reference[pixel] + number * reach[pixel]
        share = (level - self._last[pixel]) / change[pixel]
        time = np.rint(share * (stop_us - start_us)).astype(np.int64) + start_us
        np.clip(time, start_us + 1, stop_us, out=time)
        self._reference[crossed] += counts[crossed] * reach[crossed]
        np.copyto(self._last, end, where=moved)
        return time, pixel, rising[pixel].astype(np.int64)

    def _shots(
        self, light: np.ndarray, seconds: float, end: np.ndarray, start_us: int, stop_us: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return noise events; the references of their pixels become what the signal is."""
        size = end.size
        rate = self.shot_hz / 2 * seconds * (1 - 0.75 * np.broadcast_to(light, end.shape))
        found = []
        for on in (0, 1):
            chance = rate * (self.thresholds[on] / self._steps[on])
            pixel = np.flatnonzero(self._rng.random(size) < chance)
            found.append((pixel, np.full(len(pixel), on)))
        pixel, polarity = (np.concatenate(pair) for pair in zip(*found))
        time = self._rng.integers(start_us + 1, stop_us, len(pixel), endpoint=True)
        self._reference[pixel] = end[pixel]
        self._last[pixel] = end[pixel]
        return time, pixel, polarity

    def _report(self, time: np.ndarray, pixel: np.ndarray, on: np.ndarray) -> Events:
        """Sort events, leave out those in a refractory period, and make a record of them."""
        assert self._shape is not None
        order = np.lexsort((on, pixel, time))
        time, pixel, on = time[order], pixel[order], on[order]
        if self.refractory_us and len(time):
            kept = self._outside_refractory(time, pixel)
            time, pixel, on = time[kept], pixel[kept], on[kept]
        y, x = np.divmod(pixel, self._shape[1])
        return Events(time, x.astype(np.int16), y.astype(np.int16), (2 * on - 1).astype(np.int8))

    def _outside_refractory(self, time: np.ndarray, pixel: np.ndarray) -> np.ndarray:
        """Return which events their pixels may report, all first ones at once, all second ones."""
        by_pixel = np.argsort(pixel, kind="stable")
        first = np.flatnonzero(np.diff(pixel[by_pixel], prepend=-1))
        counts = np.diff(first, append=len(pixel))
        kept = np.zeros(len(time), bool)
        for turn in range(int(counts.max())):
            event = by_pixel[first[counts > turn] + turn]
            free = event[time[event] >= self._silent_until[pixel[event]]]
            kept[free] = True
            self._silent_until[pixel[free]] = time[free] + self.refractory_us
        return kept


def to_grey(frame: np.ndarray) -> np.ndarray:
    """Return (H, W) of a grey or RGB frame, in its type, by the weights of ITU-R BT.601."""
    if frame.ndim == 2:
        return frame
    if frame.ndim != 3 or frame.shape[2] not in (1, 3):
        raise UserError(f"a frame of {frame.shape}: give (H, W) grey or (H, W, 3) RGB")
    if frame.shape[2] == 1:
        return frame[..., 0]
    if frame.dtype != np.uint8:
        return frame @ np.array([0.299, 0.587, 0.114], frame.dtype)
    import cv2

    return cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)


def simulate_recording(
    frames: Iterable[np.ndarray],
    times: Iterable[int],
    *,
    every: int = 1,
    frame_times: Collection[int] | None = None,
    grey: bool = False,
    source: str = "",
    **options: Any,
) -> Recording:
    """Simulate the events of a video, and keep some of its frames as those of the camera.

    Args:
        frames: uint8, (H, W) grey or (H, W, 3) RGB; taken one by one.
        times: of the frames in microseconds, rising.
        every: the first of every so many frames is kept.
        frame_times: the times of the frames that are kept instead.
        grey: kept frames become grey.
        source: for messages and the record.
        **options: of `Simulator`.

    Raises:
        UserError: for an option out of range, no frame, times that do not rise, or times in
            ``frame_times`` at which there is no frame.
    """
    if every < 1:
        raise UserError(f"every={every}: give 1 or more")
    simulator = Simulator(**options)
    wanted = None if frame_times is None else {int(time) for time in frame_times}
    parts, kept, kept_times = [], [], []
    shape: tuple[int, ...] = ()
    for number, (frame, time) in enumerate(zip(frames, times)):
        parts.append(simulator.step(frame, int(time)))
        shape = frame.shape
        if number % every == 0 if wanted is None else int(time) in wanted:
            if frame.dtype != np.uint8:
                raise UserError(f"a frame of {frame.dtype}: a recording keeps uint8 frames")
            kept.append(np.array(to_grey(frame) if grey or frame.shape[2:] == (1,) else frame))
            kept_times.append(int(time))
    if not shape:
        raise UserError(f"{source or 'simulate_recording'}: there is no frame to simulate from")
    absent = sorted((wanted or set()) - set(kept_times))
    if absent:
        raise UserError(f"there is no frame at {absent[0]} us, which frame_times asks for")
    return Recording(
        events=concatenate(parts),
        frames=np.stack(kept) if kept else np.empty((0, *shape), np.uint8),
        times=np.array(kept_times, np.int64),
        height=shape[0],
        width=shape[1],
        source=source,
    )


def concatenate(parts: Iterable[Events]) -> Events:
    """Return events one after the other; each part ends before the next begins."""
    parts = list(parts) or [Events.empty()]
    return Events(*(np.concatenate([getattr(one, name) for one in parts]) for name in "txyp"))
