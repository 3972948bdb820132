"""The first thing that a job of Slurm does: note that it runs, then become the training.

submitit calls `start` on every task of a job. This file imports nothing heavy.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from midframe.engine.stopping import hold
from midframe.launch import locks
from midframe.launch.restarts import restarted
from midframe.launch.sweep_jobs import FINISHED, Job

MODULE = "midframe.launch.train_job"


def start(folder: str) -> None:
    """Train the job of a sweep, in this very process: signals reach the training, not submitit.

    Args:
        folder: ``jobs/<n>`` of the sweep.
    """
    hold()
    job = Job.read(Path(folder))
    if job.state == FINISHED:  # by another one that was submitted, or before its node failed
        sys.exit(0)
    if os.environ.get("SLURM_PROCID", "0") == "0":
        wait = locks.LEASE if restarted() else 0.0
        lock = locks.take(job.folder, wait)
        if lock is None:
            sys.exit(f"error: another process is at work on {job.folder}")
        os.set_inheritable(os.dup(lock.fileno()), True)  # the training keeps it
        os.environ[locks.HANDED_ON] = "1"
        job.begin(place_of(os.environ))
        log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    os.execv(sys.executable, [sys.executable, "-m", MODULE, str(job.config)])


def place_of(env: os._Environ[str] | dict[str, str]) -> str:
    """Return how a job's record names the job of Slurm that it runs in."""
    array = env.get("SLURM_ARRAY_JOB_ID")
    number = f"{array}_{env['SLURM_ARRAY_TASK_ID']}" if array else env.get("SLURM_JOB_ID", "?")
    return f"slurm {number}"
