"""A conversion with a model: parts made here or by several processes, and joined to the output."""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from midframe import __version__
from midframe.errors import UserError
from midframe.launch import convert_profile, processes
from midframe.launch.convert_memory import fitted, settle
from midframe.launch.convert_plan import Job, Task
from midframe.launch.convert_report import Counter, Report
from midframe.launch.convert_team import Helpers, helped
from midframe.launch.convert_work import Work
from midframe.models.base import Interpolator
from midframe.models.timeline import BISECTION, ROUNDING, Timeline, ignores_time
from midframe.speed.memory import ran_out
from midframe.video.beside import beside
from midframe.video.damage import Watched
from midframe.video.frame import Frame
from midframe.video.inbetween import Array, Maker, Predictor, Shown
from midframe.video.pipeline import Reader, convert
from midframe.video.profile import Profile
from midframe.video.timing import Part

AUTO = "auto"
SUFFIX = ".segment"  # of parts
_PIXELS_AT_ONCE = 2_000_000  # of pairs of frames on a GPU, where nobody says how many
_MOST_PAIRS = 16
_ROUNDING = 4  # threads that round what a GPU predicts; what a processor predicts needs one
_LOOK = 1.0  # seconds between two looks at what others have done

Load = Callable[[], tuple[Interpolator, torch.device]]


def make(job: Job, args: argparse.Namespace, load: Load, settings: Any, report: Report) -> None:
    """Make the output of a conversion, going on where an earlier process stopped.

    Args:
        job: what there is to do.
        args: the options of the command.
        load: gives the model and where it is.
        settings: of the model, as plain data: parts by others are not continued.
        report: says how far it is.

    Raises:
        UserError: for what the user can mend.
        KeyboardInterrupt: with words on how to go on.
    """
    from midframe.video.join import join

    count = processes.count(_number(args.devices, "--devices"), args.device)
    model, device = load()
    if count > 1 and device.type == "cuda":
        device = torch.device("cuda", 0)
        model = model.to(device)
    identity = _identity(job, model, settings, args)
    work = Work(job.out, identity, job.parts, SUFFIX, anew=args.restart)
    model = fitted(model, device, job, args, settings, report)
    maker = maker_of(model, device, job, args.batch, report)
    profile = Profile()
    try:
        with work:
            for note in work.notes:
                report.note(note)
            settle(model, work.folder)
            done = sum(map(len, work.done()))
            if done:
                report.say(f"{done} of {len(job.schedule)} frames are there from before")
            with (
                report.counting(len(job.schedule), done) as counter,
                helped(count, work.folder, args) as helpers,
                _on(device),
            ):
                watched = Watched(job.clip, report.note)
                count_of = _Count(work, counter, helpers)
                _make_parts(job, watched, maker, work, device, count_of, profile)
            if rest := watched.rest():
                report.note(rest)
            segments = [work.path(part) for part in work.done()]
            if len(segments) < len(job.parts):
                raise UserError(f"{job.out}: parts of it are missing; start the command again")
            options: Any = {"stretch": job.request.slow, "audio": job.audio, "last": job.last}
            with profile.timing("join", len(job.schedule)):
                for words in join(segments, job.clip, job.target, job.out, **options):
                    report.note(words)
            work.remove()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_how_to_go_on(job, work)) from None
    if args.profile:
        profile.wall += profile.stages["join"].busy
        convert_profile.tell(profile, device, report)


def help_out(job: Job, args: argparse.Namespace, load: Load, settings: Any) -> None:
    """Make parts beside the process that has started this one; see `make`."""
    model, device = load()
    work = Work(job.out, _identity(job, model, settings, args), job.parts, SUFFIX, helps=True)
    model = fitted(model, device, job, args, settings, Report("none"))
    maker = maker_of(model, device, job, args.batch, Report("none"))
    with work, Report("none").counting(0, 0) as counter, _on(device):
        settle(model, work.folder)
        _make_parts(job, job.clip, maker, work, device, _Count(work, counter, Helpers([])))


def maker_of(
    model: Interpolator, device: torch.device, job: Task, batch: str | None, report: Report
) -> Maker:
    """Return a model as the pipeline needs it, and note what it does to times.

    Args:
        model: any, on ``device``.
        device: where it is.
        job: what it is for.
        batch: how many gaps at once, or "auto".
        report: takes notes.
    """
    form, ends = job.clip.format, job.ends
    if len(job.clip) < 2 * model.context and ends == "repeat":
        Timeline(model, lambda number: torch.empty(0), max(2, len(job.clip)), "repeat")  # raises
    fractions = set(job.spacings)
    bisects = None
    if fractions <= {1, 2}:
        bisects = model.times == "half"
    else:
        bisects = ignores_time(model, device)
        if bisects:
            report.note(BISECTION)
            if any(n & (n - 1) for n in fractions):
                report.note(ROUNDING)
    if len(job.clip) == 1:
        report.note("one frame: there is nothing between it and another")
    elif len(job.clip) < 2 * model.context:
        report.note(
            f"{len(job.clip)} frames for a model that reads {2 * model.context}: "
            "the outer ones are read twice"
        )
    pairs = _number(batch or AUTO, "--batch")
    if pairs == AUTO:
        fits = _PIXELS_AT_ONCE // (form.width * form.height)
        pairs = max(1, min(_MOST_PAIRS, fits)) if device.type == "cuda" else 1

    def predictor(load: Callable[[int], Array], has: Callable[[int], bool]) -> Predictor:
        return Timeline(model, load, has, ends, batch=pairs, bisects=bisects)  # type: ignore[arg-type]

    reach = 2 * model.context - 1  # of bisection, a frame's own gap included
    finish = _finish_preview if job.preview else None
    return Maker(predictor, _placer(device), _fetch, reach - 1, 2 * reach - 1, pairs, finish)


def _placer(device: torch.device) -> Callable[[np.ndarray], torch.Tensor]:
    def place(rgb: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(rgb)).to(device)

    return place


def _fetch(picture: torch.Tensor) -> np.ndarray:
    return picture.cpu().numpy()


def _finish_preview(one: Shown) -> Frame:
    return beside(one.near, one.frame(_fetch))


def _make_parts(
    job: Job,
    clip: Reader,
    maker: Maker,
    work: Work,
    device: torch.device,
    count: _Count,
    profile: Profile | None = None,
) -> None:
    from midframe.video.writer import SegmentWriter

    def writer(part: Part) -> Any:
        return SegmentWriter(work.path(part), job.target)

    try:
        convert(
            clip,
            job.clip.format,
            job.schedule,
            count.own(work.todo()),
            maker,
            writer,
            gate=job.gate(maker),
            written=count.written,
            rounding=_ROUNDING if device.type == "cuda" else 1,
            profile=profile,
        )
    except (MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        form = job.clip.format
        raise UserError(
            f"the memory of {device} does not suffice for frames of {form.width}x{form.height}; "
            "give less --memory, --block 256, to work on small blocks of them, or --batch 1"
        ) from error
    count.rest()


class _Count:
    """Counts frames of this process as they are written, and those of others by whole parts."""

    def __init__(self, work: Work, counter: Counter, helpers: Helpers) -> None:
        self._work, self._counter, self._helpers = work, counter, helpers
        self._known = {part.number for part in work.done()}
        self._looked = time.monotonic()

    def own(self, parts: Iterator[Part]) -> Iterator[Part]:
        """Note which parts are this process's."""
        for part in parts:
            self._known.add(part.number)
            yield part

    def written(self) -> None:
        """Count a frame."""
        self._counter.advance()
        if self._helpers.children and time.monotonic() - self._looked > _LOOK:
            self._looked = time.monotonic()
            self._helpers.check()
            self._others()

    def rest(self) -> None:
        """Wait for the others."""
        if self._helpers.children:
            self._helpers.wait(self._others)

    def _others(self) -> None:
        for part in self._work.done():
            if part.number not in self._known:
                self._known.add(part.number)
                self._counter.advance(len(part))


def _identity(
    job: Job, model: Interpolator, settings: Any, args: argparse.Namespace
) -> dict[str, Any]:
    """Return all that parts of a conversion depend on, as plain data."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        if isinstance(value, torch.Tensor):
            plain = value.detach().cpu().contiguous().reshape(-1)
            digest.update(plain.view(torch.uint8).numpy().data)
    for file in _files_of(args.engine):  # weights of an exported model are in its file
        digest.update(file.read_bytes())
    how = [args.precision, args.block, args.overlap, args.blend, args.memory]
    return {
        **job.identity(),
        "midframe": __version__,  # another one may round, or place frames, in another way
        "model": [model.title, settings],
        "weights": digest.hexdigest(),
        "precision and blocks": how,
    }


def _files_of(engine: Path | None) -> list[Path]:
    if engine is None:
        return []
    return sorted(engine.iterdir()) if engine.is_dir() else [engine]


def _how_to_go_on(job: Job, work: Work) -> str:
    done = sum(map(len, work.done())) if work.folder.exists() else 0
    if not done:
        return f"{job.out} was not written"
    return (
        f"{job.out} is not written yet; {done} of {len(job.schedule)} frames are done, and the "
        "same command goes on from there"
    )


def _number(value: str, option: str) -> Any:
    if value == AUTO:
        return AUTO
    if not value.isdecimal() or int(value) < 1:
        raise UserError(f"{option} {value}: give a whole number from 1 on, or {AUTO}")
    return int(value)


@contextmanager
def _on(device: torch.device) -> Iterator[None]:
    """Have a GPU be the current one of this thread, as kernels of our own expect it."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            yield
    else:
        yield
