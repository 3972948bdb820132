"""What is told of calls' times, and how CPU and GPU measure them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from midframe.errors import UserError
from midframe.speed.cost import CudaMeter, ProcessorMeter, meter, statistics, timed


def test_percentiles_by_hand() -> None:
    got = statistics([i / 1e3 for i in range(101)][::-1])  # 0, 1, ... 100 ms, in any order
    assert (got["p50_ms"], got["p90_ms"], got["p99_ms"], got["mean_ms"]) == (50, 90, 99, 50)
    assert got["frames_per_s"] == 20 and got["rounds"] == 101


def test_percentiles_are_those_of_numpy() -> None:
    times = np.random.default_rng(0).exponential(0.1, 37)
    got = statistics(list(times))
    for at in (50, 90, 99):
        assert got[f"p{at}_ms"] == pytest.approx(1e3 * np.percentile(times, at), rel=1e-3)
    assert got["mean_ms"] == pytest.approx(1e3 * times.mean(), rel=1e-3)


def test_the_rate_is_of_frames() -> None:
    assert statistics([0.5, 0.5], frames=6)["frames_per_s"] == 12


class Given:
    """A meter whose clock says what it is given."""

    clock = peak_is = ""

    def __init__(self, *seconds: float, busy: bool = True) -> None:
        self.left, self.busy = list(seconds), busy

    def seconds(self, call: Any) -> tuple[float, float | None]:
        call()
        took = self.left.pop(0)
        return took, 2 * took if self.busy else None


def test_warm_up_calls_run_and_do_not_count() -> None:
    calls: list[int] = []
    told: list[int] = []
    using = Given(9, 8, 1, 2, 3)
    wall, busy = timed(lambda: calls.append(1), using, 2, 3, told.append)  # type: ignore[arg-type]
    assert wall == [1, 2, 3] and busy == [2, 4, 6]
    assert len(calls) == 5 and told == [1, 2, 3, 4, 5]
    assert timed(lambda: None, Given(1, busy=False), 0, 1) == ([1], [])  # type: ignore[arg-type]


def test_no_round_is_told() -> None:
    for warmup, rounds in ((1, 0), (-1, 1)):
        with pytest.raises(UserError, match="at least"):
            timed(lambda: None, ProcessorMeter(), warmup, rounds)


class FakeCuda:
    """`torch.cuda` with a device that works off its queue only when it is waited for."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.queue: list[Any] = []
        self.now = 0.0

    def launch(self, milliseconds: float) -> None:
        self.queue.append(milliseconds)

    def synchronize(self, device: Any) -> None:
        self.log.append("wait")
        for work in self.queue:
            if isinstance(work, float):
                self.now += work
            else:
                work.at = self.now
        self.queue.clear()

    def Event(self, enable_timing: bool) -> Any:  # noqa: N802
        assert enable_timing
        cuda = self

        class Event:
            at: float | None = None

            def record(self) -> None:
                cuda.log.append("record")
                cuda.queue.append(self)

            def elapsed_time(self, other: Any) -> float:
                assert self.at is not None and other.at is not None, "not waited for"
                return other.at - self.at

        return Event()

    def empty_cache(self) -> None:
        self.log.append("empty")

    def reset_peak_memory_stats(self, device: Any) -> None:
        self.log.append("reset")

    def max_memory_allocated(self, device: Any) -> int:
        return 1234


def test_a_gpu_is_idle_before_a_call_and_waited_for_behind_it() -> None:
    cuda = FakeCuda()
    using = CudaMeter(torch.device("cuda:1"), cuda)
    cuda.launch(500.0)  # of somebody else, must not count

    def call() -> None:
        cuda.log.append("call")
        cuda.launch(7.0)

    assert using.seconds(call) == (pytest.approx(7e-3), None)
    assert cuda.log == ["wait", "record", "call", "record", "wait"]


def test_memory_of_a_gpu_is_what_pytorch_allocated_since_the_start() -> None:
    cuda = FakeCuda()
    using = CudaMeter(torch.device("cuda"), cuda)
    using.start()
    assert cuda.log == ["wait", "empty", "reset"]
    assert using.peak_bytes(weights=99) == 1234  # the weights are among them


def test_memory_on_the_cpu_is_weights_and_what_a_call_adds() -> None:
    using = meter(torch.device("cpu"))
    using.start()
    using.seconds(lambda: torch.ones(50_000_000).sum())  # 200 MB for a moment
    assert 195e6 <= using.peak_bytes(weights=0) < 240e6
    using.start()
    assert using.peak_bytes(weights=10**9) < 1.02e9


def test_time_on_the_cpu_is_also_that_of_the_processor() -> None:
    wall, busy = ProcessorMeter().seconds(lambda: sum(range(100_000)))
    assert wall > 0 and busy is not None and busy > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_real_gpu_is_measured() -> None:
    using = meter(torch.device("cuda"))
    using.start()
    x = torch.ones(4096, 4096, device="cuda")
    took, _ = using.seconds(lambda: x @ x)
    assert took > 0 and using.peak_bytes(0) >= 2 * x.numel() * 4
