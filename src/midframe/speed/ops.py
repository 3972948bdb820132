"""Speed and memory of the operators: every backend and the usual forms, in turns in one process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from midframe.ops import backend as backends
from midframe.speed import ops_cases
from midframe.speed.ops_cases import BOTH, FORWARD, Case
from midframe.speed.turns import Call, Seconds, milliseconds, ratio, turns, using_threads

COPY = "copy"
SAVED = "saved memory"
BUSY = 0.5  # of processes on average, in the last minute
BARS = {("splat", BOTH): 2.2, ("correlation", FORWARD): 3.0, ("adacof", FORWARD): 1.0}
SAVED_BAR = 0.333
# numba over PyTorch; correlation has no such bar: matrix products are as fast in PyTorch
NUMBA_BARS = {("splat", BOTH): 2.0, ("adacof", FORWARD): 2.0}
Say = Callable[[str], None]
Sides = dict[str, ops_cases.Function]


def say(line: str) -> None:
    """Print a line for people, beside the JSON."""
    print(line, file=sys.stderr, flush=True)


def bench_ops(
    device: str = "cpu",
    *,
    only: Sequence[str] = backends.OPERATORS,
    rounds: int | None = None,
    threads: int | None = None,
    say: Say = say,
) -> dict[str, Any]:
    """Measure the operators on one device.

    Args:
        device: "cpu" or "cuda".
        only: the operators to measure.
        rounds: timed calls of each side; None takes 10 on a CPU, 30 on a GPU.
        threads: of PyTorch, on a CPU; None leaves its setting.
        say: gets the table line by line as it comes to be.

    Returns:
        What can be written as JSON: cases with their sides and ratios, and the targets.

    Raises:
        UserError: if there is no GPU.
    """
    if device == "cuda":
        from midframe.speed.ops_cuda import bench_cuda

        return bench_cuda(only, rounds or 30, say)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load > BUSY:
        say(f"{load:.1f} processes are running already: they weigh on the figures, ratios too")
    with using_threads(threads) as used:
        found = [
            measure_cpu(case, kind, rounds or 10, say)
            for case in ops_cases.on_cpu(only)
            for kind in case.passes
        ]
    return {
        "benchmark": "ops",
        "device": "cpu",
        "threads": used,
        "rounds": rounds or 10,
        "load_before": round(load, 2),
        "torch": torch.__version__,
        "cases": found,
        "targets": tell(list(_cpu_targets(found)), say),
    }


def measure_cpu(case: Case, kind: str, rounds: int, say: Say) -> dict[str, Any]:
    """Time one pass of one case through all sides; see `bench_ops`."""
    sides: Sides = {case.usual[0]: case.usual[1], "torch": _on(case, "torch")}
    if backends.availability("numba").ok:
        sides["numba"] = _on(case, "numba")
    out = begin(case, kind, say)
    results, calls = prepare(case, kind, sides)
    half = torch.zeros(case.useful(kind) // 2, dtype=torch.uint8)
    other = torch.zeros_like(half)
    calls = {COPY: lambda: other.copy_(half), **calls}
    for call in calls.values():
        call()  # warms up
    wall, busy = turns(calls, rounds)
    for name in calls:
        shown = {"ms": milliseconds(wall[name]), "cpu_ms": milliseconds(busy[name])}
        results[name] = {**shown, **results.get(name, {})}
    out["sides"] = {name: results[name] for name in (*calls, *(set(results) - set(calls)))}
    out["ratios"] = dict(_cpu_ratios(case.usual[0], wall, busy, results))
    say_sides(out, "ms", say)
    return out


def _on(case: Case, backend: str) -> ops_cases.Function:
    return lambda *tensors: case.call(*tensors, backend=backend)


def begin(case: Case, kind: str, say: Say) -> dict[str, Any]:
    """Announce a pass of a case and start its record."""
    dtype = str(case.dtype).removeprefix("torch.")
    say(f"\n{case.op} {case.label} {dtype}, {kind}")
    return {
        "op": case.op,
        "case": case.label,
        "dtype": dtype,
        "pass": kind,
        "useful_mb": round(case.useful(kind) / 1e6, 2),
    }


def prepare(
    case: Case, kind: str, sides: Sides
) -> tuple[dict[str, dict[str, Any]], dict[str, Call]]:
    """Run each side once: how far it is from float64 and what it keeps; then what to time.

    A side that fails is told with its error's first line and not timed.
    """
    inputs = case.make()
    truth = _truth(case, kind, inputs)
    results: dict[str, dict[str, Any]] = {}
    calls: dict[str, Call] = {}
    for name, function in sides.items():
        call = call_of(function, inputs, case.needs, kind)
        try:
            found = call()
            results[name] = {}
            if truth and (case.same or name != case.usual[0]):
                results[name]["max_difference"] = _difference(found, truth)
            del found
            if kind == BOTH:
                kept = saved_bytes(function, inputs, case.needs)
                results[name]["saved_mb"] = round(kept / 1e6, 3)
            calls[name] = call
        except Exception as error:  # one side must not cost the others their figures
            lines = str(error).strip().splitlines()
            results[name] = {"error": f"{type(error).__name__}: {lines[0] if lines else ''}"}
    return results, calls


def call_of(
    function: ops_cases.Function, inputs: Sequence[Tensor], needs: Sequence[bool], kind: str
) -> Call:
    """Return what to time: the call without gradients, or the call and its gradients."""
    if kind == FORWARD:

        def forward() -> list[Tensor]:
            with torch.inference_mode():
                return [function(*inputs)]

        return forward
    leaves = [x.detach().requires_grad_(need) for x, need in zip(inputs, needs)]
    wanted = [x for x in leaves if x.requires_grad]
    grads: list[Tensor] = []

    def both() -> list[Tensor]:
        out = function(*leaves)
        if not grads:
            random = torch.Generator().manual_seed(1)
            grads.append(torch.randn(out.shape, generator=random).to(out))
        return [out.detach(), *torch.autograd.grad(out, wanted, grads[0])]

    return both


def saved_bytes(
    function: ops_cases.Function, inputs: Sequence[Tensor], needs: Sequence[bool]
) -> int:
    """Return what the graph keeps in memory beyond the inputs and the output."""
    leaves = [x.detach().requires_grad_(need) for x, need in zip(inputs, needs)]
    kept: list[Tensor] = []  # alive, so that no address serves twice

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor.detach())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        out = function(*leaves)
    own = {x.untyped_storage().data_ptr() for x in (*leaves, out)}
    storages = {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in kept}
    return sum(size for at, size in storages.items() if at not in own)


def _truth(case: Case, kind: str, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return the definition's results in float64, or nothing where memory does not suffice."""
    try:
        return call_of(case.truth, [x.double() for x in inputs], case.needs, kind)()
    except torch.OutOfMemoryError:
        return []


def _difference(found: Sequence[Tensor], truth: Sequence[Tensor]) -> float:
    """Return the largest difference, each tensor's as a part of its own largest value."""
    worst = (
        ((mine.double() - its).abs().max() / its.abs().max()).item()
        for mine, its in zip(found, truth)
    )
    return float(f"{max(worst):.1e}")


def _cpu_ratios(
    usual: str,
    wall: Seconds,
    busy: Seconds,
    results: dict[str, dict[str, Any]],
) -> Iterator[tuple[str, float]]:
    for fast, slow in (("torch", usual), ("numba", "torch"), ("numba", usual)):
        if fast in wall and slow in wall:
            yield f"{fast} over {slow}", ratio(wall, slow, fast)
            yield f"{fast} over {slow}, processor time", ratio(busy, slow, fast)
    mine, its = (results.get(name, {}).get("saved_mb") for name in ("torch", usual))
    if mine is not None and its:
        yield f"{SAVED}, torch over {usual}", round(mine / its, 3)
    for name in ("torch", "numba"):
        if name in wall:
            yield f"time, {name} over copy", ratio(wall, name, COPY)


def target(what: str, value: float | None, bar: float, least: bool = True) -> dict[str, Any]:
    """Hold a figure against what it should be at least (or at most)."""
    met = value is not None and (value >= bar if least else value <= bar)
    return {"what": what, "value": value, "bar": f"{'>=' if least else '<='} {bar:g}", "met": met}


def tell(targets: list[dict[str, Any]], say: Say) -> list[dict[str, Any]]:
    """Print the targets and pass them on."""
    if targets:
        say("\ntargets")
    for found in targets:
        mark = "met   " if found["met"] else "MISSED"
        value = "not measured" if found["value"] is None else f"{found['value']:g}"
        say(f"  {mark}  {found['what']}: {value} (bar {found['bar']})")
    return targets


def _cpu_targets(cases: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for case in cases:
        if case["op"] == "splat" and "C=32" not in case["case"]:
            continue
        what = f"{case['op']} {case['case']}, {case['pass']}"
        bar = BARS.get((case["op"], case["pass"]))
        for name, value in case["ratios"].items():
            if name.startswith(SAVED):
                yield target(f"{what}: {name}", value, SAVED_BAR, least=False)
            elif name == "numba over torch" and (case["op"], case["pass"]) in NUMBA_BARS:
                yield target(f"{what}: {name}", value, NUMBA_BARS[case["op"], case["pass"]])
            elif name.startswith("torch over") and "processor" not in name and bar is not None:
                yield target(f"{what}: {name}", value, bar)


def say_sides(case: dict[str, Any], unit: str, say: Say) -> None:
    """Print one line for each side of a case."""
    for name, side in case["sides"].items():
        if "error" in side:
            say(f"  {name:<16} {side['error']}")
            continue
        words = [f"  {name:<16} {side[unit]:>9.3f} {unit}"]
        for key, shown in (("cpu_ms", "{:.3f} ms processor"), ("gbps", "{:.0f} GB/s")):
            words += [shown.format(side[key])] if key in side else []
        words += [f"{side['percent_of_copy']:.0f} % of copy"] if "percent_of_copy" in side else []
        words += [f"off by {side['max_difference']:.1e}"] if "max_difference" in side else []
        words += [f"keeps {side['saved_mb']:.3f} MB"] if "saved_mb" in side else []
        say("  ".join(words))
    for name, value in case["ratios"].items():
        if "processor" not in name:
            say(f"    {name}: {value:g}")
