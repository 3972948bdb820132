"""What a data layout yields: clips of frames that can be read, and the samples cut from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, overload

import numpy as np

from midframe.errors import UserError


class Box(NamedTuple):
    """A rectangle in pixels: the first row and column, and the size."""

    top: int
    left: int
    height: int
    width: int


class Source(Protocol):
    """One picture (or flow field) that can be read, whole or in part.

    Frames are (h, w, 3) uint8 RGB; flow is (h, w, 2) float32, x then y, in pixels; events are
    (h, w, C) int8, signed counts in C bins of time.
    A source is small, picklable and opens its file when read. It is a frozen dataclass, or behaves
    like one: hashable, and equal to another exactly where both are the same picture, so that a
    pack stores it once. One of a file names it in ``path``, which messages show.
    """

    def size(self) -> tuple[int, int]:
        """Return (height, width) without decoding the picture where that is possible."""
        ...

    def read(self, box: Box | None = None) -> np.ndarray:
        """Return the picture or the part inside ``box``; raises `UserError` naming the file."""
        ...


@dataclass(frozen=True)
class Clip:
    """A run of frames of one shot, from which samples are drawn.

    Attributes:
        id: unique within the data set, such as "00001/0389".
        frames: evenly spaced, in time order.
        inputs: indices of the 2c input frames.
        targets: indices of the frames to predict, between the two middle inputs; in data for flow
            networks, one or both of these inputs, where flow to the other is known.
        flow: per target index, the flow from it to the two middle inputs (t->0, t->1).
        group: the shot or video it comes from; training and validation share none.
        events: of an event camera, by index of a frame: of all targets or none, and besides of the
            two middle inputs where a model reads those, too. All have the same number of bins.
    """

    id: str
    frames: tuple[Source, ...]
    inputs: tuple[int, ...]
    targets: tuple[int, ...]
    flow: dict[int, tuple[Source, Source]] = field(default_factory=dict)
    group: str = ""
    events: dict[int, Source] = field(default_factory=dict)

    @property
    def ends(self) -> tuple[int, int]:
        """The indices of the two middle inputs, between which time goes from 0 to 1."""
        return ends(self.inputs)

    def time(self, index: int) -> float:
        """Return the time of frame ``index`` in the gap between the two middle inputs."""
        return time_of(index, self.inputs)


def ends(inputs: Sequence[int]) -> tuple[int, int]:
    """Return the two middle ones of an even number of input frames: the gap to be filled."""
    middle = len(inputs) // 2
    return inputs[middle - 1], inputs[middle]


def time_of(index: int, inputs: Sequence[int]) -> float:
    """Return the time of frame ``index`` where that of the two middle inputs is 0 and 1."""
    start, end = ends(inputs)
    return (index - start) / (end - start)


LAYOUT_ARGUMENTS = ("root", "split", "context")  # what every layout function begins with


class Layout(Protocol):
    """A data layout whose own options are bound: what `midframe.data.module.Data` calls.

    It is a function of any name in any module, ``f(root, split, context, *, option=...)``. The
    module has ``write_example(root) -> Path`` where tests shall write a small folder of its form.
    """

    def __call__(self, root: Path | None, split: str, context: int, /) -> Sequence[Clip]:
        """Return the clips of a split: a list, or a sequence that makes them when asked for.

        ``root`` is the data set's folder, None where none is given; ``context`` the number of
        input frames on each side. Raises `UserError` for what is missing or cannot be served.
        """
        ...


class PartialClips(list[Clip]):
    """Clips by a list, some of whose entries may have been left out.

    Args:
        clips: those that are there.
        missing: entries of the list that are not there.
    """

    def __init__(self, clips: Iterable[Clip] = (), missing: int = 0) -> None:
        super().__init__(clips)
        self.missing = missing


class LazyClips(Sequence[Clip]):
    """Clips that a subclass makes when they are asked for, so that any number costs nothing.

    Args:
        count: how many there are.
    """

    def __init__(self, count: int) -> None:
        self.length = count

    @property
    def made_of(self) -> Mapping[str, str]:
        """Files that all clips are made of: SHA-256 by name, for the record of a run."""
        return {}

    def clip(self, index: int) -> Clip:
        """Return a clip, from 0 on; the same one whenever it is asked for."""
        raise NotImplementedError(f"{type(self).__name__} does not define clip")

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> Clip: ...
    @overload
    def __getitem__(self, index: slice) -> list[Clip]: ...
    def __getitem__(self, index: int | slice) -> Clip | list[Clip]:
        """Return the clip (or clips); a negative index counts from the end."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self.length))]
        if not -self.length <= index < self.length:
            raise IndexError(f"clip {index} of {self.length}")
        return self.clip(index % self.length)


def is_lazy(clips: Sequence[Clip]) -> bool:
    """Return whether clips are made when they are asked for, so that to look at all takes time."""
    return not isinstance(clips, (list, tuple))


def check_clips(clips: Sequence[Clip], context: int, name: str, *, every: bool = False) -> None:
    """Raise `UserError` for what are no clips, or naming the first that breaks the rules of `Clip`.

    Equal ids would count once in validation and share their labels, inputs out of order would
    train at wrong times. Of a lazy sequence the first and the last clip are looked at.

    Args:
        clips: of one split, as a layout returns them.
        context: frames on each side of the gap that were asked for.
        name: of the data set.
        every: look at all clips of a lazy sequence as well.
    """
    if not (hasattr(clips, "__len__") and hasattr(clips, "__getitem__")):
        mend = "does it end without a return?" if clips is None else "let it return list(...)"
        raise UserError(
            f"data {name}: its layout returned {_kind(clips)} and not a list of clips; {mend}"
        )
    ends_only = is_lazy(clips) and len(clips) > 1 and not every
    looked_at = (clips[0], clips[-1]) if ends_only else clips
    seen: set[str] = set()
    for clip in looked_at:
        if not isinstance(clip, Clip):
            raise UserError(f"data {name}: its layout returned {_kind(clip)} among its clips")
        problem = "two clips have this id" if clip.id in seen else _problem(clip, context)
        if problem:
            raise UserError(f"data {name}, clip {clip.id!r}: {problem}")
        seen.add(clip.id)


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def _problem(clip: Clip, context: int) -> str:
    """Return what is wrong with a clip, "" where nothing is."""
    if any(part in ("", ".", "..") for part in clip.id.split("/")):
        return "the id is no path, and labels are kept by it; give one like street/0001"
    strange = [f"{name} holds {_kind(x)}" for name, x in _pictures(clip) if not _is_source(x)]
    if strange:
        return f"{strange[0]} and no Source; give midframe.data.io.ImageFile(path), for example"
    inputs, count = clip.inputs, len(clip.frames)
    if len(inputs) != 2 * context:
        return (
            f"{len(inputs)} input frames, but the model takes {2 * context}; let the layout raise "
            "UserError for a context that it does not serve, or choose another data set"
        )
    if any(b <= a for a, b in zip(inputs, inputs[1:])) or not 0 <= inputs[0] <= inputs[-1] < count:
        return f"inputs={inputs} must rise and be among its {count} frames, 0 to {count - 1}"
    start, end = clip.ends
    if any(not start <= target <= end for target in clip.targets):
        return (
            f"targets={clip.targets} must lie between the two middle inputs, {start} and {end}; "
            "frames are in time order"
        )
    if clip.flow.keys() - set(clip.targets):
        return f"flow of {sorted(clip.flow)}, but targets={clip.targets}; flow is given per target"
    if any(target in (start, end) and target not in clip.flow for target in clip.targets):
        return (
            f"targets={clip.targets} holds an input frame; give the indices of frames between "
            f"{start} and {end}"
        )
    return _problem_of_events(clip)


def _pictures(clip: Clip) -> Iterator[tuple[str, object]]:
    """Yield all that must be sources, with the attribute that holds it."""
    yield from (("frames", frame) for frame in clip.frames)
    yield from (("flow", flow) for pair in clip.flow.values() for flow in pair)
    yield from (("events", counts) for counts in clip.events.values())


def _is_source(value: object) -> bool:
    return hasattr(value, "read") and hasattr(value, "size")


def _problem_of_events(clip: Clip) -> str:
    given, targets, ends = clip.events.keys(), set(clip.targets), set(clip.ends)
    if not given:
        return ""
    if given - targets - ends or targets - given:
        return (
            f"events of {sorted(given)}, but targets={clip.targets}; events are given around every "
            f"target, and besides around both inputs {clip.ends} or neither"
        )
    if (given & ends) not in (set(), ends):
        return f"events of {sorted(given)} are around one of the inputs {clip.ends}; give both"
    return ""


@dataclass
class Sample:
    """One sample in NumPy, as augmentations see it.

    Attributes:
        frames: (2c, H, W, 3) uint8 RGB input frames.
        target: (T, H, W, 3) uint8 frames to predict, or None.
        t: (T,) float32 their times.
        flow: (T, 2, H, W, 2) float32 flow t->0 and t->1 in pixels (x, y), or None.
        id: the clip's id.
        group: the clip's group.
        size: (height, width) of the clip's frames before any crop.
        events: (T, H, W, C) int8 events around each target time, or None.
        events_ends: (2, H, W, C) int8 the same around times 0 and 1, or None.
    """

    frames: np.ndarray
    target: np.ndarray | None
    t: np.ndarray
    flow: np.ndarray | None = None
    id: str = ""
    group: str = ""
    size: tuple[int, int] = (0, 0)
    events: np.ndarray | None = None
    events_ends: np.ndarray | None = None


class Ticket(NamedTuple):
    """What a sampler hands to the data set: all randomness of a sample follows from it.

    Attributes:
        epoch: which pass over the clips it is.
        clip: place of the clip in the data set.
    """

    epoch: int
    clip: int
