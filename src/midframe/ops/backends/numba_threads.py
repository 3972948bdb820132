"""Spread a compiled loop over a few threads of our own.

numba's own threading layers abort after a fork or under concurrent use; the kernels release the
GIL instead and each call gets a disjoint range of the output.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

PARTS_PER_THREAD = 4


@dataclass
class _Shared:
    lock: threading.Lock
    pool: ThreadPoolExecutor | None = None
    size: int = 0


_shared = _Shared(threading.Lock())


def spread(kernel: Callable[..., None], total: int, least: int, *arguments: object) -> None:
    """Call ``kernel(start, stop, *arguments)`` on ranges that make up ``range(total)``.

    At most `torch.get_num_threads` calls run at a time; where one thread or one range is enough
    the call is made in place.

    Args:
        kernel: releases the GIL and writes only what its range owns.
        total: how many pieces of work there are.
        least: pieces that are worth a call.
        arguments: passed on.
    """
    threads = min(torch.get_num_threads(), max(1, total // max(1, least)))
    if threads == 1:
        kernel(0, total, *arguments)
        return
    step = max(least, -(-total // (threads * PARTS_PER_THREAD)))
    starts = itertools.count(0, step)

    def work() -> None:
        for start in starts:
            if start >= total:
                return
            kernel(start, min(total, start + step), *arguments)

    pool = _pool(torch.get_num_threads())
    others = [pool.submit(work) for _ in range(threads - 1)]
    try:
        work()
    finally:
        failures = [other.exception() for other in others]
    for failure in failures:
        if failure is not None:
            raise failure


def plain(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``tensor`` contiguous and in ``dtype``, itself where it is so already."""
    return tensor.detach().to(dtype).contiguous()


def _pool(threads: int) -> ThreadPoolExecutor:
    with _shared.lock:
        if _shared.pool is None or _shared.size != threads:
            # the pool let go ends its threads when nobody holds it any more
            _shared.pool = ThreadPoolExecutor(max(1, threads - 1), "midframe-ops")
            _shared.size = threads
        return _shared.pool


def _forget() -> None:
    global _shared
    _shared = _Shared(threading.Lock())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)  # a fork takes the pool along, not its threads
