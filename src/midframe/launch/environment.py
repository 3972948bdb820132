"""What a result was made with: versions, hardware and code revision."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

_PACKAGES = (
    "midframe",
    "torch",
    "lightning",
    "hydra-core",
    "numpy",
    "opencv-python-headless",
    "av",
)


def environment() -> dict[str, Any]:
    """Versions, hardware and code revision, for the record."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "versions": versions,
        "python": platform.python_version(),
        "host": platform.node(),
        "cores": os.cpu_count(),
        "gpu": gpu,
        "revision": revision(),
    }


def revision() -> str | None:
    """The git revision of the code, with "+changes" if it differs from the commit."""
    here = Path(__file__).parent

    def git(*args: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *args], cwd=here, capture_output=True, text=True, timeout=5, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = git("rev-parse", "--short=12", "HEAD")
    if commit is None:
        return None
    return commit + ("+changes" if git("status", "--porcelain", "-uno") else "")
