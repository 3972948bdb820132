"""A multirun on a cluster: every job of the sweep is a job of Slurm, submitted through submitit."""

from __future__ import annotations

import dataclasses
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from midframe.errors import UserError, known_names
from midframe.launch import slurm_queue, slurm_start
from midframe.launch.multirun import Multirun, settle
from midframe.launch.sweep_compose import Composed
from midframe.launch.sweep_jobs import FAILED, FINISHED, RUNNING, STOPPED, WAITING, Job
from midframe.launch.sweep_table import SweepTable
from midframe.launch.sweeps import Sweep

_LONGEST = 10.0  # seconds between two looks at the queue
_LAG = 60.0  # until this machine sees what a job wrote on another one
# What Slurm did to a job that its own process could not note any more.
_ENDED_BY = {
    "CANCELLED": "cancelled",
    "TIMEOUT": "its time was over; it goes on from its last checkpoint",
    "PREEMPTED": "preempted; it goes on from its last checkpoint",
    "NODE_FAIL": "its node failed; it goes on from its last checkpoint",
    "OUT_OF_MEMORY": "out of memory",
    "DEADLINE": "its deadline has passed",
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Keys of conf/launcher/slurm.yaml, which says what they mean."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    nodes: int | None = None
    gpus_per_node: Any = None
    tasks_per_node: int | None = None
    cpus_per_task: int | None = None
    mem: str | None = None
    time: Any = 1440
    at_once: int | None = None
    warning: int = 120
    requeue: bool = True
    wait: bool = True
    setup: tuple[str, ...] = ()
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, node: Any) -> Options:
        """Return the options that a config node gives.

        Raises:
            UserError: for a key that there is not.
        """
        given = OmegaConf.to_container(node, resolve=True) if node is not None else {}
        assert isinstance(given, dict)
        names = [field.name for field in dataclasses.fields(cls)]
        for key in given:
            if key not in names:
                raise UserError(f"launcher.{key}: {known_names(str(key), names)}")
        return cls(**{**given, "setup": tuple(given.get("setup") or ())})

    def __str__(self) -> str:
        most = f", {self.at_once} at a time" if self.at_once else ""
        return f"jobs of Slurm{f' in partition {self.partition}' * bool(self.partition)}{most}"


class Cluster(Multirun):
    """The jobs of one command, on a cluster.

    Args:
        context: of Hydra's launcher.
        task: what the command does with each job.
        config: of the multirun.
    """

    def __init__(self, context: HydraContext, task: TaskFunction, config: DictConfig) -> None:
        super().__init__(context, task, config, gpus=())
        self.options = Options.of(OmegaConf.select(config, "launcher"))

    def room_for(self, jobs: Sequence[Composed]) -> Options:
        """Return what jobs run on."""
        return self.options

    def _problems(self, job: Composed) -> Iterator[str]:
        devices = job.cfg.trainer.devices
        if not isinstance(devices, int) or devices < 1:
            yield f"trainer.devices={devices} says nothing about a cluster; give a number"
            return
        shape = _shape(job, self.options)
        asked, processes = job.processes * int(job.cfg.trainer.num_nodes), shape[0] * shape[1]
        if asked != processes:
            yield (
                f"launcher.nodes={shape[0]} launcher.tasks_per_node={shape[1]} starts {processes} "
                f"processes, and trainer.devices={devices} trainer.num_nodes="
                f"{job.cfg.trainer.num_nodes} needs {asked}; leave the launcher's out"
            )

    def run(self, sweep: Sweep, jobs: Sequence[Composed]) -> list[Job]:
        """Submit those jobs that did not finish and are not in the queue; wait for all.

        Returns:
            all of them as they stand. With ``launcher.wait=false`` that is right after submission.

        Raises:
            UserError: if nothing can be submitted.
        """
        given = [(sweep.job(job.overrides, job.text, job.processes), job) for job in jobs]
        mine = [job for job, _ in given]
        with SweepTable(sweep) as table:
            look(mine)
            for job in mine:
                if not in_queue(job):
                    settle(job, sweep)
            once = {job.number: (job, how) for job, how in given}.values()
            new = [(job, how) for job, how in once if job.state != FINISHED and not in_queue(job)]
            for shape in dict.fromkeys(_shape(how, self.options) for _, how in new):
                alike = [job for job, how in new if _shape(how, self.options) == shape]
                submit(sweep, alike, shape, self.options)
            table.look()
            if self.options.wait:
                wait(mine, table)
        return mine


Shape = tuple[int, int, int]


def _shape(job: Composed, options: Options) -> Shape:
    """Return nodes, tasks per node and GPUs per node of a job."""
    trainer = job.cfg.trainer
    gpus = options.gpus_per_node
    if gpus is None:
        gpus = job.processes if str(trainer.accelerator) in ("gpu", "cuda") else 0
    return options.nodes or int(trainer.num_nodes), options.tasks_per_node or job.processes, gpus


def submit(sweep: Sweep, jobs: Sequence[Job], shape: Shape, options: Options) -> None:
    """Hand jobs to Slurm: several as one array.

    Raises:
        UserError: for what submitit or sbatch refuse.
    """
    try:
        import submitit
    except ImportError as error:
        raise UserError("launcher=slurm needs submitit: pip install 'midframe[slurm]'") from error
    for job in jobs:  # before: Slurm may start them at once, and they write there as well
        job.save(state=WAITING, place=None, error=None)
    with _refusals():
        executor = submitit.SlurmExecutor(sweep.folder.resolve() / "slurm")
        executor.update_parameters(**_parameters(sweep, len(jobs), shape, options))
        folders = [str(job.folder.resolve()) for job in jobs]
        if len(jobs) == 1:  # an array of one would be a job all the same
            given = [executor.submit(slurm_start.start, folders[0])]
        else:
            given = executor.map_array(slurm_start.start, folders)
    for job, theirs in zip(jobs, given):
        job.reload()
        if job.state == WAITING:
            job.save(place=f"slurm {theirs.job_id}")


def _parameters(sweep: Sweep, count: int, shape: Shape, options: Options) -> dict[str, Any]:
    nodes, tasks, gpus = shape
    threads = options.cpus_per_task
    more = {
        # submitit would send SIGUSR2, to itself; jobs and steps need the same number of cores
        "signal": f"USR1@{options.warning}",
        **({"requeue": True} if options.requeue else {"no-requeue": True}),
        **{str(k).replace("_", "-"): v for k, v in options.options.items()},
    }
    if isinstance(options.time, str):
        more["time"] = options.time
    asked = {
        "job_name": sweep.folder.name,
        "partition": options.partition,
        "account": options.account,
        "qos": options.qos,
        "nodes": nodes,
        "ntasks_per_node": tasks,
        "gpus_per_node": gpus or None,
        "cpus_per_task": threads,
        "mem": options.mem,
        "time": options.time if isinstance(options.time, int) else None,
        "setup": list(options.setup) or None,
        "array_parallelism": options.at_once or count,
        "stderr_to_stdout": True,
        "additional_parameters": more,
        "srun_args": [
            "--kill-on-bad-exit=1",
            *([f"--cpus-per-task={threads}"] if threads else []),
        ],
    }
    return {k: v for k, v in asked.items() if v is not None}


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what submitit and sbatch refuse into one line."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        yield
    except (FailedJobError, FailedSubmissionError, subprocess.SubprocessError) as error:
        said = [x for x in str(error).splitlines() if x.strip()]
        line = next((x for x in said if "error" in x), said[-1] if said else "no reason given")
        raise UserError(f"sbatch refuses: {line.strip()}; see conf/launcher/slurm.yaml") from error
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"launcher=slurm: {reason}") from error


def in_queue(job: Job) -> bool:
    """Whether Slurm has a job and will run it, as `look` found."""
    return slurm_queue.id_of(job.place) is not None and job.state in (WAITING, RUNNING)


def look(jobs: Sequence[Job]) -> None:
    """Hold the records of jobs against what Slurm says of them."""
    for job in jobs:
        if job.folder.is_dir():
            job.reload()
    ids = {job.number: slurm_queue.id_of(job.place) for job in jobs if job.state != FINISHED}
    said = slurm_queue.states([x for x in ids.values() if x])
    for job in jobs:
        number = ids.get(job.number)
        if number is None:
            continue
        state, reason = said.get(number, ("", ""))
        if state in slurm_queue.WAITING:  # also one that was requeued
            if job.state != WAITING:
                job.state = WAITING
            job.error = reason if reason not in ("", "None") else None
        elif state in slurm_queue.OPEN:
            job.state = RUNNING
        else:
            _close(job, state)


def _close(job: Job, state: str) -> None:
    """Note the end of a job that Slurm has done with, where its own process could not."""
    if job.folder.is_dir():
        job.reload()  # it may have noted its end between our look at its record and that at Slurm
    until = time.monotonic() + _LAG * (state == "COMPLETED")
    while job.state in (RUNNING, WAITING) and time.monotonic() < until:
        time.sleep(0.5)
        job.reload()
    if job.state in (RUNNING, WAITING):
        why = _ENDED_BY.get(state, f"Slurm says {state or 'nothing about it'}; see {job.log}")
        stopped = state in ("CANCELLED", "TIMEOUT", "PREEMPTED", "NODE_FAIL")
        job.end(STOPPED if stopped else FAILED, error=why)
    elif job.state == STOPPED and state == "CANCELLED":
        job.save(error="cancelled; it goes on from its checkpoint")


def wait(jobs: Sequence[Job], table: SweepTable) -> None:
    """Show how jobs stand until Slurm has done with all of them."""
    pause = 0.5
    while any(map(in_queue, jobs)):
        time.sleep(pause)
        before = [job.state for job in jobs]
        look(jobs)
        table.look()
        pause = 0.5 if before != [job.state for job in jobs] else min(1.3 * pause, _LONGEST)
