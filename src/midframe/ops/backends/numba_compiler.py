"""How the CPU's loops are compiled. Needs numba: import this file inside functions only."""

from __future__ import annotations

import contextlib
import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

FOLDER = Path(__file__).parent


def compiled(function: Callable[..., None]) -> Any:
    """Compile ``function`` at its first call with each set of types; decorator.

    The code is kept in the package's __pycache__, or the user's cache folder where that can't be
    written (NUMBA_CACHE_DIR names another), and compiled in each process where neither can. It is
    compiled anew once any of the files has changed that it may be made of.

    Contraction to multiply-add is the only liberty: infinities, NaN and the order of sums stay.
    """
    options: dict[str, Any] = {
        "nogil": True,
        "error_model": "numpy",
        "fastmath": {"contract", "nsz"},
        "boundscheck": False,
    }
    try:
        kernel = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder for the cache
        return numba.njit(**options)(function)
    # By itself numba notices a change of the kernel's own file, not of one that it calls into or
    # takes a constant from. Where a release of numba names this otherwise, that is how it stays.
    with contextlib.suppress(AttributeError):
        index = kernel._cache._cache_file
        index._source_stamp = (index._source_stamp, digest())
    return kernel


@functools.cache
def digest() -> str:
    """Return a digest of all that kernels are made of."""
    files = sorted(FOLDER.glob("numba_*.py"))
    files.append(FOLDER.parent / "reference.py")  # its constants
    parts = (hashlib.sha256(file.read_bytes()).digest() for file in files if file.is_file())
    return hashlib.sha256(b"".join(parts)).hexdigest()
