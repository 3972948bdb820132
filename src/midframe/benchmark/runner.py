"""Run a model over a benchmark's images: one row per predicted image, shared and resumable."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from midframe.benchmark import batches
from midframe.benchmark.batches import SINGLY, Batching, Size, Unit
from midframe.benchmark.journal import Journal, Row
from midframe.benchmark.measure import keys, measure
from midframe.benchmark.outcome import Outcome
from midframe.benchmark.pictures import Pictures
from midframe.benchmark.predictor import Predict, Predictor
from midframe.benchmark.protocol import Protocol
from midframe.benchmark.team import ALONE, Team
from midframe.data.dataset import UnreadableClip, collate
from midframe.data.records import Clip, PartialClips, Sample, check_clips
from midframe.data.shards import is_packed
from midframe.errors import UserError

__all__ = ["Outcome", "Predict", "Predictor", "check_folder", "find_clips", "run"]


@dataclass
class Done:
    """What came of a unit.

    Attributes:
        rows: of its images.
        problems: clips that cannot be read.
        size: of the frames.
        reused: whether the rows are those of an earlier run.
    """

    rows: list[Row]
    problems: list[str] = field(default_factory=list)
    size: Size = (0, 0)
    reused: bool = False


def run(
    predict: Predict,
    protocol: Protocol,
    root: Path | None,
    *,
    device: torch.device | str = "cpu",
    journal: Journal | None = None,
    pictures: Pictures | None = None,
    limit: int | None = None,
    batching: Batching = SINGLY,
    team: Team = ALONE,
    progress: bool = True,
    clips: Mapping[str, PartialClips] | None = None,
) -> Outcome:
    """Measure a model on every image of a benchmark.

    What comes out depends neither on the number of processes nor on interruptions: what is
    predicted at once follows from the data, and a batch of which a row is missing is done again.

    Args:
        predict: any callable from inputs to a prediction, such as a `Predictor`.
        protocol: what to do.
        root: folder of the data; None for layouts that need no files.
        device: where inputs go.
        journal: rows are added as they are done and those that it has are not measured again.
        pictures: where they are written, or None.
        limit: only the first so many clips of every subset.
        batching: how many clips are predicted at once.
        team: the processes that share the work, each of which calls this; all get the outcome.
        progress: show a progress bar where stderr is a terminal.
        clips: as `find_clips` returned them before, None to look for them.

    Raises:
        UserError: if the data is not there or is not what the protocol says.
    """
    clips = find_clips(protocol, root) if clips is None else clips
    outcome = Outcome(protocol, problems=list(_lacks(protocol, clips)))
    if limit is not None:
        clips = {subset: PartialClips(found[:limit]) for subset, found in clips.items()}
        outcome.problems.append(f"limited to {limit} of every subset")
    units, done = _shared_plan(protocol, clips, batching, journal, pictures, team)
    mine = _work(
        predict,
        protocol,
        clips,
        [(i, unit) for i, unit in enumerate(units) if i not in done],
        device,
        journal,
        pictures,
        team,
        progress,
    )
    if journal is not None and team.rank > 0:
        journal.close()
    for part in team.exchange(mine):
        done.update(part)
    _gather(outcome, [(units[i], done[i]) for i in sorted(done)], clips)
    return outcome


def _work(
    predict: Predict,
    protocol: Protocol,
    clips: Mapping[str, Sequence[Clip]],
    pending: Sequence[tuple[int, Unit]],
    device: torch.device | str,
    journal: Journal | None,
    pictures: Pictures | None,
    team: Team,
    progress: bool,
) -> dict[int, Done]:
    """Do this process's share of what is pending, and return it by the numbers of the units."""

    def members(place: int) -> Sequence[Clip]:
        subset, places = pending[place][1]
        return [clips[subset][i] for i in places]

    def load(clip: Clip) -> Sample | UnreadableClip:
        return batches.read(clip, protocol.context, blind=bool(protocol.submission))

    claims = _track(team.claims(len(pending)), len(pending), protocol.name, progress, team)
    mine: dict[int, Done] = {}
    for place, found in batches.ahead(claims, members, load):
        number, unit = pending[place]
        samples = [one for one in found if isinstance(one, Sample)]
        mine[number] = one = Done([], [str(x) for x in found if isinstance(x, UnreadableClip)])
        if not samples:
            continue
        batch = collate(samples, protocol.name).to(device).float()
        height, width = batch.inputs.frames.shape[-2:]
        one.size = height, width
        one.rows = measure(predict, protocol, unit.subset, batch, pictures)
        if journal is not None:
            journal.add(one.rows, batches.name_of(members(place)))
    return mine


def _gather(
    outcome: Outcome, found: Sequence[tuple[Unit, Done]], clips: Mapping[str, Sequence[Clip]]
) -> None:
    """Put what was done together, in the order of the data; an image counts once."""
    seen: set[str] = set()
    for unit, done in found:
        outcome.problems += done.problems
        rows = [row for row in done.rows if row.key not in seen]
        seen.update(row.key for row in rows)
        outcome.rows += rows
        outcome.reused += len(rows) * done.reused
        if rows:
            outcome.sizes[done.size] += len(rows)
        groups = _keys_of(outcome.protocol, [clips[unit.subset][i] for i in unit.members])
        outcome.groups.update(
            (row.key, groups[row.id].group) for row in rows if groups[row.id].group
        )
    outcome.problems += [
        f"{row.key}: the prediction is not finite"
        for row in outcome.rows
        if any(math.isnan(v) for v in row.values.values())
    ]


def _shared_plan(
    protocol: Protocol,
    clips: Mapping[str, PartialClips],
    batching: Batching,
    journal: Journal | None,
    pictures: Pictures | None,
    team: Team,
) -> tuple[list[Unit], dict[int, Done]]:
    """Return the work, and what of it is done; the first process decides for all."""
    names = batches.digest(f"{s}/{clip.id}" for s, found in clips.items() for clip in found)
    units: list[Unit] = []
    done: dict[int, Done] = {}
    if team.rank == 0:
        units = batches.plan(clips, batching)
        for i, unit in enumerate(units):
            one = _reusable(journal, protocol, unit, clips, pictures) if journal else None
            if one is not None:
                done[i] = one
        if journal is not None and team.size > 1 and len(done) < len(units):
            journal.open()  # gathers what others left, before those at work begin to write
    first, *others = team.exchange((names, units, done))
    for rank, (theirs, _, _) in enumerate(others, 1):
        if theirs != first[0]:
            raise UserError(
                f"benchmark {protocol.name}: process {rank} sees other clips than the first one; "
                "give benchmark.root=DIR a folder that is the same on all machines"
            )
    return first[1], first[2]


def _keys_of(protocol: Protocol, members: Sequence[Clip]) -> dict[str, Clip]:
    return {
        name: clip
        for clip in members
        for name in keys(protocol, clip.id, [clip.time(i) for i in clip.targets])
    }


def _reusable(
    journal: Journal,
    protocol: Protocol,
    unit: Unit,
    clips: Mapping[str, Sequence[Clip]],
    pictures: Pictures | None,
) -> Done | None:
    """Return all rows of a unit, or None if any of them or its picture is not there."""
    members = [clips[unit.subset][i] for i in unit.members]
    batch = batches.name_of(members)
    rows = []
    for name in _keys_of(protocol, members):
        row = journal.find(unit.subset, name, batch)
        if row is None or not (pictures is None or pictures.there(unit.subset, name)):
            return None
        rows.append(row)
    size = batches.size_of(members[0])
    return None if size is None else Done(rows, size=size, reused=True)


def check_folder(root: Path | None) -> None:
    """Raise `UserError` where the folder of a benchmark's data is a pack."""
    if root is not None and is_packed(root):
        raise UserError(
            f"benchmark.root={root} is a pack (midframe pack); benchmarks read the original folder"
        )


def find_clips(protocol: Protocol, root: Path | None) -> dict[str, PartialClips]:
    """Return the clips of every subset of a benchmark; raises as `run` does."""
    return {subset: _clips(protocol, root, subset) for subset in protocol.subsets}


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


def _lacks(protocol: Protocol, clips: Mapping[str, PartialClips]) -> Iterator[str]:
    for subset, found in clips.items():
        count, expected = sum(len(c.targets) for c in found), protocol.expected.get(subset)
        if expected is not None:
            if count != expected:
                yield f"{subset}: {count} images, the protocol has {expected}"
        elif found.missing or not found:
            yield f"{subset}: {len(found)} clips are there, {found.missing or 'all'} are missing"


def _track(
    claims: Iterator[int], total: int, title: str, progress: bool, team: Team
) -> Iterator[int]:
    """Yield the claims under a progress bar, which stays silent where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    with Progress(
        "[progress.description]{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not (progress and console.is_terminal and team.rank == 0),
        transient=True,
    ) as bar:
        task = bar.add_task(title, total=total)
        for number in claims:
            bar.update(task, completed=number)
            yield number
