"""One training of a sweep as a folder: what it trains, how it stands, and how it ended."""

from __future__ import annotations

import json
import re
import signal
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from midframe.errors import UserError
from midframe.files import write_text
from midframe.launch import locks

WAITING, RUNNING, FINISHED, FAILED, STOPPED = STATES = (
    "waiting",
    "running",
    "finished",
    "failed",
    "stopped",
)
_LOG_OF_RUN = re.compile(r"^run +(.+?)(?:, resumed at step \d+)?$", re.M)


@dataclass
class Job:
    """One training of a sweep.

    Attributes:
        folder: ``jobs/<n>`` of the sweep.
        overrides: what was composed.
        state: one of `STATES`, as last written; `current` holds it against the lock.
        run: its run directory, once it is known.
        metric: what jobs are compared by.
        value: of that metric, the best of the run (or the last, see `Sweep`).
        error: why it failed or stopped, in one line.
        started: of the newest try, as ISO time.
        ended: the same.
        seconds: of all tries together.
        tries: how often it was started.
        devices: how many devices it takes.
        place: where it runs: "gpu 0,1", "slurm 123".
    """

    folder: Path
    overrides: list[str] = field(default_factory=list)
    state: str = WAITING
    run: str | None = None
    metric: str | None = None
    value: float | None = None
    error: str | None = None
    started: str | None = None
    ended: str | None = None
    seconds: float = 0.0
    tries: int = 0
    devices: int = 1
    place: str | None = None

    @classmethod
    def read(cls, folder: Path) -> Job:
        """Read a job's folder.

        Raises:
            UserError: if it holds none, or a damaged one.
        """
        content = read_json(folder / "job.json")
        known = {k: v for k, v in content.items() if k in cls.__dataclass_fields__}
        job = cls(**{**known, "folder": folder})
        fits = job.state in STATES and isinstance(job.overrides, list)
        if not fits or not isinstance(job.run, str | None):
            raise UserError(f"{folder / 'job.json'} is not of a job")
        return job

    @property
    def number(self) -> int:
        """Its number within the sweep, from 0."""
        return int(self.folder.name)

    @property
    def config(self) -> Path:
        """The composed config."""
        return self.folder / "config.yaml"

    @property
    def log(self) -> Path:
        """What the job prints, of all its tries."""
        return self.folder / "log.txt"

    def save(self, **changes: Any) -> None:
        """Change attributes and write job.json."""
        for name, value in changes.items():
            setattr(self, name, value)
        content = {**asdict(self), "folder": None}
        write_text(self.folder / "job.json", json.dumps(content, indent=1) + "\n")

    def reload(self) -> None:
        """Read again what the job's own process may have written."""
        self.__dict__.update(Job.read(self.folder).__dict__)

    @property
    def current(self) -> str:
        """The state that holds now: running is only what a process holds."""
        if locks.is_held(self.folder):
            return RUNNING
        return STOPPED if self.state == RUNNING else self.state

    def begin(self, place: str | None = None) -> None:
        """Note that it is being started."""
        now = {"started": timestamp(), "ended": None, "error": None, "tries": self.tries + 1}
        self.save(state=RUNNING, place=place or self.place, **now)

    def settle(self, code: int | None, stopped: bool = False) -> None:
        """Note how its process ended, unless that process did so itself.

        Args:
            code: exit code, negative for a signal; None where nobody knows.
            stopped: whether it was asked to.
        """
        self.reload()
        if self.state != RUNNING and not (stopped and self.state == FAILED):
            return
        run = self.run or run_of_log(self.log)
        if stopped:  # what fails while it is told to stop has not failed
            self.end(STOPPED, run=run, error="interrupted")
        else:
            self.end(FAILED, run=run, error=_reason(code, self.log))

    def end(self, state: str, **changes: Any) -> None:
        """Note its end."""
        ended = timestamp()
        took = seconds_between(self.started, ended)
        self.save(state=state, ended=ended, seconds=self.seconds + took, **changes)


def run_of_log(log: Path) -> str | None:
    """Return the run directory that a job's log names last, for one that was killed."""
    try:
        found = _LOG_OF_RUN.findall(log.read_text(errors="replace"))
    except OSError:
        return None
    return found[-1] if found else None


def timestamp() -> str:
    """Return the time now as it is written in records."""
    return time.strftime("%Y-%m-%dT%H:%M:%S")


def seconds_between(started: object, ended: object) -> float:
    """Return the time between two `timestamp`; 0 where one is none."""
    times = []
    for said in (started, ended):
        try:
            times.append(time.mktime(time.strptime(str(said), "%Y-%m-%dT%H:%M:%S")))
        except (ValueError, OverflowError):
            return 0.0
    return max(times[1] - times[0], 0.0)


def read_json(path: Path) -> dict[str, Any]:
    """Read a record.

    Raises:
        UserError: if there is none, or it is damaged.
    """
    try:
        if not path.is_file():
            raise UserError(f"there is no {path}")
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: it holds no record")
    return content


def _reason(code: int | None, log: Path) -> str:
    """Say why a process that noted nothing itself has ended."""
    if code is None:
        return "its process is gone"
    if code < 0 or code > 128:
        number = -code if code < 0 else code - 128
        try:
            return f"killed by {signal.Signals(number).name}"
        except ValueError:
            pass
    return f"ended with exit code {code}; see {log}"
