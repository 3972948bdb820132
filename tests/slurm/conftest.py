"""A real Slurm of several virtual nodes here, started for the tests and stopped again."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cluster import Slurm
from trainings import ALONE, RECIPE, SEED, TOGETHER, uninterrupted

HERE = Path(__file__).resolve().parent
UNAVAILABLE = 3  # exit code of up.sh where this machine cannot have it


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slurm: on a real Slurm, which the tests start and stop")


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """Give a Slurm that all processes of the tests share."""
    with _cluster(_together(tmp_path_factory) / "slurm.json") as one:
        yield one


@pytest.fixture(scope="session")
def slurm_with_accounting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """Give another one, which writes down in a database what its jobs did."""
    file = _together(tmp_path_factory) / "slurm_with_accounting.json"
    with _cluster(file, ACCOUNTING="1", NODES="2") as one:
        yield one


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the run of one process that nothing interrupted."""
    return _reference(_together(tmp_path_factory) / "whole", ALONE)


@pytest.fixture(scope="session")
def whole_of_two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the run of two processes that nothing interrupted."""
    return _reference(_together(tmp_path_factory) / "whole_of_two", TOGETHER)


def _together(factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all processes of the tests share."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@contextmanager
def _cluster(file: Path, **options: str) -> Iterator[Slurm]:
    """Start a cluster with the first that needs it, and stop it with the last."""
    with _shared(file) as about:
        if not about.get("users"):
            about.update(_up(options), users=0)
        if not about["reason"]:
            about["users"] += 1
    if about["reason"]:
        pytest.skip(about["reason"])
    yield Slurm(Path(about["state"]))
    with _shared(file) as about:
        about["users"] -= 1
        if not about["users"]:
            env = {**os.environ, "STATE": about["state"]}
            subprocess.run([HERE / "down.sh"], env=env, check=True, timeout=120)


def _up(options: dict[str, str]) -> dict[str, str]:
    if sys.platform != "linux" or shutil.which("apt-get") is None:
        return {"reason": "Slurm is installed from Debian's packages, and this is no Debian"}
    state = tempfile.mkdtemp(prefix="midframe-slurm-")  # daemons refuse pytest's private folders
    install = os.environ.get("MIDFRAME_SLURM_INSTALL", "1")
    env = {**os.environ, "STATE": state, "INSTALL": install, **options}
    try:
        done = subprocess.run(
            [HERE / "up.sh"], env=env, capture_output=True, text=True, timeout=300
        )
        if done.returncode == 0:
            return {"reason": "", "state": state}
    except subprocess.TimeoutExpired as late:
        done = subprocess.CompletedProcess(late.args, 1, "", str(late))
    subprocess.run([HERE / "down.sh"], env=env, timeout=120)
    assert done.returncode == UNAVAILABLE, done.stderr
    return {"reason": f"no Slurm here: {done.stderr.strip()}"}


def _reference(runs: Path, where: list[str]) -> Path:
    with _shared(runs.with_suffix(".json")) as about:
        if "run" not in about:
            about["run"] = str(uninterrupted(runs, *RECIPE, *where, f"seed={SEED}"))
    return Path(about["run"])


@contextmanager
def _shared(path: Path) -> Iterator[dict[str, Any]]:
    """Hold a record that several processes change."""
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        record = json.loads(file.read() or "{}")
        yield record
        file.seek(0)
        file.truncate()
        file.write(json.dumps(record))
