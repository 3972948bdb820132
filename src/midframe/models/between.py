"""Frames at any times between two: by bisection where a model knows only the middle."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from midframe.errors import UserError
from midframe.models.base import Interpolator
from midframe.types import Inputs, Prediction

_GREATEST_FACTOR = 256
_HALF = Fraction(1, 2)


def parse_times(factor: int, times: str | None = None) -> list[Fraction]:
    """Return the times to fill: multiples of 1/factor, or those of a comma-separated list.

    Raises:
        UserError: for a factor below 2 or above 256, or times outside (0, 1) or not ascending.
    """
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


class Between:
    """Frames between two, each computed once and when it is asked for.

    Args:
        model: of two input frames.
        first: (3, H, W) RGB in [0, 1], where the model is.
        second: the same.
        times: of the frames, in (0, 1); see `parse_times`.

    Attributes:
        times: of the frames.
        notes: what the user should know about how it was done.
    """

    def __init__(
        self, model: Interpolator, first: Tensor, second: Tensor, times: Sequence[Fraction]
    ) -> None:
        self.model, self.times = model, tuple(times)
        self.notes: list[str] = []
        self._known = {Fraction(0): first, Fraction(1): second}
        self._middle: Prediction | None = None
        self._bisect = model.times == "half" or self._ignores_time()
        if self._bisect:
            self.notes.append(
                "this model knows only the middle of two frames: other times come by bisection"
            )

    def frames(self) -> list[Tensor]:
        """Return the frames (3, H, W) at all times, as the model gives them: not clipped.

        Raises:
            UserError: if bisection cannot reach one, or one is not finite.
        """
        return [self._by_halves(t) if self._bisect else self._at(t) for t in self.times]

    def middle(self) -> Prediction:
        """Return all that the model predicts for t = 0.5, such as its flow; batch and T are 1.

        Raises:
            UserError: if the frame is not finite.
        """
        if self._middle is None:
            self._middle = self._predict(self._known[Fraction(0)], self._known[Fraction(1)], _HALF)
            self._known[_HALF] = self._middle.frame[0, 0]
        return self._middle

    def _at(self, t: Fraction) -> Tensor:
        if t == _HALF:
            return self.middle().frame[0, 0]
        if t not in self._known:
            out = self._predict(self._known[Fraction(0)], self._known[Fraction(1)], t)
            self._known[t] = out.frame[0, 0]
        return self._known[t]

    def _by_halves(self, t: Fraction) -> Tensor:
        halves = t.denominator
        if halves & (halves - 1) or halves > _GREATEST_FACTOR:
            raise UserError(
                f"this model knows only the middle, and t = {t} cannot be reached by halving; "
                "use factor 2, 4, 8 ..., or a model that knows any time"
            )
        if t == _HALF or t in self._known:
            return self._at(t)
        step = Fraction(1, halves)
        ends = self._by_halves(t - step), self._by_halves(t + step)
        self._known[t] = self._predict(*ends, _HALF).frame[0, 0]
        return self._known[t]

    def _ignores_time(self) -> bool:
        """Whether the weights ignore t, as those of IFRNet for Vimeo90K do."""
        first, second = self._known[Fraction(0)], self._known[Fraction(1)]
        others = [t for t in self.times if t != _HALF][:1]
        if not (self.model.trainable and others) or bool((first == second).all()):
            return False
        same = bool((self._at(others[0]) == self._at(_HALF)).all())
        if same:
            del self._known[others[0]]  # it is not the frame of that time
        return same

    def _predict(self, first: Tensor, second: Tensor, t: Fraction) -> Prediction:
        times = torch.tensor([[float(t)]], device=first.device)
        out = self.model.interpolate(Inputs(torch.stack((first, second))[None], times))
        out.frame = out.frame.float()
        if not bool(torch.isfinite(out.frame).all()):
            raise UserError("the model's prediction is not finite; try precision fp32")
        return out
