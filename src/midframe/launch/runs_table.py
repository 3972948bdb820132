"""Runs and sweeps below a folder as rows of a table, whatever else lies there."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from midframe.errors import UserError
from midframe.launch.run_records import RunRecord
from midframe.launch.sweep_jobs import (
    FAILED,
    FINISHED,
    RUNNING,
    STATES,
    STOPPED,
    WAITING,
    Job,
    seconds_between,
    timestamp,
)
from midframe.launch.sweep_table import best_job, duration
from midframe.launch.sweeps import FOLDER, Sweep, differing

_FILES = ("metrics.csv", "last.ckpt", "run.json")  # what a run writes as it goes


@dataclass
class RunRow:
    """A run, or a job of a sweep that has no run yet.

    Attributes:
        name: of the folder.
        state: one of `midframe.launch.sweeps.STATES`.
        metric: what it is judged by.
        best: the best value of that.
        step: where that was.
        steps: how far the run is.
        overrides: of its command line.
        seconds: how long it has trained, all starts together.
        resumes: how often it went on.
        started: first, as ISO time.
        dir: its folder; None of a job that has none.
        sweep: name of the sweep it belongs to.
        job: its number there.
        error: why it failed.
    """

    name: str
    state: str
    metric: str | None = None
    best: float | None = None
    step: int | None = None
    steps: int = 0
    overrides: list[str] = field(default_factory=list)
    seconds: float = 0.0
    resumes: int = 0
    started: str = ""
    dir: str | None = None
    sweep: str | None = None
    job: int | None = None
    error: str | None = None


@dataclass
class SweepRow:
    """A sweep.

    Attributes:
        name: of the folder.
        state: running while a process holds it or one of its jobs; then what is left to do.
        jobs: how many by state.
        metric: what its best job is known by.
        best: its value.
        best_job: its number.
        command: what continues it.
        dir: its folder.
        started: as ISO time.
    """

    name: str
    state: str
    jobs: dict[str, int]
    metric: str | None
    best: float | None
    best_job: int | None
    command: str
    dir: str
    started: str


@dataclass
class Listing:
    """What lies below a folder.

    Attributes:
        runs: oldest first.
        sweeps: oldest first.
        skipped: folders that look like runs or sweeps and cannot be read, with the reason.
    """

    runs: list[RunRow] = field(default_factory=list)
    sweeps: list[SweepRow] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        runs, sweeps = [asdict(x) for x in self.runs], [asdict(x) for x in self.sweeps]
        return {"runs": runs, "sweeps": sweeps, "skipped": self.skipped}

    def choose(self, states: Sequence[str] = (), sweep: str | None = None) -> Listing:
        """Return what is in one of these states, and belongs to a sweep whose name has this.

        Raises:
            UserError: if there is no such state, or no such sweep.
        """
        unknown = [state for state in states if state not in STATES]
        if unknown:
            raise UserError(f"--state {','.join(unknown)}: there are {', '.join(STATES)}")
        runs = [x for x in self.runs if not states or x.state in states]
        sweeps = [x for x in self.sweeps if not states or x.state in states]
        if sweep is not None:
            if not any(sweep in x.name for x in self.sweeps):
                names = ", ".join(x.name for x in self.sweeps) or "none"
                raise UserError(f"--sweep {sweep}: there is no such sweep; there are {names}")
            runs = [x for x in runs if sweep in (x.sweep or "")]
            sweeps = [x for x in sweeps if sweep in x.name]
        return Listing(runs, sweeps, self.skipped)


def list_runs(folder: Path, metric: str | None = None) -> Listing:
    """Read all runs and sweeps right below a folder.

    Args:
        folder: ``paths.runs``, or a sweep's own folder.
        metric: by which runs are judged; None is what is usual with each.

    Raises:
        UserError: if there is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; name the one that runs are written to")
    found = Listing()
    alone = (folder / "sweep.json").exists()
    jobs: dict[str, tuple[str, Job]] = {}
    for place in [folder] if alone else _folders(folder / FOLDER):
        try:
            sweep = Sweep.read(place)
        except UserError as error:
            found.skipped[str(place)] = str(error)
            continue
        found.sweeps.append(_sweep_row(sweep))
        for job in sweep.jobs:
            if job.run:
                jobs[str(Path(job.run).absolute())] = (place.name, job)
            else:
                found.runs.append(_job_row(place.name, job))
    places = [Path(x) for x in jobs] if alone else _folders(folder)
    for place in places:
        if place.name == FOLDER or not _is_run(place):
            continue
        try:
            run = RunRecord.read(place)
            row = _run_row(run, metric)
        except UserError as error:
            found.skipped[str(place)] = str(error)
            continue
        if (key := str(place.absolute())) in jobs:
            _belongs(row, str(run.record.get("ended") or ""), *jobs[key])
        found.runs.append(row)
    found.runs.sort(key=lambda row: (row.started or "~", row.name))
    found.sweeps.sort(key=lambda row: (row.started, row.name))
    return found


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(x for x in folder.iterdir() if x.is_dir() and not x.name.startswith("."))
    except OSError:
        return []


def _is_run(folder: Path) -> bool:
    try:
        return any((folder / name).exists() for name in ("run.json", "metrics.csv", "config.yaml"))
    except OSError:
        return True  # to be told that it cannot be read


def _run_row(run: RunRecord, metric: str | None) -> RunRow:
    name, best = metric or run.usual_metric(), run.best(metric)
    steps = [max(curve) for curve in run.curves.values() if curve]
    record = run.record
    return RunRow(
        name=run.dir.name,
        state=run.state if run.state in STATES else STOPPED,
        metric=name,
        best=best[1] if best else None,
        step=best[0] if best else None,
        steps=max([*steps, _whole(record.get("steps"))]),
        overrides=overrides_of(record.get("command")),
        seconds=_trained(run),
        resumes=_whole(record.get("resumes")),
        started=str(record.get("started") or ""),
        dir=str(run.dir),
    )


def _job_row(sweep: str, job: Job) -> RunRow:
    return RunRow(
        name="-",
        state=job.current,
        overrides=job.overrides,
        seconds=job.seconds,
        resumes=max(job.tries - 1, 0),
        started=job.started or "",
        sweep=sweep,
        job=job.number,
        error=job.error,
    )


def _belongs(row: RunRow, ended: str, sweep: str, job: Job) -> None:
    """Note that a run is of a sweep, which knows more of how it ended."""
    row.sweep, row.job = sweep, job.number
    later = row.state == FINISHED and ended > (job.ended or "")  # by a command of its own
    if job.state == FAILED and row.state != RUNNING and not later:
        row.state, row.error = FAILED, job.error


def _sweep_row(sweep: Sweep) -> SweepRow:
    states = [job.current for job in sweep.jobs]
    count = {state: states.count(state) for state in STATES if state in states}
    best = best_job(sweep)
    return SweepRow(
        name=sweep.folder.name,
        state=_state(sweep, count),
        jobs=count,
        metric=best.metric if best else None,
        best=best.value if best else None,
        best_job=best.number if best else None,
        command=str(sweep.record.get("command") or ""),
        dir=str(sweep.folder),
        started=str(sweep.record.get("started") or ""),
    )


def _state(sweep: Sweep, count: dict[str, int]) -> str:
    if sweep.is_held or RUNNING in count:
        return RUNNING
    if STOPPED in count or WAITING in count:
        return STOPPED
    if FAILED in count:
        return FAILED
    return FINISHED if count else STOPPED


def _trained(run: RunRecord) -> float:
    """Seconds of training, of all starts; what was killed counts until it last wrote."""
    starts = run.record.get("starts")
    if not isinstance(starts, list) or not starts:
        starts = [{"time": run.record.get("started"), "ended": run.record.get("ended")}]
    total = 0.0
    for number, start in enumerate(x for x in starts if isinstance(x, dict)):
        ended = start.get("ended")
        if ended is None and number == len(starts) - 1:
            ended = timestamp() if run.state == RUNNING else _last_written(run.dir)
        total += seconds_between(start.get("time"), ended)
    return total


def _last_written(folder: Path) -> str | None:
    times = [(folder / x).stat().st_mtime for x in _FILES if (folder / x).is_file()]
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(max(times))) if times else None


def overrides_of(command: Any) -> list[str]:
    """Return the overrides of a recorded command line."""
    words = [str(word) for word in command] if isinstance(command, list) else []
    return [x for x in words if ("=" in x or x.startswith("~")) and not x.startswith("-")]


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0


def lines(found: Listing) -> Iterator[str]:
    """Yield the listing as text."""
    if found.runs:
        heads = ("run", "state", "best", "at", "steps", "time", "resumes", "overrides")
        own = differing([row.overrides for row in found.runs])
        yield from aligned([heads, *map(_cells, found.runs, own)])
        if shared := [word for word in found.runs[0].overrides if word not in own[0]]:
            yield printable(f"all of them: {' '.join(shared)}")
    if found.sweeps:
        yield from [""] * bool(found.runs)
        titles = ("sweep", "state", "jobs", "best", "command")
        yield from aligned([titles, *map(_sweep_cells, found.sweeps)])
    if not found.runs and not found.sweeps:
        yield "no runs"


def _cells(row: RunRow, own: Sequence[str]) -> tuple[str, ...]:
    name = f"{row.name} ({row.sweep}/{row.job})" if row.sweep else row.name
    best = "" if row.best is None else f"{row.metric} {row.best:.4g}"
    about = f"[{row.error}] " if row.error else ""
    return (
        *(name, row.state, best, "" if row.step is None else str(row.step), str(row.steps)),
        *(duration(row.seconds), str(row.resumes), about + " ".join(own)),
    )


def _sweep_cells(row: SweepRow) -> tuple[str, ...]:
    jobs = ", ".join(f"{count} {state}" for state, count in row.jobs.items())
    best = "" if row.best is None else f"{row.metric} {row.best:.4g} (job {row.best_job})"
    return row.name, row.state, jobs, best, row.command


def aligned(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield rows with their columns below one another; nothing unprintable comes through."""
    cleaned = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cleaned)]
    for row in cleaned:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip()


def printable(text: str) -> str:
    """Return text on one line, without what would move a terminal's cursor."""
    return "".join(x if x.isprintable() else "?" for x in text)
