"""Sound made longer or shorter at its pitch, in time to the sample where sounds begin.

Pieces of the input are laid over each other so that their waves meet (WSOLA: Verhelst and Roelands,
"An overlap-add technique based on waveform similarity", ICASSP 1993). By itself that plays what
lies within half a window around a moment as well, which sixteen times longer is a third of a
second. So the sound is divided where sounds begin: none is heard before its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from midframe.video.onsets import Onsets

_WINDOW = 0.04  # seconds: two periods of 50 Hz
_NEAR = 4  # windows around a division over which pieces turn from its side to the middle
_FADE = 0.001  # seconds from one division to the next
_PENALTY = 0.02  # of pieces that fit as well, the nearest one


@dataclass
class _Division:
    """What lies between the beginnings of two sounds.

    Attributes:
        begin: in the input, in samples.
        out: where it begins in the output.
        end: in the input; None while it is not known.
        hop: how many samples are written at once, half a window.
        done: samples of it that were written.
    """

    begin: int
    out: int
    end: int | None
    hop: int
    done: int = 0


class Stretcher:
    """Blocks of samples to blocks that last longer; holds a third of a second, however long it is.

    Args:
        channels: of the sound.
        rate: samples a second.
        stretch: how many times longer it becomes, above 0.
    """

    def __init__(self, channels: int, rate: int, stretch: Fraction) -> None:
        self._stretch, self._speed = stretch, float(1 / stretch)
        self._hop = max(2, round(rate * _WINDOW / 2))
        self._fade = max(1, round(rate * _FADE))
        self._onsets = Onsets(rate)
        self._held = np.zeros((channels, 0), np.float32)
        self._first = 0  # number of the first sample that is held
        self._total: int | None = None  # samples of the input, once that is known
        self._next = 0  # sample that would follow what was written last
        self._now: _Division | None = None

    @property
    def count(self) -> int:
        """Samples of the input so far."""
        return self._first + self._held.shape[1]

    def push(self, samples: np.ndarray) -> Iterator[np.ndarray]:
        """Take (channels, n) float32 and yield what can be written of the output, in blocks."""
        self._held = np.concatenate([self._held, samples], axis=1)
        self._onsets.push(samples)
        yield from self._written()

    def finish(self, count: int | None = None) -> Iterator[np.ndarray]:
        """Yield the rest; the output then has exactly ``stretch`` times the input's samples.

        Args:
            count: samples that the input is said to have had: what is missing is silence, what is
                more is left out, which goes for the last tenth of a second.
        """
        total = self.count if count is None else count
        self._held = self._held[:, : max(0, total - self._first)]
        beyond = max(0, total - self.count) + 4 * self._hop  # so that all pieces are whole
        self._held = np.pad(self._held, ((0, 0), (0, beyond)))
        self._onsets.finish()
        self._total = total
        yield from self._written()

    def _written(self) -> Iterator[np.ndarray]:
        while True:
            if self._now is None and not self._begin(0):
                return
            now = self._now
            assert now is not None
            here = now.begin + now.done * self._speed
            if self._total is None and self._onsets.known < here + self._ahead():
                return
            if now.end is None:
                now.end = self._end_after(now.begin)
            left = None if now.end is None else round(now.end * self._stretch) - now.out - now.done
            if left is not None and left <= 0:
                if now.end == self._total or not self._begin(now.end or 0):
                    return
                continue
            size = now.hop if left is None else min(now.hop, left)
            yield self._piece(now, here, size)
            now.done += size
            self._forget(min(self._next, int(here) - 4 * self._hop))

    def _ahead(self) -> float:
        """Return how many samples behind a place have to be known to write it."""
        return 2 * self._hop * (_NEAR + 2 + max(0.0, self._speed - 1))

    def _begin(self, sample: int) -> bool:
        """Begin a division, if enough is known of what follows."""
        if self._total is None and self._onsets.known < sample + self._ahead():
            return False
        if self._total is not None and sample >= self._total:
            return False
        end = self._end_after(sample)
        hop = self._hop if end is None else max(1, min(self._hop, (end - sample) // 3))
        self._now = _Division(sample, round(sample * self._stretch), end, hop)
        return True

    def _end_after(self, sample: int) -> int | None:
        found = self._onsets.after(sample)
        if found is not None and (self._total is None or found < self._total):
            return found
        return self._total

    def _piece(self, now: _Division, here: float, size: int) -> np.ndarray:
        """Return the next samples: from what follows the last ones over to those of this place."""
        if not now.done:
            fade = min(self._fade, size) if now.begin else 0
            at, rise = now.begin, np.ones(size, np.float32)
            rise[:fade] = _rise(fade)
        else:
            at, rise = self._best(now, here, size), _rise(size)
        before, after = self._samples(self._next, size), self._samples(at, size)
        self._next = at + size
        return before + (after - before) * rise

    def _best(self, now: _Division, here: float, size: int) -> int:
        """Return where the piece begins whose wave meets that of what was written last."""
        window = 2 * now.hop
        near = float(_NEAR * window)
        if now.end is not None:
            near = min(near, now.end - now.begin)
        side = 0.5 * min(1.0, (here - now.begin) / near)  # 0: its beginning lies in its place
        if now.end is not None:
            side += 0.5 * (1 - min(1.0, (now.end - here) / near))  # 1: its end does
        middle = round(here - side * window * (1 - self._speed))
        reach = now.hop // 2
        least, most = max(now.begin, middle - reach), middle + reach
        if now.end is not None:
            most = min(most, now.end - (window if size == now.hop else size))
        least = min(least, max(now.begin, most))
        last = self._samples(self._next, size)
        if most <= least or not last.any():  # silence goes with anything
            return min(max(least, middle), max(least, most))
        places = np.arange(least, most + 1)
        match = _likeness(last, self._samples(least, most - least + size))
        return int(places[np.argmax(match - _PENALTY * np.abs(places - middle) / reach)])

    def _samples(self, begin: int, size: int) -> np.ndarray:
        begin -= self._first
        return self._held[:, begin : begin + size]

    def _forget(self, before: int) -> None:
        """Let go of samples, seldom, as the rest is moved."""
        old = before - self._first
        if old > self._held.shape[1] // 2:
            self._held = self._held[:, old:].copy()
            self._first = before


@lru_cache(maxsize=4)
def _rise(size: int) -> np.ndarray:
    return (np.sin((np.arange(size) + 0.5) * (np.pi / 2 / max(size, 1))) ** 2).astype(np.float32)


def _likeness(piece: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return the normalised correlation of (channels, n) with each stretch of n of a longer one."""
    size, places = piece.shape[1], where.shape[1] - piece.shape[1] + 1
    points = 1 << (where.shape[1] - 1).bit_length()
    spectrum = np.fft.rfft(where, points) * np.fft.rfft(piece, points).conj()
    match = np.fft.irfft(spectrum.sum(0), points)[:places]
    energy = np.concatenate([[0.0], np.cumsum((where.astype(np.float64) ** 2).sum(0))])
    power = np.maximum(energy[size:] - energy[:-size], 0) * float((piece**2).sum())
    return np.where(power > 1e-12, match / np.sqrt(np.maximum(power, 1e-12)), 0.0)
