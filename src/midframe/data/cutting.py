"""Clips cut from shots, and the shots that are held out for validation."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, get_args

import numpy as np

from midframe.data.records import Clip
from midframe.data.shards import ShardFrame
from midframe.errors import UserError

Ends = Literal["replicate", "drop"]
_GUARD = 8  # frames between training and validation where both come from one shot


@dataclass(frozen=True)
class Shot:
    """Frames of one shot without repeats.

    Attributes:
        name: unique in the data set, such as "bikes/02".
        frames: in time order.
        index: of each frame in the video.
        motion: of each frame since the one before it, see `midframe.video.scenes.Step`.
        speed: of each frame since the one before it, in pixels, see `midframe.data.speeds`; empty
            where it was not measured.
    """

    name: str
    frames: tuple[ShardFrame, ...]
    index: tuple[int, ...]
    motion: tuple[float, ...]
    speed: tuple[float, ...] = ()

    def part(self, start: int, stop: int, name: str) -> Shot:
        """Return the frames from ``start`` to before ``stop`` as a shot of its own."""
        one = slice(start, stop)
        return Shot(name, self.frames[one], self.index[one], self.motion[one], self.speed[one])


@dataclass(frozen=True)
class Cutting:
    """How clips are cut from shots.

    Attributes:
        gap: frames from one input to the next; those in between are targets.
        stride: every how many-th frame of the video is used.
        step: frames from the beginning of a clip to that of the next.
        motion: clips are dropped as still where the busiest block changes by less than this many
            grey levels over the gap.
        ends: what four inputs and more do about gaps so near an end of the shot that outer frames
            are lacking: "replicate" takes the shot's first or last frame in their place, as at the
            ends of a video that is interpolated, so that all models learn from the same gaps;
            "drop" leaves such gaps out.
        fastest: clips are dropped where the sum of the shot's `speed` over the gap is more pixels;
            None keeps them all.
    """

    gap: int = 2
    stride: int = 1
    step: int = 1
    motion: float = 12.0
    ends: Ends = "replicate"
    fastest: float | None = None

    def __post_init__(self) -> None:
        if self.ends not in get_args(Ends):
            raise UserError(f"data.layout.ends={self.ends}: give {' or '.join(get_args(Ends))}")
        if self.gap < 2 or self.stride < 1 or self.step < 1:
            raise UserError(
                f"data.layout.gap={self.gap}, data.layout.stride={self.stride}, "
                f"data.layout.step={self.step}: gap is at least 2, the others at least 1"
            )


def cut_clips(shot: Shot, context: int, how: Cutting) -> list[Clip]:
    """Return the moving clips of a shot: 2 * ``context`` inputs and the frames between.

    A clip is named by the first of its two middle inputs, so the same gap has the same name for
    any number of inputs.
    """
    outer = (context - 1) * how.gap * how.stride  # frames outside of the gap, on each side
    span = how.gap * how.stride
    count = len(shot.frames)
    moved = np.concatenate([[0.0], np.cumsum(shot.motion, dtype=np.float64)])
    room = outer if how.ends == "drop" else 0
    clips = []
    for start in range(room, count - span - room, how.step):
        if moved[start + span + 1] - moved[start + 1] < how.motion:
            continue
        gap = slice(start + 1, start + span + 1)
        if how.fastest is not None and sum(shot.speed[gap]) > how.fastest:
            continue
        name = f"{shot.name}/{shot.index[start]:06d}"
        first = start % how.stride
        frames = shot.frames[first :: how.stride]
        whole = (start - first) // how.stride  # of these
        clips.append(_around(name, frames, whole, context, how.gap, shot.name))
    return clips


def _around(
    name: str, frames: Sequence[ShardFrame], start: int, context: int, gap: int, group: str
) -> Clip:
    """Return the clip whose two middle inputs are ``start`` and the one ``gap`` after it.

    Inputs that would lie outside are the first or the last frame. Where that one is an input
    already it stands there once more, since inputs have to rise; nothing else does, so three
    frames of any spacing inside of the clip are what they seem to be (``times=any``).
    """
    wanted = [start + (i - context + 1) * gap for i in range(2 * context)]
    places = [min(max(place, 0), len(frames) - 1) for place in wanted]
    before = sum(a == b for a, b in zip(places, places[1:context]))
    after = sum(a == b for a, b in zip(places[context:], places[context + 1 :]))
    low, high = places[0], places[-1]
    around = (frames[low],) * before + tuple(frames[low : high + 1]) + (frames[high],) * after
    inputs = [place - low + before for place in places]
    inputs[:before] = range(before)
    inputs[2 * context - after :] = range(len(around) - after, len(around))
    first, last = inputs[context - 1], inputs[context]
    return Clip(name, around, tuple(inputs), tuple(range(first + 1, last)), group=group)


def hold_out(shots: Sequence[Shot], share: float, how: Cutting) -> tuple[list[Shot], list[Shot]]:
    """Share the shots of one video between training and validation, always in the same way.

    Whole shots are held out: those whose share of the moving triplets comes closest to ``share``
    and whose motion is most like that of the whole video. Where one shot has them all, its last
    part is held out as a shot of its own, and the frames just before it belong to neither.

    The same frames are held out whatever the cutting, so that a model that has learnt from clips
    of one gap is not validated at another gap on frames it knows. Only where that is far from
    ``share`` of the clips that are asked for (in a calm video, or with a large gap), these clips
    decide instead of the triplets.

    Args:
        shots: of one video.
        share: of the clips that is held out.
        how: the clips are cut, here always for two input frames: all models have the same split.

    Returns:
        The shots of training and of validation; one side is empty where nothing can be shared.
    """
    sides: tuple[list[Shot], list[Shot]] = ([], [])
    for rule in (Cutting(), how):
        sides = _share(shots, share, rule, least=how.gap * how.stride + 1)
        train, val = (sum(len(cut_clips(shot, 1, how)) for shot in side) for side in sides)
        if train and share / 2 <= val / (train + val) <= 2 * share:
            break
    return sides


def _share(
    shots: Sequence[Shot], share: float, how: Cutting, least: int
) -> tuple[list[Shot], list[Shot]]:
    weights = [len(cut_clips(shot, 1, how)) for shot in shots]
    motions = [float(np.mean(shot.motion[1:] or [0.0])) for shot in shots]
    total = sum(weights)
    useful = [i for i, weight in enumerate(weights) if weight]
    if total == 0 or share <= 0:
        return list(shots), []
    if len(useful) == 1:
        train, val = _tail(shots[useful[0]], share, how, least)
        return [*(s for i, s in enumerate(shots) if i != useful[0]), train], [val]
    most = len(useful) - 1 if len(useful) <= 12 else 1
    sets = [c for n in range(1, most + 1) for c in combinations(useful, n)]
    if len(useful) > 12:  # too many subsets: take shots in a fixed shuffled order
        order = sorted(useful, key=lambda i: hash_share(shots[i].name))
        sets = [tuple(order[:n]) for n in range(1, len(order))]

    def unlike(chosen: tuple[int, ...]) -> tuple[float, int]:
        count = sum(weights[i] for i in chosen)
        motion = sum(weights[i] * motions[i] for i in chosen) / count
        typical = sum(w * m for w, m in zip(weights, motions)) / total
        return abs(count / total - share) + 0.1 * abs(np.log(motion / typical)), len(chosen)

    best = min(sets, key=unlike)
    return (
        [s for i, s in enumerate(shots) if i not in best],
        [s for i, s in enumerate(shots) if i in best],
    )


def _tail(shot: Shot, share: float, how: Cutting, least: int) -> tuple[Shot, Shot]:
    """Cut a shot in two with a guard between; each part has ``least`` frames where there are."""
    count = len(shot.frames)
    guard = min(_GUARD, count // 8)
    moving = {clip.frames[0] for clip in cut_clips(shot, 1, how)}
    starts = [i for i, frame in enumerate(shot.frames) if frame in moving]
    at = starts[min(len(starts) - 1, int(len(starts) * (1 - share)))]
    at = min(max(at, least + guard), max(count - least, 0))
    return (
        shot.part(0, max(at - guard, 0), f"{shot.name}-first"),
        shot.part(at, count, f"{shot.name}-last"),
    )


def hash_share(name: str) -> float:
    """Return a number in [0, 1) that follows from the name alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
