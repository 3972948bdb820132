"""Shots of videos as shards on disk, and the clips cut from them."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from midframe.data.records import Clip
from midframe.data.shards import (
    INDEX,
    VERSION,
    ShardFrame,
    ShardWriter,
    check_shard,
    read_json,
    write_json,
)
from midframe.errors import UserError
from midframe.video.scenes import SceneRule, scan

_log = logging.getLogger(__name__)
_ENDS = 1 << 16  # bytes at both ends of a file that tell it from another one
_GUARD = 8  # frames between training and validation where both come from one shot


@dataclass(frozen=True)
class Shot:
    """Frames of one shot without repeats.

    Attributes:
        name: unique in the data set, such as "bikes/02".
        frames: in time order.
        index: of each frame in the video.
        motion: of each frame since the one before it, see `midframe.video.scenes.Step`.
    """

    name: str
    frames: tuple[ShardFrame, ...]
    index: tuple[int, ...]
    motion: tuple[float, ...]

    def part(self, start: int, stop: int, name: str) -> Shot:
        """Return the frames from ``start`` to before ``stop`` as a shot of its own."""
        one = slice(start, stop)
        return Shot(name, self.frames[one], self.index[one], self.motion[one])


@dataclass(frozen=True)
class Footage:
    """One video or frame folder to be cut into shots.

    Attributes:
        name: unique in the data set.
        files: the video, or the pictures in their order.
        images: reads the frames, (h, w, 3) uint8 RGB of one size.
    """

    name: str
    files: tuple[Path, ...]
    images: Callable[[], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Cutting:
    """How clips are cut from shots.

    Attributes:
        gap: frames from one input to the next; those in between are targets.
        stride: every how many-th frame of the video is used.
        step: frames from the beginning of a clip to that of the next.
        motion: clips are dropped as still where the busiest block changes by less than this many
            grey levels over the gap.
    """

    gap: int = 2
    stride: int = 1
    step: int = 1
    motion: float = 12.0

    def __post_init__(self) -> None:
        if self.gap < 2 or self.stride < 1 or self.step < 1:
            raise UserError(
                f"gap={self.gap}, stride={self.stride}, step={self.step}: gap is at least 2, "
                "the others at least 1"
            )


def cut_clips(shot: Shot, context: int, how: Cutting) -> list[Clip]:
    """Return the moving clips of a shot: 2 * ``context`` inputs and the frames between."""
    inputs = tuple(i * how.gap for i in range(2 * context))
    targets = tuple(range(inputs[context - 1] + 1, inputs[context]))
    first, last = (inputs[i] * how.stride for i in (context - 1, context))
    reach = inputs[-1] * how.stride
    moved = np.concatenate([[0.0], np.cumsum(shot.motion, dtype=np.float64)])
    clips = []
    for start in range(0, len(shot.frames) - reach, how.step):
        if moved[start + last + 1] - moved[start + first + 1] < how.motion:
            continue
        frames = shot.frames[start : start + reach + 1 : how.stride]
        name = f"{shot.name}/{shot.index[start]:06d}"
        clips.append(Clip(name, frames, inputs, targets, group=shot.name))
    return clips


def hold_out(shots: Sequence[Shot], share: float) -> tuple[list[Shot], list[Shot]]:
    """Share the shots of one video between training and validation, always in the same way.

    Whole shots are held out, those whose moving triplets come closest to ``share``. Where one shot
    has them all, its last part is held out as a shot of its own, and the frames just before it
    belong to neither.
    """
    weights = [len(cut_clips(shot, 1, Cutting())) for shot in shots]
    total = sum(weights)
    useful = [i for i, weight in enumerate(weights) if weight]
    if total == 0 or share <= 0:
        return list(shots), []
    if len(useful) == 1:
        train, val = _tail(shots[useful[0]], share)
        return [*(s for i, s in enumerate(shots) if i != useful[0]), train], [val]
    most = len(useful) - 1 if len(useful) <= 12 else 1
    sets = [c for n in range(1, most + 1) for c in combinations(useful, n)]
    if len(useful) > 12:  # too many subsets: take shots in a fixed shuffled order
        order = sorted(useful, key=lambda i: hash_share(shots[i].name))
        sets = [tuple(order[:n]) for n in range(1, len(order))]
    best = min(sets, key=lambda c: (abs(sum(weights[i] for i in c) - share * total), len(c), c))
    return (
        [s for i, s in enumerate(shots) if i not in best],
        [s for i, s in enumerate(shots) if i in best],
    )


def _tail(shot: Shot, share: float) -> tuple[Shot, Shot]:
    count = len(shot.frames)
    moving = [clip.frames[0] for clip in cut_clips(shot, 1, Cutting())]
    starts = [i for i, frame in enumerate(shot.frames) if frame in set(moving)]
    at = starts[min(len(starts) - 1, int(len(starts) * (1 - share)))]
    at = min(max(at, 3), max(count - 3, 0))
    before = max(at - min(_GUARD, count // 8), 0)
    return (
        shot.part(0, before, f"{shot.name}-first"),
        shot.part(at, count, f"{shot.name}-last"),
    )


def hash_share(name: str) -> float:
    """Return a number in [0, 1) that follows from the name alone."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def load_or_cut(
    footage: Sequence[Footage],
    cache: Path,
    *,
    settings: dict[str, object],
    title: str,
    on_error: str = "raise",
) -> dict[str, list[Shot]]:
    """Return the shots of every video, cutting those that are not in the cache yet.

    Args:
        footage: what to cut.
        cache: holds one folder per video; its name tells content and settings, so changed settings
            never meet old shards.
        settings: what the decoded frames depend on besides the files.
        title: shown beside the progress bar.
        on_error: "skip" leaves out videos that cannot be read, "raise" stops at the first.

    Raises:
        UserError: naming the file that cannot be read, or a damaged cache.
    """
    rule = SceneRule()
    folders = {f.name: cache / _folder_name(f, {**settings, **asdict(rule)}) for f in footage}
    missing = [f for f in footage if not (folders[f.name] / INDEX).is_file()]
    skipped: dict[str, UserError] = {}
    if missing:
        _make_folder(cache)
        with _progress(title, len(missing)) as advance:
            for one in missing:
                try:
                    _cut(one, folders[one.name], rule, advance)
                except UserError as error:
                    if on_error != "skip":
                        raise
                    skipped[one.name] = error
    if skipped:
        _log.warning(
            "%s: %d of %d videos cannot be read and are left out (the first: %s)",
            *(title, len(skipped), len(footage), next(iter(skipped.values()))),
        )
    return {
        f.name: load_shots(folders[f.name], f.name) for f in footage if f.name not in skipped
    }


def load_shots(folder: Path, name: str) -> list[Shot]:
    """Return the shots of a cached video; `UserError` where the cache is damaged."""
    index = read_json(folder / INDEX, "shots")
    height, width = index["height"], index["width"]
    shots = []
    for number, one in enumerate(index["shots"]):
        path = folder / one["file"]
        bytes_each = height * width * 3
        check_shard(path, bytes_each * len(one["index"]))
        frames = tuple(
            ShardFrame(str(path), i * bytes_each, height, width) for i in range(len(one["index"]))
        )
        shots.append(Shot(f"{name}/{number:02d}", frames, tuple(one["index"]), tuple(one["motion"])))
    return shots


def _cut(footage: Footage, folder: Path, rule: SceneRule, advance: Callable[..., None]) -> None:
    """Decode one video into a folder of shards, one per shot, which appears when it is complete."""
    aside = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    shots: list[dict[str, object]] = []
    size: tuple[int, ...] | None = None
    writer: ShardWriter | None = None
    index: list[int] = []
    motion: list[float] = []
    try:
        for step in scan(_counted(footage, advance), rule):
            if size not in (None, step.image.shape[:2]):
                raise UserError(f"{footage.files[0]}: frames of {footage.name} differ in size")
            size = step.image.shape[:2]
            if step.new_shot:
                if writer is not None:
                    writer.__exit__(None)
                index, motion = [], []
                name = f"shot-{len(shots):04d}.bin"
                writer = ShardWriter(aside / name).__enter__()
                shots.append({"file": name, "index": index, "motion": motion})
            assert writer is not None
            writer.add_frame(step.image)
            index.append(step.index)
            motion.append(round(step.motion, 3))
        if writer is None or size is None:
            raise UserError(f"{footage.files[0]}: no frame to read")
        writer.__exit__(None)
        head = {"kind": "shots", "version": VERSION, "name": footage.name}
        write_json(aside / INDEX, {**head, "height": size[0], "width": size[1], "shots": shots})
        if (folder / INDEX).is_file():  # another process was faster, with the same content
            return
        aside.replace(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
