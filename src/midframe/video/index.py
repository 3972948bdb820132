"""When the frames of a video stream are shown: exact times from its packets, without decoding.

Packets tell the times of frames, unless they hold more or fewer frames than they say. The first
ones are therefore decoded and compared; where the two disagree, all are decoded once.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Any, overload

import numpy as np

from midframe.errors import UserError

_MOST_FRAMES = 20_000_000  # more than 90 hours at 60 a second
_ROUNDED = Fraction(1, 100_000)  # less than what 24 and 24000/1001 differ by
_USUAL_RATES = tuple(
    [Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120)]
    + [Fraction(n) for n in (10, 12, 15, 20, 24, 25, 30, 48, 50, 60, 100, 120)]
)


class Times(Sequence[Fraction]):
    """Times of frames, in seconds, ascending: whole multiples of a unit, or a constant rate.

    Args:
        ticks: (n,) int64, in units.
        unit: in seconds.
        shift: in seconds, taken away from all.
        rate: frames a second, where times follow it exactly from ``first`` on; ticks are then only
            rounded, and not used.
        first: of a constant rate.
    """

    def __init__(
        self,
        ticks: np.ndarray,
        unit: Fraction,
        shift: Fraction = Fraction(0),
        rate: Fraction | None = None,
        first: Fraction = Fraction(0),
    ) -> None:
        self.ticks, self.unit, self.shift = ticks, unit, shift
        self.rate, self.first = rate, first

    def __len__(self) -> int:
        return len(self.ticks)

    @overload
    def __getitem__(self, number: int) -> Fraction: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[Fraction]: ...

    def __getitem__(self, number: int | slice) -> Fraction | Sequence[Fraction]:
        if isinstance(number, slice):
            return [self[i] for i in range(*number.indices(len(self)))]
        if not -len(self) <= number < len(self):
            raise IndexError(f"frame {number} of {len(self)}")
        number %= len(self)
        if self.rate is not None:
            return self.first + number / self.rate
        return int(self.ticks[number]) * self.unit - self.shift

    @property
    def grid(self) -> int:
        """A denominator that all times have in common."""
        if self.rate is not None:
            return lcm(self.first.denominator, self.rate.numerator)
        return lcm(self.unit.denominator, self.shift.denominator)


def even_times(count: int, rate: Fraction) -> Times:
    """Return times at a constant rate from 0 on."""
    return Times(np.arange(count), 1 / rate, rate=rate)


@dataclass
class Index:
    """Where the frames of a stream are.

    Attributes:
        unit: of ``ticks``, in seconds.
        ticks: (n,) int64 presentation times, ascending.
        keys: (k,) int64 times of the frames that decoding can start at, ascending.
        counted: whether frames say nothing of their times, and are found by counting only.
        duration: of the last frame, in units; 0 if unknown.
        cut: whether the file ends too soon.
        notes: for people.
    """

    unit: Fraction
    ticks: np.ndarray
    keys: np.ndarray
    counted: bool = False
    duration: int = 0
    cut: bool = False
    notes: list[str] = field(default_factory=list)


def index_packets(path: Path, container: Any, stream: Any) -> tuple[Index, bool]:
    """Return the index by packets, and whether it can be right.

    Args:
        path: for errors.
        container: an opened file of PyAV, at its start.
        stream: of it.
    """
    import av

    shown, keys, length = array("q"), array("q"), 0
    last, sound, cut, encrypted = None, True, False, False
    hides = _HIDES.get(stream.codec_context.name, _never)
    try:
        for packet in container.demux(stream):
            if not packet.size:
                continue
            encrypted = encrypted or packet.has_sidedata("encryption_info")
            if packet.is_corrupt:
                cut = True
                continue
            cut = False  # what follows is whole: damage in the middle is the decoder's to say
            if packet.pts is None:
                sound = False
                shown.append(0)
                continue
            if packet.is_keyframe:
                keys.append(packet.pts)
            if packet.is_discard or hides(packet):
                continue
            if len(shown) >= _MOST_FRAMES:
                raise UserError(f"{path}: more than {_MOST_FRAMES} frames; cut it into parts")
            shown.append(packet.pts)
            if last is None or packet.pts > last:
                last, length = packet.pts, packet.duration or 0
    except (av.FFmpegError, OSError):
        cut = True
    if encrypted or stream.codec_context.codec_tag in ("encv", "drmi"):
        raise UserError(f"{path}: the video is encrypted; decrypt it first")
    ticks = np.sort(np.frombuffer(shown, np.int64)) if shown else np.zeros(0, np.int64)
    sound = sound and bool((np.diff(ticks) > 0).all())
    found = np.sort(np.frombuffer(keys, np.int64)) if keys else np.zeros(0, np.int64)
    return Index(stream.time_base, ticks, found, duration=length, cut=cut), sound


def agrees(
    index: Index, decoded: Sequence[int | None], complete: bool, damaged: bool = False
) -> bool:
    """Whether the first frames are what the index says; leading ones that are not shown go.

    Args:
        index: is changed.
        decoded: times of the first frames.
        complete: whether there are no further ones.
        damaged: whether some could not be decoded: these stay in the index, to be missed.
    """
    if not decoded or decoded[0] is None:
        return False
    first = int(np.searchsorted(index.ticks, decoded[0]))
    ticks = index.ticks[first : None if complete else first + len(decoded)]
    if ticks.tolist() != list(decoded) and not (damaged and _among(decoded, index.ticks[first:])):
        return False
    index.ticks = index.ticks[first:]
    return True


def _among(times: Sequence[int | None], ticks: np.ndarray) -> bool:
    if any(time is None for time in times):
        return False
    found = np.array(times, np.int64)
    return bool((np.diff(found) > 0).all() and np.isin(found, ticks).all())


def index_decoded(decoded: Iterator[tuple[int | None, int]], index: Index, rate: Fraction) -> Index:
    """Return the index by decoding everything.

    Args:
        decoded: (time, duration) of every frame, in order, in units of ``index``.
        index: by packets.
        rate: that is assumed where frames have no times.
    """
    shown, sound, length = array("q"), True, 0
    for time, duration in decoded:
        sound = sound and time is not None and (not shown or time > shown[-1])
        shown.append(time if time is not None else 0)
        length = duration
    ticks = np.frombuffer(shown, np.int64) if shown else np.zeros(0, np.int64)
    if sound:
        return Index(index.unit, ticks, index.keys, False, length, index.cut, index.notes)
    note = f"frames do not say when they are shown; {rate} a second are assumed"
    none = np.zeros(0, np.int64)
    ticks = np.arange(len(ticks), dtype=np.int64)
    return Index(1 / rate, ticks, none, True, 1, index.cut, [*index.notes, note])


def times_of(index: Index, shift: Fraction, rates: Sequence[Fraction]) -> Times:
    """Return exact times: those of a constant rate where it explains all ticks, else the ticks.

    Containers round times to their unit, Matroska to milliseconds: frames at 24000/1001 a second
    come at 0, 42, 83, 125. A rate is taken where every time is within one unit of it.

    Args:
        index: of the stream.
        shift: the time that is called 0.
        rates: that the file says, the likeliest first.
    """
    exact = Times(index.ticks, index.unit, shift)
    if len(exact) == 1 and rates and not index.counted:
        return Times(index.ticks, index.unit, shift, nice(rates[0]), exact[0])
    if len(exact) < 2:
        return exact
    if index.counted:
        return Times(index.ticks, index.unit, Fraction(0), 1 / index.unit)
    ticks = index.ticks - index.ticks[0]
    mean = (len(ticks) - 1) / (int(ticks[-1]) * index.unit)
    likely = [*map(nice, rates), *sorted(_USUAL_RATES, key=lambda rate: abs(rate - mean))[:3]]
    # the mean itself last: of a strange rate in an exact container
    for rate in (*(r for r in likely if abs(r / mean - 1) < Fraction(1, 10)), mean):
        if _explains(ticks, index.unit, rate):
            return Times(index.ticks, index.unit, shift, rate, _first(exact[0], rate, index.unit))
    return exact


def _explains(ticks: np.ndarray, unit: Fraction, rate: Fraction) -> bool:
    step = 1 / (rate * unit)  # in units
    if step.numerator >= 1 << 40 or step.denominator >= 1 << 20:
        return False
    if step.denominator == 1:
        return bool((np.diff(ticks) == step.numerator).all())
    # in whole numbers: |tick - i * step| < 1
    number = np.arange(len(ticks), dtype=np.int64)
    if len(ticks) * step.numerator >= 1 << 62 or int(ticks[-1]) * step.denominator >= 1 << 62:
        return False
    off = ticks * step.denominator - number * step.numerator
    return bool((np.abs(off) <= step.denominator).all())


def _first(first: Fraction, rate: Fraction, unit: Fraction) -> Fraction:
    """Return the first frame's time, as a whole number of frames where it is that, rounded."""
    whole = round(first * rate) / rate
    return whole if abs(whole - first) < unit else first


def nice(rate: Fraction) -> Fraction:
    """Return 48 or 48000/1001 for a rate that was meant so: Matroska counts in nanoseconds."""
    for likely in (Fraction(round(rate)), Fraction(round(rate * 1001 / 1000) * 1000, 1001)):
        if likely and abs(likely / rate - 1) < _ROUNDED:
            return likely
    return rate


def _never(packet: Any) -> bool:
    return False


def _vp8_hides(packet: Any) -> bool:
    """Whether a packet has no frame to show. Source: RFC 6386, section 9.1 (show_frame)."""
    return not memoryview(packet)[0] & 0x10


def _vp9_hides(packet: Any) -> bool:
    """The same of VP9. Source: its bitstream specification, 6.2 uncompressed_header and annex B."""
    data = memoryview(packet)
    if data[-1] & 0xE0 == 0xC0:
        return False  # a superframe: one of its frames is shown
    bits = f"{data[0]:08b}{data[1] if len(data) > 1 else 0:08b}"
    at = 5 if bits[2:4] == "11" else 4  # profile 3 has a reserved bit
    shows_existing, shown = bits[at] == "1", bits[at + 2] == "1"
    return not (shows_existing or shown)


_HIDES = {"vp8": _vp8_hides, "libvpx": _vp8_hides, "vp9": _vp9_hides, "libvpx-vp9": _vp9_hides}
