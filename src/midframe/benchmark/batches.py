"""What is predicted at once: batches of clips, formed before the work is shared, and read ahead."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

import numpy as np

from midframe.cores import usable_cores
from midframe.data.dataset import ClipDataset, UnreadableClip
from midframe.data.records import Clip, Sample
from midframe.errors import UserError

Size = tuple[int, int]  # height and width
T = TypeVar("T")
PIXELS = 1 << 21  # of targets predicted at once, by which "auto" bounds a batch on a GPU
MOST = 16  # clips of a batch by "auto"
_AHEAD = 2  # batches that are read while one is predicted
_THREADS = 8


@dataclass(frozen=True)
class Batching:
    """How many clips are predicted at once.

    Attributes:
        most: clips of a batch, at most.
        pixels: of all targets of a batch, at most; None: however many. A single clip may have more.
    """

    most: int = 1
    pixels: int | None = None

    def of(self, size: Size, targets: int) -> int:
        """Return how many clips with frames of this size make a batch."""
        if self.pixels is None:
            return self.most
        return max(1, min(self.most, self.pixels // (size[0] * size[1] * targets)))

    @property
    def settings(self) -> int | dict[str, int]:
        """All that a number may depend on, as plain data for the record."""
        return self.most if self.pixels is None else {"most": self.most, "pixels": self.pixels}


SINGLY = Batching()


def batching(batch: object, device: str) -> Batching:
    """Return what an option says.

    Args:
        batch: a number, or "auto": one clip at a time on a CPU, which gains nothing by more; on a
            GPU as many as have `PIXELS` pixels, `MOST` at most.
        device: the type of device, such as "cuda".

    Raises:
        UserError: for anything else.
    """
    if batch == "auto":
        return SINGLY if device == "cpu" else Batching(MOST, PIXELS)
    if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
        raise UserError(f"batch={batch} must be a whole number from 1 on, or auto")
    return Batching(batch)


class Unit(NamedTuple):
    """Clips that are predicted at once: consecutive ones of a subset, by their places in it."""

    subset: str
    members: tuple[int, ...]


def plan(clips: Mapping[str, Sequence[Clip]], by: Batching) -> list[Unit]:
    """Return what is predicted at once; it follows from the data and ``by`` alone.

    A batch holds consecutive clips of one size and number of targets.

    Args:
        clips: of each subset.
        by: see `Batching`.
    """
    if by.most == 1:
        return [Unit(subset, (i,)) for subset, found in clips.items() for i in range(len(found))]
    with ThreadPoolExecutor(_THREADS) as pool:
        return [
            Unit(subset, members)
            for subset, found in clips.items()
            for members in _runs(list(pool.map(_shape, found)), by)
        ]


Shape = tuple[Size, int, frozenset[int]]


def _shape(clip: Clip) -> Shape | None:
    size = size_of(clip)
    ends = frozenset(i for i, end in enumerate(clip.ends) if end in clip.events)
    return None if size is None else (size, len(clip.targets), ends)


def _runs(shapes: Sequence[Shape | None], by: Batching) -> Iterator[tuple[int, ...]]:
    run: list[int] = []
    for i, shape in enumerate(shapes):
        if run and (shape != shapes[run[0]] or shape is None or len(run) >= by.of(*shape[:2])):
            yield tuple(run)
            run = []
        run.append(i)
    if run:
        yield tuple(run)


def size_of(clip: Clip) -> Size | None:
    """Return the size of a clip's frames, or None where the file is not there."""
    try:
        height, width = clip.frames[clip.inputs[0]].size()
    except UserError:
        return None
    return height, width


def name_of(members: Sequence[Clip]) -> str:
    """Return by which name a journal knows a batch: "" for a clip alone."""
    return "" if len(members) == 1 else digest(clip.id for clip in members)


def digest(names: Iterable[str]) -> str:
    """Return 12 hex digits of some names in order."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]


def read(clip: Clip, context: int, blind: bool) -> Sample | UnreadableClip:
    """Read a clip, or return why that is not possible.

    Args:
        clip: whole, at its own inputs and targets.
        context: frames on each side of the gap.
        blind: leave out the target frames, which nobody has.
    """
    seen = replace(clip, targets=(), flow={}) if blind else clip
    try:
        sample = ClipDataset([seen], context)[0]
    except UnreadableClip as error:  # it ends with advice for a training
        return error.__cause__ if isinstance(error.__cause__, UnreadableClip) else error
    if blind:
        sample.t = np.array([clip.time(i) for i in clip.targets], np.float32)
    return sample


def ahead(
    numbers: Iterator[int], members: Callable[[int], Sequence[Clip]], load: Callable[[Clip], T]
) -> Iterator[tuple[int, list[T]]]:
    """Yield numbers and what was loaded for them, in order, while the next are being loaded.

    Args:
        numbers: of batches; a few are asked for before they are needed.
        members: returns the clips of a number.
        load: called in threads, one clip at a time.
    """
    waiting: deque[tuple[int, list[Future[T]]]] = deque()
    with ThreadPoolExecutor(max(2, min(_THREADS, usable_cores()))) as pool:
        try:
            for number in numbers:
                waiting.append((number, [pool.submit(load, clip) for clip in members(number)]))
                if len(waiting) > _AHEAD:
                    first, parts = waiting.popleft()
                    yield first, [part.result() for part in parts]
            while waiting:
                first, parts = waiting.popleft()
                yield first, [part.result() for part in parts]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
