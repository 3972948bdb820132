"""AdaCoF on every backend: published numbers, the definition as a loop, awkward offsets."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from cases import (
    FORWARD,
    GRADIENT,
    adacof_case,
    adacof_loop,
    assert_all_near,
    assert_near,
    assert_rounded,
    cast,
    evaluate,
    random,
)

INPUTS = ("image", "weight", "alpha", "beta")
CASES = {  # batch, channels, height, width, side, dilation, reach
    "rgb": (2, 3, 7, 9, 5, 1, 4.0),
    "dilated": (1, 1, 5, 6, 3, 2, 3.0),
    "leaving": (1, 8, 4, 5, 3, 1, 30.0),
    "small": (1, 4, 4, 5, 5, 1, 1.0),
    "pixel": (2, 4, 1, 1, 5, 1, 2.0),
    "row": (1, 3, 1, 7, 3, 1, 2.0),
    "column": (1, 5, 7, 1, 3, 1, 2.0),
    "one tap": (1, 5, 5, 6, 1, 1, 3.0),
    "one pixel image": (1, 3, 1, 1, 1, 1, 2.0),
    "wide": (1, 33, 5, 70, 3, 1, 4.0),
    "whole": (1, 3, 6, 6, 3, 1, 4.0),
}


def _inputs(case: str) -> list[torch.Tensor]:
    image, weight, alpha, beta = adacof_case(*CASES[case])
    if case == "whole":
        alpha, beta = alpha.round(), beta.round()
    return [image, weight, alpha, beta]


def test_equals_the_published_kernels(golden, run):
    with np.load(golden("ops/adacof.npz")) as arrays:
        data = {k: torch.from_numpy(arrays[k]) for k in arrays if k != "meta"}
        cases = json.loads(str(arrays["meta"]))["cases"]
    assert len(cases) == 8
    for case, settings in cases.items():
        function = run.operator("adacof", settings["dilation"])
        for bits, dtype, scale in (("", torch.float32, 1.0), ("64", torch.float64, 1e-7)):
            if bits and run.slow:
                continue
            given = [data[f"{case}/{name}"].to(run.device, dtype) for name in INPUTS]
            out, grads = evaluate(function, given, data[f"{case}/grad_out"])
            wanted = [data[f"{case}/grad_{name}{bits}"] for name in INPUTS[1:]]
            answer = data[f"{case}/out{bits}"], wanted
            assert_all_near((out, grads[1:]), answer, scale * FORWARD, scale * GRADIENT)
            # the published kernel gives zeros here; the file holds the truth, in float32
            assert_near(grads[0], data[f"{case}/true_grad_image"], GRADIENT)


@pytest.mark.parametrize("case", [c for c in CASES if c != "wide"])
def test_reference_is_the_definition(reference, case):
    double = cast(_inputs(case), torch.float64)
    dilation = CASES[case][5]
    out = reference.adacof(*double, dilation)
    assert_near(out, adacof_loop(*(x.numpy() for x in double), dilation), 1e-12)


@pytest.mark.parametrize("case", CASES)
def test_equals_the_reference(run, reference, case):
    dilation = CASES[case][5]
    double = cast(_inputs(case), torch.float64)
    exact = evaluate(reference.operator("adacof", dilation), double)
    function = run.operator("adacof", dilation)
    assert_all_near(evaluate(function, cast(_inputs(case), run.device)), exact)
    if not run.slow or case != "wide":
        assert_all_near(evaluate(function, cast(double, run.device)), exact, 1e-12, 1e-12)


def test_negative_offsets_extrapolate(run):
    image = random(1, 1, 4, 4, seed=7).to(run.device)
    weight = torch.ones(1, 1, 4, 4, device=run.device)
    half, none = -0.5 * weight, 0 * weight
    down = run.adacof(image, weight, half, none)
    below = torch.cat([image[:, :, 1:], image[:, :, 3:]], 2)
    torch.testing.assert_close(down, 1.5 * image - 0.5 * below)
    right = run.adacof(image, weight, none, half)
    beside = torch.cat([image[..., 1:], image[..., 3:]], 3)
    torch.testing.assert_close(right, 1.5 * image - 0.5 * beside)


def test_gradients_are_the_derivatives(run):
    image, weight, alpha, beta = adacof_case(1, 2, 2, 3, 2, 1, 2.0)
    alpha, beta = (x.trunc() + 0.2 * x.sign() + 0.6 * x.frac() for x in (alpha, beta))
    alpha, beta = alpha.where(alpha != 0, 0.3), beta.where(beta != 0, 0.3)
    leaves = [x.double().to(run.device).requires_grad_() for x in (image, weight, alpha, beta)]
    assert torch.autograd.gradcheck(run.operator("adacof", 1), leaves)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32_and_rounded_once(run, reference, dtype):
    image, weight, alpha, beta = adacof_case(1, 3, 4, 5, 5, 1, 2.0)
    given = cast([1 + image.abs(), weight.abs(), alpha, beta], dtype)
    grad = random(1, 3, 4, 5, seed=9)
    exact = evaluate(reference.operator("adacof", 1), cast(given, torch.float64), grad)
    out, grads = evaluate(run.operator("adacof", 1), cast(given, run.device), grad)
    for found, wanted in zip((out, *grads), (exact[0], *exact[1])):
        assert found.dtype == dtype
        assert_rounded(found, wanted)


def test_mixed_dtypes_promote(run):
    image, *taps = cast(adacof_case(1, 3, 4, 5, 3, 1, 2.0), run.device)
    out, grads = evaluate(run.operator("adacof", 1), [image.bfloat16(), *taps])
    assert out.dtype == torch.float32
    assert [g.dtype for g in grads] == [torch.bfloat16, *[torch.float32] * 3]
    assert_near(out, run.adacof(image.bfloat16().float(), *taps), 1e-6)


@pytest.mark.parametrize("offset", [np.nan, np.inf, -np.inf, 1e30, -1e30, 2.0**31, -(2.0**40)])
def test_offsets_beyond_all_bounds_spoil_only_their_pixel(run, reference, offset):
    image, weight, alpha, beta = adacof_case(1, 3, 4, 5, 3, 1, 1.0)
    mild = [image, weight, alpha.clone(), beta]
    alpha[0, 4, 2, 3] = offset
    out, grads = evaluate(run.operator("adacof", 1), cast([image, weight, alpha, beta], run.device))
    wanted, mild_grads = evaluate(reference.operator("adacof", 1), mild)
    others = torch.ones(4, 5, dtype=torch.bool)
    others[2, 3] = False
    assert_near(out[..., others.to(out.device)], wanted[..., others], FORWARD)
    for mine, its in zip(grads[1:], mild_grads[1:]):
        assert_near(mine[..., others.to(out.device)], its[..., others], GRADIENT)
    if not np.isfinite(offset):
        assert out[0, :, 2, 3].isnan().all()


def test_arguments_that_do_not_fit_are_named(reference):
    adacof = reference.adacof
    image, weight, alpha, beta = adacof_case(1, 3, 4, 5, 3, 1, 1.0)
    wrong = {
        r"weight is \(9, 4, 5\)": lambda: adacof(image, weight[0], alpha, beta),
        "image is .* torch.int64": lambda: adacof(image.long(), weight, alpha, beta),
        "beta on meta": lambda: adacof(image, weight, alpha, beta.to("meta")),
        "8 channels, not a square": lambda: adacof(image, weight[:, 1:], alpha, beta),
        "0 channels": lambda: adacof(image, weight[:, :0], alpha, beta),
        "have one shape": lambda: adacof(image, weight, alpha, beta[..., 1:]),
        "dilation is at least 1, not 0": lambda: adacof(image, weight, alpha, beta, 0),
        r"is \(1, C, 8, 9\), got \(1, 3, 6, 7\)": lambda: adacof(image, weight, alpha, beta, 2),
    }
    for message, call in wrong.items():
        with pytest.raises(ValueError, match=message):
            call()
