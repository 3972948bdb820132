"""What a training does with the job of Slurm that it runs in."""

from __future__ import annotations

import os
import re
import signal
import subprocess

from midframe.engine.stopping import Stopped


def job_id() -> str | None:
    """Return the job's number as scontrol takes it, that of an array's element included."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    if array is not None:
        return f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID', '0')}"
    return os.environ.get("SLURM_JOB_ID")


def requeue(stop: Stopped) -> str:
    """Put the job of this process back into the queue, if that is for it to do.

    SIGUSR1 asks for it. SIGTERM may be the end that somebody gave the job (scancel, time limit), or
    the warning of a preemption: Slurm says which.

    Returns:
        what happened, for the person; "" outside of Slurm.
    """
    job = job_id()
    if job is None:
        return ""
    if stop.signal == signal.SIGTERM and not _preempted(job):
        return f"job {job} is not requeued, since it was cancelled or its time is over"
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which follows at once; the end comes anyway
    fault = _scontrol("requeue", job)[1]
    return f"job {job} could not be requeued: {fault}" if fault else f"job {job} is requeued"


def _preempted(job: str) -> bool:
    """Whether a running job gives way to another one."""
    said = _scontrol("show", "job", "-o", job)[0]
    state = re.search(r"\bJobState=(\S+)", said)
    time = re.search(r"\bPreemptTime=(\S+)", said)
    return bool(state and state[1] == "RUNNING" and time and time[1] not in ("None", "Unknown"))


def _scontrol(*words: str) -> tuple[str, str]:
    """Return what scontrol prints, and what went wrong or ""."""
    try:
        done = subprocess.run(["scontrol", *words], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        # inside a container there may be none
        return "", f"scontrol does not run here ({error})"
    fault = " ".join(done.stderr.split()) or f"scontrol ended with {done.returncode}"
    return done.stdout, fault if done.returncode else ""
