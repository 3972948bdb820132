"""Every second frame of a clip, to be held against what a model makes of the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from midframe.video.format import Format
from midframe.video.frame import Frame
from midframe.video.inbetween import Gate, Picture
from midframe.video.pipeline import Reader
from midframe.video.timing import Moment, Request, Schedule


class Halved:
    """A clip without its odd frames; cuts are found in all of them.

    It is read once, from the start.

    Args:
        clip: all frames.
        form: of these.
        count: how many they are.
        cuts: where shots begin; None: nowhere.

    Attributes:
        format: of the frames.
        begun: numbers, in the whole clip, of frames that begin a shot, as far as it was read.
    """

    lead = ahead = 0

    def __init__(self, clip: Reader, form: Format, count: int, cuts: Gate | None) -> None:
        self._clip, self._count, self._cuts = clip, count, cuts
        self.format = form
        self.begun: set[int] = set()

    def __len__(self) -> int:
        return (self._count + 1) // 2

    def read(self, first: int, last: int | None = None) -> Iterator[Frame]:
        """Yield frames 0, 2, 4 ..."""
        pictures = (Picture(n, frame, None) for n, frame in enumerate(self._clip.read(0)))
        for picture in pictures if self._cuts is None else self._cuts(pictures):
            if picture.new_shot:
                self.begun.add(picture.number)
            if picture.number % 2 == 0 and picture.number // 2 >= first:
                yield picture.frame

    def __call__(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """Be a gate for these frames: a cut may have been before or behind an odd one."""
        for picture in pictures:
            cut = bool({2 * picture.number, 2 * picture.number - 1} & self.begun)
            yield replace(picture, new_shot=cut)

    def parted(self, odd: int) -> bool:
        """Whether there is a cut on either side of an odd frame, so that nothing tells it."""
        return bool({odd, odd + 1} & self.begun)


class OddFrames(Schedule):
    """The odd frames between every second one, at the times they have.

    Args:
        times: of all frames of a clip, in seconds; three or more.
    """

    def __init__(self, times: list[Fraction]) -> None:
        super().__init__(times[::2], Fraction(0), Request(factor=Fraction(2)))
        self._all = times
        self._length = (len(times) - 1) // 2

    def share(self, number: int) -> Fraction:
        """Return where an odd frame lies between its neighbours, in (0, 1)."""
        before, here, behind = self._all[2 * number : 2 * number + 3]
        return (here - before) / (behind - before)

    def _moment(self, number: int) -> Moment:
        return Moment(number + self.share(number), self._all[2 * number + 1])
