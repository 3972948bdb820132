"""Where a video cuts, told from motion and flashes by the few frames around, and nothing else.

A cut changes the picture at once, more than the frames before and after it change, in a way that
neither motion nor a flash explains. Fades and dissolves change little from frame to frame, so they
are no cuts: what lies between two of their frames is a mixture anyway.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np

from midframe.errors import UserError
from midframe.video.format import Format
from midframe.video.frame import Frame
from midframe.video.inbetween import Picture

_LUMA_WIDTH = 256  # small enough to be cheap and free of noise, large enough to see small objects
_THUMB = (64, 36)
_BLOCKS = (8, 6)
_FLOW_WIDTH = 128  # where motion is estimated, to see whether it explains a change
LEAD, AHEAD = 3, 2  # frames before and behind the first of a shot that are looked at


@dataclass(frozen=True)
class CutRule:
    """Thresholds of `begins_shot`, in grey levels of 255 unless said otherwise.

    Attributes:
        cut: least mean difference of the small colour pictures at a cut.
        ratio: how many times larger than the neighbouring steps a cut's difference is. Fast motion
            lasts for several frames, so its steps are like their neighbours.
        histogram: share of pixels that change their colour bin; above it (and above ``cut``) a
            step is a cut whatever its neighbours are, such as two cuts in a row.
        unexplained: least share of a change that is left when the one picture is moved towards the
            other by optical flow. Real clips have 0.2 to 0.6 with motion of one to six frames,
            pictures of unlike scenes 0.65 to 1.
        flash: share of a change that is all lighter or all darker, above which it is one of light:
            a flash where the picture is back within two frames, a fade where it goes on.
    """

    cut: float = 8.0
    ratio: float = 2.0
    histogram: float = 0.35
    unexplained: float = 0.5
    flash: float = 0.8


@dataclass(frozen=True, eq=False)
class Look:
    """What is remembered of a frame.

    Attributes:
        luma: (h, w) uint8, at most 256 wide.
        thumb: (36, 64, 3) uint8 RGB.
        bins: share of pixels in each bin of hue, saturation and value.
    """

    luma: np.ndarray
    thumb: np.ndarray
    bins: np.ndarray


class Change(NamedTuple):
    """How a look differs from another: see `change`.

    Attributes:
        content: mean difference of the small colour pictures, in grey levels.
        colour: share of pixels that are of another colour bin.
        motion: mean change of luma in the block that changes most, in grey levels.
        luma: mean change of luma in grey levels.
    """

    content: float
    colour: float
    motion: float
    luma: float


_OF_ANOTHER_SIZE = Change(255.0, 1.0, 255.0, 255.0)


def look_at(image: np.ndarray) -> Look:
    """Return what is remembered of a picture (h, w, 3) uint8 RGB."""
    height, width = image.shape[:2]
    small = cv2.resize(image, _small(width, height), interpolation=cv2.INTER_AREA)
    thumb = cv2.resize(small, _THUMB, interpolation=cv2.INTER_AREA)
    hsv = cv2.cvtColor(thumb, cv2.COLOR_RGB2HSV)
    bins = cv2.calcHist([hsv], [0, 1, 2], None, [8, 4, 4], [0, 180, 0, 256, 0, 256])
    luma = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    return Look(luma, thumb, (bins / bins.sum()).ravel())


def look_at_frame(frame: Frame) -> Look:
    """Return what is remembered of a frame, whose planes are made small before anything else."""
    form = frame.format
    width, height = _small(form.width, form.height)
    small = Format(width, height, form.depth, "444", form.family)
    planes = frame.planes[: form.colours]
    reduced = tuple(cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA) for p in planes)
    rgb = Frame(small, reduced, frame.colour).rgb()
    image = np.rint(rgb * np.float32(255)).astype(np.uint8)
    return look_at(np.ascontiguousarray(image.transpose(1, 2, 0)))


def change(first: Look, second: Look) -> Change:
    """Return how two looks differ; of pictures of two sizes, as much as can be."""
    if first.luma.shape != second.luma.shape:
        return _OF_ANOTHER_SIZE
    moved = cv2.absdiff(first.luma, second.luma)
    blocks = cv2.resize(moved.astype(np.float32), _BLOCKS, interpolation=cv2.INTER_AREA)
    content = float(cv2.absdiff(first.thumb, second.thumb).mean())
    colour = float(np.abs(first.bins - second.bins).sum() / 2)
    return Change(content, colour, float(blocks.max()), float(moved.mean()))


def stands_out(content: float, around: Iterable[float], ratio: float) -> bool:
    """Whether a step is so many times larger than those around it; without any it is not."""
    least = max(around, default=None)
    return least is not None and content >= ratio * max(least, 1e-3)


def begins_shot(looks: Sequence[Look], at: int, rule: CutRule | None = None) -> bool:
    """Whether there is a cut right before a frame.

    Args:
        looks: of frames in a row; of those more than `LEAD` before and `AHEAD` behind, none is
            looked at.
        at: the frame's place among them; nothing is before the first.
        rule: thresholds.
    """
    rule = rule or CutRule()
    if not 0 < at < len(looks):
        return False
    step = change(looks[at - 1], looks[at])
    if step.content < rule.cut:
        return False
    gaps = [g for g in (at - 3, at - 2, at) if g >= 0 and g + 1 < len(looks)]
    around = [change(looks[g], looks[g + 1]).content for g in gaps]
    if not stands_out(step.content, around, rule.ratio) and step.colour < rule.histogram:
        return False
    if _is_flash(looks, at, step, rule) or _is_fade(looks, at, rule):
        return False
    return unexplained(looks[at - 1], looks[at]) >= rule.unexplained


def _is_flash(looks: Sequence[Look], at: int, step: Change, rule: CutRule) -> bool:
    """Whether a change of light is undone within two frames, or undoes such a one."""
    if not _of_light(looks[at - 1], looks[at], rule):
        return False
    before, after = looks[at - 1], looks[at]
    here = range(max(0, at - LEAD), min(len(looks), at + AHEAD + 1))
    begins = [(before, looks[n]) for n in here if n > at]
    ends = [(looks[n], after) for n in here if n < at - 1]
    return any(
        change(one, other).content * rule.ratio <= step.content for one, other in begins + ends
    )


def _is_fade(looks: Sequence[Look], at: int, rule: CutRule) -> bool:
    """Whether a change of light is one of several in the same direction."""
    light = _of_light(looks[at - 1], looks[at], rule)
    gaps = [g for g in (at - 2, at) if g >= 0 and g + 1 < len(looks)]
    around = [_of_light(looks[g], looks[g + 1], rule) for g in gaps]
    return any(light * other > 0 and abs(light) < rule.ratio * abs(other) for other in around)


def _of_light(first: Look, second: Look, rule: CutRule) -> float:
    """Return by how much a picture becomes lighter all over, in grey levels; 0: it does not."""
    if first.luma.shape != second.luma.shape:
        return 0.0
    difference = second.luma.astype(np.float32) - first.luma
    mean = float(difference.mean())
    return mean if abs(mean) >= rule.flash * float(np.abs(difference).mean()) else 0.0


def unexplained(first: Look, second: Look) -> float:
    """Return the share of a change that motion leaves, in the better of both directions."""
    if first.luma.shape != second.luma.shape:
        return 1.0
    height, width = first.luma.shape
    scale = min(1.0, _FLOW_WIDTH / width)
    size = (max(12, round(width * scale)), max(12, round(height * scale)))
    one, other = (
        cv2.resize(look.luma, size, interpolation=cv2.INTER_AREA) for look in (first, second)
    )
    whole = float(cv2.absdiff(one, other).mean())
    if not whole:
        return 0.0
    return min(_left(one, other), _left(other, one)) / whole


def _left(here: np.ndarray, there: np.ndarray) -> float:
    """Return the mean difference of a picture and another that is warped to it."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    search.setFinestScale(0)
    flow = search.calc(here, there, None)  # type: ignore[call-overload]
    rows, columns = np.indices(here.shape, np.float32)
    warped = cv2.remap(
        there,
        columns + flow[..., 0],
        rows + flow[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return float(cv2.absdiff(warped, here).mean())


class FindCuts:
    """A gate that finds where shots begin, see `midframe.video.inbetween.Gate`.

    Args:
        threshold: see `CutRule.cut`.

    Raises:
        UserError: for one that is not above 0.
    """

    lead, ahead = LEAD, AHEAD

    def __init__(self, threshold: float = CutRule.cut) -> None:
        if not threshold > 0:
            raise UserError(f"a threshold of cuts of {threshold:g}: give grey levels above 0")
        self.rule = CutRule(cut=threshold)

    def __repr__(self) -> str:
        return f"FindCuts({self.rule.cut:g})"

    def __call__(self, pictures: Iterator[Picture]) -> Iterator[Picture]:
        """Yield all pictures, those marked that begin a shot."""
        looks: deque[Look] = deque(maxlen=LEAD + 1 + AHEAD)
        waiting: deque[Picture] = deque()
        for picture in pictures:
            looks.append(look_at_frame(picture.frame))
            waiting.append(picture)
            if len(waiting) > AHEAD:
                yield self._judged(waiting, looks)
        while waiting:
            yield self._judged(waiting, looks)

    def _judged(self, waiting: deque[Picture], looks: deque[Look]) -> Picture:
        cut = begins_shot(looks, len(looks) - len(waiting), self.rule)
        picture = waiting.popleft()
        return replace(picture, new_shot=True) if cut else picture


def _small(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, _LUMA_WIDTH / width)
    return max(8, round(width * scale)), max(8, round(height * scale))
