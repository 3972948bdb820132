"""numba's loops on several threads: every piece once, the results of one thread, faults told."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter

import pytest
import torch
from cases import adacof_case, random
from torch import Tensor

from midframe import ops

pytest.importorskip("numba")
from midframe.ops.backends.numba_threads import spread

SIZE = 96, 200  # enough rows that every loop is shared out


@pytest.mark.parametrize(("threads", "total", "least"), [(1, 10, 1), (2, 7, 1), (3, 100, 8)])
def test_every_piece_is_done_once(threads: int, total: int, least: int) -> None:
    torch.set_num_threads(threads)
    done: Counter[int] = Counter()
    lock, sizes = threading.Lock(), []

    def kernel(start: int, stop: int, *arguments: object) -> None:
        assert arguments == ("a", 2)
        with lock:
            done.update(range(start, stop))
            sizes.append(stop - start)

    spread(kernel, total, least, "a", 2)
    assert done == Counter(range(total))
    assert all(size >= least for size in sorted(sizes)[1:])  # the last range may be a rest


def test_work_is_really_shared_among_threads() -> None:
    torch.set_num_threads(2)
    together = threading.Barrier(2, timeout=30)  # passed by two at the same time only
    first, names = threading.Lock(), set()

    def kernel(start: int, stop: int) -> None:
        with first:
            new = threading.current_thread().name not in names
            names.add(threading.current_thread().name)
        if new:
            together.wait()

    spread(kernel, 8, 1)
    assert len(names) == 2


def test_little_work_stays_where_it_is() -> None:
    torch.set_num_threads(4)
    calls: list[tuple[int, int, str]] = []
    here = threading.current_thread().name
    spread(lambda *ends: calls.append((*ends, threading.current_thread().name)), 9, 10)
    assert calls == [(0, 9, here)]


def test_what_fails_in_a_thread_is_raised_after_all_have_ended() -> None:
    torch.set_num_threads(2)
    here, running = threading.current_thread(), threading.Event()

    def kernel(start: int, stop: int) -> None:
        if threading.current_thread() is not here:
            running.set()
            raise MemoryError("no room")
        assert running.wait(30)

    with pytest.raises(MemoryError, match="no room"):
        spread(kernel, 100, 1)
    done: list[int] = []
    spread(lambda start, stop: done.extend(range(start, stop)), 4, 1)  # the pool works on
    assert sorted(done) == [0, 1, 2, 3]


def _results(name: str) -> list[Tensor]:
    """Return an operator's output and gradients on inputs of `SIZE`."""
    first = random(2, 8, *SIZE, seed=1)
    if name == "correlation":
        inputs = [first, random(2, 8, *SIZE, seed=2)]
        call = lambda *x: ops.correlation(*x, 3, backend="numba")  # noqa: E731
    elif name == "adacof":
        inputs = list(adacof_case(2, 3, *SIZE, 3, 1, 2.0))
        call = lambda *x: ops.adacof(*x, 1, backend="numba")  # noqa: E731
    else:
        inputs = [first, 4 * random(2, 2, *SIZE, seed=2), random(2, 1, *SIZE, seed=3)]
        call = lambda *x: ops.splat(*x, name, "zeroeps", backend="numba")  # noqa: E731
    leaves = [x.detach().float().requires_grad_() for x in inputs]
    out = call(*leaves)
    out.backward(random(*out.shape, seed=9).to(out))
    return [out.detach(), *(leaf.grad for leaf in leaves)]


# compiled in many forms
_SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("linear", "adacof")]


@pytest.mark.parametrize("name", ["soft", "correlation", *_SLOW])
def test_results_do_not_depend_on_the_number_of_threads(name: str) -> None:
    one = _results(name)
    for threads in (2, 3):
        torch.set_num_threads(threads)
        for found, expected in zip(_results(name), one, strict=True):
            bound = 1e-6 * float(expected.abs().max())
            torch.testing.assert_close(found, expected, rtol=0, atol=bound)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_a_forked_process_gets_threads_of_its_own() -> None:
    torch.set_num_threads(2)
    spread(lambda start, stop: None, 8, 1)  # now there is a pool, whose threads do not fork
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # it would wait for ever for threads that are not there
        code = 1
        try:
            done: list[int] = []
            spread(lambda start, stop: done.extend(range(start, stop)), 8, 1)
            code = 0 if sorted(done) == list(range(8)) else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
