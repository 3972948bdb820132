"""Processes that torchrun starts train what one command trains: a run, its loggers, its weights."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from csv import DictReader
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from programs import python_path
from same import assert_same
from tiny import TINY

pytestmark = pytest.mark.slow

HERE = Path(__file__).resolve()
ROOT = HERE.parents[2]
RECIPE = [*TINY, "logger=[csv,tensorboard,wandb]", "logger.wandb.mode=offline"]
PATHS = HERE.parents[:2]  # trainings find this file
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]  # what `torchrun` is


class Die(Callback):
    """Kills rank 1 behind a step, once."""

    def __init__(self, file: str, step: int) -> None:
        self.file, self.step = Path(file), step

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any, **kwargs: Any) -> None:
        there = trainer.global_rank == 1 and trainer.global_step == self.step
        if there and not self.file.exists():
            self.file.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def start(runs: Path, *command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*command, *RECIPE, f"paths.runs={runs}"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": python_path(*PATHS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(*processes: subprocess.Popen[str]) -> str:
    shown = [process.communicate(timeout=400)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), "\n".join(shown)
    return "".join(shown)


def run_of(runs: Path) -> Path:
    (run,) = (path for path in runs.iterdir() if path.is_dir())
    return run


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the run of one command that starts the other process itself."""
    runs = tmp_path_factory.mktemp("whole")
    ended(start(runs, sys.executable, "train.py", "trainer=ddp_cpu"))
    return run_of(runs)


def assert_like(run: Path, whole: Path, starts: int = 1) -> None:
    """Fail unless a run has the weights and curve of another one, written down by one process."""
    one, other = (torch.load(x / "last.ckpt", weights_only=True) for x in (run, whole))
    for part in ("state_dict", "optimizer_states"):
        assert_same(one[part], other[part], part)
    rows = []
    for path in (run, whole):
        with (path / "metrics.csv").open() as file:
            read = list(DictReader(file))
        rows.append([{k: v for k, v in row.items() if "samples_per_s" not in k} for row in read])
    assert rows[0] == rows[1]
    about = json.loads((run / "run.json").read_text())
    assert about["status"] == "finished" and about["world"] == 2
    assert about["resumes"] == starts - 1 and len(about["starts"]) == starts
    assert len(list(run.glob("tensorboard/events*"))) == starts
    files = list(run.glob("wandb/offline-run-*/run-*.wandb"))
    assert len(files) == starts and len({file.name for file in files}) == 1


def test_on_one_machine(tmp_path: Path, whole: Path) -> None:
    command = [*TORCHRUN, "--standalone", "--nproc-per-node=2", "train.py", "trainer=ddp_cpu"]
    shown = ended(start(tmp_path, *command))
    assert shown.count("device  CPU x 2") == 1, "one of the two speaks"
    assert_like(run_of(tmp_path), whole)


def test_on_two_machines(tmp_path: Path, whole: Path) -> None:
    where = f"--rdzv-endpoint=127.0.0.1:{free_port()}"
    command = [*TORCHRUN, "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", where]
    command += ["--local-addr=127.0.0.1", "train.py", "trainer=multinode"]
    command += ["trainer.accelerator=cpu", "trainer.num_nodes=2", "trainer.devices=1"]
    shown = ended(start(tmp_path, *command), start(tmp_path, *command))
    assert shown.count("device  CPU x 2") == 1, "one of the two speaks"
    assert_like(run_of(tmp_path), whole)


def test_ranks_that_torchrun_starts_again_go_on(tmp_path: Path, whole: Path) -> None:
    dies = {"_target_": "test_torchrun.Die", "file": tmp_path / "died", "step": 3}
    command = [*TORCHRUN, "--standalone", "--nproc-per-node=2", "--max-restarts=1", "train.py"]
    command += ["trainer=ddp_cpu", *(f"+callbacks.die.{k}={v}" for k, v in dies.items())]
    shown = ended(start(tmp_path / "runs", *command))
    assert (tmp_path / "died").exists() and shown.count("resumed at step 2") == 1
    assert_like(run_of(tmp_path / "runs"), whole, starts=2)
