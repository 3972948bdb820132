"""A sweep is a folder: which jobs it has, how each of them stands, and who is at work on it.

    <paths.runs>/sweeps/<name>-<hash>/
      sweep.json            command, sweeper, objective (metric, goal, take: see `RunRecord.value`)
      jobs/<n>/config.yaml  what the job trains, composed; `midframe.launch.train_job` takes it
      jobs/<n>/job.json     `Job`: overrides, state, run directory, value, error
      jobs/<n>/log.txt      what it printed

A job's run directory is the usual one, so that a job and the same single command are the same run.
Whoever runs jobs (this machine, a cluster) opens a `Sweep`, adds jobs, starts those that have not
finished (some may be running, of a launcher that was killed) and calls `Job.settle` for those that
ended. job.json is written by the job's own process while there is one, by the one that started it
before and after.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

from midframe.errors import UserError
from midframe.files import remove_leftovers, write_text
from midframe.launch import locks
from midframe.launch.sweep_jobs import FINISHED, Job, read_json, timestamp

FOLDER = "sweeps"  # under paths.runs
# Words of a command line that say nothing about what is trained.
_APART = ("hydra", "launcher", "logger", "paths", "resume", "expected", "run")


class Sweep:
    """A sweep's folder, locked against other processes; as a context it lets go at the end.

    Attributes:
        folder: where it is.
        record: contents of sweep.json.
        jobs: by number.
    """

    def __init__(
        self, folder: Path, record: dict[str, Any], jobs: list[Job], lock: IO[str] | None = None
    ) -> None:
        self.folder, self.record, self.jobs, self._lock = folder, record, jobs, lock

    @classmethod
    def open(cls, base: Path, *, fresh: bool = False, **record: Any) -> Sweep:
        """Find or make a sweep for this process.

        Args:
            base: `folder_of` its command; a fresh one gets a number behind it.
            fresh: make a new one whatever there is.
            record: for sweep.json; what an older one says besides stays.

        Raises:
            UserError: if another process is at work there, or nothing can be written.
        """
        folder = _next(base) if fresh else _newest(base)
        try:
            (folder / "jobs").mkdir(parents=True, exist_ok=True)
            lock = locks.take(folder)
        except OSError as error:
            raise UserError(f"cannot write a sweep in {folder}: {error}; set paths.runs") from error
        if lock is None:
            raise UserError(
                f"another process is at work on the sweep {folder}; `midframe runs` shows how it "
                "stands"
            )
        try:
            sweep = cls(folder, {}, _jobs(folder), lock)
            if (folder / "sweep.json").exists():
                sweep.record = read_json(folder / "sweep.json")
            remove_leftovers(folder)
            sweep.save(**{"started": timestamp(), **sweep.record, **record})
        except BaseException:
            lock.close()
            raise
        return sweep

    @classmethod
    def read(cls, folder: Path) -> Sweep:
        """Read a sweep without taking it.

        Raises:
            UserError: if it is none, or damaged.
        """
        return cls(folder, read_json(folder / "sweep.json"), _jobs(folder))

    def __enter__(self) -> Sweep:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let other processes have it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def save(self, **changes: Any) -> None:
        """Update sweep.json."""
        self.record.update(changes)
        write_text(self.folder / "sweep.json", json.dumps(self.record, indent=1) + "\n")

    def job(self, overrides: Sequence[str], config: str, devices: int = 1) -> Job:
        """Return the job with these overrides, in any order; it is added if there is none.

        Args:
            overrides: of its command line.
            config: the composed config as yaml; a finished job keeps its own, as does one that
                runs.
            devices: how many it takes.
        """
        same = [x for x in self.jobs if sorted(x.overrides) == sorted(overrides)]
        alike = [x for x in self.jobs if _that_matter(x.overrides) == _that_matter(overrides)]
        job = next(iter(same or alike), None)
        if job is None:
            number = 1 + max((x.number for x in self.jobs), default=-1)  # some may be deleted
            job = Job(self.folder / "jobs" / str(number), list(overrides))
            self.jobs.append(job)
        if job.state != FINISHED and not locks.is_held(job.folder):
            job.save(devices=devices)
            write_text(job.config, config)
        return job

    @property
    def is_held(self) -> bool:
        """Whether a process works on it, as far as one that only reads can tell."""
        return locks.is_held(self.folder)

    def names(self) -> list[str]:
        """Return of each job what tells it from others, for people."""
        shared = set(self.record.get("shared") or ())
        if shared:
            return [" ".join(x for x in job.overrides if x not in shared) for job in self.jobs]
        return [" ".join(words) for words in differing([job.overrides for job in self.jobs])]


def objective_of(record: dict[str, Any]) -> dict[str, Any]:
    """Return from sweep.json how a job's value follows from its run, for `RunRecord.value`."""
    said = record.get("objective")
    said = said if isinstance(said, dict) else {}
    return {name: said.get(name) for name in ("metric", "goal", "take")}


def sweep_of(job: Job) -> dict[str, Any]:
    """Return sweep.json of the sweep that a job belongs to."""
    return read_json(job.folder.parent.parent / "sweep.json")


def folder_of(runs: Path, name: str, commands: Iterable[Sequence[str]], *more: str) -> Path:
    """Return where a sweep lives: the same for the same jobs, in whatever order they are named.

    Args:
        runs: ``paths.runs``.
        name: for people.
        commands: overrides of every job, or of a command from which jobs follow.
        more: what else tells sweeps apart, as a search space does.
    """
    jobs = sorted(map(_that_matter, commands))
    text = json.dumps([jobs, *more])
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    plain = re.sub(r"[^A-Za-z0-9_+.-]+", "-", name).strip("-.")[:60] or "sweep"
    return runs / FOLDER / f"{plain}-{digest}"


def _that_matter(words: Sequence[str]) -> list[str]:
    """The overrides that say something about what is trained, in order."""
    return sorted(x for x in words if re.split(r"[.=@/]", x.lstrip("+~"))[0] not in _APART)


def differing(commands: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return of each command the words that not all of them have; of a single one all words."""
    if len(commands) < 2:
        return [list(words) for words in commands]
    common = set(commands[0]).intersection(*commands[1:])
    return [[word for word in words if word not in common] for words in commands]


def _jobs(folder: Path) -> list[Job]:
    """Read the jobs, in order; a folder that a killed process only began is none."""
    found = [x.parent for x in (folder / "jobs").glob("*/job.json") if x.parent.name.isdecimal()]
    return [Job.read(x) for x in sorted(found, key=lambda x: int(x.name))]


def _newest(base: Path) -> Path:
    number, newest = 2, base
    while (following := base.with_name(f"{base.name}-{number}")).is_dir():
        number, newest = number + 1, following
    return newest


def _next(base: Path) -> Path:
    if not base.exists():
        return base
    number = 2
    while (folder := base.with_name(f"{base.name}-{number}")).exists():
        number += 1
    return folder
