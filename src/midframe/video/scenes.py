"""Shots of a video: where it cuts, which frames repeat, and how much moves from frame to frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

_LUMA_WIDTH = 256  # small enough to be cheap and free of noise, large enough to see small objects
_THUMB = (64, 36)
_BLOCKS = (8, 6)
_LEAST_JUMP = 1.0  # grey levels; below it ratios of steps are noise


@dataclass(frozen=True)
class SceneRule:
    """Thresholds of `scan`, in grey levels of 255 unless said otherwise.

    Attributes:
        cut: least mean difference of the small colour pictures at a cut.
        ratio: how many times larger than both neighbouring steps a cut's difference is. Fast
            motion lasts for several frames, so its steps are like their neighbours.
        histogram: share of pixels that change their colour bin; above it (and above ``cut``) a
            step is a cut whatever its neighbours are, such as two cuts in a row.
        duplicate: frames that differ less on average (and nowhere visibly) are the same frame.
        jump: a step over dropped repeats that is this many times both neighbours hides a lost
            frame; the run is broken there because its frames are not evenly spaced.
    """

    cut: float = 8.0
    ratio: float = 2.0
    histogram: float = 0.35
    duplicate: float = 0.2
    jump: float = 1.6


@dataclass(frozen=True)
class Step:
    """One kept frame of a video and how it follows from the kept frame before it.

    Attributes:
        index: of the frame in the video.
        image: (h, w, 3) uint8 RGB.
        new_shot: whether a shot begins here.
        motion: mean change, in grey levels, of the block that changes most since the previous kept
            frame; 0 where a shot begins. A small moving object counts as much as a moving camera.
        repeats: duplicates dropped just before this frame.
    """

    index: int
    image: np.ndarray
    new_shot: bool
    motion: float
    repeats: int


@dataclass
class _Look:
    """What is remembered of a frame: small pictures and how it differs from the one before."""

    index: int
    image: np.ndarray
    luma: np.ndarray
    thumb: np.ndarray
    bins: np.ndarray
    content: float = 0.0
    colour: float = 0.0
    motion: float = 0.0
    repeats: int = 0


def scan(images: Iterable[np.ndarray], rule: SceneRule | None = None) -> Iterator[Step]:
    """Walk through the frames of a video once, dropping repeats and marking where shots begin.

    Frames come out two behind the input, because a cut is told from fast motion by what follows.

    Args:
        images: (h, w, 3) uint8 RGB frames of one size, in order.
        rule: thresholds.
    """
    rule = rule or SceneRule()
    waiting: _Look | None = None  # its verdict needs the step after it
    last: _Look | None = None
    past: deque[float] = deque(maxlen=2)  # differences inside the current shot
    repeats = 0
    for index, image in enumerate(images):
        look = _look(index, image)
        if last is not None:
            if _compare(last, look) and _same(last, look, rule):
                repeats += 1
                continue
            look.repeats, repeats = repeats, 0
        if waiting is not None:
            yield _judge(waiting, past, look.content, rule)
        waiting = last = look
    if waiting is not None:
        yield _judge(waiting, past, None, rule)


def _judge(look: _Look, past: deque[float], following: float | None, rule: SceneRule) -> Step:
    around = [*past, *([] if following is None else [following])]
    ratio = look.content / max(max(around, default=0.0), 1e-3) if around else 0.0
    first = look.index == 0
    cut = look.content >= rule.cut and (ratio >= rule.ratio or look.colour >= rule.histogram)
    jump = look.repeats > 0 and look.content >= _LEAST_JUMP and bool(past) and ratio >= rule.jump
    new = first or cut or jump
    if new:
        past.clear()
    else:
        past.append(look.content)
    return Step(look.index, look.image, new, 0.0 if new else look.motion, look.repeats)


def _look(index: int, image: np.ndarray) -> _Look:
    height, width = image.shape[:2]
    scale = min(1.0, _LUMA_WIDTH / width)
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    thumb = cv2.resize(small, _THUMB, interpolation=cv2.INTER_AREA)
    hsv = cv2.cvtColor(thumb, cv2.COLOR_RGB2HSV)
    bins = cv2.calcHist([hsv], [0, 1, 2], None, [8, 4, 4], [0, 180, 0, 256, 0, 256])
    luma = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    return _Look(index, image, luma, thumb, (bins / bins.sum()).ravel())


def _compare(last: _Look, look: _Look) -> bool:
    """Fill in how ``look`` differs from ``last``; False if their sizes differ."""
    if last.luma.shape != look.luma.shape:
        look.content, look.colour = 255.0, 1.0
        return False
    change = cv2.absdiff(last.luma, look.luma).astype(np.float32)
    look.motion = float(cv2.resize(change, _BLOCKS, interpolation=cv2.INTER_AREA).max())
    look.content = float(cv2.absdiff(last.thumb, look.thumb).mean())
    look.colour = float(np.abs(last.bins - look.bins).sum() / 2)
    return True


def _same(last: _Look, look: _Look, rule: SceneRule) -> bool:
    # A still picture with one small moving thing is no repeat: its busiest block tells.
    if look.motion >= 6 * rule.duplicate:
        return False
    return float(cv2.absdiff(last.luma, look.luma).mean()) < rule.duplicate
