"""Speed of the operators on a GPU: device time with cold caches, host time, recompilations.

Written to give figures on a machine nobody prepared: a side that fails is told and left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from midframe import ops
from midframe.errors import UserError
from midframe.ops import backend as backends
from midframe.ops.backends import launcher
from midframe.speed import ops_cases, ops_peers_cuda
from midframe.speed.ops import COPY, Say, begin, prepare, say_sides, target, tell
from midframe.speed.ops_cases import FORWARD, Case
from midframe.speed.turns import Call, Seconds, ratio

PER_ELEMENT = "per-element atomic"
CLOCK = 2e9  # cycles a second, or a little more than a GPU has
LONGEST_WAIT = 0.05  # seconds by which the host may get ahead
LEAST_FLUSH = 2**28
SHAPES = ((1, 32, 36, 60), (2, 32, 33, 47), (3, 16, 24, 40), (1, 3, 90, 50), (4, 5, 17, 19))
HOST_CALLS = 100


def bench_cuda(only: Sequence[str], rounds: int, say: Say) -> dict[str, Any]:
    """Measure on the current GPU; see `ops.bench_ops`."""
    if not torch.cuda.is_available():
        raise UserError("bench ops --device cuda: PyTorch finds no CUDA device here")
    device = torch.device("cuda", torch.cuda.current_device())
    ours = backends.availability("cupy")
    if not ours.ok:
        say(f"the kernels are left out: {ours.why}")
    timer = Timer(device)
    found = [
        measure(case, kind, timer, rounds, say)
        for case in ops_cases.on_cuda(only, device)
        for kind in case.passes
    ]
    out: dict[str, Any] = {
        "benchmark": "ops",
        "device": "cuda",
        "gpu": torch.cuda.get_device_name(device),
        "rounds": rounds,
        "torch": torch.__version__,
        "kernels": ours.why or "ok",
        "cases": found,
    }
    if ours.ok:
        out["host_us"] = {op: _attempt(partial(host_times, op, device)) for op in only}
        out["recompiles"] = {op: _attempt(partial(recompiles, op, device)) for op in only}
        say("\nmicroseconds of the host for a call")
        for op, times in out["host_us"].items():
            say(f"  {op:<16} " + ", ".join(f"{what} {time}" for what, time in times.items()))
    out["targets"] = tell(list(_targets(out)), say)
    return out


class Timer:
    """Times calls by events, with cold caches and the host ahead of the device.

    Before each call a buffer larger than the cache is read, and the device is kept busy for as
    long as the host needs to enqueue the call: what is timed is the device alone.
    """

    def __init__(self, device: torch.device) -> None:
        found = torch.cuda.get_device_properties(device)
        size = max(LEAST_FLUSH, 3 * getattr(found, "L2_cache_size", 0))
        self.buffer = torch.zeros(size // 4, device=device)
        self.sink = torch.zeros((), device=device)
        self.start, self.end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def host_time(self, call: Call) -> float:
        """Return the seconds that enqueuing takes, once warm."""
        call()
        torch.cuda.synchronize()
        start = perf_counter()
        call()
        taken = perf_counter() - start
        torch.cuda.synchronize()
        return taken

    def __call__(self, call: Call, host: float) -> float:
        """Return the device's seconds for one call that takes the host ``host`` seconds."""
        if hasattr(torch.cuda, "_sleep"):
            torch.cuda._sleep(int(CLOCK * min(2 * host + 2e-4, LONGEST_WAIT)))
        torch.sum(self.buffer, 0, out=self.sink)  # reads: nothing dirty is left to write back
        self.start.record()
        result = call()
        self.end.record()
        torch.cuda.synchronize()
        del result
        return self.start.elapsed_time(self.end) / 1e3


def measure(case: Case, kind: str, timer: Timer, rounds: int, say: Say) -> dict[str, Any]:
    """Time one pass of one case through all sides that run here."""
    out = begin(case, kind, say)
    with warnings_kept():
        results, calls = prepare(case, kind, dict(_sides(case, kind)))
    half = torch.zeros(case.useful(kind) // 2, dtype=torch.uint8, device=timer.buffer.device)
    other = torch.zeros_like(half)
    calls = {COPY: lambda: other.copy_(half), **calls}
    host = {name: timer.host_time(call) for name, call in calls.items()}
    times: Seconds = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(timer(call, host[name]))
    for name, taken in times.items():
        results[name] = {
            "us": round(1e6 * median(taken), 2),
            "gbps": round(case.useful(kind) / median(taken) / 1e9, 1),
            "percent_of_copy": round(100 * ratio(times, COPY, name), 1),
            **results.get(name, {}),
        }
    out["sides"] = {COPY: results.pop(COPY), **results}
    slow = [name for name in times if name not in (COPY, "cupy")]
    fast = "cupy" if "cupy" in times else "torch"
    out["ratios"] = {f"{fast} over {n}": ratio(times, n, fast) for n in slow if n != fast}
    say_sides(out, "us", say)
    torch.cuda.empty_cache()
    return out


@contextlib.contextmanager
def warnings_kept() -> Iterator[None]:
    """Leave out what PyTorch warns of at first use, which would tear the table apart."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _sides(case: Case, kind: str) -> Iterator[tuple[str, ops_cases.Function]]:
    yield case.usual
    yield "torch", partial(case.call, backend="torch")
    if not backends.availability("cupy").ok:
        return
    if case.op == "splat":
        yield PER_ELEMENT, partial(ops_peers_cuda.soft, ops_peers_cuda.PerElement.apply)
        if kind == FORWARD:
            if ops_peers_cuda.why_no_triton() is None:
                triton = ops_peers_cuda.triton_splat
                yield "triton atomic", partial(ops_peers_cuda.soft, triton)
            yield from _forms()
    yield "cupy", partial(case.call, backend="cupy")


def _forms() -> Iterator[tuple[str, ops_cases.Function]]:
    """Yield each form of our splat, whatever the default would choose."""
    from midframe.ops.backends import cupy_splat

    for form in getattr(cupy_splat, "FORMS", ()):

        def run(input: Tensor, flow: Tensor, metric: Tensor, form: str = form) -> Tensor:
            return cupy_splat.forward_with(form, input, flow, metric, "soft", "addeps")[0]

        yield f"cupy {form}", run


def small_call(
    op: str, shape: Sequence[int], device: torch.device, grad: bool
) -> tuple[Call, list]:
    """Return a call of an operator on random tensors of a shape, and its tensors."""
    batch, _, height, width = shape
    sizes = {
        "splat": (shape, (batch, 2, height, width), (batch, 1, height, width)),
        "correlation": (shape, shape),
        "adacof": ((batch, 3, height + 4, width + 4), *[(batch, 25, height, width)] * 3),
    }[op]
    tensors = [torch.rand(*size, device=device) for size in sizes]
    for x in tensors[1 if op == "adacof" else 0 :]:
        x.requires_grad_(grad)
    options = ("soft",) if op == "splat" else ()
    return partial(getattr(ops, op), *tensors, *options, backend="cupy"), tensors


def host_times(op: str, device: torch.device) -> dict[str, float]:
    """Return the host's microseconds for a call: without and with a gradient, and in a graph."""
    shape = (1, 32, 28, 16)
    plain, _ = small_call(op, shape, device, grad=False)
    taped, tensors = small_call(op, shape, device, grad=True)
    wanted = [x for x in tensors if x.requires_grad]
    grad = torch.ones_like(taped())

    def both() -> Any:
        return torch.autograd.grad(taped(), wanted, grad)

    with torch.inference_mode():
        out = {"inference": _enqueue(plain)}
    out |= {"with gradient": _enqueue(taped), "forward and backward": _enqueue(both)}
    return out | _attempt(partial(_in_a_graph, plain))


def _in_a_graph(call: Call, calls: int = 20) -> dict[str, float]:
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        kept = [call() for _ in range(calls)]
    taken = _enqueue(graph.replay, 20) / calls
    del kept
    return {"in a graph": round(taken, 2)}


def _enqueue(call: Call, count: int = HOST_CALLS) -> float:
    """Return the microseconds between calls of which none is waited for."""
    taken = []
    for _ in range(9):
        torch.cuda.synchronize()
        start = perf_counter()
        for _ in range(count):
            call()
        taken.append((perf_counter() - start) / count)
    torch.cuda.synchronize()
    return round(1e6 * median(taken), 2)


def recompiles(op: str, device: torch.device) -> dict[str, int]:
    """Return how many kernels new shapes have compiled, forward and backward."""

    def run(shape: Sequence[int]) -> None:
        call, tensors = small_call(op, shape, device, grad=True)
        out = call()
        torch.autograd.grad(out, [x for x in tensors if x.requires_grad], torch.ones_like(out))

    def compiled() -> tuple[int, ...]:
        caches = (launcher._module, launcher._function)
        return tuple(cache.cache_info().misses for cache in caches)

    for channels in (32, 16, 3, 5):  # what may be chosen by channels is compiled once
        run((1, channels, 28, 16))
    before = compiled()
    for shape in SHAPES:
        run(shape)
    torch.cuda.synchronize(device)
    return {"new": sum(b - a for a, b in zip(before, compiled())), "shapes": len(SHAPES)}


def _attempt(task: Any) -> dict[str, Any]:
    try:
        return task()
    except Exception as error:  # as for the sides
        return {
            "error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        }


def _targets(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    def side(op: str, label: str, name: str = "cupy") -> dict[str, Any]:
        for case in found["cases"]:
            wanted = (op, label, "float32", FORWARD)
            if (case["op"], case["case"], case["dtype"], case["pass"]) == wanted:
                return {**case["sides"].get(name, {}), "ratios": case["ratios"]}
        return {}

    ran = {case["op"] for case in found["cases"]}
    if "splat" in ran:
        label = "soft C=32 1920x1080"
        mine = side("splat", label)
        yield target(f"splat {label}: percent of copy", mine.get("percent_of_copy"), 60)
        value = mine.get("ratios", {}).get(f"cupy over {PER_ELEMENT}")
        yield target(f"splat {label}: cupy over {PER_ELEMENT}", value, 5)
    if "correlation" in ran:
        label = "C=128 r=4 112x64 batch 8"
        value = side("correlation", label).get("us")
        yield target(f"correlation {label}: microseconds", value, 40, least=False)
    if "adacof" in ran:
        label = "5x5 C=3 1920x1080"
        value = side("adacof", label).get("percent_of_copy")
        yield target(f"adacof {label}: percent of copy", value, 75)
    for op, count in found.get("recompiles", {}).items():
        yield target(f"{op}: recompiled for new shapes", count.get("new"), 0, least=False)
    for op, times in found.get("host_us", {}).items():
        for what in ("inference", "with gradient", "in a graph"):
            name = f"{op}: host microseconds, {what}"
            yield target(name, times.get(what), 15, least=False)
