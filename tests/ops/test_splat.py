"""Splatting on every backend: published numbers, the definition as a loop, awkward inputs."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from cases import (
    FORWARD,
    GRADIENT,
    GRID,
    MODES,
    NORMALIZE,
    SPLAT_CASES,
    WAYS,
    assert_all_near,
    assert_near,
    assert_rounded,
    cast,
    evaluate,
    random,
    smooth,
    splat_case,
    splat_loop,
    splat_sums,
)

from midframe import ops

PUBLISHED = (
    "fractional_c3_b2",
    "outside_c1",
    "integer_c8",
    "holes_zero_weight_c3_b2",
    "metric_large_c3",
    "metric_underflow_c3",
    "metric_negative_c3",
    "nonfinite_flow_c3",
    "zero_and_tiny_flow_c3",
)
OLD = {"summation": "sum", "average": "avg", "linear": "linear", "softmax": "soft"}


def _tensors(name: str, mode: str) -> list[torch.Tensor | None]:
    input, flow, metric = splat_case(name)
    return [input, flow, metric if mode in ("linear", "soft") else None]


def _arrays(tensors: list[torch.Tensor | None]) -> list[np.ndarray | None]:
    return [x if x is None else x.double().numpy() for x in tensors]


@functools.cache
def _exact(case: str, mode: str, normalize: str) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
    """Return the reference's value and gradients in float64, the same for all backends."""
    return evaluate(
        lambda *tensors: ops.splat(*tensors, mode, normalize, backend="reference"),
        cast(_tensors(case, mode), torch.float64),
    )


def _way(name: str) -> tuple[str, str]:
    """Return mode and normalisation of a published name."""
    if name.startswith("old-"):
        return OLD[name[4:]], "zeroeps"
    mode, _, normalize = name.partition("-")
    return mode, normalize or "addeps"


# --- published numbers


@pytest.mark.parametrize("case", PUBLISHED)
def test_equals_the_published_kernels(golden, run, case):
    with np.load(golden("ops/softsplat.npz")) as arrays:
        data = {k[len(case) + 1 :]: arrays[k] for k in arrays if k.startswith(f"{case}/")}
    names = sorted({k.split("/")[0] for k in data if "/" in k})
    assert len(names) == (10 if case == "nonfinite_flow_c3" else 14)
    for name in names:
        mode, normalize = _way(name)
        for bits in ("", "64"):
            if f"{name}/out{bits}" not in data or (bits and run.slow):
                continue
            dtype = torch.float64 if bits else torch.float32
            given = [torch.from_numpy(data[k]).to(dtype) for k in ("input", "flow", "metric")]
            if mode in ("sum", "avg"):
                given[2] = None
            grad = torch.from_numpy(data["grad_out"])
            found = evaluate(run.operator("splat", mode, normalize), cast(given, run.device), grad)
            keys = [f"{name}/grad_{x}{bits}" for x in ("input", "flow", "metric")]
            wanted = [torch.from_numpy(data[k]) if k in data else None for k in keys]
            answer = torch.from_numpy(data[f"{name}/out{bits}"]), wanted
            scale = 1e-7 if bits else 1.0
            assert_all_near(found, answer, scale * FORWARD, scale * GRADIENT)


@pytest.mark.parametrize("name", ["summation", "average", "linear", "softmax"])
@pytest.mark.parametrize("normalize", ["zeroeps", "addeps"])
def test_equals_the_published_form_on_the_tape(golden, run, name, normalize):
    if name == "summation" and normalize == "addeps":
        pytest.skip("summation is not normalised")
    with np.load(golden("softsplat/splat.npz")) as arrays:
        data = {k: torch.from_numpy(arrays[k]) for k in arrays if arrays[k].ndim == 4}
    mode, key = OLD[name], f"{name}_{'zero1' if normalize == 'zeroeps' else 'add1e-7'}"
    metric = {"linear": data["metric"].abs() + 0.1, "soft": data["metric"]}.get(mode)
    given = [data["x"], data["flow"], metric]
    out, grads = evaluate(
        run.operator("splat", mode, normalize), cast(given, run.device), data["gout"]
    )
    assert_near(out, data[key], FORWARD)
    for grad, suffix in zip(grads, ("gx", "gf", "gm")):
        if grad is not None:
            wanted = data[f"{key}_{suffix}"]
            if (mode, suffix) == ("linear", "gm"):
                grad = grad.cpu() * data["metric"].sign()  # through the absolute value
            assert_near(grad, wanted, GRADIENT)
            # a few pixels at the edges of holes are 1e6 times the rest
            off = (grad.cpu() - wanted).abs() / wanted.abs().clamp_min(1)
            assert off.quantile(0.99) < 1e-4


# --- the definition


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", [c for c in SPLAT_CASES if c != "wide"])
def test_reference_is_the_definition(reference, case, mode):
    tensors = _tensors(case, mode)
    for normalize in NORMALIZE:
        out = reference.splat(*cast(tensors, torch.float64), mode, normalize)
        assert_near(out, splat_loop(*_arrays(tensors), mode, normalize), 1e-13)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", SPLAT_CASES)
def test_equals_the_reference(run, case, mode):
    tensors = _tensors(case, mode)
    for normalize in [n for m, n in WAYS if m == mode]:
        exact = _exact(case, mode, normalize)
        function = run.operator("splat", mode, normalize)
        assert_all_near(evaluate(function, cast(tensors, run.device)), exact)
        # numba compiles many channels in float64 for seconds: below
        if (not run.slow or normalize == "addeps") and (run.name, case) != ("numba", "wide"):
            _assert_exact_in_float64(run, case, mode, normalize)


def _assert_exact_in_float64(run, case: str, mode: str, normalize: str) -> None:
    double = cast(cast(_tensors(case, mode), torch.float64), run.device)
    found = evaluate(run.operator("splat", mode, normalize), double)
    assert_all_near(found, _exact(case, mode, normalize), 1e-13, 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_many_channels_in_float64_equal_the_reference(run, way):
    _assert_exact_in_float64(run, "wide", *way)


@pytest.mark.parametrize("mode", MODES)
def test_deterministic_algorithms_give_the_same(run, mode, deterministic):
    for case in ("fractional", "edges", "nonfinite", "still", "holes", "pixel"):
        tensors = _tensors(case, mode)
        exact = _exact(case, mode, "addeps")
        deterministic(True)
        found = [evaluate(run.operator("splat", mode), cast(tensors, run.device)) for _ in "ab"]
        deterministic(False)
        assert_all_near(found[0], exact)
        assert torch.equal(found[0][0], found[1][0])


def test_zero_flow_copies_and_outside_is_zero(run):
    input = random(2, 3, 5, 6).to(run.device)
    flow = torch.zeros(2, 2, 5, 6, device=run.device)
    assert torch.equal(run.splat(input, flow), input)
    assert torch.equal(run.splat(input, flow, mode="avg", normalize="zeroeps"), input)
    for far in (100.0, -100.0):
        assert (run.splat(input, flow + far, mode="avg") == 0).all()


def test_whole_pixels_move(run):
    input = random(1, 2, 6, 7).to(run.device)
    flow = torch.tensor([2.0, -3.0], device=run.device)[:, None, None].expand(1, 2, 6, 7)
    out = run.splat(input, flow)
    assert torch.equal(out[..., :3, 2:], input[..., 3:, :-2])
    assert (out[..., 3:, :] == 0).all() and (out[..., :2] == 0).all()


# --- derivatives


@pytest.mark.parametrize("way", WAYS, ids="-".join)
def test_gradients_are_the_derivatives(run, way):
    shape = (1, 2, 2, 3)
    flow = smooth(random(shape[0], 2, *shape[2:], low=-1.5, high=1.5))
    metric = random(shape[0], 1, *shape[2:], low=0.5, high=1.5).double()
    given = [
        random(*shape, seed=4).double(),
        flow,
        metric if way[0] in ("linear", "soft") else None,
    ]
    leaves = [x.to(run.device).requires_grad_() for x in given if x is not None]
    function = run.operator("splat")

    def call(*tensors):
        return function(*tensors, *([None] if len(tensors) == 2 else []), *way)

    assert torch.autograd.gradcheck(call, leaves)


def test_flow_gradient_at_whole_pixels_is_the_derivative_to_the_right(run, reference):
    input, flow = random(1, 2, 5, 5).double(), random(1, 2, 5, 5, low=-1, high=1).round().double()
    grad = random(1, 2, 5, 5, seed=3).double()
    _, (_, found, _) = evaluate(run.operator("splat"), cast([input, flow, None], run.device), grad)
    step = 2.0**-10
    before = (splat_loop(input.numpy(), flow.numpy(), None, "sum", "addeps") * grad.numpy()).sum()
    for at in np.ndindex(1, 2, 5, 5):
        moved = flow.clone()
        moved[at] += step
        after = splat_loop(input.numpy(), moved.numpy(), None, "sum", "addeps") * grad.numpy()
        assert found[at].item() == pytest.approx((after.sum() - before) / step, abs=1e-9)


# --- awkward values


def test_flow_that_is_not_finite_contributes_nothing(run):
    input, flow, metric = splat_case("nonfinite")
    bad = ~(flow.abs() < 1e20).all(1, keepdim=True)
    quiet = torch.where(bad, 100.0, flow)
    for mode, normalize in WAYS:
        used = metric if mode in ("linear", "soft") else None
        function = run.operator("splat", mode, normalize)
        found = evaluate(function, cast([input, flow, used], run.device))
        wanted = evaluate(function, cast([input, quiet, used], run.device))
        assert_all_near(found, wanted, 0 if run.device.type == "cpu" else 1e-6, 1e-6)
        assert (found[1][1].cpu()[bad.expand_as(flow)] == 0).all()
        assert (found[1][0].cpu()[bad.expand_as(input)] == 0).all()


@pytest.mark.parametrize("normalize", NORMALIZE)
def test_metrics_of_thousands_are_finite_and_right(run, reference, normalize):
    input, flow, _ = splat_case("fractional")
    flow = flow + 1 / (2 * GRID)  # never whole
    metric = random(2, 1, 7, 9, low=-1, high=1, seed=5).round() * 1000 + random(2, 1, 7, 9, seed=7)
    for dtype, forward, gradient in (
        (torch.float32, FORWARD, GRADIENT),
        (torch.float64, 1e-12, 1e-9),
    ):
        given = cast([input, flow, metric], dtype)
        out, grads = evaluate(run.operator("splat", "soft", normalize), cast(given, run.device))
        assert out.isfinite().all() and all(g.isfinite().all() for g in grads)
        total, count = splat_sums(*_arrays(given), "soft")
        divisor = {"addeps": count + 1e-7, "clipeps": np.maximum(count, 1e-7), "zeroeps": count}
        reached = count > 1e-300  # below that even float64 underflows: a hole
        wanted = np.where(reached, total / np.where(reached, divisor[normalize], 1), 0)
        assert_near(out, wanted.astype(float), forward)
        exact = evaluate(reference.operator("splat", "soft", normalize), cast(given, torch.float64))
        assert_all_near((out, grads), exact, forward, gradient)


def test_metrics_of_thousands_at_whole_pixels_stay_finite(run):
    input, flow, _ = splat_case("integer")
    metric = random(1, 1, 6, 7, low=-1, high=1, seed=5).round() * 1000
    for normalize in NORMALIZE:
        function = run.operator("splat", "soft", normalize)
        out, grads = evaluate(function, cast([input, flow, metric], run.device))
        assert out.isfinite().all() and all(g.isfinite().all() for g in grads)


@pytest.mark.parametrize("normalize", NORMALIZE)
def test_equals_the_published_formula_wherever_that_is_finite(run, normalize):
    input, flow, _ = splat_case("fractional")
    metric = random(2, 1, 7, 9, low=-12, high=80, seed=6)
    out = run.splat(*cast([input, flow, metric], run.device), "soft", normalize)
    arrays = _arrays([input, flow, metric])
    assert_near(out, splat_loop(*arrays, "soft", normalize), FORWARD)


def test_a_metric_that_underflows_is_a_hole(run):
    input, flow = random(1, 3, 4, 5).to(run.device), torch.full((1, 2, 4, 5), 0.25).to(run.device)
    metric = torch.full((1, 1, 4, 5), -200.0, device=run.device)
    for normalize in NORMALIZE:
        out, grads = evaluate(run.operator("splat", "soft", normalize), [input, flow, metric])
        assert (out == 0).all() and all((g == 0).all() for g in grads)


def test_one_metric_that_is_not_a_number_spoils_only_what_it_reaches(run):
    input, flow = random(1, 2, 6, 6).to(run.device), torch.full((1, 2, 6, 6), 0.5).to(run.device)
    metric = torch.zeros(1, 1, 6, 6, device=run.device)
    metric[0, 0, 2, 2] = torch.nan
    out = run.splat(input, flow, metric, "soft")
    spoilt = torch.zeros_like(out, dtype=torch.bool)
    spoilt[..., 2:4, 2:4] = True
    assert torch.equal(out.isnan(), spoilt)


# --- dtypes


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("way", [("sum", "addeps"), ("soft", "zeroeps")], ids="-".join)
def test_half_precision_is_summed_in_float32_and_rounded_once(run, reference, dtype, way):
    input = (1 + random(1, 3, 8, 8, low=0, high=1)).to(dtype)
    goal = torch.tensor([3.25 + 2**-8, 4.5])[:, None, None]
    grid = torch.stack(torch.meshgrid(torch.arange(8), torch.arange(8), indexing="xy"))
    flow = (goal - grid)[None]  # 64 sources on one pixel
    metric = random(1, 1, 8, 8, low=-1, high=1) if way[0] == "soft" else None
    given = [input, flow, metric]
    grad = random(1, 3, 8, 8, seed=9)
    exact, wanted = evaluate(reference.operator("splat", *way), cast(given, torch.float64), grad)
    out, grads = evaluate(run.operator("splat", *way), cast(given, run.device), grad)
    assert out.dtype == dtype and grads[0].dtype == dtype
    assert grads[1].dtype == torch.float32
    assert_rounded(out, exact)
    assert_near(grads[0], wanted[0], 2 * torch.finfo(dtype).eps)
    for mine, its in zip(grads[1:], wanted[1:]):
        if mine is not None:
            assert_near(mine, its, 8 * torch.finfo(dtype).eps)


def test_mixed_dtypes_compute_in_the_wider(run, reference):
    input, flow, metric = splat_case("fractional")
    exact = reference.splat(input.double(), flow.double(), metric.double(), "soft")
    out = run.splat(*cast([input, flow.double(), metric.half()], run.device), "soft")
    assert out.dtype == torch.float32
    assert_near(out, exact, 1e-6)
    out, grads = evaluate(
        run.operator("splat", "soft"), cast([input, flow.bfloat16(), metric.bfloat16()], run.device)
    )
    assert out.dtype == torch.float32
    assert [g.dtype for g in grads] == [torch.float32, torch.bfloat16, torch.bfloat16]


# --- errors


def test_arguments_that_do_not_fit_are_named(reference):
    splat = reference.splat
    input, flow, metric = splat_case("fractional")
    wrong = {
        "mode is one of": lambda: splat(input, flow, metric, "avg-zeroeps"),
        "'epsadd'": lambda: splat(input, flow, metric, "soft", "epsadd"),
        r"\(N, C, H, W\), got \(3, 7, 9\)": lambda: splat(input[0], flow),
        "got .* torch.int64": lambda: splat(input.long(), flow),
        r"flow \(2, 2, 7, 9\)": lambda: splat(input, flow[..., 1:]),
        "floating flow": lambda: splat(input, flow.long()),
        "'soft' needs a metric": lambda: splat(input, flow, mode="soft"),
        "'avg' takes no metric": lambda: splat(input, flow, metric, "avg"),
        r"metric is \(2, 1, 7, 9\)": lambda: splat(input, flow, metric[:, 0], "soft"),
        "flow or metric on meta": lambda: splat(input, flow.to("meta")),
        "on cpu, flow or metric": lambda: splat(input, flow, metric.to("meta"), "linear"),
    }
    for message, call in wrong.items():
        with pytest.raises(ValueError, match=message):
            call()
