"""Frames at any position of a video or between two pictures, whatever a model takes and knows.

The one place that decides which frames a model is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from itertools import groupby
from math import ceil, floor
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from midframe.errors import UserError
from midframe.models.base import Interpolator
from midframe.types import Inputs, Prediction

Ends = Literal["interpolate", "repeat"]
ENDS: tuple[Ends, ...] = get_args(Ends)
BISECTION = "this model knows only the middle of its frames: other times come by bisection"
FINEST = 64  # of times that halving does not reach, the nearest multiple of 1 / this is taken
ROUNDING = f"times that halving does not reach are taken at the nearest {FINEST}th of a gap"
EventsAround = Callable[[int, Sequence[Fraction]], tuple[Tensor, Tensor]]
_HALF = Fraction(1, 2)
_GREATEST_FACTOR = 256
_TIMES_AT_ONCE = 8  # of one gap in one call; more would cost memory and gain nothing


def parse_times(factor: int, times: str | None = None) -> list[Fraction]:
    """Return the times to fill: multiples of 1/factor, or those of a comma-separated list.

    Of a single whole number, such as 3, as many at equal distances.

    Raises:
        UserError: for a factor below 2 or above 256, or times outside (0, 1) or not ascending.
    """
    if times is not None and times.strip().isdecimal() and int(times) > 0:
        factor, times = int(times) + 1, None
    if times is None:
        if not 2 <= factor <= _GREATEST_FACTOR:
            raise UserError(f"factor {factor}: give a number from 2 to {_GREATEST_FACTOR}")
        return [Fraction(k, factor) for k in range(1, factor)]
    try:
        parsed = [Fraction(part.strip()) for part in times.split(",")]
    except (ValueError, ZeroDivisionError) as error:
        raise UserError(f"--times {times}: give numbers such as 0.25,0.5") from error
    if any(not 0 < t < 1 for t in parsed) or parsed != sorted(set(parsed)):
        raise UserError(f"--times {times}: they must lie between 0 and 1 and ascend")
    return parsed


class _Call(NamedTuple):
    """What a model is asked: frames around ``middle``, 2 ``step`` apart, at times between two."""

    middle: Fraction
    step: Fraction
    times: tuple[Fraction, ...]
    positions: tuple[Fraction, ...]


class Timeline:
    """A video as a function of position: frame 3 is at 3, halfway to the next is 7/2.

    Two pictures are the shortest one: ``Timeline(model, [first, second].__getitem__, 2)``.

    Frames are loaded and predicted once each, in ascending order, and forgotten when gaps asked for
    in ascending order need them no longer: memory does not grow with the length of the video. Where
    a model knows only the middle (or its weights ignore the time), the middle of the middle is
    predicted from predicted frames around it, four of them for models of four; a time that this
    never reaches, such as 1/3, is rounded to the nearest multiple of 1 / `FINEST`.

    Args:
        model: of any number of frames.
        load: gives a frame (3, H, W) RGB in [0, 1], where the model is, by its number.
        count: how many frames there are; or whether there is one of a number, which is asked for
            as few ahead as the model reads, so that a video need not be known to its end.
        ends: what is in the gaps at the ends of the video, where a model of four frames lacks one:
            "interpolate" has the outer frame twice, "repeat" shows the outer frame again.
        events: for models that need some, gives those of a gap around times in it, (1, T, C, H, W),
            and around its ends, (1, 2, C, H, W), as `Inputs` has them.
        batch: how many predictions are made in one call, as far as `fill` is asked for as many;
            halved for good where a GPU's memory does not suffice.
        bisects: what `bisects` is, where it is known.

    Attributes:
        bisects: whether other times than the middle come by bisection; None: not known yet.
        rounds: whether a time was rounded.

    Raises:
        UserError: if there are too few frames.
    """

    def __init__(
        self,
        model: Interpolator,
        load: Callable[[int], Tensor],
        count: int | Callable[[int], bool],
        ends: Ends = "interpolate",
        events: EventsAround | None = None,
        *,
        batch: int = 1,
        bisects: bool | None = None,
    ) -> None:
        if ends not in ENDS:
            raise UserError(f"ends {ends}: give {' or '.join(ENDS)}")
        if isinstance(count, int):
            _check_count(count, model, ends)
        self.model, self.load, self.count, self.ends = model, load, count, ends
        self.events = events
        self.batch = 1 if events is not None or model.alone else batch
        self.bisects: bool | None = True if model.times == "half" else bisects
        self.rounds = False
        self._known: dict[Fraction, Tensor] = {}

    def between(self, gap: int, times: Sequence[Fraction]) -> list[Tensor]:
        """Return frames (3, H, W) between frame ``gap`` and the next; not clipped.

        Args:
            gap: from 0 to the last but one frame.
            times: in (0, 1).

        Raises:
            UserError: if a prediction is not finite.
        """
        if gap < 0 or not self._has(gap + 1):
            raise IndexError(f"gap {gap} is not in the video")
        self.forget(gap)
        positions = [gap + t for t in times]
        self.fill(positions)
        return [self.at(p) for p in positions]

    def at(self, position: Fraction | int) -> Tensor:
        """Return the frame (3, H, W) at a position; one beyond the ends is the outer frame."""
        p = self._place(Fraction(position))
        if p not in self._known:
            if p.denominator == 1:
                self._known[p] = self.load(int(p))
            else:
                self.fill([p])
        return self._known[p]

    def fill(self, positions: Sequence[Fraction]) -> None:
        """Predict what is at positions, as many in a call as ``batch`` says; `at` then has it.

        Raises:
            UserError: if a prediction is not finite.
        """
        if self.bisects is None:
            for gap, group in groupby(sorted(positions), floor):
                if self.bisects is None and not self._repeats(gap):
                    self.bisects = self._ignores_time(gap, [p - gap for p in group])
        todo = sorted({p for p in map(self._place, positions) if self._lacks(p)})
        if self.bisects:
            levels = groupby(self._halvings(todo), lambda p: p.denominator)
            for spacing, level in levels:  # coarse ones first: finer ones rest on them
                self._predict([_Call(p, Fraction(1, spacing), (_HALF,), (p,)) for p in level])
        else:
            calls = []
            for gap, group in groupby(todo, floor):
                here = tuple(group)
                for some in (
                    here[k : k + _TIMES_AT_ONCE] for k in range(0, len(here), _TIMES_AT_ONCE)
                ):
                    calls.append(_Call(gap + _HALF, _HALF, tuple(p - gap for p in some), some))
            self._predict(calls)

    def middle(self, gap: int) -> Prediction:
        """Return all that the model predicts halfway, such as its flow; batch and T are 1.

        Raises:
            UserError: if the frame is not finite.
        """
        call = _Call(gap + _HALF, _HALF, (_HALF,), (gap + _HALF,))
        around = self._around(call)
        out = self._ask([around], [call])
        if not self._is_still(around):
            self._known[gap + _HALF] = out.frame[0, 0]
        return out

    def forget(self, gap: int) -> None:
        """Drop what neither this gap nor a later one needs.

        A frame half a spacing from its neighbours asks for frames up to 2c - 1 of these halves
        away, these for others at twice the spacing, and so on: a frame at the spacing s is of use
        for less than (2c - 1) s behind it.
        """
        reach = 2 * self.model.context - 1
        for p in list(self._known):
            if p < gap - Fraction(reach, p.denominator):
                del self._known[p]

    def _has(self, number: int) -> bool:
        return number < self.count if isinstance(self.count, int) else self.count(number)

    def _last(self, number: int) -> int:
        """Return the last frame of the video, from one behind it."""
        while not self._has(number):
            number -= 1
        return number

    def _place(self, p: Fraction) -> Fraction:
        """Return the position whose frame is shown at a position."""
        if p <= 0:
            return Fraction(0)
        if not self._has(ceil(p)):
            return Fraction(self._last(ceil(p)))
        gap = floor(p)
        if p == gap:
            return p
        if self._repeats(gap):
            last = gap >= self.model.context - 1
            return Fraction(self._last(gap + self.model.context) if last else 0)
        if self.bisects and p.denominator & (p.denominator - 1):
            self.rounds = True
            return Fraction(round(p * FINEST), FINEST)
        return p

    def _lacks(self, p: Fraction) -> bool:
        return p.denominator > 1 and p not in self._known

    def _repeats(self, gap: int) -> bool:
        """Whether a gap shows its outer frame again instead of anything new."""
        if self.ends != "repeat":
            return False
        return gap < self.model.context - 1 or not self._has(gap + self.model.context)

    def _halvings(self, positions: Iterable[Fraction]) -> list[Fraction]:
        """Return all predictions that positions rest on by bisection, in the order to make them."""
        needed, waiting = set(), list(positions)
        while waiting:
            p = waiting.pop()
            if p not in needed and self._lacks(p):
                needed.add(p)
                waiting += self._places_around(p, Fraction(1, p.denominator))
        return sorted(needed, key=lambda p: (p.denominator, p))

    def _places_around(self, middle: Fraction, step: Fraction) -> list[Fraction]:
        context = self.model.context
        return [self._place(middle + (2 * i + 1) * step) for i in range(-context, context)]

    def _around(self, call: _Call) -> list[Tensor]:
        return [self.at(p) for p in self._places_around(call.middle, call.step)]

    def _predict(self, calls: Sequence[_Call]) -> None:
        """Make predictions; those of as many times share calls of the model."""
        moving: dict[int, list[_Call]] = {}
        for call in calls:
            around = self._around(call)
            if self._is_still(around):  # whatever the model makes of that
                self._known.update(dict.fromkeys(call.positions, around[self.model.context - 1]))
            else:
                moving.setdefault(len(call.times), []).append(call)
        for alike in moving.values():
            while alike:
                some = alike[: self.batch]
                try:
                    frames = self._ask([self._around(call) for call in some], some).frame
                except torch.OutOfMemoryError:
                    if len(some) == 1:
                        raise
                    self.batch = len(some) // 2
                    continue
                for call, row in zip(some, frames):
                    self._known.update(zip(call.positions, row))
                del alike[: len(some)]

    def _is_still(self, around: Sequence[Tensor]) -> bool:
        """Whether the middle two frames are equal, and no event tells of more between them."""
        return self.events is None and torch.equal(
            around[self.model.context - 1], around[self.model.context]
        )

    def _ask(self, arounds: Sequence[Sequence[Tensor]], calls: Sequence[_Call]) -> Prediction:
        device = arounds[0][0].device
        t = torch.tensor([[float(t) for t in call.times] for call in calls], device=device)
        frames = torch.stack([frame for around in arounds for frame in around])
        x = Inputs(frames.unflatten(0, (len(calls), -1)), t)
        if self.events is not None:
            (call,) = calls
            x.events, x.events_ends = self.events(floor(call.middle), call.times)
        out = self.model.interpolate(x)
        out.frame = out.frame.float()
        if not bool(torch.isfinite(out.frame).all()):
            raise UserError("the model's prediction is not finite; try precision fp32")
        return out

    def _ignores_time(self, gap: int, times: Sequence[Fraction]) -> bool | None:
        """Whether the weights ignore t, as IFRNet's for Vimeo90K do; None: this gap can't tell."""
        if not self.model.trainable:
            return False
        other = next((t for t in times if 0 < t != _HALF), None)
        if other is None or torch.equal(self.at(gap), self.at(gap + 1)):
            return None
        self._predict([_Call(gap + _HALF, _HALF, (other,), (gap + other,))])
        found = self._known[gap + other]
        if gap + _HALF not in self._known:
            self._predict([_Call(gap + _HALF, _HALF, (_HALF,), (gap + _HALF,))])
        if not torch.equal(self._known[gap + _HALF], found):
            return False
        del self._known[gap + other]
        return True


def ignores_time(model: Interpolator, device: torch.device) -> bool:
    """Whether a model's weights ignore t, found on two frames of noise of its ``trial_size``."""
    if model.times == "half" or not model.trainable:
        return model.times == "half"
    size = (2 * model.context, 3, *model.trial_size)
    noise = torch.rand(size, generator=torch.Generator().manual_seed(0))
    frames = noise.to(device)
    timeline = Timeline(model, frames.__getitem__, len(frames))
    timeline.between(model.context - 1, [Fraction(1, 4)])
    return bool(timeline.bisects)


def _check_count(count: int, model: Interpolator, ends: Ends) -> None:
    if count < 2:
        raise UserError("the video has one frame: there is nothing between it and another")
    if ends == "repeat" and count < 2 * model.context:
        raise UserError(
            f"the video has {count} frames; with its ends repeated, a model that reads "
            f"{2 * model.context} leaves nothing to interpolate: use ends interpolate"
        )
