"""The torch backend's form for other devices, run on the CPU: it gives what is defined."""

from __future__ import annotations

import pytest
import torch

from midframe.ops import correlation
from midframe.ops.backends import torch_correlation


@pytest.mark.parametrize(
    ("batch", "height", "width"), [(1, 1, 1), (2, 5, 3), (3, 9, 17), (1, 4, 32)]
)
@pytest.mark.parametrize("radius", [1, 4])
def test_values_are_those_of_the_definition(batch, height, width, radius):
    torch.manual_seed(0)
    first, second = torch.randn(2, batch, 7, height, width, dtype=torch.float64)
    truth = correlation(first, second, radius, backend="reference")
    torch.testing.assert_close(torch_correlation.in_lines(first, second, radius), truth)
    single = torch_correlation.in_lines(first.float(), second.float(), radius)
    torch.testing.assert_close(single.double(), truth, rtol=0, atol=1e-5)
