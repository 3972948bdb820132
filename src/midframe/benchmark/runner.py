"""Run a model over a benchmark's images: one row per predicted image, resumable."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from midframe.benchmark.journal import Journal, Row
from midframe.benchmark.protocol import Protocol
from midframe.data.dataset import ClipDataset, UnreadableClip, collate
from midframe.data.io import write_image
from midframe.data.records import Clip, PartialClips, check_clips
from midframe.data.shards import is_packed
from midframe.errors import UserError
from midframe.metrics import PerImage
from midframe.models.base import Interpolator, Pad
from midframe.picture import to_picture
from midframe.types import Batch, Inputs, Prediction

Predict = Callable[[Inputs], Prediction]
Size = tuple[int, int]  # height and width


@dataclass
class Outcome:
    """What came out of one benchmark.

    Attributes:
        protocol: how it was measured.
        rows: one per predicted image, in the order of the data.
        problems: what is missing or went wrong, one line each; a result with any is incomplete.
        reused: how many rows come from an earlier, interrupted run.
        sizes: how many of the measured images have each size (height, width).
        groups: by the key of each row, the video or shot that it is of.
        beside: what other models made of the same images, by their names.
    """

    protocol: Protocol
    rows: list[Row] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    reused: int = 0
    sizes: Counter[Size] = field(default_factory=Counter)
    groups: dict[str, str] = field(default_factory=dict)
    beside: dict[str, Outcome] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every image that the protocol counts was measured, and no more."""
        return not self.problems

    def count(self, subset: str) -> int:
        """Return the number of measured images of a subset."""
        return sum(row.subset == subset for row in self.rows)

    def means(self, subset: str | None = None) -> dict[str, float]:
        """Return the mean of every metric over a subset, or overall by the protocol's reduction."""
        if subset is None and self.protocol.reduction == "subsets":
            parts = {s: self.means(s) for s in self.protocol.subsets if self.count(s)}
            return PerImage(parts).means()
        if self.protocol.reduction == "sequences":
            return PerImage(self.sequences(subset)).means()
        rows = [r for r in self.rows if subset in (None, r.subset)]
        return PerImage({r.key: r.values for r in rows}).means()

    def sequences(self, subset: str | None = None) -> dict[str, dict[str, float]]:
        """Return the means of each sequence of a subset, or of all, as subset/sequence."""
        found: dict[str, PerImage] = {}
        for row in self.rows:
            if subset in (None, row.subset):
                name = f"{row.subset}/{self.groups.get(row.key) or row.id}"
                found.setdefault(name, PerImage()).add(row.key, row.values)
        return {name: rows.means() for name, rows in found.items()}

    def at_times(self) -> dict[str, Outcome]:
        """Return the outcome at each target time by itself, where the protocol has several."""
        found = {}
        for t in self.protocol.times if len(self.protocol.times) > 1 else ():
            rows = [row for row in self.rows if row.id.endswith(_at(t))]
            found[f"{t:.4g}"] = dataclasses.replace(self, rows=rows)
        return found

    def median_seconds(self) -> float:
        """Return the median time of one prediction."""
        return float(torch.tensor([r.seconds for r in self.rows] or [math.nan]).median())


class Predictor:
    """Calls a model as a protocol asks, with its padding and hints, and waits for the device.

    What somebody wrote wins over what was chosen for him, option by option: first comes the
    model's own choice for the protocol's family and the frames' size, then the protocol's hints,
    then those that the user wrote for the model (``model.hints``, its `fixed_hints`).

    Args:
        model: any `Interpolator`, on its device; see `midframe.models.inference` for bfloat16.
        protocol: gives padding, hints, and the times that the model must know.

    Raises:
        UserError: if the model cannot take part in this benchmark.
    """

    def __init__(self, model: Interpolator, protocol: Protocol) -> None:
        name = model.title
        if model.least_context > protocol.context:
            raise UserError(
                f"{name} reads {2 * model.least_context} frames, benchmark {protocol.name} gives "
                f"{2 * protocol.context}; choose another benchmark"
            )
        if model.times == "half" and any(t != 0.5 for t in protocol.times):
            raise UserError(
                f"{name} knows only t = 0.5, benchmark {protocol.name} asks for other times"
            )
        lacking = sorted(model.needs - protocol.gives) if model.needs else []
        if lacking:
            wrap = "; midframe.models.motion.guided makes motion" * ("motion" in lacking)
            raise UserError(
                f"{name} needs {', '.join(lacking)}, benchmark {protocol.name} has none{wrap}"
            )
        self.model, self.protocol = model, protocol
        self.written = {**protocol.hints, **model.fixed_hints}
        self.device = next((p.device for p in model.parameters()), torch.device("cpu"))

    def __call__(self, x: Inputs) -> Prediction:
        """Predict, and wait until the device is done."""
        inputs = x.around(self.model.context)
        pad, family = self.protocol.pad, self.protocol.family
        out = self.model.interpolate(inputs, pad=pad, benchmark=family, **self.written)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return out

    def call(self, height: int, width: int) -> tuple[dict[str, Any], Pad]:
        """Return the hints and the padding of calls with frames of this size."""
        hints = self.model.hints_for(height, width, self.protocol.family, **self.written)
        return hints, self.model.pad_for(self.protocol.pad, **hints)

    def calls(self, sizes: Mapping[Size, int]) -> list[dict[str, Any]]:
        """Return how images were predicted, as plain data for the record.

        Args:
            sizes: how many images there are of each size, as `Outcome.sizes` tells.

        Returns:
            For each set of hints and padding: hints, pad, images, and their sizes as "640x480".
        """
        found: dict[str, dict[str, Any]] = {}
        for (height, width), count in sorted(sizes.items()):
            hints, pad = self.call(height, width)
            said = {"hints": hints, "pad": dataclasses.asdict(pad)}
            key = json.dumps(said, sort_keys=True, default=str)
            entry = found.setdefault(key, {**said, "images": 0, "sizes": []})
            entry["images"] += count
            entry["sizes"].append(f"{width}x{height}")
        return list(found.values())


def run(
    predict: Predict,
    protocol: Protocol,
    root: Path | None,
    *,
    device: torch.device | str = "cpu",
    journal: Journal | None = None,
    images: Path | None = None,
    limit: int | None = None,
    progress: bool = True,
) -> Outcome:
    """Measure a model on every image of a benchmark.

    Args:
        predict: any callable from inputs to a prediction, such as a `Predictor`.
        protocol: what to do.
        root: folder of the data; None for layouts that need no files.
        device: where inputs go.
        journal: rows are added as they are done and those that it has are not measured again.
        images: a folder to which every prediction is written as <subset>/<id>.png.
        limit: only the first so many clips of every subset.
        progress: show a progress bar where stderr is a terminal.

    Raises:
        UserError: if the data is not there or is not what the protocol says.
    """
    clips = {subset: _clips(protocol, root, subset) for subset in protocol.subsets}
    outcome = Outcome(protocol, problems=list(_lacks(protocol, clips)))
    if limit is not None:
        clips = {subset: PartialClips(found[:limit]) for subset, found in clips.items()}
        outcome.problems.append(f"limited to {limit} of every subset")
    work = [(subset, clip) for subset, found in clips.items() for clip in found]
    for subset, clip in _track(work, protocol.name, progress):
        done = journal and _reusable(journal, protocol, subset, clip, images)
        if done and (size := _size(clip)):
            outcome.rows += done
            outcome.reused += len(done)
            outcome.sizes[size] += len(done)
            outcome.groups.update((row.key, clip.group) for row in done)
            continue
        try:
            batch = collate([ClipDataset([clip], protocol.context)[0]], protocol.name)
        except UnreadableClip as error:
            outcome.problems.append(str(error))
            continue
        batch = batch.to(device).float()
        rows = _measure(predict, protocol, subset, batch, images)
        outcome.rows += rows
        outcome.groups.update((row.key, clip.group) for row in rows)
        height, width = batch.inputs.frames.shape[-2:]
        outcome.sizes[height, width] += len(rows)
        if journal is not None:
            journal.add(rows)
    outcome.problems += [
        f"{row.key}: the prediction is not finite"
        for row in outcome.rows
        if any(math.isnan(v) for v in row.values.values())
    ]
    return outcome


def check_folder(root: Path | None) -> None:
    """Raise `UserError` where the folder of a benchmark's data is a pack."""
    if root is not None and is_packed(root):
        raise UserError(
            f"benchmark.root={root} is a pack (midframe pack); benchmarks read the original folder"
        )


def _clips(protocol: Protocol, root: Path | None, subset: str) -> PartialClips:
    """Return what the layout yields, looked over, and how much of its list is missing."""
    if root is not None and root.exists() and not root.is_dir():
        raise UserError(f"benchmark.root={root} is no folder")
    check_folder(root)
    layout = protocol.find_layout()
    try:
        found = layout(root, subset, protocol.context)
        check_clips(found, protocol.context, protocol.name, every=True)
    except UserError as error:
        raise UserError(_in_words_of(protocol, str(error))) from error
    clips = PartialClips(found, getattr(found, "missing", 0))
    for clip in clips:
        if not clip.targets:
            raise UserError(f"benchmark {protocol.id}: clip {clip.id} has no frame to predict")
        for t in (clip.time(i) for i in clip.targets):
            if not any(math.isclose(t, known, abs_tol=1e-6) for known in protocol.times):
                raise UserError(f"benchmark {protocol.id} has no time {t:.4g}, clip {clip.id} has")
    return clips


def _in_words_of(protocol: Protocol, message: str) -> str:
    """Name an option of a layout, which speaks of training data, as a benchmark's is written."""
    option = f"++benchmark.suites.{protocol.name}.protocol.layout."
    for said, here in (
        ("data.root", "benchmark.root=DIR"),
        ("data.on_error", f"{option}on_error"),
        ("data.layout.", option),
    ):
        message = message.replace(said, here)
    return message


def _lacks(protocol: Protocol, clips: dict[str, PartialClips]) -> Iterator[str]:
    for subset, found in clips.items():
        count, expected = sum(len(c.targets) for c in found), protocol.expected.get(subset)
        if expected is not None:
            if count != expected:
                yield f"{subset}: {count} images, the protocol has {expected}"
        elif found.missing or not found:
            yield f"{subset}: {len(found)} clips are there, {found.missing or 'all'} are missing"


def _keys(protocol: Protocol, clip_id: str, times: list[float]) -> list[str]:
    return [clip_id if len(protocol.times) == 1 else clip_id + _at(t) for t in times]


def _at(t: float) -> str:
    return f"@{t:.4g}"


def _reusable(
    journal: Journal, protocol: Protocol, subset: str, clip: Clip, images: Path | None
) -> list[Row]:
    """Return all rows of a clip, or none if any of them or its image is not there."""
    ids = _keys(protocol, clip.id, [clip.time(i) for i in clip.targets])
    rows = [row for name in ids if (row := journal.find(subset, name)) is not None]
    pictures = images is None or all(_image(images, subset, name).is_file() for name in ids)
    return rows if len(rows) == len(ids) and pictures else []


def _size(clip: Clip) -> Size | None:
    """Return the size of a clip's frames, or None where the file is not there any more."""
    try:
        height, width = clip.frames[clip.inputs[0]].size()
    except UserError:
        return None
    return height, width


@torch.no_grad()
def _measure(
    predict: Predict, protocol: Protocol, subset: str, batch: Batch, images: Path | None
) -> list[Row]:
    start = time.perf_counter()
    frames = predict(batch.inputs).frame[0].float()
    seconds = (time.perf_counter() - start) / len(frames)
    if protocol.quantisation == "uint8":
        frames = frames.clamp(0, 1).mul(255).round().div(255)
    assert batch.target is not None
    target = batch.target[0]
    columns = {m: protocol.measure(m, frames, target).tolist() for m in protocol.metrics}
    ids = _keys(protocol, batch.ids[0], batch.inputs.t[0].tolist())
    for name, frame in zip(ids, frames):
        if images is not None:
            write_image(_image(images, subset, name), to_picture(frame))
    return [
        Row(name, subset, {m: v[i] for m, v in columns.items()}, seconds)
        for i, name in enumerate(ids)
    ]


def _image(images: Path, subset: str, name: str) -> Path:
    return images / subset / f"{name}.png"


def _track(work: list[Any], title: str, progress: bool) -> Iterator[Any]:
    """Yield the work under a progress bar, which stays silent where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        "[progress.description]{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not (progress and console.is_terminal),
        transient=True,
    ) as bar:
        yield from bar.track(work, description=title)
