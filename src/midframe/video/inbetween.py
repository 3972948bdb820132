"""Which frames of the input, or predictions from which, are the frames of the output.

The one place that knows shots: nothing is predicted across a cut, and a model of four frames sees
none of another shot.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from midframe.errors import UserError
from midframe.video.frame import Frame
from midframe.video.timing import Moment, Schedule

Array = Any  # a picture (3, H, W) where the model is, such as a tensor on a GPU
_MIDDLE = Fraction(1, 2)


@dataclass(frozen=True, eq=False)
class Picture:
    """A frame of the input on its way to the model.

    Attributes:
        number: of the frame in the input.
        frame: as it was stored.
        rgb: (3, H, W) in [0, 1], where the model is.
        alpha: the same of its opacity, three times; None where all is opaque.
        new_shot: whether there is a cut before it.
    """

    number: int
    frame: Frame
    rgb: Array
    alpha: Array | None = None
    new_shot: bool = False


class Gate(Protocol):
    """Decides on pictures as they come: where shots begin, and which to leave out as repeats.

    It is given pictures in order and yields those that are to be used, with ``new_shot`` set; what
    it leaves out is replaced by what lies between its neighbours. What it says of a picture must
    depend on no more than ``lead`` pictures before it and ``ahead`` behind it, so that a conversion
    in parts gives what a conversion in one piece does.
    """

    lead: int
    ahead: int

    def __call__(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """Yield the pictures that are to be used."""
        ...


class Predictor(Protocol):
    """A shot as a function of position, such as `midframe.models.timeline.Timeline`."""

    def fill(self, positions: Sequence[Fraction]) -> None:
        """Predict what is at positions."""

    def at(self, position: Fraction) -> Array:
        """Return what is at a position; of a whole one what was loaded, that very object."""

    def forget(self, gap: int) -> None:
        """Drop what neither this gap nor a later one needs."""


@dataclass(frozen=True)
class Maker:
    """A model as the pipeline needs it.

    Attributes:
        predictor: makes that of a shot from a function that loads a picture of it by number, and
            one that says whether there is a number.
        place: brings RGB (3, H, W) float32 to where the model is.
        fetch: brings it back.
        behind: how many frames before a gap predictions in it may rest on.
        ahead: how many frames behind the one that a gap ends with are asked for.
        batch: of how many gaps frames are predicted at once.
        finish: makes what is written of what is shown; None: that as it is.
    """

    predictor: Callable[[Callable[[int], Array], Callable[[int], bool]], Predictor]
    place: Callable[[np.ndarray], Array]
    fetch: Callable[[Array], np.ndarray]
    behind: int = 0
    ahead: int = 1
    batch: int = 1
    finish: Callable[[Shown], Frame] | None = None

    def finished(self, one: Shown) -> Frame:
        """Return what is written."""
        return one.frame(self.fetch) if self.finish is None else self.finish(one)


@dataclass(frozen=True, eq=False)
class Shown:
    """A frame of the output, not yet in the form it is stored in.

    Attributes:
        pts: when it is shown.
        near: a frame of the input; the output's, where there is no ``rgb``.
        ends: the two frames of the input around it.
        rgb: what was predicted.
        alpha: what was predicted of its opacity.
    """

    pts: Fraction
    near: Frame
    ends: tuple[Frame, Frame] | None = None
    rgb: Array | None = None
    alpha: Array | None = None

    def frame(self, fetch: Callable[[Array], np.ndarray]) -> Frame:
        """Return it in the form of the input's frames; those themselves are handed on."""
        if self.rgb is None:
            return self.near
        opacity = None if self.alpha is None else fetch(self.alpha).mean(0, keepdims=True)
        return self.near.like(fetch(self.rgb), opacity, self.ends)


class _Shot:
    """Pictures from one cut to the next, numbered from 0, read when they are asked for."""

    def __init__(self, first: Picture, source: Iterator[Picture]) -> None:
        self._source = source
        self._held = {0: first}
        self._count, self._over, self._dropped = 1, False, 0
        self.following: Picture | None = None  # the first of the next shot, once this is over

    def has(self, index: int) -> bool:
        """Whether there is a picture of this index."""
        while index >= self._count and not self._over:
            picture = next(self._source, None)
            if picture is None or picture.new_shot:
                self._over, self.following = True, picture
            else:
                self._held[self._count] = picture
                self._count += 1
        return index < self._count

    def __getitem__(self, index: int) -> Picture:
        if not self.has(index):
            raise IndexError(f"picture {index} of {self._count}")
        return self._held[index]

    def drop(self, below: int) -> None:
        """Forget pictures before one."""
        for index in range(self._dropped, below):
            self._held.pop(index, None)
        self._dropped = max(self._dropped, below)


def shown(
    pictures: Iterable[Picture], moments: Iterable[Moment], schedule: Schedule, maker: Maker
) -> Iterator[Shown]:
    """Yield the frames of the output at ``moments``.

    Args:
        pictures: of the input in order, from ``maker.behind`` before the first moment on.
        moments: in order, some of ``schedule``.
        schedule: knows the times of the input's frames.
        maker: the model.

    Raises:
        UserError: if there is no picture, or by the model.
    """
    source, waiting = iter(pictures), deque(moments)
    first = next(source, None)
    if first is None and waiting:
        raise UserError(f"the video ends before frame {int(waiting[0].position)}; it was cut off")
    while first is not None and waiting:
        shot = _Shot(first, source)
        yield from _of_shot(shot, waiting, schedule, maker)
        first = shot.following


def _of_shot(
    shot: _Shot, waiting: deque[Moment], schedule: Schedule, maker: Maker
) -> Iterator[Shown]:
    """Yield what is shown up to the next shot."""
    colours = maker.predictor(lambda i: shot[i].rgb, shot.has)
    opacity = None
    if shot[0].alpha is not None:
        opacity = maker.predictor(lambda i: shot[i].alpha, shot.has)
    index = 0
    while waiting:
        gaps: list[tuple[int, list[tuple[Fraction, Fraction]]]] = []
        while waiting and len(gaps) < maker.batch and shot.has(index + 1):
            here = _between(shot[index], shot[index + 1], waiting, schedule)
            if here:
                gaps.append((index, here))
            index += 1
            shot.drop((gaps[0][0] if gaps else index) - maker.behind)
        if not gaps:
            break
        wanted = [gap + t for gap, here in gaps for t, _ in here if t]
        for line in (colours, opacity):
            if line is not None:
                line.forget(gaps[0][0])
                line.fill(wanted)
        for gap, here in gaps:
            for t, pts in here:
                rgb = colours.at(gap + t)
                alpha = None if opacity is None else opacity.at(gap + t)
                yield _one(pts, shot[gap], shot[gap + 1], rgb, alpha)
    yield from _behind(shot[index], shot.following, waiting, schedule)


def _between(
    first: Picture, second: Picture, waiting: deque[Moment], schedule: Schedule
) -> list[tuple[Fraction, Fraction]]:
    """Take the moments up to the second picture, as (time in the gap, pts)."""
    found = []
    while waiting and waiting[0].position < second.number:
        moment = waiting.popleft()
        t = moment.position - first.number
        if second.number - first.number > 1:  # what was between them is left out
            start, end = (schedule.time(Fraction(p.number)) for p in (first, second))
            t = (schedule.time(moment.position) - start) / (end - start)
        found.append((t, moment.pts))
    return found


def _one(pts: Fraction, first: Picture, second: Picture, rgb: Array, alpha: Array | None) -> Shown:
    for end in (first, second):  # a frame itself, or nothing moves here
        if rgb is end.rgb and alpha is end.alpha:
            return Shown(pts, end.frame)
    return Shown(pts, first.frame, (first.frame, second.frame), rgb, alpha)


def _behind(
    last: Picture, following: Picture | None, waiting: deque[Moment], schedule: Schedule
) -> Iterator[Shown]:
    """Yield what is shown from the last picture of a shot to the next: the nearer of both."""
    while waiting and (following is None or waiting[0].position < following.number):
        moment = waiting.popleft()
        near = last
        if following is not None:
            start, end = (schedule.time(Fraction(p.number)) for p in (last, following))
            if schedule.time(moment.position) - start > _MIDDLE * (end - start):
                near = following
        yield Shown(moment.pts, near.frame)
