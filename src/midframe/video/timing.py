"""When the frames of a conversion are shown, and where they lie between those of its input.

All times are exact fractions of a second: 24000/1001 frames a second stay that.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple, overload

from midframe.errors import UserError

GREATEST_FACTOR = 256
_A_FACTOR = f"give a number from 2 to {GREATEST_FACTOR}, or one such as 5/2"
_GREATEST_RATE = 1_000_000
# what people write for rates of 1000/1001
_WHOLE = {"23.976": 24, "23.98": 24, "29.97": 30, "47.952": 48, "59.94": 60, "119.88": 120}
NAMED_RATES = {name: Fraction(whole * 1000, 1001) for name, whole in _WHOLE.items()}


@dataclass(frozen=True)
class Request:
    """What was asked for: one of factor, fps and times; ``slow`` may come with each.

    Attributes:
        factor: frames of the output for each of the input; 5/2 as well.
        fps: frames a second of the output.
        times: between 0 and 1, of the frames in each gap.
        slow: how many times longer it lasts.

    Raises:
        UserError: for what does not fit, and for more than one of factor, fps and times.
    """

    factor: Fraction | None = None
    fps: Fraction | None = None
    times: tuple[Fraction, ...] | None = None
    slow: Fraction = Fraction(1)

    def __post_init__(self) -> None:
        given = [name for name in ("factor", "fps", "times") if getattr(self, name) is not None]
        if len(given) != 1:
            said = " and ".join(given) or "none"
            raise UserError(f"give one of factor, fps and times, not {said}")
        if self.factor is not None and not 1 < self.factor <= GREATEST_FACTOR:
            raise UserError(f"factor {self.factor}: {_A_FACTOR}")
        if self.fps is not None and not 0 < self.fps <= _GREATEST_RATE:
            raise UserError(f"fps {self.fps}: give frames a second, such as 60 or 60000/1001")
        times = self.times
        if times is not None and (
            not times or list(times) != sorted(set(times)) or not 0 < times[0] <= times[-1] < 1
        ):
            raise UserError("times must lie between 0 and 1 and ascend, such as 0.25,0.5")
        if not 1 <= self.slow <= GREATEST_FACTOR:
            raise UserError(
                f"slow motion {self.slow}: give how many times longer, 2 to {GREATEST_FACTOR}"
            )

    def __str__(self) -> str:
        words = [f"{float(self.slow):g} times slower"] if self.slow != 1 else []
        if self.factor is not None:
            words.append(f"{self.factor} frames for each")
        if self.fps is not None:
            words.append(f"{said_rate(self.fps)} frames a second")
        if self.times is not None:
            words.append(f"frames at {', '.join(map(str, self.times))} of each gap")
        return ", ".join(words)

    def rate_of(self, rate: Fraction | None) -> Fraction | None:
        """Return the frames a second of the output of a video of ``rate``; None: they vary."""
        if self.fps is not None:
            return self.fps
        if self.factor is not None:
            return rate and rate * self.factor / self.slow
        assert self.times is not None
        share = len(self.times) + 1
        even = self.times == tuple(Fraction(k, share) for k in range(1, share))
        return rate * share / self.slow if even and rate else None


def parse_rate(text: str, name: str = "fps") -> Fraction:
    """Return frames a second of "60", "60000/1001" or "29.97", which is 30000/1001.

    Args:
        text: of an option.
        name: of it, for messages.

    Raises:
        UserError: for anything else.
    """
    rate = NAMED_RATES.get(text) or _number(text)
    if not 0 < rate <= _GREATEST_RATE:
        raise UserError(f"{name} {text}: give frames a second, such as 60 or 60000/1001")
    return rate


def parse_ratio(text: str, name: str = "factor") -> Fraction:
    """Return a factor of "2", "5/2" or "2.5"; see `parse_rate`.

    Raises:
        UserError: for anything else, or one that is not above 1 or too large.
    """
    ratio = _number(text)
    if not 1 < ratio <= GREATEST_FACTOR:
        raise UserError(f"{name} {text}: {_A_FACTOR}")
    return ratio


def _number(text: str) -> Fraction:
    """Return a number exactly; 0 for what is none."""
    try:
        return Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        return Fraction(0)


def said_rate(rate: Fraction) -> str:
    """Return a rate as people write it: 60, 23.976 (24000/1001)."""
    if rate.denominator == 1:
        return str(rate)
    plain = f"{float(rate):.6g}"
    return plain if Fraction(plain) == rate else f"{float(rate):.5g} ({rate})"


class Moment(NamedTuple):
    """A frame of the output.

    Attributes:
        position: in frames of the input: 3 is frame 3, 7/2 halfway to the next.
        pts: when it is shown, in seconds.
    """

    position: Fraction
    pts: Fraction


class Schedule(Sequence[Moment]):
    """All frames of the output in order, each worked out when it is asked for.

    With a factor or times, positions are even steps from frame to frame, so that the output keeps
    whatever uneven timing the input has; with fps they are even steps in time.

    Args:
        times: of the input's frames in seconds, ascending.
        last: how long the last one is shown; 0 where the output ends with it, as pictures and raw
            video do. Otherwise it is repeated for this long, so that the duration stays.
        request: what was asked for; slow motion moves everything away from time 0.

    Raises:
        UserError: if there is no frame.
    """

    def __init__(self, times: Sequence[Fraction], last: Fraction, request: Request) -> None:
        if not times:
            raise UserError("there is no frame in it")
        self.times, self.last, self.request = times, last, request
        self._inner = (Fraction(0), *(request.times or ()))
        # all before the end, or, of no duration, up to the last frame
        self._length = (
            ceil(self._place(len(times))) if last else floor(self._place(len(times) - 1)) + 1
        )

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, number: int) -> Moment: ...
    @overload
    def __getitem__(self, number: slice) -> list[Moment]: ...
    def __getitem__(self, number: int | slice) -> Moment | list[Moment]:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(self._length))]
        if not -self._length <= number < self._length:
            raise IndexError(f"frame {number} of {self._length}")
        return self._moment(number % self._length)

    def __iter__(self) -> Iterator[Moment]:
        fps, gap = self.request.fps, 0
        if fps is None:
            yield from map(self._moment, range(self._length))
            return
        for number in range(self._length):
            time = self.times[0] + number / (fps * self.request.slow)
            # walked along, as a search for each frame's gap would take most of the time
            while gap + 1 < len(self.times) and self.times[gap + 1] <= time:
                gap += 1
            yield self._moment(number, gap)

    def spacings(self) -> Counter[int]:
        """Return how many frames lie at halves, thirds ... of a gap; at 1, frames of the input.

        Where frames follow evenly, which a film's do, they are not gone through one by one.
        """
        gaps, step = len(self.times) - 1, self._even_step()
        if self.request.times is not None:
            found = Counter({inner.denominator: 0 for inner in self._inner})
            for inner in self._inner:
                found[inner.denominator] += gaps
            found[1] += self._length - gaps * len(self._inner)
            return +found
        if step is None:
            return Counter(moment.position.denominator for moment in self)
        count = min(self._length, floor(gaps / step) + 1)
        rounds, rest = divmod(count, step.denominator)
        found = Counter({1: self._length - count})  # those behind the last frame repeat it
        for number in range(min(count, step.denominator)):
            found[(number * step).denominator] += rounds + (number < rest)
        return +found

    def _even_step(self) -> Fraction | None:
        """Return by how many frames of the input those of the output follow; None: it varies."""
        request = self.request
        if request.factor is not None:
            return 1 / request.factor
        rate: Fraction | None = getattr(self.times, "rate", None)
        if request.fps is None or rate is None:
            return None
        return rate / (request.slow * request.fps)

    @property
    def duration(self) -> Fraction:
        """From the first frame shown to the end of the last, in seconds."""
        return self.request.slow * (self.time(Fraction(len(self.times))) - self.times[0])

    def before(self, frame: int) -> int:
        """Return how many frames of the output come before a frame of the input."""
        return ceil(self._place(frame))

    def _place(self, frame: int) -> Fraction:
        """Return where a frame of the input falls, in frames of the output."""
        request = self.request
        if request.factor is not None:
            return frame * request.factor
        if request.fps is None:
            return Fraction(frame * len(self._inner))
        passed = self.time(Fraction(frame)) - self.times[0]
        return passed * request.slow * request.fps

    def time(self, position: Fraction) -> Fraction:
        """Return when the input is at a position, in seconds; behind the last frame as well."""
        gap = min(floor(position), len(self.times) - 1)
        start, t = self.times[gap], position - gap
        return start + t * self._step(gap) if t else start

    def _step(self, gap: int) -> Fraction:
        """Return how long a frame of the input is shown."""
        return self.last if gap + 1 == len(self.times) else self.times[gap + 1] - self.times[gap]

    def _moment(self, number: int, gap: int | None = None) -> Moment:
        request, end = self.request, Fraction(len(self.times) - 1)
        if request.fps is not None:
            first = self.times[0]
            passed = number / request.fps
            position = self._position(first + passed / request.slow, gap)
            return Moment(min(position, end), request.slow * first + passed)
        if request.factor is not None:
            position = number / request.factor
        else:
            gap, inner = divmod(number, len(self._inner))
            position = gap + self._inner[inner]
        return Moment(min(position, end), request.slow * self.time(position))

    def _position(self, time: Fraction, gap: int | None = None) -> Fraction:
        if gap is None:
            gap = max(bisect_right(self.times, time) - 1, 0)
        step = self._step(gap)
        return gap + (time - self.times[gap]) / step if step else Fraction(gap)


class Part(NamedTuple):
    """Some frames of the output in a row, which begin and end with frames of the input.

    Attributes:
        number: of the part.
        first: frame of the input that it begins with.
        stop: frame of the input before which it ends.
        start: number of its first frame in the output.
        end: number of the first frame behind it.
    """

    number: int
    first: int
    stop: int
    start: int
    end: int

    def __len__(self) -> int:  # frames of the output
        return self.end - self.start


def parts(schedule: Schedule, frames: int) -> list[Part]:
    """Cut a schedule into parts of about as many frames; none is empty.

    Args:
        schedule: of the whole output.
        frames: of the output in a part; more where a single gap has more.
    """
    count = len(schedule.times)
    gaps = max(1, round(frames * count / len(schedule)))
    starts = [*range(0, count, gaps), count]
    if len(starts) > 2 and starts[-1] - starts[-2] <= gaps // 4:
        del starts[-2]  # a short rest joins the part before it
    found: list[Part] = []
    before = 0
    for first, stop in zip(starts, starts[1:]):
        end = len(schedule) if stop == count else schedule.before(stop)
        if end > before:
            found.append(Part(len(found), first, stop, before, end))
        before = end
    return found


def part_frames(width: int, height: int) -> int:
    """Return how many frames of a size a part should have: fewer of large ones, which take long."""
    return min(240, max(48, round(240 * 1920 * 1080 / (width * height))))
