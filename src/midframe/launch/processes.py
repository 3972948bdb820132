"""Which of several processes this is, and the processes of one evaluation.

Those of an evaluation were started by torchrun or srun, or are started here; see `ranks` for
trainings.
"""

from __future__ import annotations

import datetime
import logging
import os
import re
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from midframe.cores import usable_cores
from midframe.errors import UserError
from midframe.launch import tied

if TYPE_CHECKING:
    import torch.distributed as dist

    from midframe.benchmark.team import Group, Team

CHILD = "MIDFRAME_CHILD"  # in the environment of processes that another one started
LOOPBACK = "127.0.0.1"
MEETING = datetime.timedelta(minutes=30)  # until all have started
_PARTING = 20.0  # seconds until those that do not end by themselves are ended


class Place(NamedTuple):
    """Which of several processes this is, and of those on this machine."""

    rank: int
    size: int
    local_rank: int
    local_size: int


def place() -> Place | None:
    """Return what torchrun or srun say of this process; None where it was started by itself."""
    env = os.environ
    if "RANK" in env and "WORLD_SIZE" in env:
        rank, size = int(env["RANK"]), int(env["WORLD_SIZE"])
        local = int(env.get("LOCAL_WORLD_SIZE", size))
        return Place(rank, size, int(env.get("LOCAL_RANK", rank)), local)
    # a batch script itself has a SLURM_PROCID as well: only srun's steps are ranks
    if "SLURM_PROCID" in env and int(env.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        found = re.match(r"\d+", env.get("SLURM_STEP_TASKS_PER_NODE", "1"))  # such as 2(x3)
        return Place(
            int(env["SLURM_PROCID"]),
            int(env["SLURM_STEP_NUM_TASKS"]),
            int(env.get("SLURM_LOCALID", 0)),
            int(found[0]) if found else 1,
        )
    return None


def count(devices: Any, device: str) -> int:
    """Return how many processes an option asks for.

    Args:
        devices: a number, or "auto": one for each GPU that there is, where GPUs are used.
        device: the option beside it, see `midframe.launch.inference.resolve_device`.

    Raises:
        UserError: for anything else, or for more processes than GPUs.
    """
    import torch

    from midframe.launch.inference import resolve_device

    if devices != "auto" and (
        not isinstance(devices, int) or isinstance(devices, bool) or devices < 1
    ):
        raise UserError(f"devices={devices} must be a whole number from 1 on, or auto")
    if devices == 1:
        return 1
    found = resolve_device(device)
    if found.type == "cpu":
        return 1 if devices == "auto" else int(devices)
    if found.index is not None:
        raise UserError(f"devices={devices} and device={device}: give device=cuda for several GPUs")
    gpus = torch.cuda.device_count()
    if devices == "auto":
        return gpus
    if devices > gpus:
        raise UserError(
            f"devices={devices}: there are {gpus} GPUs here; give devices=auto, or device=cpu for "
            "processes without"
        )
    return int(devices)


@contextmanager
def together(devices: Any, device: str, words: Sequence[str]) -> Iterator[Team]:
    """Give the processes that share an evaluation, and end all of them when one fails.

    Those of torchrun or srun are taken as they are; otherwise the others are started here. Of what
    fails, the first process raises what there is to say; all but the first print nothing.

    Args:
        devices: see `count`.
        device: see there.
        words: by which the others evaluate the same.

    Raises:
        UserError: for what a process failed by, or if one has died.
    """
    here = place()
    wanted = count(devices, device) if here is None or devices not in (1, "auto") else here.size
    if here is not None and wanted != here.size:
        raise UserError(
            f"devices={devices}, but {here.size} processes were started; leave devices out"
        )
    if wanted == 1:
        from midframe.benchmark.team import ALONE

        yield ALONE
        return
    if here is None:
        with _started(wanted, words) as group:
            yield from _led(group, own=True)
    else:
        if CHILD in os.environ:
            tied.end_with_pipe()
        yield from _led(_found(here), own=False)


def _led(group: Group, own: bool) -> Iterator[Team]:
    """Yield a group; let all know of a failure, and wait for all in the end."""
    from midframe.benchmark.team import Ended

    try:
        with Path(os.devnull).open("w") as nowhere:
            if group.rank == 0:
                yield group
            else:
                logging.disable(logging.WARNING)  # the first one's is enough
                with redirect_stdout(nowhere):
                    yield group
        group.exchange(None)  # the first keeps the store until nobody needs it
    except Exception as error:
        known = isinstance(error, UserError)
        if group.over or (own and not group.joined):
            raise
        if not known and group.rank > 0:
            traceback.print_exception(error)  # before the first one hears of it and ends all
        group.fail(str(error) if known else f"process {group.rank}: {error!r}")
        if group.rank > 0:
            raise Ended(2) from error
        raise
    finally:
        group.leave()


@contextmanager
def _started(size: int, words: Sequence[str]) -> Iterator[Group]:
    """Start the others on this machine; they end when this process does, however it ends."""
    import torch.distributed as dist

    from midframe.benchmark.team import Group

    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # a host's own name may lead nowhere
    store = dist.TCPStore(LOOPBACK, 0, is_master=True, wait_for_workers=False, timeout=MEETING)
    shared = {
        **{"WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size), CHILD: "1"},
        **{"MASTER_ADDR": LOOPBACK, "MASTER_PORT": str(store.port)},
    }
    command = [sys.executable, "-m", "midframe.cli", "evaluate", *words]
    children: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(1, size):
            env = {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            children.append(
                subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            )
        yield Group(0, size, lambda: _all_there(store, children))
        for child in children:
            with suppress(subprocess.TimeoutExpired):
                child.wait(_PARTING)
    finally:
        for child in children:
            tied.end(child)


def _all_there(store: dist.Store, children: Sequence[subprocess.Popen[bytes]]) -> dist.Store:
    """Return the store when every process that was started has come to it."""
    while store.add("there", 0) < len(children):
        for rank, child in enumerate(children, 1):
            if child.poll() is not None:
                raise UserError(f"process {rank} has ended with code {child.returncode}, see above")
        time.sleep(0.02)
    return store


def _found(here: Place) -> Group:
    """Return the group of processes that were all started for this."""
    import torch.distributed as dist

    from midframe.benchmark.team import Group

    def connect() -> dist.Store:
        meeting_point()
        try:
            found = dist.rendezvous("env://", here.rank, here.size, timeout=MEETING)
            store, _, _ = next(iter(found))
        except (RuntimeError, ValueError) as error:
            raise UserError(f"process {here.rank} cannot meet the others: {error}") from error
        if CHILD in os.environ:
            store.add("there", 1)
        return store

    return Group(here.rank, here.size, connect)


def meeting_point() -> tuple[str, int]:
    """Return where those that torchrun or srun started meet the first, and let this process know.

    Raises:
        UserError: if MASTER_PORT is no port.
    """
    address, port = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT")
    address, port = address or _first_node(), port or _port()
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = address, port
    if not port.isdecimal():
        raise UserError(f"MASTER_PORT={port} is no port; give a number, or leave it out")
    return address, int(port)


def _port() -> str:
    """Return a port that follows from job and step: no rank can tell the others a free one."""
    job, step = (int(os.environ.get(x, "0")) for x in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    return str(15000 + (7 * job + step) % 15000)


def _first_node() -> str:
    """Return the address of the first node of a step of Slurm."""
    nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_NODELIST", "")
    if os.environ.get("SLURM_STEP_NUM_NODES", "1") == "1" or not nodes:
        return LOOPBACK
    # node[03-05,7],other3: the first of the first range
    first = re.sub(r"\[(\d+)[^\]]*\]", r"\1", re.split(r",(?![^\[]*\])", nodes)[0])
    try:
        return socket.gethostbyname(first)
    except OSError:  # Slurm may know nodes by names that nobody else does
        with suppress(OSError, subprocess.TimeoutExpired):
            command = ["scontrol", "show", "node", "-o", first]
            said = subprocess.run(command, capture_output=True, text=True, timeout=30).stdout
            if found := re.search(r"\bNodeAddr=(\S+)", said):
                return found[1]
        print(f"note: the name of the first node, {first}, cannot be resolved", file=sys.stderr)
        return first


def share_cores(threads: int | None, team: Team) -> int:
    """Set how many threads PyTorch computes with: as given, or a share of this machine's cores.

    Args:
        threads: None to share, unless OMP_NUM_THREADS says how many.
        team: of this process.

    Returns:
        How many these are. A convolution of other threads adds up in another order, so on a CPU
        they move a number by a hair.
    """
    import torch

    if threads is None and team.size > 1 and "OMP_NUM_THREADS" not in os.environ:
        here = place()
        share = max(1, usable_cores() // (team.size if here is None else here.local_size))
        threads = int(os.environ.get("SLURM_CPUS_PER_TASK", share))
    if threads is not None:
        torch.set_num_threads(threads)
    return torch.get_num_threads()
