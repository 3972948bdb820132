"""Kernels are kept between processes; any change they depend on has them compiled anew."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("numba")

NAMES = ("numba_called", "numba_caller")
CALLED = """
from midframe.ops.backends.numba_compiler import compiled


@compiled
def value():
    return {value}
"""
CALLER = """
from midframe.ops.backends.numba_compiler import compiled
from numba_called import value


@compiled
def twice():
    return 2 * value()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give an empty folder that counts as the kernels'."""
    from midframe.ops.backends import numba_compiler

    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(numba_compiler, "FOLDER", tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    numba_compiler.digest.cache_clear()
    for name in NAMES:
        sys.modules.pop(name, None)


def _kernel(folder: Path, value: int) -> Callable[[], int]:
    """Write the files, and import them as a new process would."""
    from midframe.ops.backends import numba_compiler

    (folder / "numba_caller.py").write_text(CALLER)
    (folder / "numba_called.py").write_text(CALLED.format(value=value))
    numba_compiler.digest.cache_clear()
    importlib.invalidate_caches()
    for name in NAMES:
        sys.modules.pop(name, None)
    return importlib.import_module("numba_caller").twice


def test_a_kernel_is_kept(folder):
    assert _kernel(folder, 1)() == 2
    again = _kernel(folder, 1)
    assert again() == 2
    assert sum(again.stats.cache_hits.values()) == 1


def test_a_change_of_a_called_file_is_noticed(folder):
    assert _kernel(folder, 1)() == 2
    assert _kernel(folder, 1000)() == 2000
