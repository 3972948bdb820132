"""Files that tests of the engines share: each is exported once, whoever of them asks first."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_network import wanted

from midframe.export.make import make
from midframe.models.base import Interpolator


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Callable[..., tuple[Path, Interpolator]]:
    """Export a tiny network; returns the file, of all processes of the tests, and the network."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "exports"
    folder.mkdir(exist_ok=True)

    def export(
        name: str, format: str, size: tuple[int, int] | None = None
    ) -> tuple[Path, Interpolator]:
        for package in {"onnx": ("onnx", "onnxscript", "onnxruntime"), "pt2": ()}[format]:
            pytest.importorskip(package)
        path = folder / f"{name}-{size}.{format}"
        one = wanted(name, format, size)
        with (folder / f"{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                make(one, path)
        return path, one.model.requires_grad_(False)

    return export
