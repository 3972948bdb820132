"""Layout of event cameras' recordings, as `midframe events prepare` writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from midframe.data.event_files import RecordedEvents, RecordedFrame
from midframe.data.layouts.folders import need, need_split, serves
from midframe.data.records import Clip, Source, ends
from midframe.errors import UserError
from midframe.events.bins import Polarity, edges
from midframe.events.shards import Shards, find_shards, open_shards, write_shards
from midframe.events.simulate import simulate_recording

TREE = """\
  events/
    street/manifest.json 00000.npz ...    (a folder for each recording, at any depth)
Recordings (.aedat4) become such folders by  midframe events prepare RECORDINGS --out FOLDER."""
SPLITS = ("train", "val", "test")
GIVES = ("events", "events_ends")  # fields of `midframe.types.Inputs`


@dataclass(frozen=True)
class _Part:
    """Consecutive frames of a recording, from ``start`` up to ``stop``."""

    shards: Shards
    name: str
    start: int
    stop: int


@dataclass(frozen=True)
class _How:
    """Options of `recordings`; ``less`` is how many starts of clips are left out at the end."""

    factor: int
    step: int
    less: int
    polarity: Polarity
    gives: tuple[str, ...]


@serves("events", (1, 2), "a model of two or four frames")
def recordings(
    root: Path | None,
    split: str,
    context: int = 1,
    *,
    factor: int = 1,
    stride: int | None = None,
    val_share: float = 0.2,
    polarity: Polarity = "unit",
    published_count: bool = False,
    gives: Sequence[str] = GIVES,
) -> Sequence[Clip]:
    """Index recordings by windows of their frames of a low rate, with events around moments.

    A clip of two input frames is three frames of the low rate, f1 f2 f3 of five: f2 is to be
    predicted, and there are events around all three, each one interval to both sides. So nothing
    faster than the camera's frames is needed to learn from. A clip of four input frames has as
    targets the frames between the middle two, where the recording is faster than the low rate
    (``factor``); else its frames are those of every second place, and the one between them is the
    target, as in training.

    Args:
        root: the folder of the prepared recordings, or of one.
        split: "train" and "val": the last recordings are held out; of a single one its end, whose
            frames and events no training clip has. "test": all of all.
        context: frames on each side of the gap: 1 or 2.
        factor: every how many-th frame of a recording is one of the low rate; the others are true
            frames between.
        stride: frames of the recording from one clip to the next; None for ``factor``.
        val_share: of the recordings, or of the frames of a single one, that is held out.
        polarity: "unit" or "released", see `midframe.events.bins.signed_counts`.
        published_count: leave out the last two clips of each recording's windows of five, as the
            published scripts do, which ask for a sixth interval.
        gives: what a model may read beside frames: "events" around the targets, and "events_ends"
            around both ends of the gap, too.

    Raises:
        UserError: if there is no recording, or none is long enough, or an option is out of range.
    """
    need_split("events", split, SPLITS)
    if polarity not in get_args(Polarity) or factor < 1 or not 0 < val_share < 1:
        raise UserError(
            f"data.layout.polarity={polarity}, factor={factor}, val_share={val_share}: polarity is "
            "unit or released, factor 1 or more, val_share between 0 and 1"
        )
    root = need(root, TREE)
    folders = [f for f in find_shards(root) if not _is_hidden(f.relative_to(root))]
    if not folders:
        raise UserError(f"{root}: holds no prepared recording (data.root); expected\n{TREE}")
    step = factor if stride is None else stride
    if step < 1:
        raise UserError(f"data.layout.stride={stride}: give 1 or more")
    parts = _parts(root, folders, split, val_share)
    make = _triplets if context == 1 else _between
    less = 2 * factor if published_count and context == 1 else 0
    how = _How(factor, step, less, polarity, tuple(gives))
    clips = [clip for part in parts for clip in make(part, how)]
    if not clips:
        longest = max(part.stop - part.start for part in parts)
        least = (4 if context == 1 else 3 if factor > 1 else 6) * factor + 1
        raise UserError(
            f"{root}: no recording of the split '{split}' has the {least + less} frames that a "
            f"clip takes; the longest has {longest} (of a single recording, see "
            "data.layout.val_share)"
        )
    return clips


def with_ends(
    gives: Sequence[str], targets: tuple[int, ...], ends: tuple[int, int]
) -> tuple[int, ...]:
    """Return the frames around which there are events, by a layout's option ``gives``.

    Raises:
        UserError: for events around the ends alone, or what no layout gives.
    """
    if tuple(gives) not in (GIVES[:1], GIVES):
        raise UserError(f"data.layout.gives={list(gives)}: give {list(GIVES[:1])} or {list(GIVES)}")
    return (*targets, *ends) if tuple(gives) == GIVES else targets


def _is_hidden(place: Path) -> bool:
    return any(part.startswith(".") for part in place.parts)  # being written


def _parts(root: Path, folders: Sequence[Path], split: str, share: float) -> list[_Part]:
    """Return what of which recordings belongs to a split."""
    found = []
    for folder in folders:
        shards = open_shards(folder)
        name = folder.relative_to(root).as_posix() if folder != root else folder.name
        found.append(_Part(shards, name, 0, shards.count))
    if split == "test":
        return found
    if len(found) > 1:
        held = min(max(1, round(share * len(found))), len(found) - 1)
        return found[:-held] if split == "train" else found[-held:]
    (only,) = found
    cut = only.stop - math.ceil(share * only.stop)
    if split == "train":
        return [_Part(only.shards, f"{only.name}/begin", 0, cut)]
    return [_Part(only.shards, f"{only.name}/end", cut, only.stop)]


def _triplets(part: _Part, how: _How) -> list[Clip]:
    """Return clips of three frames of the low rate, the middle one between the inputs."""
    return [
        _clip(part, [first + k * how.factor for k in (1, 2, 3)], (0, 2), (1,), how)
        for first in range(part.start, part.stop - how.less - 4 * how.factor, how.step)
    ]


def _between(part: _Part, how: _How) -> list[Clip]:
    """Return clips of four input frames, and those between the middle two."""
    gap = how.factor if how.factor > 1 else 2
    inputs = tuple(range(0, 3 * gap + 1, gap))
    targets = tuple(range(gap + 1, 2 * gap))
    return [
        _clip(part, list(range(first, first + 3 * gap + 1)), inputs, targets, how)
        for first in range(part.start, part.stop - how.less - 3 * gap, how.step)
    ]


def _clip(
    part: _Part,
    numbers: Sequence[int],
    inputs: tuple[int, ...],
    targets: tuple[int, ...],
    how: _How,
) -> Clip:
    """Return a clip of these frames of a recording, with events around targets and ends."""
    times, path = part.shards.times, part.shards.folder
    events: dict[int, Source] = {}
    for i in with_ends(how.gives, targets, ends(inputs)):
        centre = numbers[i]
        around = edges(*(int(times[centre + way]) for way in (-how.factor, 0, how.factor)))
        events[i] = RecordedEvents(path, tuple(around.tolist()), how.polarity)
    return Clip(
        id=f"{part.name}/{numbers[0]:06d}",
        frames=tuple(RecordedFrame(path, number) for number in numbers),
        inputs=inputs,
        targets=targets,
        group=part.name,
        events=events,
    )


def write_example(root: Path) -> Path:
    """Write two small recordings: a texture that moves, seen 21 times, and its events."""
    y, x = np.mgrid[:32, :48]
    for number, way in enumerate((1.0, -1.5)):
        frames = []
        for k in range(20 * 4 + 1):
            shift = way * k / 4
            waves = np.sin((x - shift) / 3.0) + np.sin((y + shift) / 4.0) + np.sin((x + y) / 7.0)
            frames.append(np.rint(127.5 + 40 * waves).astype(np.uint8))
        times = 1_600_000_000_000_000 + 20_000 * np.arange(len(frames))
        made = simulate_recording(frames, times, every=4, source=f"waves{number}")
        write_shards(made, root / f"waves{number}")
    return root
