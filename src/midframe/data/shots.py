"""Shots of videos as shards on disk, and the clips cut from them."""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import combinations, groupby
from operator import itemgetter
from pathlib import Path

import numpy as np

from midframe.data.io import ImageFile
from midframe.data.records import Clip
from midframe.data.shards import (
    INDEX,
    VERSION,
    ShardFrame,
    ShardWriter,
    check_shard,
    read_json,
)
from midframe.errors import UserError
from midframe.files import aside_of, remove_leftovers, write_json
from midframe.video.media import probe, read_video, reduce_to
from midframe.video.scenes import SceneRule, Step, scan

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
        count: says how many frames there are about, for the progress bar.
    """

    name: str
    files: tuple[Path, ...]
    images: Callable[[], Iterator[np.ndarray]]
    count: Callable[[], int]


def video(name: str, path: Path, max_side: int | None = None) -> Footage:
    """Return a video file as footage; its frames are reduced to ``max_side``."""

    def images() -> Iterator[np.ndarray]:
        return (frame.image for frame in read_video(path, max_side=max_side))

    return Footage(name, (path,), images, lambda: probe(path).frames)


def frame_folder(name: str, paths: Sequence[Path], max_side: int | None = None) -> Footage:
    """Return pictures, in their order, as footage; they are reduced to ``max_side``."""

    def images() -> Iterator[np.ndarray]:
        return (reduce_to(ImageFile(str(path)).read(), max_side) for path in paths)

    return Footage(name, tuple(paths), images, lambda: len(paths))


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
                f"data.layout.gap={self.gap}, data.layout.stride={self.stride}, "
                f"data.layout.step={self.step}: gap is at least 2, the others at least 1"
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
        remove_leftovers(cache)
        with _progress(title) as begin:
            for one in missing:
                try:
                    _cut(one, folders[one.name], rule, begin(one.name, one.count()))
                except UserError as error:
                    if on_error != "skip":
                        raise
                    skipped[one.name] = error
    if skipped:
        _log.warning(
            "%s: %d of %d videos cannot be read and are left out (the first: %s)",
            *(title, len(skipped), len(footage), next(iter(skipped.values()))),
        )
    return {f.name: load_shots(folders[f.name], f.name) for f in footage if f.name not in skipped}


def load_shots(folder: Path, name: str) -> list[Shot]:
    """Return the shots of a cached video; `UserError` where the cache is damaged."""
    index = read_json(folder / INDEX, "shots")
    height, width = index["height"], index["width"]
    shots = []
    for number, one in enumerate(index["shots"]):
        path = folder / one["file"]
        each = height * width * 3
        count = len(one["index"])
        check_shard(path, each * count)
        frames = tuple(ShardFrame(str(path), i * each, height, width) for i in range(count))
        index_of, motion = tuple(one["index"]), tuple(one["motion"])
        shots.append(Shot(f"{name}/{number:02d}", frames, index_of, motion))
    return shots


def _cut(footage: Footage, folder: Path, rule: SceneRule, advance: Callable[[], None]) -> None:
    """Decode one video into a folder of shards, one per shot, which appears when it is complete."""
    aside = aside_of(folder)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        size: tuple[int, int] | None = None
        shots = []
        steps_of = _numbered(scan(_counted(footage, advance), rule))
        for number, steps in groupby(steps_of, itemgetter(0)):
            name = f"shot-{number:04d}.bin"
            index, motion = [], []
            with ShardWriter(aside / name) as writer:
                for _, step in steps:
                    found = (step.image.shape[0], step.image.shape[1])
                    size = size or found
                    if found != size:
                        raise UserError(
                            f"{footage.name}: frame {step.index} is {found[1]}x{found[0]}, those "
                            f"before it {size[1]}x{size[0]}; put frames of one size into a folder"
                        )
                    writer.add_frame(step.image)
                    index.append(step.index)
                    motion.append(round(step.motion, 3))
            shots.append({"file": name, "index": index, "motion": motion})
        if size is None:
            raise UserError(f"{footage.files[0]}: there is no frame to read")
        head = {"kind": "shots", "version": VERSION, "name": footage.name}
        write_json(aside / INDEX, {**head, "height": size[0], "width": size[1], "shots": shots})
        _publish(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _counted(footage: Footage, advance: Callable[[], None]) -> Iterator[np.ndarray]:
    for image in footage.images():
        advance()
        yield image


def _numbered(steps: Iterator[Step]) -> Iterator[tuple[int, Step]]:
    number = -1
    for step in steps:
        number += step.new_shot
        yield number, step


def _publish(aside: Path, folder: Path) -> None:
    if folder.is_dir() and not (folder / INDEX).is_file():
        shutil.rmtree(folder)  # no index: nothing that can be used
    try:
        aside.replace(folder)
    except OSError:
        if not (folder / INDEX).is_file():  # else another process was faster, same content
            raise


def _folder_name(footage: Footage, settings: dict[str, object]) -> str:
    digest = hashlib.sha256(f"{VERSION} {sorted(settings.items())}".encode())
    whole = len(footage.files) == 1  # of many pictures, names, sizes and times tell enough
    for file in footage.files:
        try:
            with file.open("rb") as stream:
                facts = file.stat()
                size = facts.st_size
                digest.update(f"{file.name} {size}".encode())
                if not whole:
                    digest.update(f" {facts.st_mtime_ns}".encode())
                else:  # the content itself, so that a copy of a video is the same video
                    digest.update(stream.read(_ENDS))
                    stream.seek(max(0, size - _ENDS))
                    digest.update(stream.read(_ENDS))
        except OSError as error:
            raise UserError(f"{file}: cannot be read ({error.strerror})") from error
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", footage.name)[-60:].strip("-.") or "video"
    return f"{plain}-{digest.hexdigest()[:12]}"


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder}: the folder cannot be made ({error.strerror}); choose another"
        ) from error


@contextmanager
def _progress(title: str) -> Iterator[Callable[[str, int], Callable[[], None]]]:
    """Show a bar of frames for the video that is being decoded, and when it began."""
    from rich import get_console
    from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn())
    quiet = not get_console().is_terminal
    with Progress(*columns, transient=True, disable=quiet) as bar:
        task = bar.add_task(title)

        def begin(name: str, total: int) -> Callable[[], None]:
            bar.reset(task, total=total or None, description=f"{title}: {name}")
            return lambda: bar.advance(task)

        yield begin
