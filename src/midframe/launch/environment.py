"""What a result was made with and on: versions, code revision, machine. Needs PyTorch alone."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from midframe import __version__
from midframe.launch import machine

# Where a package has several distributions, the first that is installed counts.
_DISTRIBUTIONS = {
    "lightning": ("lightning",),
    "hydra-core": ("hydra-core",),
    "numpy": ("numpy",),
    "opencv-python-headless": ("opencv-python-headless",),
    "av": ("av",),
    "numba": ("numba",),
    "triton": ("triton",),
    "cupy": ("cupy-cuda13x", "cupy-cuda12x", "cupy"),
}
# Parts of the record that say where and when: two results that differ in nothing else are alike.
PLACE = ("date", "host", "processor", "cores", "gpu", "capability", "driver", "cuda")


def environment(device: str | None = None) -> dict[str, Any]:
    """Return versions, hardware and code revision, for the record.

    Args:
        device: what was used, "cpu" or "cuda"; None: a GPU if there is one.
    """
    return {
        "versions": _versions(),
        "python": platform.python_version(),
        "revision": revision(),
        "date": datetime.date.today().isoformat(),
        "host": platform.node(),
        "processor": machine.processor(),
        "cores": os.cpu_count(),
        "gpu": None,
        **(_gpu() if device != "cpu" and torch.cuda.is_available() else {}),
    }


def revision(folder: Path = Path(__file__).parent) -> str | None:
    """Return the git revision of a folder, with "+changes" if files differ from the commit.

    Args:
        folder: with code; of midframe itself by default.

    Returns:
        None where git knows nothing of it, as of a package that is installed in an environment
        inside of a repository.
    """

    def git(*args: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *args], cwd=folder, capture_output=True, text=True, timeout=5, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    if git("ls-files", "--error-unmatch", ".") is None:
        return None
    commit = git("rev-parse", "--short=12", "HEAD")
    if commit is None:
        return None
    return commit + ("+changes" if git("status", "--porcelain", "-uno") else "")


def _versions() -> dict[str, str]:
    """Return what is installed, imported or not: what was imported before plays no part."""
    versions = {"midframe": __version__, "torch": torch.__version__}
    for name, distributions in _DISTRIBUTIONS.items():
        for distribution in distributions:
            try:
                versions[name] = metadata.version(distribution)
                break
            except metadata.PackageNotFoundError:
                continue
    return versions


def _gpu() -> dict[str, Any]:
    index = torch.cuda.current_device()
    major, minor = torch.cuda.get_device_capability(index)
    return {
        "gpu": torch.cuda.get_device_name(index),
        "capability": f"{major}.{minor}",
        "driver": machine.driver(),
        "cuda": torch.version.cuda,
    }
