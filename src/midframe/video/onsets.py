"""Where sounds begin: where the power jumps above what it was just before."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

_BLOCKS = 1000  # a second, in which power is measured
_BEFORE = 20  # blocks that a block is held against
_JUMP = 8.0  # times their mean power: what voices and low tones do by themselves stays below
_FLOOR = 1e-7  # power of what nobody hears
_APART = 45  # blocks between two beginnings; codecs announce a sound softly within that
_BACK = 5  # blocks before the jump in which it may have begun
_PART = 0.1  # of the highest sample, which is where a sound begins
_ABOVE = 1.5  # times the highest sample of what was there before
_AT_MOST = 0.7


class Onsets:
    """Finds the beginnings of sounds in blocks of samples, one after the other.

    Args:
        rate: samples a second.
    """

    def __init__(self, rate: int) -> None:
        self._size = max(1, rate // _BLOCKS)
        self._rest = np.zeros(0, np.float32)  # the loudest channel, not yet a whole block
        self._loud = np.zeros((0, self._size), np.float32)  # blocks that are held
        self._power = np.zeros(0)
        self._first = 0  # number of the first block that is held
        self._checked = 0  # blocks of which it is known whether a sound begins there
        self._ended = False
        self._found: list[int] = []

    @property
    def known(self) -> int:
        """Samples whose beginnings are all known."""
        return max(0, self._checked - _BACK) * self._size

    def push(self, samples: np.ndarray) -> None:
        """Take (channels, n) samples."""
        loudest = np.concatenate([self._rest, np.abs(samples).max(0)])
        count = len(loudest) // self._size
        self._rest = loudest[count * self._size :]
        blocks = loudest[: count * self._size].reshape(count, self._size)
        self._loud = np.concatenate([self._loud, blocks])
        self._power = np.concatenate([self._power, (blocks.astype(np.float64) ** 2).mean(1)])
        self._check()

    def finish(self) -> None:
        """Say that nothing follows."""
        self._ended = True
        self._check()

    def after(self, sample: int) -> int | None:
        """Return the first beginning behind a sample, if one is known; forget those before."""
        del self._found[: bisect_right(self._found, sample)]
        return self._found[0] if self._found else None

    def _check(self) -> None:
        count = len(self._power)
        padded = np.concatenate([np.zeros(_BEFORE), self._power])
        sums = np.concatenate([[0.0], np.cumsum(padded)])
        before = (sums[_BEFORE : _BEFORE + count] - sums[:count]) / _BEFORE
        jump = self._power - _JUMP * np.maximum(before, 0) - _FLOOR
        last = count if self._ended else count - _APART
        for block in np.nonzero(jump > 0)[0]:
            if self._first + block < self._checked or block >= last:
                continue
            around = jump[max(0, block - _APART) : block + _APART + 1]
            if jump[block] >= around.max():
                self._add(int(block))
        self._checked = max(self._checked, self._first + last)
        old = self._checked - self._first - _APART - _BEFORE - _BACK
        if old > 0:
            self._loud, self._power = self._loud[old:], self._power[old:]
            self._first += old

    def _add(self, block: int) -> None:
        begin = max(0, block - _BACK)
        loud = self._loud[begin : block + 2].reshape(-1)
        quiet = self._loud[max(0, block - _BEFORE) : begin]
        peak = float(loud.max())
        limit = max(_PART * peak, _ABOVE * float(quiet.max(initial=0.0)))
        sample = (self._first + begin) * self._size
        sample += int(np.argmax(loud > min(limit, _AT_MOST * peak)))
        if not self._found or sample > self._found[-1]:
            self._found.append(sample)
