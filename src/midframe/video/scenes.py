"""Shots of a video: where it cuts, which frames repeat, and how much moves from frame to frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from midframe.video.cuts import AHEAD, LEAD, Change, CutRule, Look, begins_shot, change, look_at

_LEAST_JUMP = 1.0  # grey levels; below it ratios of steps are noise


@dataclass(frozen=True)
class SceneRule(CutRule):
    """Thresholds of `scan`: those of cuts, and more in grey levels of 255 unless said otherwise.

    Attributes:
        duplicate: frames that differ less on average (and nowhere visibly) are the same frame.
        jump: a step over dropped repeats that is this many times both neighbours hides a lost
            frame; the run is broken there because its frames are not evenly spaced.
    """

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


@dataclass(frozen=True, eq=False)
class _Kept:
    """A frame that is no repeat, and how it differs from the one before."""

    index: int
    image: np.ndarray
    look: Look
    change: Change
    repeats: int


def scan(images: Iterable[np.ndarray], rule: SceneRule | None = None) -> Iterator[Step]:
    """Walk through the frames of a video once, dropping repeats and marking where shots begin.

    Frames come out a few behind the input, because a cut is told from fast motion by what follows.

    Args:
        images: (h, w, 3) uint8 RGB frames of one size, in order.
        rule: thresholds.
    """
    rule = rule or SceneRule()
    kept: deque[_Kept] = deque(maxlen=LEAD + 1 + AHEAD)
    past: deque[float] = deque(maxlen=2)  # differences inside the current shot
    waiting = repeats = 0
    for index, image in enumerate(images):
        look = look_at(image)
        step = change(kept[-1].look, look) if kept else Change(0.0, 0.0, 0.0, 0.0)
        if kept and is_repeat(step, rule.duplicate):
            repeats += 1
            continue
        kept.append(_Kept(index, image, look, step, repeats))
        waiting, repeats = waiting + 1, 0
        if waiting > AHEAD:
            yield _judge(kept, waiting, past, rule)
            waiting -= 1
    for left in range(waiting, 0, -1):
        yield _judge(kept, left, past, rule)


def is_repeat(step: Change, threshold: float = SceneRule.duplicate) -> bool:
    """Whether a frame is the one before it once more, coding noise aside.

    Args:
        step: from the one to the other.
        threshold: see `SceneRule.duplicate`.
    """
    # A still picture with one small moving thing is no repeat: its busiest block tells.
    return step.motion < 6 * threshold and step.luma < threshold


def _judge(kept: deque[_Kept], waiting: int, past: deque[float], rule: SceneRule) -> Step:
    at = len(kept) - waiting
    one, content = kept[at], kept[at].change.content
    following = [kept[at + 1].change.content] if waiting > 1 else []
    ratio = content / max(*past, *following, 1e-3) if past else 0.0
    jump = one.repeats > 0 and content >= _LEAST_JUMP and ratio >= rule.jump
    new = one.index == 0 or jump or begins_shot([k.look for k in kept], at, rule)
    if new:
        past.clear()
    else:
        past.append(content)
    return Step(one.index, one.image, new, 0.0 if new else one.change.motion, one.repeats)
