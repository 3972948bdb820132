"""Correlation on every backend: published numbers, the definition as a loop, awkward inputs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from cases import (
    FORWARD,
    GRADIENT,
    assert_all_near,
    assert_near,
    assert_rounded,
    cast,
    correlation_loop,
    evaluate,
    random,
)

CASES = {  # shape, radius, stride
    "odd": ((2, 3, 7, 5), 4, 1),
    "one channel": ((1, 1, 6, 9), 2, 1),
    "flat": ((1, 4, 5, 4), 0, 1),
    "strided": ((2, 5, 9, 7), 3, 2),
    "far apart": ((1, 3, 8, 11), 1, 3),
    "pixel": ((2, 8, 1, 1), 2, 1),
    "row": ((1, 3, 1, 9), 3, 1),
    "column": ((1, 4, 9, 1), 3, 1),
    "strided beyond": ((1, 2, 3, 3), 3, 5),
    "wide": ((1, 33, 5, 70), 4, 1),
}


def _pair(case: str) -> list[torch.Tensor]:
    return [random(*CASES[case][0], seed=seed) for seed in (1, 2)]


@pytest.mark.parametrize("file", ["correlation", "correlation_stride"])
def test_equals_the_published_kernels(golden, run, file):
    with np.load(golden(f"ops/{file}.npz")) as arrays:
        data = {k: torch.from_numpy(arrays[k]) for k in arrays if k != "meta"}
        meta = json.loads(str(arrays["meta"]))
    assert len(meta["cases"]) == 6
    for case in meta["cases"]:
        stride = int(case[6]) if case.startswith("stride") else 1
        function = run.operator("correlation", meta["radius"], stride)
        for bits, dtype, scale in (("", torch.float32, 1.0), ("64", torch.float64, 1e-7)):
            given = [data[f"{case}/{name}"].to(run.device, dtype) for name in ("one", "two")]
            found = evaluate(function, given, data[f"{case}/grad_out"])
            wanted = [data[f"{case}/grad_{name}{bits}"] for name in ("one", "two")]
            answer = data[f"{case}/out{bits}"], wanted
            assert_all_near(found, answer, scale * FORWARD, scale * GRADIENT)


@pytest.mark.parametrize("case", [c for c in CASES if c != "wide"])
def test_reference_is_the_definition(reference, case):
    first, second = _pair(case)
    _, radius, stride = CASES[case]
    out = reference.correlation(first.double(), second.double(), radius, stride)
    assert_near(out, correlation_loop(first.numpy(), second.numpy(), radius, stride), 1e-13)


@pytest.mark.parametrize("case", CASES)
def test_equals_the_reference(run, reference, case):
    _, *options = CASES[case]
    double = cast(_pair(case), torch.float64)
    exact = evaluate(reference.operator("correlation", *options), double)
    function = run.operator("correlation", *options)
    assert_all_near(evaluate(function, cast(_pair(case), run.device)), exact)
    assert_all_near(evaluate(function, cast(double, run.device)), exact, 1e-13, 1e-12)


def test_a_moved_picture_answers_in_its_channel(run):
    second = torch.where(random(1, 16, 9, 10) > 0, 1.0, -1.0).to(run.device)
    first = torch.roll(second, (2, -3), (2, 3))  # first(i, j) = second(i - 2, j + 3)
    out = run.correlation(first, second, 4)
    channel = (-2 + 4) * 9 + 3 + 4
    torch.testing.assert_close(out[0, channel, 2:, :-3], torch.ones_like(out[0, 0, 2:, :-3]))
    assert (out[0, channel, :2] == 0).all() and (out[0, channel, :, -3:] == 0).all()


def test_gradients_are_the_derivatives(run):
    first, second = (random(1, 2, 3, 4, seed=s).double().to(run.device) for s in (1, 2))
    for options in ((1,), (1, 2)):
        leaves = first.requires_grad_(), second.requires_grad_()
        assert torch.autograd.gradcheck(run.operator("correlation", *options), leaves)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32_and_rounded_once(run, reference, dtype):
    first, second = random(1, 300, 3, 4, seed=1), random(1, 300, 3, 4, seed=2).abs()
    given = cast([first.abs() + 1, second], dtype)
    grad = random(1, 9, 3, 4, seed=9)
    exact = evaluate(reference.operator("correlation", 1), cast(given, torch.float64), grad)
    out, grads = evaluate(run.operator("correlation", 1), cast(given, run.device), grad)
    for found, wanted in zip((out, *grads), (exact[0], *exact[1])):
        assert found.dtype == dtype
        assert_rounded(found, wanted)


def test_what_is_not_finite_stays_where_it_is(run):
    first, second = random(1, 3, 5, 6, seed=1), random(1, 3, 5, 6, seed=2)
    first[0, 1, 2, 3], second[0, 0, 4, 0] = torch.nan, torch.inf
    out = run.correlation(first.to(run.device), second.to(run.device), 2).cpu()
    wanted = torch.from_numpy(correlation_loop(first.numpy(), second.numpy(), 2, 1))
    ones = np.ones_like(first)
    inside = torch.from_numpy(correlation_loop(ones, ones, 2, 1) > 0)
    assert not out[~wanted.isfinite()].isfinite().any()
    assert_near(out[inside & wanted.isfinite()], wanted[inside & wanted.isfinite()], FORWARD)


def test_arguments_that_do_not_fit_are_named(reference):
    correlation = reference.correlation
    first, second = random(1, 3, 5, 6), random(1, 3, 5, 6)
    wrong = {
        r"one shape, got \(1, 3, 5, 6\) and \(1, 3, 5, 5\)": lambda: correlation(
            first, second[..., 1:]
        ),
        r"\(N, C, H, W\)": lambda: correlation(first[0], second[0]),
        "one dtype, got torch.float32, torch.float16": lambda: correlation(first, second.half()),
        "floating": lambda: correlation(first.long(), second.long()),
        "one on meta": lambda: correlation(first, second.to("meta")),
        "no channels": lambda: correlation(first[:, :0], second[:, :0]),
        "not -1 and 1": lambda: correlation(first, second, -1),
        "not 4 and 0": lambda: correlation(first, second, 4, 0),
    }
    for message, call in wrong.items():
        with pytest.raises(ValueError, match=message):
            call()
