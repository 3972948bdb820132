"""Ranks that others started: they meet, learn of each other's errors, and wait for no dead one."""

from __future__ import annotations

import math
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.fabric.plugins.environments import LightningEnvironment
from omegaconf import OmegaConf
from test_children import is_alive

from midframe.errors import UserError
from midframe.launch import ranks as module
from midframe.launch.processes import Place
from midframe.launch.ranks import Alone, Ranks, together


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def meet(*works: Callable[[Ranks], Any]) -> list[Any]:
    """Run each work as a rank of its own, and return what it returns or raises."""
    port, size = free_port(), len(works)
    results: list[Any] = [None] * size
    alive = []  # as a training keeps it; rank 0's is what the others read from

    def rank(number: int) -> None:
        one = Ranks(Place(number, size, number, size), "127.0.0.1", port)
        alive.append(one)
        try:
            results[number] = works[number](one)
        except BaseException as error:
            results[number] = error
            try:
                one.fail(error)
            except SystemExit as end:
                results[number] = end

    threads = [threading.Thread(target=rank, args=(number,)) for number in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return results


def never(*_: Any) -> Any:
    raise AssertionError("only rank 0 finds the run")


def test_all_learn_what_rank_0_finds() -> None:
    word = ["/runs/a", None, 7]
    assert meet(lambda r: r.share(lambda: word), *[lambda r: r.share(never)] * 3) == [word] * 4


def test_an_error_of_rank_0_ends_the_others_without_a_word() -> None:
    def refuse(ranks: Ranks) -> None:
        raise UserError("no such data")

    for first in (refuse, lambda ranks: ranks.share(lambda: refuse(ranks))):
        error, *others = meet(first, lambda r: r.share(never), lambda r: r.share(never))
        assert isinstance(error, UserError)
        assert all(isinstance(one, SystemExit) and one.code == 2 for one in others)


def test_an_error_of_another_rank_is_told_by_rank_0_with_its_host() -> None:
    def refuse(ranks: Ranks) -> None:
        raise UserError("no such data")

    error, other = meet(lambda r: r.share(never), refuse)
    assert str(error) == f"rank 1 on {socket.gethostname()}: no such data"
    assert isinstance(other, SystemExit) and other.code == 2


def test_a_defect_of_another_rank_is_told_as_well() -> None:
    error, defect = meet(lambda r: r.share(never), lambda r: [][1])
    assert "IndexError" in str(error) and isinstance(defect, IndexError)


def test_nobody_waits_for_a_rank_that_never_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDFRAME_MEETING", "0.02")
    monkeypatch.setattr(module, "_PARTING", 0.1)
    (error,) = meet_with_absent()
    assert isinstance(error, UserError) and "waited" in str(error)


def meet_with_absent() -> list[Any]:
    one = Ranks(Place(0, 2, 0, 2), "127.0.0.1", free_port())
    try:
        return [one.share(never)]
    except UserError as error:
        one.fail(error)
        return [error]


@pytest.mark.slow
def test_nobody_waits_for_rank_0_when_that_has_died() -> None:
    port = free_port()
    script = f"""
        import os, sys
        from midframe.launch.processes import Place
        from midframe.launch.ranks import Ranks
        one = Ranks(Place(0, 2, 0, 2), "127.0.0.1", {port})
        print("up", flush=True)
        sys.stdin.read(1)
        os._exit(9)
    """
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    first = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], text=True, **pipes)
    assert first.stdout is not None and first.stdout.readline() == "up\n"
    second = Ranks(Place(1, 2, 1, 2), "127.0.0.1", port)
    first.communicate("x", timeout=30)
    with pytest.raises(UserError, match="rank 0 has ended"):
        second.share(never)


def config(devices: Any, nodes: int = 1) -> Any:
    return OmegaConf.create({"trainer": {"devices": devices, "num_nodes": nodes}})


def test_as_many_processes_as_devices_or_none_train(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setattr(module, "_PARTING", 0.1)
    for devices, nodes in ((1, 1), (2, 2), ([0], 1)):
        monkeypatch.setenv("MASTER_PORT", str(free_port()))
        wanted = "give trainer=ddp trainer.devices=2 trainer.num_nodes=1"
        with pytest.raises(UserError, match=wanted), together(config(devices, nodes)):
            never()
    monkeypatch.setenv("MASTER_PORT", str(free_port()))
    with together(config(2)) as ranks:
        assert ranks.environment().world_size() == 2


@pytest.mark.parametrize("step", [{}, {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1"}])
def test_a_batch_script_and_a_step_of_one_task_are_one_process(
    step: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "WORLD_SIZE", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", **step}.items():
        monkeypatch.setenv(name, value)
    with together(config(1)) as ranks:
        assert type(ranks) is Alone
        assert isinstance(ranks.environment(), LightningEnvironment), "no waiting for 4 tasks"


def test_several_machines_take_processes_that_were_started(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    wanted = "num_nodes=2 takes .* torchrun --nnodes=2"
    with pytest.raises(UserError, match=wanted), together(config(4, 2)):
        never()


def test_how_long_ranks_wait_is_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDFRAME_MEETING", "an hour")
    with pytest.raises(UserError, match="MIDFRAME_MEETING=an hour: give a number of minutes"):
        meet_with_absent()


def test_rank_0_does_not_wait_for_those_that_end_by_themselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All get a signal before they agree: to requeue its job, rank 0 needs no 15 seconds."""
    monkeypatch.setattr(module, "_PARTING", math.inf)  # who waits here never ends
    ends = meet(*[lambda r: never()] * 3)
    assert all(isinstance(one, AssertionError) for one in ends)


WORKER = """
import os, sys, time
from omegaconf import OmegaConf
from midframe.launch.ranks import together
with together(OmegaConf.create({"trainer": {"devices": 2, "num_nodes": 1}})) as ranks:
    ranks.share(lambda: 0)
    open(f"{sys.argv[1]}/{os.getpid()}", "w").close()
    time.sleep(300)
"""


@pytest.mark.slow
def test_ranks_end_with_a_torchrun_that_is_killed(tmp_path: Path) -> None:
    """They are in sessions of their own, so that whoever kills torchrun does not reach them."""
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "pids").mkdir()
    command = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(tmp_path / "worker.py"), str(tmp_path / "pids")]
    with subprocess.Popen([sys.executable, "-m", *command], start_new_session=True) as agent:
        until(lambda: len(list((tmp_path / "pids").iterdir())) == 2)
        agent.kill()
    pids = [int(path.name) for path in (tmp_path / "pids").iterdir()]
    try:
        until(lambda: not any(map(is_alive, pids)))
        assert len(pids) == 2 and agent.returncode == -signal.SIGKILL
    finally:
        for pid in filter(is_alive, pids):
            os.kill(pid, signal.SIGKILL)


def until(look: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not look():
        assert time.monotonic() < end
        time.sleep(0.05)
