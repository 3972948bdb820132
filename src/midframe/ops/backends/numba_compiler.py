"""How the CPU's loops are compiled. Needs numba: import this file inside functions only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., None]) -> Any:
    """Compile ``function`` at its first call with each set of types; decorator.

    The code is kept in the package's __pycache__, or the user's cache folder where that can't be
    written (NUMBA_CACHE_DIR names another), and compiled in each process where neither can.
    numba sees that a kernel's own file has changed, not that `numba_vectors` has: whoever edits
    that file empties the cache.

    Contraction to multiply-add is the only liberty: infinities, NaN and the order of sums stay.
    """
    options: dict[str, Any] = {
        "nogil": True,
        "error_model": "numpy",
        "fastmath": {"contract", "nsz"},
        "boundscheck": False,
    }
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder for the cache
        return numba.njit(**options)(function)
