"""What a sweep shows while it runs and at its end: one line per job."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from midframe.errors import UserError
from midframe.launch.run_records import RunRecord, goal_of
from midframe.launch.sweep_jobs import FAILED, FINISHED, RUNNING, STOPPED, Job, run_of_log
from midframe.launch.sweeps import Sweep, objective_of

if TYPE_CHECKING:
    from rich.table import Table

_COLOURS = {RUNNING: "cyan", FINISHED: "green", FAILED: "red", STOPPED: "yellow"}
_SECONDS = 3.0  # between two looks at the curves of running jobs


class SweepTable:
    """A table that is kept up to date on a terminal; elsewhere a line whenever a state changes.

    Use it as a context manager, and call `look` every now and then.
    """

    def __init__(self, sweep: Sweep, terminal: bool | None = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self.sweep = sweep
        self.terminal = sys.stdout.isatty() if terminal is None else terminal
        self._said = {job.number: job.state for job in sweep.jobs}
        self._progress: dict[int, tuple[float, str]] = {}
        console = Console()
        self._live = Live(console=console, auto_refresh=False) if self.terminal else None

    def __enter__(self) -> SweepTable:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.look()
        if self._live:
            self._live.stop()

    def look(self) -> None:
        """Show what has changed."""
        if self._live:
            self._live.update(self._table(), refresh=True)
            return
        for job, name in zip(self.sweep.jobs, self.sweep.names()):
            if self._said.get(job.number) != job.state:
                self._said[job.number] = job.state
                about = self.about(job)
                print(f"job {job.number}  {job.state:<8}  {name}  {about}".rstrip())
        sys.stdout.flush()

    def _table(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False)
        for title in ("job", "state", "overrides", ""):
            table.add_column(title)
        for job, name in zip(self.sweep.jobs, self.sweep.names()):
            state = Text(job.state, style=_COLOURS.get(job.state, "dim"))
            row = (Text(str(job.number)), state, Text(name), Text(self.about(job)))
            table.add_row(*row)
        return table

    def about(self, job: Job) -> str:
        """Return how far a job is, how good it was, or what went wrong."""
        if job.state in (FAILED, STOPPED):
            return job.error or ""
        if job.state == FINISHED:
            return " ".join(x for x in (self._metric(job), duration(job.seconds)) if x)
        return self._running(job) if job.state == RUNNING else ""

    def _metric(self, job: Job) -> str:
        return "" if job.value is None else f"{job.metric} {job.value:.4g}"

    def _running(self, job: Job) -> str:
        then, text = self._progress.get(job.number, (-math.inf, ""))
        if self.terminal and time.monotonic() - then > _SECONDS:
            text = progress_of(job, self.sweep)
            self._progress[job.number] = (time.monotonic(), text)
        return " ".join(x for x in (job.place or "", text) if x)


def progress_of(job: Job, sweep: Sweep) -> str:
    """Return the newest step and the best metric so far of a job that runs."""
    folder = job.run or run_of_log(job.log)
    if folder is None:
        return "starting"
    try:
        record = RunRecord.read(Path(folder))
    except UserError:  # it may just have begun
        return "starting"
    steps = [max(curve) for curve in record.curves.values() if curve]
    objective = objective_of(sweep.record)
    name, value = record.value(**objective)
    said = f"step {max(steps, default=0)}"
    return f"{said}, {name} {value:.4g}" if value is not None else said


def best_job(sweep: Sweep) -> Job | None:
    """Return the finished job with the best value; None where they have no metric in common."""
    done = [x for x in sweep.jobs if x.state == FINISHED and x.value is not None]
    names = {x.metric for x in done}
    if len(names) != 1:
        return None
    goal = objective_of(sweep.record)["goal"] or goal_of(str(names.pop()))
    better = max if goal == "max" else min
    return better(done, key=lambda job: job.value or 0.0)


def summary(sweep: Sweep, command: str) -> list[str]:
    """Return what to say at the end of a sweep.

    Args:
        sweep: as it stands.
        command: by which it goes on.
    """
    count = {state: sum(x.state == state for x in sweep.jobs) for state in (FINISHED, FAILED)}
    rest = len(sweep.jobs) - sum(count.values())
    said = [f"{n} {state}" for state, n in count.items() if n] + [f"{rest} left"] * bool(rest)
    lines = [f"{len(sweep.jobs)} jobs: {', '.join(said)}   {sweep.folder}"]
    if best := best_job(sweep):
        lines.append(f"best: job {best.number}, {best.metric} {best.value:.4f}   {best.run}")
    for job in sweep.jobs:
        if job.state == FAILED:
            lines.append(f"job {job.number} failed: {job.error}   {job.log}")
    if count[FAILED] or rest:
        lines.append(f"go on (finished jobs are not repeated):  {command}")
    return lines


def duration(seconds: float) -> str:
    """Return a time as h:mm:ss, or as seconds where short."""
    if not math.isfinite(seconds) or seconds < 0:
        return "?"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
