"""Writing the flow labels of a data set: reading, estimating and writing go on at the same time."""

from __future__ import annotations

import logging
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from midframe.data import labels as files
from midframe.data.dataset import UnreadableClip, common_size
from midframe.data.flow_files import write_flow
from midframe.data.records import Clip
from midframe.engine.teachers import FlowTeacher
from midframe.errors import UserError
from midframe.files import aside_of, remove_leftovers

_log = logging.getLogger(__name__)
_PROBES = 16  # clips whose size is looked up to estimate the room that is needed


class Job(NamedTuple):
    """A clip with those of its targets that lack labels."""

    clip: Clip
    targets: tuple[int, ...]


@dataclass
class Work:
    """What one process has to label.

    Attributes:
        jobs: in the order of the clips.
        done: samples that had their labels before.
        left_out: by clip, targets that could not be read.
    """

    jobs: list[Job]
    done: int = 0
    left_out: dict[str, list[int]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the samples to label."""
        return sum(len(job.targets) for job in self.jobs)


def find_work(
    clips: Sequence[Clip],
    folder: Path,
    dtype: str,
    shard: tuple[int, int] = (0, 1),
    workers: int = 4,
) -> Work:
    """Return what lacks labels, without reading a frame.

    Args:
        clips: of the whole split.
        folder: a labels folder.
        dtype: of its files, "float32" or "float16".
        shard: the number of this process, from 0 on, and how many there are.
        workers: threads that look.
    """
    suffix = files.SUFFIXES[dtype]

    def look(clip: Clip) -> Job:
        lacking = [t for t in clip.targets if not files.is_whole(folder, clip, t, suffix)]
        return Job(clip, tuple(lacking))

    mine = [clips[i] for i in range(shard[0], len(clips), shard[1])]
    with ThreadPoolExecutor(workers) as pool:
        jobs = list(pool.map(look, mine))
    total = sum(len(clip.targets) for clip in mine)
    work = Work([job for job in jobs if job.targets])
    work.done = total - len(work)
    return work


def check_room(work: Work, folder: Path, dtype: str, shards: int = 1) -> None:
    """Raise `UserError` with the figures where the disk has too little room for the labels."""
    areas = []
    for job in work.jobs[:: max(1, len(work.jobs) // _PROBES)]:
        try:
            height, width = job.clip.frames[job.targets[0]].size()
        except UserError:
            continue  # reported when it is read
        areas.append(height * width)
    if not areas:
        return
    pixels = 2 * len(work) * shards * sum(areas) / len(areas)
    need, free = pixels * files.BYTES[dtype], shutil.disk_usage(folder).free
    if need > free:
        half = pixels * files.BYTES["float16"]
        smaller = f", dtype=float16 takes {_gb(half)}" if dtype != "float16" else ""
        raise UserError(
            f"{folder}: the labels take {_gb(need)} and {_gb(free)} are free; make room or choose "
            f"another disk with out=DIR{smaller}"
        )


def write_labels(
    work: Work,
    folder: Path,
    teacher: FlowTeacher,
    *,
    dtype: str = "float32",
    device: torch.device | str = "cpu",
    workers: int = 4,
    on_error: Literal["raise", "skip"] = "raise",
    advance: Callable[[int], None] = lambda count: None,
) -> None:
    """Label what `find_work` found; whatever has its name is whole, so this may be killed anytime.

    Args:
        work: gets the samples that could not be read.
        folder: a labels folder.
        teacher: estimates the flow, ``teacher.chunk`` pairs of one size at a time.
        dtype: "float32" or "float16".
        device: on which the teacher computes.
        workers: threads that read, and as many that write.
        on_error: "skip" leaves out samples with an unreadable frame.
        advance: is told how many samples were written.

    Raises:
        UserError: if a frame cannot be read or a label not be written.
    """
    remove_leftovers(folder)
    aside = aside_of(folder / "unfinished")
    aside.mkdir(exist_ok=True)
    writer = _Writer(folder, aside, files.SUFFIXES[dtype], workers, advance)
    try:
        with writer, ThreadPoolExecutor(workers) as readers:
            try:
                found = _read_ahead(work.jobs, readers, max(2 * workers, teacher.chunk))
                for group in _groups(found, teacher.chunk):
                    for one in group:
                        if isinstance(one, _Unreadable):
                            _leave_out(work, one, on_error)
                    ready = [one for one in group if isinstance(one, _Frames)]
                    for one, flow in zip(ready, _estimate(ready, teacher, torch.device(device))):
                        writer.add(one.job, flow)
            finally:
                readers.shutdown(wait=False, cancel_futures=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


class _Frames(NamedTuple):
    """The frames of a job: the two ends, then the targets, (2 + T, H, W, 3) uint8."""

    job: Job
    frames: np.ndarray


class _Unreadable(NamedTuple):
    job: Job
    error: UserError


def _read(job: Job) -> _Frames | _Unreadable:
    clip = job.clip
    wanted = (*clip.ends, *job.targets)
    try:
        common_size(clip, wanted)
        return _Frames(job, np.stack([clip.frames[i].read() for i in wanted]))
    except UnreadableClip as error:
        return _Unreadable(job, error)
    except UserError as error:
        return _Unreadable(job, UserError(f"clip {clip.id}: {error}"))


def _read_ahead(
    jobs: Sequence[Job], readers: ThreadPoolExecutor, ahead: int
) -> Iterator[_Frames | _Unreadable]:
    """Yield the jobs' frames in order while later ones are being read."""
    waiting: list[Future[Any]] = []
    for job in jobs:
        waiting.append(readers.submit(_read, job))
        if len(waiting) > ahead:
            yield waiting.pop(0).result()
    for one in waiting:
        yield one.result()


def _groups(
    found: Iterator[_Frames | _Unreadable], pairs: int
) -> Iterator[Sequence[_Frames | _Unreadable]]:
    """Yield jobs of one size that make up ``pairs`` pairs; what cannot be read comes at once."""
    open_groups: dict[tuple[int, ...], list[_Frames]] = defaultdict(list)
    for one in found:
        if isinstance(one, _Unreadable):
            yield [one]
            continue
        size = one.frames.shape[1:3]
        open_groups[size].append(one)
        if _pairs(open_groups[size]) >= pairs:
            yield open_groups.pop(size)
        elif sum(map(_pairs, open_groups.values())) > 4 * pairs:  # many sizes: keep memory bounded
            yield open_groups.pop(max(open_groups, key=lambda s: _pairs(open_groups[s])))
    yield from open_groups.values()


def _pairs(group: Sequence[_Frames]) -> int:
    return sum(2 * len(one.job.targets) for one in group)


def _estimate(
    group: Sequence[_Frames], teacher: FlowTeacher, device: torch.device
) -> Iterator[np.ndarray]:
    """Yield each job's flow (T, 2, H, W, 2) float32."""
    if not group:
        return
    frames = torch.from_numpy(np.concatenate([one.frames for one in group])).to(device)
    frames = frames.permute(0, 3, 1, 2).float().div_(255.0)
    first: list[int] = []
    second: list[int] = []
    start = 0
    for one in group:
        for target in range(start + 2, start + len(one.frames)):
            first += [target, target]
            second += [start, start + 1]
        start += len(one.frames)
    flows: list[Tensor] = []
    for at in range(0, len(first), teacher.chunk):  # the pairs are copies: not all at once
        here = slice(at, at + teacher.chunk)
        flows.append(teacher(frames[first[here]], frames[second[here]]).cpu())
    flow = torch.cat(flows).permute(0, 2, 3, 1).contiguous().numpy()
    if not np.isfinite(flow).all():
        raise UserError(
            f"the teacher's flow is not finite, first near clip {group[0].job.clip.id}; its "
            "weights are damaged or of another network"
        )
    at = 0
    for one in group:
        count = 2 * len(one.job.targets)
        yield flow[at : at + count].reshape(-1, 2, *flow.shape[1:])
        at += count


def _leave_out(work: Work, one: _Unreadable, on_error: str) -> None:
    if on_error != "skip":
        raise UserError(
            f"{one.error}; mend it, or leave such samples out with data.on_error=skip"
        ) from one.error
    work.left_out.setdefault(one.job.clip.id, []).extend(one.job.targets)
    _log.warning("left out: %s", one.error)


class _Writer:
    """Writes fields from threads, each aside first; holds the estimation up when it is behind."""

    def __init__(
        self,
        folder: Path,
        aside: Path,
        suffix: str,
        workers: int,
        advance: Callable[[int], None],
    ) -> None:
        self.folder, self.aside, self.suffix = folder, aside, suffix
        self.advance, self.limit = advance, 4 * workers
        self._pool = ThreadPoolExecutor(workers)
        self._waiting: list[Future[None]] = []
        self._number = 0

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            while kind is None and self._waiting:
                self._settle()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def add(self, job: Job, flow: np.ndarray) -> None:
        """Write the fields (T, 2, H, W, 2) of a job."""
        for target, pair in zip(job.targets, flow):
            self._number += 1
            self._waiting.append(
                self._pool.submit(self._write, self._number, job.clip, target, pair)
            )
        while self._waiting and (len(self._waiting) > self.limit or self._waiting[0].done()):
            self._settle()

    def _settle(self) -> None:
        self._waiting.pop(0).result()
        self.advance(1)

    def _write(self, number: int, clip: Clip, target: int, pair: np.ndarray) -> None:
        for side in range(2):
            path = Path(files.label_path(self.folder, clip, target, side, self.suffix))
            part = self.aside / f"{number}_{side}{self.suffix}"
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_flow(part, pair[side])
                os.replace(part, path)  # noqa: PTH105  the same, half the cost
            except OSError as error:
                raise UserError(f"{path}: cannot be written ({error.strerror})") from error


def _gb(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
