"""The processes of one training that torchrun or srun started: they meet before anything heavy.

Rank 0 alone finds or makes the run; all others learn from it what it found, or any rank's error.
"""

from __future__ import annotations

import datetime
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from lightning.fabric.plugins.environments import ClusterEnvironment
from omegaconf import DictConfig, OmegaConf

from midframe.engine import ranks as engine
from midframe.errors import UserError
from midframe.launch.children import end_with_parent
from midframe.launch.guard import USER_ERROR
from midframe.launch.processes import Place, meeting_point, place

MEETING = 30.0  # minutes until every rank has read its config and indexed its data
# Seconds in which the others learn of an error of rank 0, which keeps what they read it from.
_PARTING = 15.0
_VERDICT = "verdict"
# By which torchrun says that its own store is at MASTER_PORT.
_OF_AGENTS = "TORCHELASTIC_USE_AGENT_STORE"


class Alone:
    """A process that nobody else is part of, or that starts the others itself."""

    rank, size = 0, 1

    def share(self, make: Callable[[], Any]) -> Any:
        """Return what ``make`` returns."""
        return make()

    def environment(self) -> ClusterEnvironment | None:
        """Return what Lightning is told, or None."""
        return engine.alone()


class Ranks(Alone):
    """One of several processes.

    Args:
        here: which one.
        address: of the machine of rank 0.
        port: where rank 0 listens there.
    """

    def __init__(self, here: Place, address: str, port: int) -> None:
        self.here, self.rank, self.size = here, here.rank, here.size
        self.address, self.port = address, port
        self.agreed = False
        self._store = self._connect()

    def _connect(self) -> Any:
        import torch.distributed as dist

        agents = os.environ.get(_OF_AGENTS) == "True"
        self._patience = _patience()
        try:
            store = dist.TCPStore(
                self.address,
                self.port,
                is_master=self.rank == 0 and not agents,
                timeout=self._patience,
                wait_for_workers=False,
                multi_tenant=True,  # Lightning's process group listens at the same port later
            )
        except (RuntimeError, ValueError) as error:
            raise UserError(
                f"rank {self.rank} cannot meet the others at {self.address}:{self.port} "
                f"({_line(error)}); MASTER_ADDR and MASTER_PORT say where rank 0 is met"
            ) from error
        # torchrun's own store outlives a restart of the ranks
        again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        return dist.PrefixStore(f"midframe/{again}", store)

    def share(self, make: Callable[[], Any]) -> Any:
        """Return what ``make`` returns on rank 0, once every rank has come here.

        Raises:
            UserError: on rank 0, for what ``make`` or any rank failed by.
            SystemExit: on the others, for the same, without another word.
        """
        if self.rank == 0:
            failed = [self._wait(f"rank{rank}") for rank in range(1, self.size)]
            for rank, word in enumerate(failed, 1):
                if word["error"]:
                    raise UserError(f"rank {rank} on {word['host']}: {word['error']}")
            word = make()
            self._say(_VERDICT, {"error": None, "word": word, "port": self._move()})
            self.agreed = True
            return word
        self._say(f"rank{self.rank}", {"error": None, "host": socket.gethostname()})
        verdict = self._verdict()
        self._move(verdict["port"])
        return verdict["word"]

    def _move(self, port: int | None = None) -> int:
        """Go where the process group meets, and return its port: rank 0 chooses where None.

        torchrun keeps one store for all starts of its ranks, in which those that train again may
        find where a dead one was, and wait for it: a store of their own knows no others.
        """
        import torch.distributed as dist

        if os.environ.get(_OF_AGENTS) != "True":
            return self.port
        if port is None:
            self._own = dist.TCPStore(
                self.address, 0, is_master=True, wait_for_workers=False, multi_tenant=True
            )
        self.port = self._own.port if port is None else port
        os.environ["MASTER_PORT"], os.environ[_OF_AGENTS] = str(self.port), "False"
        return self.port

    def fail(self, error: BaseException) -> None:
        """Let the others know that this rank has failed before they agreed."""
        if self.agreed:
            return
        if isinstance(error, SystemExit):  # it is rank 0's word that ends this one
            return
        known = isinstance(error, UserError)
        said = str(error) if known else f"{type(error).__name__}: {_line(error)}"
        if self.rank:
            self._say(f"rank{self.rank}", {"error": said, "host": socket.gethostname()})
            if known:
                self._verdict()  # rank 0 says it for all
            self._leave()
            return
        self._say(_VERDICT, {"error": said})
        until = time.monotonic() + _PARTING
        while self._store.add("left", 0) < self.size - 1 and time.monotonic() < until:
            time.sleep(0.05)

    def _verdict(self) -> dict[str, Any]:
        """Return what rank 0 says to all; end quietly where that is an error."""
        word = self._wait(_VERDICT)
        self.agreed = True
        if word["error"]:
            self._leave()
            raise SystemExit(USER_ERROR)
        return word

    def _leave(self) -> None:
        """Let rank 0 know that nothing more is read from it."""
        with suppress(RuntimeError):
            self._store.add("left", 1)

    def _say(self, key: str, word: dict[str, Any]) -> None:
        with suppress(RuntimeError):  # rank 0 has gone, which `_wait` tells
            self._store.set(key, json.dumps(word))

    def _wait(self, key: str) -> dict[str, Any]:
        """Return what is said under a key; in short looks, so that signals are heeded meanwhile."""
        until = time.monotonic() + self._patience.total_seconds()
        pause = 0.01
        try:
            while not self._store.check([key]):
                if time.monotonic() > until:
                    raise UserError(
                        f"rank {self.rank} waited {self._patience} for {key} of the others; "
                        "MIDFRAME_MEETING=60 lets it wait 60 minutes"
                    )
                time.sleep(pause)
                pause = min(2 * pause, 0.5)
            return json.loads(self._store.get(key))
        except RuntimeError as error:
            self.agreed = True
            raise UserError(f"rank {self.rank}: rank 0 has ended ({_line(error)})") from error

    def environment(self) -> ClusterEnvironment:
        """Return what Lightning is told."""
        node = int(os.environ.get("GROUP_RANK", os.environ.get("SLURM_NODEID", "0")))
        return engine.Started(
            self.rank, self.size, self.here.local_rank, node, self.address, self.port
        )


@contextmanager
def together(cfg: DictConfig) -> Iterator[Alone]:
    """Give this process's place among those of a training; all end if one fails before they agree.

    Args:
        cfg: of the training; its devices must be as many as processes were started.

    Raises:
        UserError: where they are not.
    """
    here = place()
    if here is None:
        _check_nodes(cfg)
        yield Alone()
        return
    if "TORCHELASTIC_RUN_ID" in os.environ:
        end_with_parent()  # torchrun's processes are in sessions of their own, and would go on
    ranks = Ranks(here, *meeting_point())
    try:
        _check_size(cfg, here)
        yield ranks
    except BaseException as error:
        ranks.fail(error)
        raise


def _patience() -> datetime.timedelta:
    """Return how long ranks wait for one another before they train."""
    said = os.environ.get("MIDFRAME_MEETING") or str(MEETING)
    try:
        return datetime.timedelta(minutes=float(said))
    except (ValueError, OverflowError) as error:
        raise UserError(f"MIDFRAME_MEETING={said}: give a number of minutes") from error


def _check_nodes(cfg: DictConfig) -> None:
    """Refuse a training on several machines that nobody has started on them all."""
    if (nodes := int(cfg.trainer.num_nodes)) > 1:
        raise UserError(
            f"trainer.num_nodes={nodes} takes processes on {nodes} machines, and this one was "
            f"started by itself; use slurm/multi_node.sbatch or, on each machine, torchrun "
            f"--nnodes={nodes} --nproc-per-node={cfg.trainer.devices} --rdzv-backend=c10d "
            "--rdzv-endpoint=HOST:29500 train.py ..."
        )


def _check_size(cfg: DictConfig, here: Place) -> None:
    devices, nodes = cfg.trainer.devices, int(cfg.trainer.num_nodes)
    count = len(devices) if OmegaConf.is_list(devices) else devices
    if isinstance(count, int) and count > 0 and count * nodes != here.size:
        local = here.local_size
        raise UserError(
            f"{here.size} processes were started, but trainer.devices={count} "
            f"trainer.num_nodes={nodes} asks for {count * nodes}; give trainer=ddp "
            f"trainer.devices={local} trainer.num_nodes={-(-here.size // local)}, or start "
            f"{count * nodes}"
        )


def _line(error: BaseException) -> str:
    """The first line of an error's text."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
