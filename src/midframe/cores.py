"""How many processor cores there are for this process."""

from __future__ import annotations

import os

SHARE = "MIDFRAME_CORES"  # in the environment of one of several jobs on a machine


def usable_cores() -> int:
    """Return the number of cores this process may run on.

    That is what the system lets it, and no more than MIDFRAME_CORES, by which jobs that run side
    by side share a machine.
    """
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    share = os.environ.get(SHARE, "")
    own = there or 1
    return max(1, min(own, int(share))) if share.isdecimal() else own
