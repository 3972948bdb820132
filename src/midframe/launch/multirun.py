"""A multirun on this machine: from Hydra's lists of overrides to jobs that ended."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from midframe.errors import UserError
from midframe.launch import tasks
from midframe.launch.commands import typed
from midframe.launch.run_records import RunRecord
from midframe.launch.slots import Room, Slots, Task, visible_gpus
from midframe.launch.sweep_compose import Composed, compose_jobs
from midframe.launch.sweep_jobs import FINISHED, RUNNING, WAITING, Job
from midframe.launch.sweep_table import SweepTable, summary
from midframe.launch.sweeps import Sweep, folder_of, objective_of
from midframe.launch.train_job import announce, conclude


@dataclass
class Ended(JobReturn):
    """What Hydra's sweepers get for a job; asking a failed one for its result ends the command."""

    _return_value: object = None

    @property
    def return_value(self) -> object:
        """The job's metric.

        Raises:
            SystemExit: with code 1, if it did not finish.
        """
        if self.status == JobStatus.FAILED:
            raise SystemExit(1)
        return self._return_value

    @return_value.setter
    def return_value(self, value: object) -> None:
        """Set it."""
        self._return_value = value


class Multirun:
    """The jobs of one command.

    Args:
        context: of Hydra's launcher.
        task: what the command does with each job.
        config: of the multirun.
        gpus: names of those to use; None is what this machine has.
        at_once: most jobs at a time; None is one on a CPU, as many as there are GPUs elsewhere.

    Attributes:
        skip: whether jobs that cannot work are left out, where others can.

    Raises:
        UserError: if either is none.
    """

    skip: bool | None = None

    def __init__(
        self,
        context: HydraContext,
        task: TaskFunction,
        config: DictConfig,
        *,
        gpus: Any = None,
        at_once: Any = None,
    ) -> None:
        self.context, self.task, self.config = context, task, config
        if at_once is not None and (type(at_once) is not int or at_once < 1):
            raise UserError(f"hydra.launcher.at_once={at_once}: give a whole number from 1 on")
        self.room = Room(visible_gpus() if gpus is None else _chosen(gpus), at_once)

    @property
    def trains(self) -> bool:
        """Whether jobs are trainings; other tasks are done in this process, one after another."""
        return inspect.unwrap(self.task) is tasks.train

    def compose(self, commands: Sequence[Sequence[str]], first: int = 0) -> list[Composed]:
        """Compose and check jobs.

        Raises:
            UserError: with what is wrong with any of them, here.
        """
        jobs = compose_jobs(self.context, self.config, commands, first, self.skip)
        problems = [p for job in jobs for p in self._problems(job)]
        if problems:
            raise UserError("; ".join(dict.fromkeys(problems)))
        return jobs

    def _problems(self, job: Composed) -> Iterator[str]:
        trainer = job.cfg.trainer
        if int(trainer.num_nodes) > 1:
            yield f"trainer.num_nodes={trainer.num_nodes} takes a cluster; add launcher=slurm"
        if OmegaConf.is_list(trainer.devices) and len(trainer.devices) != 1:
            yield (
                f"trainer.devices={list(trainer.devices)} names devices, which a multirun chooses "
                f"itself; use trainer.devices={len(trainer.devices)}"
            )
        if (wanted := self._gpus(job)) > len(self.room.gpus):
            yield (
                f"trainer.devices={trainer.devices} takes {wanted} GPUs, and there are "
                f"{len(self.room.gpus)}; use fewer, or trainer=cpu"
            )

    def _gpus(self, job: Composed) -> int:
        kind = str(job.cfg.trainer.accelerator)
        if kind == "auto":
            return job.processes if self.room.gpus else 0
        return job.processes if kind in ("gpu", "cuda") else 0

    def room_for(self, jobs: Sequence[Composed]) -> Any:
        """Return what jobs run on: where none takes a GPU, all of them share the CPU."""
        return self.room if any(map(self._gpus, jobs)) else self.room.on_cpu()

    def run(self, sweep: Sweep, jobs: Sequence[Composed]) -> list[Job]:
        """Run those jobs that did not finish before, and return all of them as they stand.

        Raises:
            KeyboardInterrupt: if it was stopped.
        """
        given = [(sweep.job(job.overrides, job.text, job.processes), job) for job in jobs]
        for job, _ in given:
            settle(job, sweep)
        todo = [Task(job, self._gpus(how)) for job, how in given if job.state != FINISHED]
        if todo:
            with SweepTable(sweep) as table:
                Slots(self.room_for(jobs), look=table.look).run(todo)
        return [job for job, _ in given]


def _chosen(gpus: Any) -> tuple[str, ...]:
    """Return the GPUs that a command names, such as [0,1] or GPU-af12.

    Raises:
        UserError: if there are none of these numbers, or one is there twice.
    """
    listed = list(gpus) if isinstance(gpus, Iterable) and not isinstance(gpus, str) else [gpus]
    names = tuple(str(name).strip() for name in listed)
    there = visible_gpus()
    numbers = [int(name) for name in names if name.isdecimal()]
    known = "CUDA_VISIBLE_DEVICES" in os.environ or all(x < len(there) for x in numbers)
    if len(set(names)) < len(names) or not all(names) or not known or "," in "".join(names):
        raise UserError(
            f"hydra.launcher.gpus={gpus}: give a list of GPUs, each once, such as [0,1]; there are "
            f"{', '.join(there) or 'none'} here"
        )
    return names


def settle(job: Job, sweep: Sweep) -> None:
    """Take note of what happened to a job while no launcher was there.

    What has trained to its end is judged, and never trained again.
    """
    if job.state == RUNNING and job.current != RUNNING:
        job.settle(None)
    if job.state in (FINISHED, WAITING) or not job.run or job.current == RUNNING:
        return
    run = Path(job.run)
    with suppress(UserError):  # one that can no longer be read starts again
        if RunRecord.read(run).record.get("status") == "finished":
            conclude(job, run, objective_of(sweep.record))


def launch(
    multirun: Multirun,
    commands: Sequence[Sequence[str]],
    first: int,
    sweep: Sweep | None = None,
    skip: bool = False,
) -> list[Ended]:
    """Do what a launcher of Hydra does: run a batch of jobs and say how each ended.

    Args:
        multirun: what runs them.
        commands: overrides of every job.
        first: number of the first one.
        sweep: an open one that they belong to; None opens that of the jobs.
        skip: see `Multirun`.
    """
    multirun.skip = skip if sweep is None else None
    words = [list(command) for command in commands]
    jobs = multirun.compose(words, first)
    if not multirun.trains:
        return [_here(multirun.task, job) for job in jobs]
    if sweep is not None:
        return _returned(multirun.run(sweep, jobs), jobs)
    command = own_command()
    fresh = all(job.cfg.resume == "never" for job in jobs)
    base = folder_of(Path(str(multirun.config.paths.runs)), name_of(words), words)
    with Sweep.open(base, fresh=fresh, command=command, sweeper="grid") as sweep:
        print(f"sweep   {sweep.folder}, {len(jobs)} jobs, {multirun.room_for(jobs)}")
        with told_how_to_go_on(command):
            ended = multirun.run(sweep, jobs)
        print("\n".join(summary(sweep, command)))
    return _returned(ended, jobs)


@contextmanager
def told_how_to_go_on(command: str) -> Iterator[None]:
    """Add to an interruption what to type to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"the same command goes on:  {command}") from None


def _here(task: TaskFunction, job: Composed) -> Ended:
    print(f"\n{' '.join(job.overrides)}")
    announce(job.overrides)
    done = JobStatus.COMPLETED
    return Ended(overrides=job.overrides, cfg=job.cfg, status=done, _return_value=task(job.cfg))


def _returned(ended: Sequence[Job], jobs: Sequence[Composed]) -> list[Ended]:
    good, bad = JobStatus.COMPLETED, JobStatus.FAILED
    return [
        Ended(
            overrides=how.overrides,
            cfg=how.cfg,
            status=good if job.state == FINISHED else bad,
            _return_value=job.value,
        )
        for job, how in zip(ended, jobs)
    ]


def name_of(commands: Sequence[Sequence[str]]) -> str:
    """Return what a sweep is called: the keys that differ between its jobs, in any order."""
    keys = [{w.lstrip("+~").split("=")[0]: w for w in words} for words in commands]
    names = [k for k in keys[0] if len({x.get(k) for x in keys}) > 1]
    return "+".join(re.split(r"[./]", name)[-1] for name in sorted(names)) or "sweep"


def own_command() -> str:
    """Return the command line of this process, to be typed again."""
    words = sys.argv[1:]
    return shlex.join([*typed("train"), *words])
