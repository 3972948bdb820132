"""What a call costs: each call's time after warm-up, and memory at its height."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter, process_time
from typing import Any, Protocol

import numpy as np
import torch

from midframe.errors import UserError
from midframe.speed import memory

Call = Callable[[], Any]
PERCENTILES = (50, 90, 99)


class Meter(Protocol):
    """Tells of calls on one kind of device how long they take and how much memory.

    Attributes:
        clock: what times are, in words.
        peak_is: what `peak_bytes` is, in words.
    """

    clock: str
    peak_is: str

    def seconds(self, call: Call) -> tuple[float, float | None]:
        """Run a call; return its time and the processor time of all threads, None if not told."""

    def start(self) -> None:
        """Forget all memory that was in use, but for what is in use now."""

    def peak_bytes(self, weights: int) -> int:
        """Return the memory at its height since `start`, with weights of so many bytes."""


class ProcessorMeter:
    """A `Meter` of calls on the CPU, in a process that does nothing else."""

    clock = "wall time of a call"
    peak_is = "bytes of the weights and what calls add to resident memory at its height"

    def __init__(self) -> None:
        self._before = 0

    def seconds(self, call: Call) -> tuple[float, float | None]:
        """Run a call; return its wall time and the processor time of all threads."""
        start, busy = perf_counter(), process_time()
        call()
        return perf_counter() - start, process_time() - busy

    def start(self) -> None:
        """Start from the memory that is resident now."""
        self._before = memory.start_of_peak()

    def peak_bytes(self, weights: int) -> int:
        """Return the weights' bytes and what was added."""
        return weights + max(memory.peak() - self._before, 0)


class CudaMeter:
    """A `Meter` of calls on a GPU: events on the stream, the device idle before each call.

    Args:
        device: whose current stream the calls run on.
        cuda: stands in for `torch.cuda`.
    """

    clock = "between CUDA events around a call, the device idle before it"
    peak_is = "bytes that PyTorch allocated at its height, weights and frames included"

    def __init__(self, device: torch.device, cuda: Any = torch.cuda) -> None:
        self._device, self._cuda = device, cuda

    def seconds(self, call: Call) -> tuple[float, float | None]:
        """Run a call between two events and wait for the second."""
        before, after = (self._cuda.Event(enable_timing=True) for _ in range(2))
        self._cuda.synchronize(self._device)
        before.record()
        call()
        after.record()
        self._cuda.synchronize(self._device)
        return before.elapsed_time(after) / 1e3, None

    def start(self) -> None:
        """Give back what the allocator keeps, and start from what is in use now."""
        self._cuda.synchronize(self._device)
        self._cuda.empty_cache()
        self._cuda.reset_peak_memory_stats(self._device)

    def peak_bytes(self, weights: int) -> int:
        """Return what PyTorch's allocator says, in which the weights are counted."""
        return int(self._cuda.max_memory_allocated(self._device))


def meter(device: torch.device) -> Meter:
    """Return what measures calls on a device."""
    return CudaMeter(device) if device.type == "cuda" else ProcessorMeter()


def timed(
    call: Call,
    using: Meter,
    warmup: int,
    rounds: int,
    tell: Callable[[int], None] = lambda done: None,
) -> tuple[list[float], list[float]]:
    """Run a call ``warmup`` times and then time it ``rounds`` times.

    Args:
        call: what to time.
        using: times it; warm-up calls go through it as well, so that they are waited for.
        warmup: calls that are not counted.
        rounds: calls that are.
        tell: gets the number of calls so far, between them.

    Returns:
        Seconds of each counted call; and of all threads together, empty where nobody knows.

    Raises:
        UserError: for no round at all, or a negative warm-up.
    """
    if rounds < 1 or warmup < 0:
        raise UserError(f"rounds={rounds} must be at least 1, warmup={warmup} at least 0")
    wall, busy = [], []
    for number in range(warmup + rounds):
        took, worked = using.seconds(call)
        if number >= warmup:
            wall.append(took)
            busy += [] if worked is None else [worked]
        tell(number + 1)
    return wall, busy


def statistics(seconds: Sequence[float], frames: int = 1) -> dict[str, float]:
    """Return percentiles and mean of calls' times, and the rate.

    Args:
        seconds: of each call.
        frames: that a call makes.

    Returns:
        p50_ms, p90_ms, p99_ms (interpolated between calls where these are few), mean_ms,
        frames_per_s by the mean, in four digits; and rounds, the number of calls.
    """
    marks = np.percentile(seconds, PERCENTILES)
    mean = float(np.mean(seconds))
    found = {f"p{at}_ms": _digits(1e3 * mark) for at, mark in zip(PERCENTILES, marks)}
    found |= {"mean_ms": _digits(1e3 * mean), "frames_per_s": _digits(frames / mean)}
    return {**found, "rounds": len(seconds)}


def _digits(value: float) -> float:
    return float(f"{value:.4g}")
