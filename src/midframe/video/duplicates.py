"""Repeated frames of telecined or animated material, left out so that in-betweens replace them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction

from midframe.video.cuts import Look, change, look_at_frame
from midframe.video.inbetween import Gate, Picture
from midframe.video.scenes import is_repeat

MOST = 3  # repeats in a row; of more, nothing is meant to move
LONGEST = Fraction(1, 4)  # seconds from a frame to its last repeat


class DropRepeats:
    """A gate that leaves out repeats, so that the sequence becomes one of uneven times.

    A frame that is shown up to `MOST` times more, within `LONGEST`, is kept once; what is shown for
    longer is a still and stays as it is, as does a repeat right before a cut, whose time no
    in-between could fill.

    Args:
        times: of the frames, in seconds.
        behind: how many frames before a gap predictions in it may rest on.
        ahead: how many frames behind the one that a gap ends with are asked for.
    """

    def __init__(self, times: Sequence[Fraction], behind: int = 0, ahead: int = 1) -> None:
        self.times = times
        # a run of repeats is known by the MOST + 1 frames on both sides; and of as many frames as
        # are asked for, each may be one of a run
        self.lead = MOST + 1 + MOST * (behind + 1)
        self.ahead = MOST + 1 + MOST * (ahead + 1)

    def __call__(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """Yield the pictures that are no repeats."""
        waiting: deque[Picture] = deque()
        runs: deque[int] = deque()  # of each waiting picture: how many repeats end with it
        last: Look | None = None
        for picture in pictures:
            look = look_at_frame(picture.frame)
            repeats = last is not None and is_repeat(change(last, look)) and not picture.new_shot
            runs.append(runs[-1] + 1 if repeats and runs else int(repeats))
            waiting.append(picture)
            last = look
            if len(waiting) > MOST + 2:
                yield from self._kept(waiting, runs)
        while waiting:
            yield from self._kept(waiting, runs)

    def _kept(self, waiting: deque[Picture], runs: deque[int]) -> Iterator[Picture]:
        """Take the first of the waiting pictures, and yield it unless it is left out."""
        picture, before = waiting.popleft(), runs.popleft()
        if not before:
            yield picture
            return
        behind = 0  # repeats that follow
        while behind < len(runs) and runs[behind] == before + behind + 1:
            behind += 1
        cut = not behind and bool(waiting) and waiting[0].new_shot
        start, end = picture.number - before, picture.number + behind
        still = before + behind > MOST or self.times[end] - self.times[start] > LONGEST
        if cut or still:
            yield picture


class _Both:
    """Two gates, one behind the other."""

    def __init__(self, first: Gate, second: Gate) -> None:
        self._gates = first, second
        self.lead, self.ahead = first.lead + second.lead, first.ahead + second.ahead

    def __call__(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        first, second = self._gates
        return second(first(pictures))


def gate_of(
    cuts: Gate | None,
    replace: bool,
    times: Sequence[Fraction],
    behind: int = 0,
    ahead: int = 1,
) -> Gate | None:
    """Return what decides on the pictures of a conversion; None: all are one shot and stay.

    Args:
        cuts: finds or knows where shots begin; None: nowhere.
        replace: whether repeats are replaced by in-betweens.
        times: see `DropRepeats`, as are ``behind`` and ``ahead``.
        behind: see above.
        ahead: see above.
    """
    if not replace:
        return cuts
    drop = DropRepeats(times, behind, ahead)
    return drop if cuts is None else _Both(cuts, drop)
