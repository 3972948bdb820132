"""The operators of exported graphs against their definition."""

from __future__ import annotations

import pytest
import torch

from midframe.export import operators
from midframe.ops import reference

SHAPE = (2, 3, 9, 13)


def _flow(scale: float) -> torch.Tensor:
    return scale * torch.randn(2, 2, 9, 13)


@pytest.mark.parametrize("add", [operators.by_index_add, operators.by_index_put])
@pytest.mark.parametrize("normalize", ["addeps", "zeroeps", "clipeps"])
@pytest.mark.parametrize("mode", ["sum", "avg", "linear", "soft"])
def test_splat_is_what_it_is_defined_to_be(mode, normalize, add):
    value, flow = torch.rand(SHAPE), _flow(3.0)
    flow[0, :, 2, 3], flow[1, :, 4, 4] = float("nan"), 1e30
    flow[0, :, 0, 0] = 0.0  # whole steps have three corners of no weight
    metric = 4 * torch.rand(2, 1, 9, 13) if mode in ("linear", "soft") else None
    expected = reference.splat(value, flow, metric, mode, normalize)
    got, weight, shift = operators.splat(value, flow, metric, mode, normalize, "auto", add)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    fake = torch.ops.midframe.splat(value, flow, metric, mode, normalize, "torch")
    assert [x.shape for x in (got, weight, shift)] == [x.shape for x in fake]


def test_soft_splat_does_not_overflow():
    value, flow = torch.rand(SHAPE), _flow(1.0)
    metric = 2000 * torch.randn(2, 1, 9, 13)
    expected = reference.splat(value, flow, metric, "soft", "addeps")
    got = operators.splat(value, flow, metric, "soft", "addeps", "auto")[0]
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("radius", [1, 4])
def test_correlation_is_what_it_is_defined_to_be(radius):
    first, second = torch.randn(2, *SHAPE)
    expected = reference.correlation(first, second, radius)
    torch.testing.assert_close(operators.correlation(first, second, radius, "auto"), expected)


@pytest.mark.parametrize("dilation", [1, 2])
def test_adacof_truncates_toward_zero_and_clamps(dilation):
    image = torch.rand(2, 3, 9 + 4 * dilation, 13 + 4 * dilation)
    weight = torch.rand(2, 25, 9, 13).softmax(1)
    alpha, beta = 6 * torch.randn(2, 2, 25, 9, 13)
    alpha[0, 0, 0, 0] = float("nan")
    expected = reference.adacof(image, weight, alpha, beta, dilation)
    got = operators.adacof(image, weight, alpha, beta, dilation, "auto")
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4, equal_nan=True)
