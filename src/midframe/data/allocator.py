"""Memory of a loading process: kept between batches instead of given back and fetched again."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_LARGEST = 32 << 20  # bytes; glibc takes no more
_KEPT = 512 << 20


def keep_freed_memory() -> bool:
    """Let malloc reuse the memory of the last batch; returns whether this system can.

    By default glibc returns blocks of a batch's size to the kernel, so every batch is paid for
    page by page again: more than half of the time of reading a batch from shards. It holds for
    the whole process; at most half a gigabyte stays with it.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST) and mallopt(_M_TRIM_THRESHOLD, _KEPT))
