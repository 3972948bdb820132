"""Commands to a Slurm that tests have started, and what they submit."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from programs import python_path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent


class Slurm:
    """Commands to a running Slurm."""

    def __init__(self, state: Path) -> None:
        bin_of_python = str(Path(sys.executable).parent)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "COV_"))}
        self.env = {
            **kept,
            "SLURM_CONF": str(state / "slurm.conf"),
            "PATH": f"{bin_of_python}:{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": python_path(HERE),  # trainings find hold.py
        }

    def call(self, *words: str) -> str:
        """Run a command in the checkout and return what it prints."""
        done = subprocess.run(
            words, cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout.strip()

    def sbatch(self, *words: str) -> str:
        """Submit a job and return its number."""
        return self.call("sbatch", "--parsable", *words)

    def show(self, job: str) -> dict[str, str]:
        """Return what Slurm knows of a job."""
        words = self.call("scontrol", "show", "job", "-o", job).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def wait(self, job: str, state: str, seconds: float = 240) -> dict[str, str]:
        """Wait until a job is in a state; it must not end in another one."""
        over = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"} - {state}

        def look() -> dict[str, str] | None:
            now = self.show(job)
            assert now["JobState"] not in over, now
            return now if now["JobState"] == state else None

        return until(look, f"job {job} {state}", seconds)

    def comes_back(self, node: str) -> bool:
        """Let a node that was down work again; whether it does."""
        command = ["scontrol", "update", f"nodename={node}", "state=resume"]
        subprocess.run(command, env=self.env, capture_output=True, timeout=60)  # or by itself
        return self.call("sinfo", "-h", "-n", node, "-o", "%t").split()[0] in (
            "idle",
            "alloc",
            "mix",
        )

    def processes(self, job: str) -> dict[int, dict[str, str]]:
        """Return the environments of a job's processes by their ids."""
        found = {}
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                words = path.read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            env = dict(word.split("=", 1) for word in words if "=" in word)
            if env.get("SLURM_JOB_ID") == job and env.get("SLURM_CONF") == self.env["SLURM_CONF"]:
                found[int(path.parent.name)] = env
        return found

    def daemons(self, job: str) -> list[int]:
        """Return the ids of the slurmstepd processes of a job."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = path.read_bytes().decode(errors="replace")
            except OSError:
                continue
            if line.startswith(f"slurmstepd: [{job}."):
                found.append(int(path.parent.name))
        return found


def until(look: Callable[[], Any], what: str, seconds: float = 240) -> Any:
    """Return the first thing that is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.2)
    raise AssertionError(f"waited {seconds:.0f} s for {what}")
