"""A data set as a run uses it: clips by split, and the loaders for training and validation."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

from torch.utils.data import DataLoader, Sampler

from midframe.data.dataset import ClipDataset, labelled_share
from midframe.data.labels import OtherLabels, attach, layout_options, tell_lacking
from midframe.data.loader import Careful, Loader, careful_collate, start_worker, worker_count
from midframe.data.records import Clip, Layout, Ticket, check_clips
from midframe.data.remote import CacheOptions, check_url, is_remote, open_remote
from midframe.data.sampler import EvalSampler, StepSampler
from midframe.data.shards import is_packed, open_packed
from midframe.data.transforms import Augment, Crop
from midframe.errors import UserError

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ValOptions:
    """How validation reads its clips.

    Attributes:
        split: the layout's name of the split.
        batch: samples per batch on each device.
        crop: centre crop, the side or (height, width); None for whole frames.
        limit: at most this many clips, spread evenly over the split; None for all.
        targets: how many targets per clip; None for all of the clip's.
        context: frames on each side of the gap; None for as many as in training. Data whose
            frames between are known in validation alone, such as that of event cameras, may read
            more frames there than a training clip has.
    """

    split: str = "test"
    batch: int = 1
    crop: Crop = None
    limit: int | None = None
    targets: int | None = None
    context: int | None = None

    def __post_init__(self) -> None:
        known = self.context is None or (isinstance(self.context, int) and self.context > 0)
        if not known:
            raise UserError(f"data.val.context={self.context}: give a positive number, or null")


class Data:
    """A data set with everything that decides what a run reads from it.

    Args:
        name: for logs and results.
        layout: see `Layout`; its own options are bound.
        root: the folder of the data set, ``~`` stands for the home folder; None for layouts that
            need no files. A URL, such as s3://bucket/folder, is of a packed data set elsewhere.
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
        needs_labels: whether labels that were made with other options of the layout are an error;
            else they are left out, with a note.
        cache: the fields of `CacheOptions`: where and how much of a remote data set is kept.
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
        needs_labels: bool = True,
        cache: Mapping[str, Any] | None = None,
    ) -> None:
        if workers != "auto" and (not isinstance(workers, int) or workers < 0):
            raise UserError(f"data.workers={workers}: give 0, a positive number or auto")
        if not isinstance(seed, int) or seed < 0:
            raise UserError(f"seed={seed}: give a number from 0 on")
        self.name = name
        self.layout = layout
        self.remote = check_url(str(root)) if is_remote(root) else None
        local = root is not None and self.remote is None
        self.root = Path(str(root)).expanduser() if local else None
        self.cache = CacheOptions(**_known(cache or {"dir": "cache"}, CacheOptions, "data.cache"))
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
        self.needs_labels = needs_labels
        fields = _known(val or {}, ValOptions, "data.val")
        self.val = ValOptions(**{**fields, "crop": _crop(fields.get("crop"))})
        self._clips: dict[tuple[str, int], Sequence[Clip]] = {}
        self._check_reversal()

    @property
    def val_context(self) -> int:
        """The frames on each side of the gap in validation."""
        return self.val.context or self.context

    def clips(self, split: str, context: int | None = None) -> Sequence[Clip]:
        """Return the clips of a split, indexed and checked once; `UserError` where it has none.

        Args:
            split: the layout's name of it.
            context: frames on each side of the gap; None for those that the split is read with.
        """
        if context is None:
            validates = split == self.val.split and split != self.split
            context = self.val_context if validates else self.context
        if (split, context) not in self._clips:
            found: Sequence[Clip]
            if self.remote is not None:
                found = open_remote(self.remote, split, context, self.cache)
            elif self.root is not None and is_packed(self.root):
                found = open_packed(self.root, split, context)
            else:
                found = self.layout(self.root, split, context)
            check_clips(found, context, self.name)
            root = self.remote or self.root
            if not len(found):
                where = "" if root is None else f" of {root}"
                raise UserError(f"data {self.name}: the split '{split}'{where} has no clip")
            self._clips[split, context] = self._labelled_clips(found, split)
        return self._clips[split, context]

    def _labelled_clips(self, clips: Sequence[Clip], split: str) -> Sequence[Clip]:
        """Return clips with the labels that there are for them, and say once what they lack."""
        try:
            found = attach(clips, self.labels, self.root, split, layout_options(self.layout))
        except OtherLabels as error:
            if self.needs_labels:
                raise
            if split == self.split:
                _log.warning("note: %s; left out, since no loss term reads them", error.what)
            return clips
        if split == self.split:
            tell_lacking(found, self.labels, self.root, self.name)
        return found

    def _check_reversal(self) -> None:
        released = layout_options(self.layout).get("polarity") == "released"
        if released and self.augment.time_reversal:
            raise UserError(
                "data.augment.time_reversal: in the polarity 'released' an OFF event counts -3, "
                "which backward would be an ON event of 1; set data.layout.polarity=unit or "
                "data.augment.time_reversal=0"
            )

    @cached_property
    def train_set(self) -> ClipDataset:
        """The training clips, cropped at random and augmented."""
        return self._training(ClipDataset)

    def _training(self, dataset: Callable[..., ClipDataset]) -> ClipDataset:
        """Return the training clips as ``dataset`` makes samples of them."""
        return dataset(
            self.clips(self.split, self.context),
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
            self.clips(self.val.split, self.val_context),
            self.val_context,
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
        pin_memory: bool = False,
    ) -> DataLoader:
        """Return a loader of the whole run, ``micro_batches`` batches a step, from ``start_step``.

        Its length counts all steps, wherever it starts. ``pin_memory`` is for batches that go to a
        GPU. Raises `UserError` where the global batch
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
        workers = worker_count(self.workers, world)
        return self._loader(self.train_set, sampler, workers, pin_memory)

    def val_loader(self, rank: int = 0, world: int = 1, *, pin_memory: bool = False) -> DataLoader:
        """Return a loader of this rank's share of the validation clips."""
        sampler = EvalSampler(len(self.val_set), self.val.batch, rank, world, self.val.limit)
        workers = min(worker_count(self.workers, world), 4, len(sampler))
        return self._loader(self.val_set, sampler, workers, pin_memory)

    def _loader(
        self, dataset: ClipDataset, sampler: Sampler[list[Ticket]], workers: int, pin_memory: bool
    ) -> DataLoader:
        return Loader(
            Careful(dataset),
            batch_sampler=sampler,
            num_workers=workers,
            collate_fn=partial(careful_collate, dataset=self.name),
            pin_memory=pin_memory,
            persistent_workers=workers > 0,
            worker_init_fn=start_worker,
        )

    def fingerprint(self) -> str:
        """Return a hash of the clips of both splits: their names, roles and, of a few, sizes."""
        digest = hashlib.sha256()
        for clips in self._both:
            for clip in clips:
                parts = [clip.id, clip.inputs, clip.targets, len(clip.flow)]
                parts += [sorted(clip.events)] if clip.events else []
                digest.update(("|".join(map(str, parts)) + "\n").encode())
            for clip in clips[:: max(1, len(clips) // 16)]:
                digest.update(_size_or_fault(clip).encode())
        return digest.hexdigest()[:16]

    def made_of(self) -> dict[str, str]:
        """Return files that clips of both splits are made of, see `LazyClips.made_of`."""
        each = (getattr(clips, "made_of", {}) for clips in self._both)
        return {name: sha256 for files in each for name, sha256 in files.items()}

    def describe(self) -> str:
        """Return one line about what is read."""
        train, val = self._both
        groups = f" of {len(self._groups[0])} shots or videos" * self._grouped
        four = f" ({2 * self.val_context} in validation)" * (self.val_context != self.context)
        return (
            f"{self.name}: {len(train)} training clips{groups}, "
            f"{min(len(val), self.val.limit or len(val))} of {len(val)} validation clips; "
            f"{2 * self.context} input frames{four}, times {self.times}, crop {self.crop}, "
            f"global batch {self.global_batch}, {worker_count(self.workers)} workers, "
            f"flow labels: {self._labelled()}"
        )

    def shared_group(self) -> str:
        """Return one line about shots that are both trained and validated on, "" for none.

        Also where nobody can tell, since no clip has a group.
        """
        shared = self._groups[0] & self._groups[1]
        if self.split == self.val.split:  # which is asked for
            return ""
        if not shared and not self._grouped:
            return (
                f"data {self.name}: no clip has a group, so nothing tells whether a video is both "
                f"in '{self.split}' and in '{self.val.split}'; let the layout give each clip the "
                "name of its shot or video (Clip.group)"
            )
        if not shared:
            return ""
        return (
            f"data {self.name}: {len(shared)} of {len(self._groups[1])} shots or videos of the "
            f"split '{self.val.split}' are in '{self.split}' too, such as {min(shared)!r}; "
            "validation then tells little of other videos: keep each on one side (Clip.group)"
        )

    @property
    def _both(self) -> tuple[Sequence[Clip], Sequence[Clip]]:
        """The clips that are trained and validated on."""
        val = self.clips(self.val.split, self.val_context)
        return self.clips(self.split, self.context), val

    @cached_property
    def _groups(self) -> tuple[set[str], set[str]]:
        """The shots or videos of both splits; a clip of no group is one of its own."""
        train, val = ({clip.group or clip.id for clip in clips} for clips in self._both)
        return train, val

    @cached_property
    def _grouped(self) -> bool:
        """Whether a clip has a group."""
        splits = (self.split, self.val.split)
        return any(clip.group for split in splits for clip in self.clips(split))

    def _labelled(self) -> str:
        """Say how many clips have flow labels and, where times are drawn, how many samples."""
        train = self.clips(self.split, self.context)
        labelled = sum(1 for clip in train if clip.flow)
        if not labelled:
            return "none"
        said = "all" if labelled == len(train) else str(labelled)
        if self.times != "any":
            return said
        share = sum(labelled_share(c, self.context, self.targets or 1) for c in train) / len(train)
        percent = "100" if share == 1 else f"{min(100 * share, 99.9):.2g}"
        return f"{said} clips, {percent} % of the samples (times any)"


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
