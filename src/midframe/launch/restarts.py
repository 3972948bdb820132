"""Whether Slurm or torchrun has started a launch again, whose command is that of a first start."""

from __future__ import annotations

import os
import platform

from midframe.launch.slurm import job_id

_COUNTS = ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT")


def launch() -> str | None:
    """Return what all starts of a launch share; None of a process that a person started."""
    if (job := job_id()) is not None:
        return f"slurm {job}"
    if (name := os.environ.get("TORCHELASTIC_RUN_ID")) is not None:
        # the name alone is often "none"; the process is torchrun's
        return f"torchrun {name} {platform.node()} {os.getppid()}"
    return None


def restarted() -> str | None:
    """Return `launch` where it was started before, as after a preemption or a node's failure."""
    again = any(os.environ.get(name, "0") not in ("", "0") for name in _COUNTS)
    return launch() if again else None
