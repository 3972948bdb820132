"""Files that tests of the engines share: each is exported once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_network import wanted

from midframe.export.make import make
from midframe.models.base import Interpolator


@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Callable[..., tuple[Path, Interpolator]]:
    """Export a tiny network; returns the file and the network."""
    folder = tmp_path_factory.mktemp("exports")
    made: dict[tuple[str, str, object], tuple[Path, Interpolator]] = {}

    def export(
        name: str, format: str, size: tuple[int, int] | None = None
    ) -> tuple[Path, Interpolator]:
        if (name, format, size) not in made:
            for package in {"onnx": ("onnx", "onnxscript", "onnxruntime"), "pt2": ()}[format]:
                pytest.importorskip(package)
            path = folder / f"{name}-{size}.{format}"
            one = wanted(name, format, size)
            make(one, path)
            made[name, format, size] = path, one.model
        return made[name, format, size]

    return export
