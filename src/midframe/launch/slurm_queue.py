"""What Slurm says of jobs: asked by squeue, which needs no accounting."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence

from midframe.errors import UserError

# Of a job that Slurm will start, for the first time or again ...
WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD"}
# ... and of any that has not ended.
OPEN = WAITING | {"RUNNING", "SUSPENDED", "COMPLETING", "STAGE_OUT", "SIGNALING", "STOPPED"}


def states(ids: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return state and reason of those jobs that Slurm still knows.

    Args:
        ids: as sbatch gives them: "12", or "12_3" of an array's element.

    Raises:
        UserError: if Slurm does not answer.
    """
    if not ids:
        return {}
    whole = sorted({x.split("_")[0] for x in ids}, key=int)
    command = ["squeue", "-h", "-r", "-t", "all", "-o", "%i|%T|%r", "-j", ",".join(whole)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(
            f"squeue does not answer: {error}; is this a machine of a cluster?"
        ) from error
    if done.returncode and "Invalid job id" not in done.stderr:  # forgotten: it ended long ago
        raise UserError(f"squeue: {' '.join(done.stderr.split())}")
    rows = (line.split("|", 2) for line in done.stdout.splitlines() if line.count("|") >= 2)
    found = {number.strip(): (state, reason.strip()) for number, state, reason in rows}
    return {x: found[x] for x in ids if x in found}


def id_of(place: str | None) -> str | None:
    """Return the job of Slurm in a record's ``place``, None for any other place."""
    found = re.fullmatch(r"slurm (\d+(_\d+)?)", place or "")
    return found[1] if found else None
