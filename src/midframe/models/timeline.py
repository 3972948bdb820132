"""Frames at any position of a video or between two pictures, whatever a model takes and knows.

The one place that decides which frames a model is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import floor
from typing import Literal, get_args

import torch
from torch import Tensor

from midframe.errors import UserError
from midframe.models.base import Interpolator
from midframe.types import Inputs, Prediction

Ends = Literal["interpolate", "repeat"]
ENDS: tuple[Ends, ...] = get_args(Ends)
BISECTION = "this model knows only the middle of its frames: other times come by bisection"
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
        raise UserError(f"times {times}: give numbers such as 0.25,0.5") from error
    if any(not 0 < t < 1 for t in parsed) or parsed != sorted(set(parsed)):
        raise UserError(f"times {times}: they must lie between 0 and 1 and ascend")
    return parsed


class Timeline:
    """A video as a function of position: frame 3 is at 3, halfway to the next is 7/2.

    Two pictures are the shortest one: ``Timeline(model, [first, second].__getitem__, 2)``.

    Frames are loaded and predicted once each, in ascending order, and forgotten when gaps asked for
    in ascending order need them no longer: memory does not grow with the length of the video. Where
    a model knows only the middle (or its weights ignore the time), the middle of the middle is
    predicted from predicted frames around it, four of them for models of four.

    Args:
        model: of any number of frames.
        load: gives a frame (3, H, W) RGB in [0, 1], where the model is, by its number.
        count: how many frames there are.
        ends: what is in the gaps at the ends of the video, where a model of four frames lacks one:
            "interpolate" has the outer frame twice, "repeat" shows the outer frame again.
        events: for models that need some, gives those of a gap around times in it, (1, T, C, H, W),
            and around its ends, (1, 2, C, H, W), as `Inputs` has them.

    Attributes:
        bisects: whether other times than the middle come by bisection; None: not known yet.

    Raises:
        UserError: if there are too few frames.
    """

    def __init__(
        self,
        model: Interpolator,
        load: Callable[[int], Tensor],
        count: int,
        ends: Ends = "interpolate",
        events: EventsAround | None = None,
    ) -> None:
        if ends not in ENDS:
            raise UserError(f"ends {ends}: give {' or '.join(ENDS)}")
        if count < 2:
            raise UserError("the video has one frame: there is nothing between it and another")
        if ends == "repeat" and count < 2 * model.context:
            raise UserError(
                f"the video has {count} frames; with its ends repeated, a model that reads "
                f"{2 * model.context} leaves nothing to interpolate: use ends interpolate"
            )
        self.model, self.load, self.count, self.ends = model, load, count, ends
        self.events = events
        self.bisects: bool | None = True if model.times == "half" else None
        self._known: dict[Fraction, Tensor] = {}

    def between(self, gap: int, times: Sequence[Fraction]) -> list[Tensor]:
        """Return frames (3, H, W) between frame ``gap`` and the next; not clipped.

        Args:
            gap: from 0 to ``count`` - 2.
            times: in (0, 1).

        Raises:
            UserError: if bisection cannot reach a time, or a prediction is not finite.
        """
        if not 0 <= gap < self.count - 1:
            raise IndexError(f"gap {gap} of {self.count - 1}")
        self._forget(gap)
        positions = [gap + t for t in times]
        if self.bisects is None and not self._repeats(gap):
            self.bisects = self._ignores_time(gap, times)
        if not self.bisects and not self._repeats(gap):
            self._predict(gap, [t for t in times if gap + t not in self._known])
        return [self.at(p) for p in positions]

    def at(self, position: Fraction | int) -> Tensor:
        """Return the frame (3, H, W) at a position; one beyond the ends is the outer frame."""
        p = min(max(Fraction(position), Fraction(0)), Fraction(self.count - 1))
        gap, t = floor(p), p - floor(p)
        if t and self._repeats(gap):
            p = Fraction(0 if gap < self.model.context - 1 else self.count - 1)
        if p not in self._known:
            if p.denominator == 1:
                self._known[p] = self.load(int(p))
            elif self.bisects:
                self._known[p] = self._by_halves(p)
            else:
                self._predict(gap, [t])
        return self._known[p]

    def middle(self, gap: int) -> Prediction:
        """Return all that the model predicts halfway, such as its flow; batch and T are 1.

        Raises:
            UserError: if the frame is not finite.
        """
        around = self._around(gap + _HALF, _HALF)
        out = self._ask(around, [_HALF], gap)
        if not self._is_still(around):
            self._known[gap + _HALF] = out.frame[0, 0]
        return out

    def _repeats(self, gap: int) -> bool:
        """Whether a gap shows its outer frame again instead of anything new."""
        before, behind = gap, self.count - 2 - gap
        return self.ends == "repeat" and min(before, behind) < self.model.context - 1

    def _by_halves(self, p: Fraction) -> Tensor:
        halves = p.denominator
        if halves & (halves - 1):
            raise UserError(
                f"this model knows only the middle, and t = {p - floor(p)} cannot be reached by "
                "halving; use factor 2, 4, 8 ..., or a model that knows any time"
            )
        return self._call(p, Fraction(1, halves), [_HALF])[0]

    def _predict(self, gap: int, times: Sequence[Fraction]) -> None:
        for start in range(0, len(times), _TIMES_AT_ONCE):
            some = times[start : start + _TIMES_AT_ONCE]
            frames = self._call(gap + _HALF, _HALF, some)
            self._known.update(zip((gap + t for t in some), frames))

    def _call(self, middle: Fraction, step: Fraction, times: Sequence[Fraction]) -> list[Tensor]:
        """Predict from the frames around ``middle``, which are 2 ``step`` apart."""
        around = self._around(middle, step)
        if self._is_still(around):  # whatever the model makes of that
            return [around[self.model.context - 1]] * len(times)
        return list(self._ask(around, times, floor(middle)).frame[0])

    def _around(self, middle: Fraction, step: Fraction) -> list[Tensor]:
        context = self.model.context
        return [self.at(middle + (2 * i + 1) * step) for i in range(-context, context)]

    def _is_still(self, around: Sequence[Tensor]) -> bool:
        """Whether the middle two frames are equal, and no event tells of more between them."""
        return self.events is None and torch.equal(
            around[self.model.context - 1], around[self.model.context]
        )

    def _ask(self, around: Sequence[Tensor], times: Sequence[Fraction], gap: int) -> Prediction:
        t = torch.tensor([[float(t) for t in times]], device=around[0].device)
        x = Inputs(torch.stack(list(around))[None], t)
        if self.events is not None:
            x.events, x.events_ends = self.events(gap, times)
        out = self.model.interpolate(x)
        out.frame = out.frame.float()
        if not bool(torch.isfinite(out.frame).all()):
            raise UserError("the model's prediction is not finite; try precision fp32")
        return out

    def _ignores_time(self, gap: int, times: Sequence[Fraction]) -> bool | None:
        """Whether the weights ignore t, as IFRNet's for Vimeo90K do; None: this gap can't tell."""
        if not self.model.trainable:
            return False
        others = [t for t in times if t != _HALF][:1]
        if not others or torch.equal(self.at(gap), self.at(gap + 1)):
            return None
        (other,) = self._call(gap + _HALF, _HALF, others)
        if torch.equal(self.at(gap + _HALF), other):
            return True
        self._known[gap + others[0]] = other
        return False

    def _forget(self, gap: int) -> None:
        """Drop what neither this gap nor a later one needs.

        A frame half a spacing from its neighbours asks for frames up to 2c - 1 of these halves
        away, these for others at twice the spacing, and so on: a frame at the spacing s is of use
        for less than (2c - 1) s behind it.
        """
        reach = 2 * self.model.context - 1
        for p in list(self._known):
            if p < gap - Fraction(reach, p.denominator):
                del self._known[p]
