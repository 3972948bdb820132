"""The training that is interrupted in every way, and what it leaves behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from csv import DictReader
from pathlib import Path
from typing import Any

import torch
from cluster import ROOT
from same import assert_same

# A training of a few seconds; its numbers do not matter, that they are the same does.
TINY = [
    *("experiment=smoke", "model=ifrnet_s", "loss=charbonnier", "logger=csv", "data.crop=32"),
    *("data.layout.size=48", "data.layout.scenes=64", "data.global_batch=2", "data.val.limit=2"),
    *("data.val.batch=2", "trainer.threads=1", "trainer.log_every_n_steps=1"),
]
SEED = 5
# Nothing is saved unless a signal or the end comes. Several ranks look for signals at step 5.
RECIPE = [*TINY, "trainer.max_steps=8", "trainer.val_check_interval=4"]
RECIPE += ["trainer.checkpoint_every=1000"]
ALONE, TOGETHER = ["trainer=cpu"], ["trainer=ddp_cpu"]
NO_GPU = ["--gpus-per-node=0", "--cpus-per-task=1", "--mem=0"]


def uninterrupted(runs: Path, *words: str) -> Path:
    """Train outside of Slurm, and return the run's directory."""
    command = [sys.executable, "train.py", *words, f"paths.runs={runs}"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return only_run(runs)


def only_run(runs: Path) -> Path:
    (found,) = (path for path in runs.iterdir() if (path / "run.json").is_file())
    return found


def run_of(log: Path) -> Path:
    """Return the one run directory that a job's output names in all its lives."""
    (found,) = set(re.findall(r"^run +([^,\n]+)", log.read_text(), re.M))
    return Path(found)


def record(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "run.json").read_text())
    return content


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return [{k: v for k, v in x.items() if "samples_per_s" not in k} for x in DictReader(file)]


def assert_ends_like(run: Path, whole: Path, resumes: int) -> None:
    """Fail unless a run has weights and curve of another one, to the last bit."""
    about = record(run)
    assert about["status"] == "finished" and about["resumes"] == resumes
    assert about["steps"] == record(whole)["steps"]
    one, other = (torch.load(x / "last.ckpt", weights_only=True) for x in (run, whole))
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert_same(one[part], other[part], part)
    assert rows(run) == rows(whole), "no row is lost, there twice or another one"
