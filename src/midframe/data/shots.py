"""Shots of videos as shards on disk."""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np

from midframe.data.cutting import Shot
from midframe.data.io import ImageFile
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
        with progress(title) as begin:
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
def progress(title: str) -> Iterator[Callable[[str, int], Callable[[], None]]]:
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
