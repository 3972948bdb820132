"""The only data set: cuts samples out of clips, and stacks them into batches."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from math import comb
from typing import Literal

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from midframe.data.planar import to_planes
from midframe.data.records import Box, Clip, Sample, Source, Ticket, ends, time_of
from midframe.data.transforms import Augment, Crop, Plan, centre_crop
from midframe.errors import UserError
from midframe.types import Batch, Inputs, SampleMeta

_log = logging.getLogger(__name__)
_TRIES = 20  # clips that are tried in the place of an unreadable one
_SLOTS = 257  # counters of skipped samples: the main process and its workers


class UnreadableClip(UserError):
    """A clip with a missing, damaged or odd-sized file."""


class ClipDataset(Dataset[Sample]):
    """Samples of clips; ``dataset[Ticket(epoch, index)]`` is a pure function of its ticket.

    Whatever is random about a sample is drawn from (seed, epoch, index), so it is the same for any
    number of workers, in any order and after a restart.

    Args:
        clips: what samples are cut from, see `midframe.data.records.check_clips`.
        context: frames on each side of the gap: 1 gives two input frames, 2 gives four.
        augment: random crop and augmentation, or None for centre crops without any.
        crop: the centre crop's side or (height, width) where ``augment`` is None; None for all.
        times: "fixed" takes the clip's own inputs and targets; "any" draws frames x < y < z, the
            outer ones as inputs, the inner as target at (y - x) / (z - x); with four input frames
            it draws an even spacing.
        targets: how many targets are drawn: None for all of the clip's (one for ``times="any"``).
        seed: from which all that is random follows.
        on_error: "raise", or "skip" to take another clip (the same one in every run) for an
            unreadable one and count it in `skipped`.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        context: int = 1,
        *,
        augment: Augment | None = None,
        crop: Crop = None,
        times: Literal["fixed", "any"] = "fixed",
        targets: int | None = None,
        seed: int = 0,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> None:
        if times not in ("fixed", "any") or on_error not in ("raise", "skip"):
            raise UserError(
                f"data.times={times}, data.on_error={on_error}: times is fixed or any, "
                "on_error is raise or skip"
            )
        if targets is not None and targets < 1:
            raise UserError(f"data.targets={targets}: give a positive number, or null for all")
        self.clips = clips
        self.context = context
        self.augment = augment
        self.crop = crop
        self.times = times
        self.targets = targets
        self.seed = seed
        self.on_error = on_error
        # in shared memory, one slot a worker, so that the main process sees every count
        self._skipped = torch.zeros(_SLOTS, dtype=torch.int64).share_memory_()
        self._reported: set[int] = set()

    @property
    def skipped(self) -> int:
        """The number of samples so far, over all workers, that were taken from another clip."""
        return int(self._skipped.sum())

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, ticket: Ticket | int) -> Sample:
        """Return a sample as uint8; a plain index means epoch 0."""
        epoch, index = ticket if isinstance(ticket, tuple) else (0, int(ticket))
        if not 0 <= index < len(self.clips):
            raise IndexError(f"{index} is not among {len(self.clips)} clips")
        rng = np.random.default_rng([self.seed, epoch, index])
        first: UnreadableClip | None = None
        for _ in range(_TRIES):
            try:
                return self._sample(self.clips[index], rng)
            except UnreadableClip as error:
                if self.on_error == "raise":
                    raise UnreadableClip(
                        f"{error}; mend it, or leave such clips out with data.on_error=skip"
                    ) from error
                first = first or error
                self._count(index, error)
                index = int(rng.integers(len(self.clips)))
        raise UserError(f"{_TRIES} clips in a row cannot be read; the first: {first}")

    def _count(self, index: int, error: UserError) -> None:
        worker = get_worker_info()
        self._skipped[0 if worker is None else worker.id % (_SLOTS - 1) + 1] += 1
        if index not in self._reported:
            self._reported.add(index)
            _log.warning("skipped: %s", error)

    def _sample(self, clip: Clip, rng: np.random.Generator) -> Sample:
        inputs, targets = self._choose(clip, rng)
        flow = _labels(clip, inputs, targets)
        size = common_size(clip, (*inputs, *targets), flow or (), tuple(clip.events.values()))
        if self.augment is None:
            plan = centre_crop(self.crop, *size, clip.id)
        else:
            plan = self.augment.plan(rng, *size, clip.id)
        times = [time_of(target, inputs) for target in targets]
        sample = _read(clip, inputs, targets, flow, plan)
        return plan.apply(replace(sample, t=np.array(times, np.float32), size=size))

    def _choose(
        self, clip: Clip, rng: np.random.Generator
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        if self.times == "any":
            if clip.events:
                raise UserError(
                    f"clip {clip.id} has events, which are those around its own inputs and "
                    "targets; use data.times=fixed"
                )
            return _any_times(clip, self.context, self.targets or 1, rng)
        targets = clip.targets
        if self.targets is not None and self.targets != len(targets):
            if self.targets > len(targets):
                raise UserError(
                    f"clip {clip.id} has {len(targets)} target frame(s), "
                    f"data.targets={self.targets} asks for more; set data.targets={len(targets)}"
                )
            drawn = np.sort(rng.choice(len(targets), self.targets, replace=False))
            targets = tuple(targets[i] for i in drawn)
        return clip.inputs, targets


def _any_times(
    clip: Clip, context: int, targets: int, rng: np.random.Generator
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    count = len(clip.frames)
    if context == 1 and count >= targets + 2:
        drawn = [int(i) for i in np.sort(rng.choice(count, targets + 2, replace=False))]
        return (drawn[0], drawn[-1]), tuple(drawn[1:-1])
    options = _spacings(count, context, targets)
    if not options:
        least = targets + 2 if context == 1 else (2 * context - 1) * (targets + 1) + 1
        raise UserError(
            f"clip {clip.id} has {count} frames, but {2 * context} inputs and {targets} target(s) "
            f"at any time take {least}; use data.times=fixed, fewer data.targets or another layout"
        )
    start, step = options[int(rng.integers(len(options)))]
    inputs = tuple(start + i * step for i in range(2 * context))
    between = inputs[context - 1] + 1 + np.sort(rng.choice(step - 1, targets, replace=False))
    return inputs, tuple(int(i) for i in between)


def _spacings(count: int, context: int, targets: int) -> list[tuple[int, int]]:
    """Return (start, step) of all evenly spaced inputs with room for the targets in a gap."""
    gaps = 2 * context - 1
    return [
        (start, step)
        for step in range(targets + 1, (count - 1) // gaps + 1)
        for start in range(count - gaps * step)
    ]


def labelled_share(clip: Clip, context: int, targets: int) -> float:
    """Return which part of a clip's samples has flow labels where ``times="any"`` draws them.

    Labels are of flow to the clip's own inputs, so samples between other frames have none.
    """
    start, end = clip.ends
    inside = sum(start < target < end for target in clip.flow)
    if context == 1:
        ways = comb(len(clip.frames), targets + 2)
        return comb(inside, targets) / ways if ways else 0.0
    step, options = end - start, _spacings(len(clip.frames), context, targets)
    if (start - (context - 1) * step, step) not in options:
        return 0.0
    return comb(inside, targets) / comb(step - 1, targets) / len(options)


def _labels(
    clip: Clip, inputs: tuple[int, ...], targets: tuple[int, ...]
) -> list[tuple[Source, Source]] | None:
    """Return the flow sources where every target has labels towards these very inputs."""
    if not targets or ends(inputs) != clip.ends:
        return None
    if not all(target in clip.flow for target in targets):
        return None
    return [clip.flow[target] for target in targets]


def common_size(
    clip: Clip,
    indices: Sequence[int],
    flow: Sequence[tuple[Source, Source]] = (),
    events: Sequence[Source] = (),
) -> tuple[int, int]:
    """Return (height, width) of these frames of a clip, its flow and its events.

    Raises:
        UnreadableClip: if one cannot be read or they differ.
    """
    sources = [clip.frames[i] for i in dict.fromkeys(indices)]
    sources += [*(one for pair in flow for one in pair), *events]
    try:
        sizes = [tuple(source.size()) for source in sources]
    except UserError as error:
        raise UnreadableClip(f"clip {clip.id}: {error}") from error
    for source, size in zip(sources, sizes):
        if size != sizes[0]:
            height, width = sizes[0]
            raise UnreadableClip(
                f"clip {clip.id}: {getattr(source, 'path', source)} has {size[1]}x{size[0]} "
                f"pixels but the clip's first frame has {width}x{height}"
            )
    return sizes[0][0], sizes[0][1]


def _read(
    clip: Clip,
    inputs: tuple[int, ...],
    targets: tuple[int, ...],
    flow: list[tuple[Source, Source]] | None,
    plan: Plan,
) -> Sample:
    pictures: dict[int, np.ndarray] = {}  # an input may be a target as well, and is read once

    def frames(indices: tuple[int, ...], box: Box) -> np.ndarray:
        for i in indices:
            if i not in pictures:
                pictures[i] = clip.frames[i].read(box)
        return np.stack([pictures[i] for i in indices])

    def events(indices: tuple[int, ...]) -> np.ndarray | None:
        if not indices or any(i not in clip.events for i in indices):
            return None
        return np.stack([clip.events[i].read(plan.box) for i in indices])

    try:
        labels = None
        if flow is not None:
            labels = np.stack([np.stack([one.read(plan.box) for one in pair]) for pair in flow])
        return Sample(
            frames=frames(inputs, plan.box),
            target=frames(targets, plan.box) if targets else None,
            t=np.empty(0, np.float32),
            flow=labels,
            id=clip.id,
            group=clip.group,
            events=events(targets),
            events_ends=events(clip.ends),
        )
    except UserError as error:
        raise UnreadableClip(f"clip {clip.id}: {error}") from error


def collate(samples: Sequence[Sample], dataset: str = "") -> Batch:
    """Stack samples into a `Batch` of contiguous tensors; frames stay uint8.

    Samples without flow labels are zero there and 0 in ``flow_valid``, which stays None where all
    have them (or none has).

    Raises:
        UserError: if the samples differ in size or number of frames, or only some have events.
    """
    first = samples[0]
    for sample in samples:
        if sample.frames.shape != first.frames.shape or sample.t.shape != first.t.shape:
            (h, w), (h0, w0) = sample.frames.shape[1:3], first.frames.shape[1:3]
            raise UserError(
                f"clips {first.id} ({w0}x{h0}, {len(first.t)} targets) and {sample.id} ({w}x{h}, "
                f"{len(sample.t)} targets) cannot share a batch; "
                "in validation set data.val.batch=1 or data.val.crop, in training data.crop"
            )
        if (sample.target is None) != (first.target is None):
            raise UserError(f"of clips {first.id} and {sample.id} only one has targets")
        for name in ("events", "events_ends"):
            one, other = getattr(first, name), getattr(sample, name)
            if np.shape(one)[-1:] != np.shape(other)[-1:]:
                raise UserError(
                    f"clips {first.id} and {sample.id} cannot share a batch: only one has events "
                    "at its targets and ends, or their numbers of bins differ"
                )
    frames = _stack([sample.frames for sample in samples])
    assert frames is not None
    labelled = torch.tensor([sample.flow is not None for sample in samples])
    mixed = bool(labelled.any()) and not bool(labelled.all())
    return Batch(
        inputs=Inputs(
            frames,
            torch.from_numpy(np.stack([sample.t for sample in samples])),
            events=_stack([sample.events for sample in samples]),
            events_ends=_stack([sample.events_ends for sample in samples]),
        ),
        target=_stack([sample.target for sample in samples]),
        flow=_stack([sample.flow for sample in samples]),
        flow_valid=labelled.float() if mixed else None,
        ids=tuple(sample.id for sample in samples),
        meta=SampleMeta(
            dataset,
            tuple(sample.group for sample in samples),
            tuple(sample.size for sample in samples),
        ),
    )


def _stack(arrays: Sequence[np.ndarray | None]) -> torch.Tensor | None:
    """Stack (..., H, W, C) arrays to (B, ..., C, H, W); those that are None become zero."""
    shape = next((a.shape for a in arrays if a is not None), None)
    dtype = next((a.dtype for a in arrays if a is not None), None)
    if shape is None:
        return None
    make = np.zeros if any(array is None for array in arrays) else np.empty
    out = make((len(arrays), *shape[:-3], shape[-1], *shape[-3:-1]), dtype)
    for place, array in zip(out, arrays):
        if array is not None:
            pictures = array.reshape(-1, *array.shape[-3:]) if array.ndim > 4 else array
            for picture, planes in zip(pictures, place.reshape(-1, *place.shape[-3:])):
                to_planes(picture, planes)
    return torch.from_numpy(out)
