"""A data set as a run uses it: clips by split, and the loaders for training and validation."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from midframe.cores import usable_cores
from midframe.data.allocator import keep_freed_memory
from midframe.data.dataset import ClipDataset, collate, labelled_share
from midframe.data.labels import attach, layout_options, tell_lacking
from midframe.data.records import Clip, Layout, Sample, Ticket, check_clips
from midframe.data.sampler import EvalSampler, StepSampler
from midframe.data.shards import is_packed, open_packed
from midframe.data.transforms import Augment, Crop
from midframe.errors import UserError
from midframe.types import Batch


@dataclasses.dataclass(frozen=True)
class ValOptions:
    """How validation reads its clips.

    Attributes:
        split: the layout's name of the split.
        batch: samples per batch on each device.
        crop: centre crop, the side or (height, width); None for whole frames.
        limit: at most this many clips, spread evenly over the split; None for all.
        targets: how many targets per clip; None for all of the clip's.
    """

    split: str = "test"
    batch: int = 1
    crop: Crop = None
    limit: int | None = None
    targets: int | None = None


class Data:
    """A data set with everything that decides what a run reads from it.

    Args:
        name: for logs and results.
        layout: see `Layout`; its own options are bound.
        root: the folder of the data set, ``~`` stands for the home folder; None for layouts that
            need no files.
        context: frames on each side of the gap, as the model takes them.
        global_batch: samples per step over all devices and micro batches.
        crop: the training crop's side or (height, width); None for whole frames.
        augment: probabilities by the names of `Augment`.
        times: "fixed" or "any", see `ClipDataset`.
        targets: targets per training sample, see `ClipDataset`.
        split: the layout's name of the training split.
        workers: processes that load data, or "auto", see `worker_count`.
        seed: from which order and augmentation follow.
        on_error: "raise" or "skip" unreadable clips, see `ClipDataset`.
        labels: a folder with flow labels, as `midframe labels` writes it; "none" leaves out all
            labels; None takes those of the layout, else those in ``<root>/flow``, if any.
        val: the fields of `ValOptions`.
    """

    def __init__(
        self,
        name: str,
        layout: Layout,
        root: str | Path | None = None,
        *,
        context: int = 1,
        global_batch: int = 24,
        crop: Crop = 224,
        augment: Mapping[str, float] | None = None,
        times: Literal["fixed", "any"] = "fixed",
        targets: int | None = None,
        split: str = "train",
        workers: int | Literal["auto"] = "auto",
        seed: int = 0,
        on_error: Literal["raise", "skip"] = "raise",
        labels: str | Path | None = None,
        val: Mapping[str, Any] | None = None,
    ) -> None:
        if workers != "auto" and (not isinstance(workers, int) or workers < 0):
            raise UserError(f"data.workers={workers}: give 0, a positive number or auto")
        if not isinstance(seed, int) or seed < 0:
            raise UserError(f"seed={seed}: give a number from 0 on")
        self.name = name
        self.layout = layout
        self.root = None if root is None else Path(root).expanduser()
        self.context = context
        self.global_batch = global_batch
        self.crop = _crop(crop)
        self.augment = Augment(self.crop, **_known(augment or {}, Augment, "data.augment"))
        self.times = times
        self.targets = targets
        self.split = split
        self.workers = workers
        self.seed = seed
        self.on_error = on_error
        self.labels = labels
        fields = _known(val or {}, ValOptions, "data.val")
        self.val = ValOptions(**{**fields, "crop": _crop(fields.get("crop"))})
        self._clips: dict[str, Sequence[Clip]] = {}

    def clips(self, split: str) -> Sequence[Clip]:
        """Return the clips of a split, indexed and checked once; `UserError` where it has none."""
        if split not in self._clips:
            found: Sequence[Clip]
            if self.root is not None and is_packed(self.root):
                found = open_packed(self.root, split, self.context)
            else:
                found = self.layout(self.root, split, self.context)
            check_clips(found, self.context, self.name)
            if not len(found):
                where = "" if self.root is None else f" of {self.root}"
                raise UserError(f"data {self.name}: the split '{split}'{where} has no clip")
            options = layout_options(self.layout)
            found = attach(found, self.labels, self.root, split, options)
            if split == self.split:
                tell_lacking(found, self.labels, self.root, self.name)
            self._clips[split] = found
        return self._clips[split]

    @cached_property
    def train_set(self) -> ClipDataset:
        """The training clips, cropped at random and augmented."""
        return self._training(ClipDataset)

    def _training(self, dataset: Callable[..., ClipDataset]) -> ClipDataset:
        """Return the training clips as ``dataset`` makes samples of them."""
        return dataset(
            self.clips(self.split),
            self.context,
            augment=self.augment,
            times=self.times,
            targets=self.targets,
            seed=self.seed,
            on_error=self.on_error,
        )

    @cached_property
    def val_set(self) -> ClipDataset:
        """The validation clips: centre crops, fixed times, no augmentation."""
        return ClipDataset(
            self.clips(self.val.split),
            self.context,
            crop=self.val.crop,
            targets=self.val.targets,
            seed=self.seed,
            on_error=self.on_error,
        )

    @property
    def skipped(self) -> int:
        """How much could not be read so far.

        Entries of a list that are not there, over the splits in use, and samples that were taken
        from another clip because theirs is damaged.
        """
        missing = sum(getattr(clips, "missing", 0) for clips in self._clips.values())
        sets = (self.__dict__.get(name) for name in ("train_set", "val_set"))
        return missing + sum(one.skipped for one in sets if one is not None)

    def train_loader(
        self,
        *,
        steps: int,
        start_step: int = 0,
        rank: int = 0,
        world: int = 1,
        micro_batches: int = 1,
    ) -> DataLoader:
        """Return a loader of the whole run, ``micro_batches`` batches a step, from ``start_step``.

        Its length counts all steps, wherever it starts. Raises `UserError` where the global batch
        cannot be shared evenly.
        """
        sampler = StepSampler(
            len(self.train_set),
            self.global_batch,
            self.seed,
            rank=rank,
            world=world,
            start_step=start_step,
            steps=steps,
            micro_batches=micro_batches,
        )
        return self._loader(self.train_set, sampler, worker_count(self.workers, world))

    def val_loader(self, rank: int = 0, world: int = 1) -> DataLoader:
        """Return a loader of this rank's share of the validation clips."""
        sampler = EvalSampler(len(self.val_set), self.val.batch, rank, world, self.val.limit)
        workers = min(worker_count(self.workers, world), 4, len(sampler))
        return self._loader(self.val_set, sampler, workers)

    def _loader(
        self, dataset: ClipDataset, sampler: Sampler[list[Ticket]], workers: int
    ) -> DataLoader:
        return _Loader(
            _Careful(dataset),
            batch_sampler=sampler,
            num_workers=workers,
            collate_fn=partial(_collate, dataset=self.name),
            pin_memory=torch.cuda.is_available(),
            persistent_workers=workers > 0,
            worker_init_fn=_start_worker,
        )

    def fingerprint(self) -> str:
        """Return a hash of the clips of both splits: their names, roles and, of a few, sizes."""
        digest = hashlib.sha256()
        for split in (self.split, self.val.split):
            clips = self.clips(split)
            for clip in clips:
                digest.update(f"{clip.id}|{clip.inputs}|{clip.targets}|{len(clip.flow)}\n".encode())
            for clip in clips[:: max(1, len(clips) // 16)]:
                digest.update(_size_or_fault(clip).encode())
        return digest.hexdigest()[:16]

    def describe(self) -> str:
        """Return one line about what is read."""
        train, val = self.clips(self.split), self.clips(self.val.split)
        return (
            f"{self.name}: {len(train)} training clips of {len(self._groups[0])} shots or videos, "
            f"{min(len(val), self.val.limit or len(val))} of {len(val)} validation clips; "
            f"{2 * self.context} input frames, times {self.times}, crop {self.crop}, "
            f"global batch {self.global_batch}, {worker_count(self.workers)} workers, "
            f"flow labels: {self._labelled()}"
        )

    def shared_group(self) -> str:
        """Return one line about shots that are both trained and validated on, "" for none."""
        shared = self._groups[0] & self._groups[1]
        if not shared or self.split == self.val.split:  # the latter is asked for
            return ""
        return (
            f"data {self.name}: {len(shared)} of {len(self._groups[1])} shots or videos of the "
            f"split '{self.val.split}' are in '{self.split}' too, such as {min(shared)!r}; "
            "validation then tells little of other videos: keep each on one side (Clip.group)"
        )

    @cached_property
    def _groups(self) -> tuple[set[str], set[str]]:
        """The shots or videos of both splits; a clip of no group is one of its own."""
        splits = (self.clips(self.split), self.clips(self.val.split))
        train, val = ({clip.group or clip.id for clip in clips} for clips in splits)
        return train, val

    def _labelled(self) -> str:
        """Say how many clips have flow labels and, where times are drawn, how many samples."""
        train = self.clips(self.split)
        labelled = sum(1 for clip in train if clip.flow)
        if not labelled:
            return "none"
        said = "all" if labelled == len(train) else str(labelled)
        if self.times != "any":
            return said
        share = sum(labelled_share(c, self.context, self.targets or 1) for c in train) / len(train)
        percent = "100" if share == 1 else f"{min(100 * share, 99.9):.2g}"
        return f"{said} clips, {percent} % of the samples (times any)"


def worker_count(workers: int | Literal["auto"], world: int = 1) -> int:
    """Return the number of loading processes.

    "auto" leaves the training process a core, and takes none where the cores compute the network
    themselves and there are only two: a loading process would then cost more than it brings.
    """
    if workers != "auto":
        return int(workers)
    share = usable_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", world))
    if share <= 2 and not torch.cuda.is_available():
        return 0
    return max(0, min(share - 1, 8))


class _Careful(Dataset[Sample]):
    """Hands an error for the person over as a value: raised in a worker, it would lose its form."""

    def __init__(self, dataset: ClipDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, ticket: Ticket) -> Sample:
        return self.dataset[ticket]

    def __getitems__(self, tickets: Sequence[Ticket]) -> list[Sample] | UserError:
        try:
            return [self.dataset[ticket] for ticket in tickets]
        except UserError as error:
            return error


def _collate(samples: list[Sample] | UserError, dataset: str) -> Batch | UserError:
    if isinstance(samples, UserError):
        return samples
    try:
        return collate(samples, dataset)
    except UserError as error:
        return error


class _Loader(DataLoader):
    """A loader that raises in the main process what a worker hands over as an error."""

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        for batch in super().__iter__():
            if isinstance(batch, UserError):
                raise batch
            yield batch

    # A trainer asks loaders that can be resumed for a state; here the position follows from the
    # step that the loader was made for.

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: there is nothing to keep."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Do nothing: there is nothing to restore."""


def _start_worker(_: int) -> None:
    import cv2

    # the main process ends its workers: on ctrl-C they go quietly
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    keep_freed_memory()


def _crop(value: Any) -> Crop:
    """Return a crop as it came from a config: a number, a list of two, or None."""
    return value if value is None or isinstance(value, int) else tuple(value)


def _known(values: Mapping[str, Any], record: type, where: str) -> dict[str, Any]:
    names = [f.name for f in dataclasses.fields(record) if (where, f.name) != _CROP]
    for name in values:
        if name not in names:
            raise UserError(f"{where}.{name}: no such option; there are {', '.join(names)}")
    return dict(values)


_CROP = ("data.augment", "crop")  # given as data.crop


def _size_or_fault(clip: Clip) -> str:
    try:
        return str(tuple(clip.frames[0].size()))
    except UserError:
        return "unreadable"
