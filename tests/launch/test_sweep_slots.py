"""Which jobs run when: fake processes on GPUs that are not there."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from midframe.cores import usable_cores
from midframe.launch import locks, slots
from midframe.launch.slots import Room, Slots, Task
from midframe.launch.sweep_jobs import FAILED, FINISHED, STOPPED, Job
from midframe.launch.sweeps import Sweep


class Fake:
    """A process that ends after some looks at it."""

    def __init__(self, job: Job, looks: int, code: int) -> None:
        self.job, self.looks, self.code = job, looks, code
        self.signals: list[int] = []

    def poll(self) -> int | None:
        self.looks -= 1
        if self.looks > 0:
            return None
        if self.code == 0:
            Job.read(self.job.folder).end(FINISHED, value=1.0)
        return self.code

    def send_signal(self, number: int, /) -> None:
        self.signals.append(number)
        self.looks, self.code = 1, -number


class Machine:
    """Starts fakes and keeps a diary."""

    def __init__(self, room: Room, codes: dict[int, int] | None = None, looks: int = 2) -> None:
        self.codes, self.looks = codes or {}, looks
        self.diary: list[tuple[int, tuple[str, ...]]] = []
        self.most = 0
        self.cores: list[int] = []
        self.fakes: list[Fake] = []
        self.slots = Slots(room, start=self.start, look=self.look, pause=lambda: None)

    def start(self, job: Job, gpus: Sequence[str], cores: int) -> Fake:
        self.diary.append((job.number, tuple(gpus)))
        self.cores.append(cores)
        job.begin("fake")
        self.fakes.append(Fake(job, self.looks, self.codes.get(job.number, 0)))
        return self.fakes[-1]

    def look(self) -> None:
        self.most = max(self.most, len(self.slots.running))
        used = [gpu for _, _, gpus in self.slots.running.values() for gpu in gpus]
        assert len(set(used)) == len(used) and not set(used) & set(self.slots.free)


def jobs_of(tmp_path: Path, count: int) -> list[Job]:
    with Sweep.open(tmp_path / "s") as sweep:
        return [sweep.job([f"seed={i}"], "") for i in range(count)]


def test_on_a_cpu_one_after_another(tmp_path: Path) -> None:
    machine = Machine(Room())
    machine.slots.run([Task(job) for job in jobs_of(tmp_path, 3)])
    assert machine.diary == [(0, ()), (1, ()), (2, ())] and machine.most == 1


@pytest.mark.parametrize(
    ("room", "gpus", "cores"),
    [
        (Room(), 0, 12),  # one on the CPU has all of it
        (Room((), 3), 0, 4),
        (Room(("0", "1", "2", "3")), 1, 3),
        (Room(("0", "1", "2", "3")), 2, 6),
        (Room(("0", "1", "2", "3"), 2), 1, 6),  # no more than two at a time
        (Room(tuple("abcdefghijklmnop")), 1, 1),
    ],
)
def test_jobs_side_by_side_share_the_cores(tmp_path: Path, monkeypatch, room, gpus, cores) -> None:
    monkeypatch.setattr("midframe.cores.usable_cores", lambda: 12)
    machine = Machine(room)
    machine.slots.run([Task(job, gpus) for job in jobs_of(tmp_path, 2)])
    assert machine.cores == [cores, cores]


def test_a_job_counts_on_its_share_alone(monkeypatch) -> None:
    there = usable_cores()
    for told, cores in (("1", 1), ("0", 1), ("100000", there), ("many", there), ("", there)):
        monkeypatch.setenv("MIDFRAME_CORES", told)
        assert usable_cores() == cores


def test_gpus_are_shared_out_and_never_twice(tmp_path: Path) -> None:
    machine = Machine(Room(("0", "1", "2"), 3))
    tasks = [Task(job, gpus) for job, gpus in zip(jobs_of(tmp_path, 5), (1, 1, 2, 3, 1))]
    machine.slots.run(tasks)
    assert [number for number, _ in machine.diary] == [3, 2, 0, 1, 4]  # the greatest first
    assert dict(machine.diary)[3] == ("0", "1", "2") and len(dict(machine.diary)[2]) == 2
    assert machine.most == 2 and all(task.job.state == FINISHED for task in tasks)


def test_no_more_at_once_than_asked_for(tmp_path: Path) -> None:
    machine = Machine(Room(("0", "1", "2", "3"), 2))
    machine.slots.run([Task(job, 1) for job in jobs_of(tmp_path, 4)])
    assert machine.most == 2


def test_a_failed_job_does_not_stop_the_others(tmp_path: Path) -> None:
    machine = Machine(Room(), codes={0: 1, 1: -9})
    tasks = [Task(job) for job in jobs_of(tmp_path, 3)]
    machine.slots.run(tasks)
    assert [task.job.state for task in tasks] == [FAILED, FAILED, FINISHED]
    assert tasks[1].job.error == "killed by SIGKILL"


def test_jobs_of_the_cpu_do_not_share_it_because_there_are_gpus(tmp_path: Path) -> None:
    machine = Machine(Room(("0", "1", "2")))
    tasks = [Task(job, gpus) for job, gpus in zip(jobs_of(tmp_path, 5), (0, 0, 0, 1, 1))]
    machine.slots.run(tasks)
    assert machine.most == 3 and all(task.job.state == FINISHED for task in tasks)
    assert [n for n, gpus in machine.diary if not gpus] == [0, 1, 2]
    assert Machine(Room(("0", "1"), 2)).slots.room.on_cpu().at_once == 2  # who asks for it gets it


def test_a_job_that_is_listed_twice_runs_once(tmp_path: Path) -> None:
    machine = Machine(Room(("0", "1")))
    (job,) = jobs_of(tmp_path, 1)
    machine.slots.run([Task(job, 1), Task(job, 1)])
    assert machine.diary == [(0, ("0",))] and machine.slots.free == ["0", "1"]


def test_jobs_left_by_a_killed_launcher_keep_their_gpus(tmp_path: Path) -> None:
    jobs = jobs_of(tmp_path, 3)
    machine = Machine(Room(("0", "1", "2")))
    jobs[2].begin("gpu 0,2")
    lock = locks.take(jobs[2].folder)
    assert lock is not None
    machine.slots.look = lambda: lock.close() if len(machine.diary) > 1 else None
    machine.slots.run([Task(job, gpus) for job, gpus in zip(jobs, (1, 1, 2))])
    assert machine.diary[:2] == [(2, ("0", "2")), (0, ("1",))]


@pytest.mark.parametrize(
    ("number", "passed_on"),
    [(signal.SIGUSR1, signal.SIGUSR1), (signal.SIGHUP, signal.SIGTERM)],
)
def test_slurm_and_a_closed_terminal_stop_it_as_well(
    tmp_path: Path, number: int, passed_on: int
) -> None:
    machine = Machine(Room(), looks=10**6)
    machine.slots.look = lambda: os.kill(os.getpid(), number)
    (job,) = jobs_of(tmp_path, 1)
    with pytest.raises(KeyboardInterrupt):
        machine.slots.run([Task(job)])
    assert job.state == STOPPED and machine.fakes[0].signals == [passed_on]


def test_an_interruption_stops_all_and_starts_no_more(tmp_path: Path) -> None:
    machine = Machine(Room(most=2), looks=10**6)
    looks = 0

    def interrupted() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    machine.slots.look = interrupted
    tasks = [Task(job) for job in jobs_of(tmp_path, 3)]
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        machine.slots.run(tasks)
    assert [fake.signals for fake in machine.fakes] == [[signal.SIGTERM]] * 2  # they save first
    assert [task.job.state for task in tasks] == [STOPPED, STOPPED, "waiting"]
    assert signal.getsignal(signal.SIGTERM) == before


def test_what_does_not_stop_is_killed(tmp_path: Path) -> None:
    class Deaf(Fake):
        def send_signal(self, number: int, /) -> None:
            self.signals.append(number)

    (job,) = jobs_of(tmp_path, 1)
    job.begin()
    deaf = Deaf(job, 10**9, 0)
    machine = Slots(Room(), pause=lambda: None)
    machine.running = {0: (Task(job), deaf, [])}
    machine.stop(grace=0.01)
    assert deaf.signals == [signal.SIGINT, signal.SIGKILL] and job.state == STOPPED


def test_a_job_left_by_a_killed_launcher_is_waited_for(tmp_path: Path) -> None:
    (job,) = jobs_of(tmp_path, 1)
    job.begin()
    lock = locks.take(job.folder)  # held by the job's process, which is still there
    assert lock is not None
    pauses = 0

    def pause() -> None:
        nonlocal pauses
        pauses += 1
        if pauses == 3:
            Job.read(job.folder).end(FINISHED, value=3.0)
            lock.close()

    Slots(Room(), pause=pause).run([Task(job)])
    assert pauses == 3 and job.value == 3.0 and job.tries == 1


def test_a_process_holds_its_job_and_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import os, sys; print(os.environ['CUDA_VISIBLE_DEVICES'], os.getsid(0) == os.getpid());"
        "sys.stdout.flush(); import time\n"
        f"while not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.01)\n"
        "os.kill(os.getpid(), 9)"
    )
    (job,) = jobs_of(tmp_path, 1)
    monkeypatch.setattr(slots, "command", lambda job: [sys.executable, "-c", program])
    process = slots.start(job, ["3", "5"], 6)
    assert locks.is_held(job.folder)  # from its first moment on
    assert isinstance(slots.start(job, [], 1), slots.Orphan)
    (tmp_path / "go").touch()
    until = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    assert process.poll() == -9 and not locks.is_held(job.folder)
    assert "--- try 1" in job.log.read_text() and "3,5 True" in job.log.read_text()
    job.settle(process.poll())
    assert job.state == FAILED and job.place == "gpu 3,5"


def test_several_devices_are_started_by_torchrun(tmp_path: Path) -> None:
    (job,) = jobs_of(tmp_path, 1)
    assert slots.command(job)[1:] == ["-m", slots.MODULE, str(job.config)]
    job.devices = 4
    words = slots.command(job)[1:]
    assert words[:2] == ["-m", "torch.distributed.run"] and words[-1] == str(job.config)
    assert words[words.index("--nproc-per-node") + 1] == "4"


def test_gpus_that_are_visible_keep_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-ab")
    assert slots.visible_gpus() == ("4", "GPU-ab")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert slots.visible_gpus() == ("0", "1")
