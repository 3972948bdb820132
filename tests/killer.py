"""Trainings that are killed at random moments, from one process that has everything imported.

A training process takes longer to import its libraries than to train a tiny model, so each life of
a run is forked off: ``python killer.py FOLDER RANKS KILLS SEED OVERRIDES...`` trains a run below
FOLDER/whole to its end and, if KILLS is not 0, one below FOLDER/killed that dies so often. It
starts no thread and computes nothing itself, which makes forking sound.
"""

from __future__ import annotations

import os
import random
import select
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import Callback

from midframe.launch.tasks import train_main
from midframe.types import Batch

PATIENCE = 300.0  # seconds for one life


class Tick(Callback):
    """Tells a pipe of every whole step, and a file for each rank of its samples."""

    def __init__(self, file: int, folder: str) -> None:
        self.file = file
        self.folder = Path(folder)
        self._step = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._step = trainer.global_step

    def on_train_batch_start(
        self, trainer: L.Trainer, module: object, batch: Batch, _: int
    ) -> None:
        with (self.folder / f"samples{trainer.global_rank}.txt").open("a") as file:
            file.write(f"{trainer.global_step} {' '.join(batch.ids)}\n")

    def on_train_batch_end(self, trainer: L.Trainer, *args: object, **kwargs: object) -> None:
        if trainer.global_step != self._step:
            self._step = trainer.global_step
            os.write(self.file, b".")


@dataclass
class Death:
    """When a run is killed: some seconds after so many steps, and which of its processes first."""

    steps: int
    seconds: float
    first: int

    @classmethod
    def drawn(cls, chance: random.Random, ranks: int) -> Death:
        steps = chance.choice([0, 1, 2, 2, 3, 3, 4, 5])
        # before the first step: anywhere from composing the config on
        return cls(steps, chance.uniform(0, 0.1 if steps else 2.0), chance.randrange(ranks))


def live(runs: Path, ranks: int, words: list[str], death: Death | None) -> int:
    """Train in ``ranks`` processes until the end or the death; return rank 0's exit status."""
    ticks, told = os.pipe()
    os.set_inheritable(told, True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tick = [f"+callbacks.tick.{x}" for x in ("_target_=killer.Tick", f"file={told}")]
    tick.append(f"+callbacks.tick.folder={runs}")
    processes = []
    for rank in range(ranks):
        process = os.fork()
        if process == 0:
            os.close(ticks)
            _train(runs, rank, ranks, port, [*words, *tick])
        processes.append(process)
    os.close(told)
    try:
        if death is not None:
            _wait(ticks, death.steps * ranks)
            time.sleep(death.seconds)
            os.kill(processes.pop(death.first), signal.SIGKILL)
            for process in processes:  # as torchrun does, a little later
                time.sleep(0.05)
                os.kill(process, signal.SIGKILL)
            ended = [os.waitpid(-1, 0)[1] for _ in range(ranks)]
            # a rank may notice that another is gone, and end with an error before it is killed
            if signal.SIGKILL not in ended or 0 in ended:
                raise SystemExit(f"a run ended by itself, with {ended}, before it could be killed")
            return signal.SIGKILL
        return max(os.waitpid(process, 0)[1] for process in processes)
    finally:
        os.close(ticks)


def _train(runs: Path, rank: int, ranks: int, port: int, words: list[str]) -> None:
    """Be a rank; never returns."""
    code = 1
    try:
        log = os.open(runs / f"log{rank}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if ranks > 1:
            place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks}
            place |= {"LOCAL_WORLD_SIZE": ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            os.environ.update({key: str(value) for key, value in place.items()})
        code = train_main([*words, f"paths.runs={runs}"])
    finally:
        sys.stdout.flush()
        os._exit(code)


def _wait(ticks: int, count: int) -> None:
    """Wait until so many steps are told of, or all who could tell have ended."""
    until = time.monotonic() + PATIENCE
    while count > 0:
        ready, _, _ = select.select([ticks], [], [], until - time.monotonic())
        if not ready:
            raise SystemExit("a run has stopped telling of steps")
        told = len(os.read(ticks, count))
        if not told:
            return
        count -= told


def main() -> None:
    folder, ranks, kills, seed = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    words = sys.argv[5:]
    chance = random.Random(seed)
    for name, deaths in [("whole", 0), *([("killed", kills)] if kills else [])]:
        runs = folder / name
        runs.mkdir()
        began = time.monotonic()
        for number in range(deaths):
            death = Death.drawn(chance, ranks)
            live(runs, ranks, words, death)
            print(
                f"seed {seed} kill {number}: {death} at {time.monotonic() - began:.1f} s",
                flush=True,
            )
        status = live(runs, ranks, words, None)
        print(f"{name} ended with {status} after {time.monotonic() - began:.1f} s", flush=True)
        if status:
            raise SystemExit((runs / "log0.txt").read_text()[-4000:])


if __name__ == "__main__":
    sys.modules["killer"] = sys.modules["__main__"]
    main()
