"""Jobs of a sweep as processes of this machine, as many at once as there is room for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from midframe import cores
from midframe.launch import locks
from midframe.launch.sweep_jobs import Job

MODULE = "midframe.launch.train_job"
GRACE = 60.0  # seconds that a job gets to end by itself
_PAUSE = 0.3  # seconds between looks at the processes


class Process(Protocol):
    """What is asked of a process; `subprocess.Popen` is one."""

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""

    def send_signal(self, number: int, /) -> None:
        """Send it a signal."""


@dataclass(frozen=True)
class Room:
    """What there is to run jobs on.

    Attributes:
        gpus: as CUDA_VISIBLE_DEVICES names them.
        most: jobs at a time; None: as many as the GPUs have room for, and one on the CPU.
    """

    gpus: tuple[str, ...] = ()
    most: int | None = None

    @property
    def at_once(self) -> int:
        """How many jobs of one device run at a time."""
        return self.most or max(len(self.gpus), 1)

    def on_cpu(self) -> Room:
        """Return the room for jobs that use no GPU."""
        return Room((), self.most)

    def cores(self, gpus: int) -> int:
        """Return how many cores a job may count on that uses so many GPUs, the room being full."""
        jobs = len(self.gpus) / gpus if gpus else self.on_cpu().at_once
        return max(1, int(cores.usable_cores() / max(1, min(jobs, self.at_once))))

    def __str__(self) -> str:
        most = f"{self.at_once} at a time"
        return f"{most} on GPU {','.join(self.gpus)}" if self.gpus else f"{most} on the CPU"


@dataclass
class Task:
    """A job that is to run.

    Attributes:
        job: of the sweep.
        gpus: how many it takes; 0 for a CPU.
    """

    job: Job
    gpus: int = 0


class Orphan:
    """The process of a job whose launcher was killed: it is waited for, by its lock."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def poll(self) -> int | None:
        """Return 1 once nobody holds the job; how it ended is in job.json."""
        return None if locks.is_held(self.job.folder) else 1

    def send_signal(self, number: int, /) -> None:
        """It is not ours to stop."""


def command(job: Job) -> list[str]:
    """Return what starts a job on this machine."""
    module = [MODULE, str(job.config)]
    if job.devices == 1:
        return [sys.executable, "-m", *module]
    several = ["--standalone", "--nproc-per-node", str(job.devices), "-m"]
    return [sys.executable, "-m", "torch.distributed.run", *several, *module]


# torchrun's own options: SIGUSR1, by which Slurm warns of a time limit, would be its end, and its
# processes would lose the time to write their checkpoint.
_OF_TORCHRUN = {"PET_SIGNALS_TO_HANDLE": "SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1"}


def start(job: Job, gpus: Sequence[str], share: int) -> subprocess.Popen[bytes] | Orphan:
    """Start a job that may count on so many cores; its output goes to its log, its lock with it."""
    lock = locks.take(job.folder)
    if lock is None:
        return Orphan(job)
    threads = {} if gpus or "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(share)}
    with lock, job.log.open("ab") as log:
        job.begin(f"gpu {','.join(gpus)}" if gpus else "cpu")
        log.write(f"--- try {job.tries}, {job.started}, on {job.place}\n".encode())
        log.flush()
        return subprocess.Popen(
            command(job),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                **_OF_TORCHRUN,
                **threads,
                cores.SHARE: str(share),
                "CUDA_VISIBLE_DEVICES": ",".join(gpus),
                locks.HANDED_ON: "1",
            },
            start_new_session=True,  # ctrl-C is for the launcher, which passes it on
            pass_fds=(lock.fileno(),),
        )


class Slots:
    """Runs tasks where there is room for them.

    Args:
        room: what there is.
        start: makes a process of a job, the names of its GPUs and its number of cores.
        look: called every now and then, and whenever a job starts or ends.
        pause: waits a little.
    """

    def __init__(
        self,
        room: Room,
        start: Callable[[Job, Sequence[str], int], Process] = start,
        look: Callable[[], Any] = lambda: None,
        pause: Callable[[], Any] = lambda: time.sleep(_PAUSE),
    ) -> None:
        self.room, self.start, self.look, self.pause = room, start, look, pause
        self.free = list(room.gpus)
        self.running: dict[int, tuple[Task, Process, list[str]]] = {}

    def run(self, tasks: Sequence[Task]) -> None:
        """Run all tasks; those that need most GPUs go first, so that they never wait for ever.

        Raises:
            KeyboardInterrupt: on a signal to end, once all jobs have.
        """
        held = {task.job.number: locks.is_held(task.job.folder) for task in tasks}
        unique = {task.job.number: task for task in tasks}.values()
        # those of a killed launcher have their GPUs already
        waiting = sorted(unique, key=lambda x: (not held[x.job.number], -x.gpus, x.job.number))
        try:
            with ended_by_signals():
                while waiting or self.running:
                    waiting = [task for task in waiting if not self._started(task)]
                    self.look()
                    if not self._collect():
                        self.pause()
        except BaseException as error:
            self.stop(error.signal if isinstance(error, Ended) else signal.SIGINT)
            raise
        self.look()

    def _started(self, task: Task) -> bool:
        on_cpu = sum(not other.gpus for other, _, _ in self.running.values())
        full = not task.gpus and on_cpu >= self.room.on_cpu().at_once
        if full or len(self.running) >= self.room.at_once or len(self.free) < task.gpus:
            return False
        gpus = (self._of_orphan(task) or self.free)[: task.gpus]
        self.free = [gpu for gpu in self.free if gpu not in gpus]
        process = self.start(task.job, gpus, self.room.cores(task.gpus))
        self.running[task.job.number] = (task, process, gpus)
        return True

    def _of_orphan(self, task: Task) -> list[str]:
        """Return the GPUs that a job has which a launcher started that was killed."""
        place = task.job.place or ""
        names = place.removeprefix("gpu ").split(",") if place.startswith("gpu ") else []
        fits = len(names) == task.gpus and set(names) <= set(self.free)
        return names if fits and locks.is_held(task.job.folder) else []

    def _collect(self, stopped: bool = False) -> bool:
        """Take note of jobs that have ended; returns whether there were any."""
        ended = [(n, p.poll()) for n, (_, p, _) in self.running.items()]
        ended = [(n, code) for n, code in ended if code is not None]
        for number, code in ended:
            task, process, gpus = self.running.pop(number)
            self.free = [gpu for gpu in self.room.gpus if gpu in {*self.free, *gpus}]
            _end_group(process)
            task.job.settle(code, stopped)
        return bool(ended)

    def stop(self, number: int = signal.SIGINT, grace: float = GRACE) -> None:
        """Ask all jobs to end by a signal, wait for them, and end those that don't."""
        self.running = {n: x for n, x in self.running.items() if not isinstance(x[1], Orphan)}
        for _, process, _ in self.running.values():
            with suppress(OSError):
                process.send_signal(number)
        if self.running:
            print(
                f"\nstopping {len(self.running)} jobs; ctrl-C again ends them at once", flush=True
            )
        until = time.monotonic() + grace
        with suppress(KeyboardInterrupt):  # a second one: at once
            while self.running and time.monotonic() < until:
                self._collect(stopped=True)
                if self.running:
                    self.pause()
        for _, process, _ in self.running.values():
            with suppress(OSError):
                process.send_signal(signal.SIGKILL)
        for task, process, _ in self.running.values():
            _end_group(process)
            task.job.settle(None, stopped=True)
        self.running = {}


def visible_gpus() -> tuple[str, ...]:
    """Return the GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    count = torch.cuda.device_count()
    named = [x.strip() for x in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if x.strip()]
    return tuple(named[:count]) if named else tuple(map(str, range(count)))


def _end_group(process: Process) -> None:
    """End what a job has left: it was the first of a session of its own."""
    if isinstance(process, subprocess.Popen):
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(5)


class Ended(KeyboardInterrupt):
    """Ends the launcher, whose jobs get the same signal: SIGTERM and SIGUSR1 let them save first.

    Attributes:
        signal: its number; SIGTERM for that of a closed terminal, which trainings do not heed.
    """

    def __init__(self, number: int) -> None:
        super().__init__()
        self.signal = signal.SIGTERM if number == signal.SIGHUP else number


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let a closed terminal and a plain kill end the launcher as ctrl-C does."""

    def interrupt(number: int, _: Any) -> None:
        raise Ended(number)

    before = {}
    with suppress(ValueError):  # only the main thread can
        # Slurm sends SIGUSR1 ahead of a time limit, to the jobs as well
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1):
            before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
