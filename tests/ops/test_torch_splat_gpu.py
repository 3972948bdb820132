"""The torch backend's form for GPUs, run on the CPU: it gives what the definition gives."""

from __future__ import annotations

import pytest
import torch

from midframe.ops import splat
from midframe.ops.backends import torch_splat, torch_splat_gpu


@pytest.fixture(autouse=True)
def _as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_splat, "_code", lambda device: torch_splat_gpu)


def _results(backend: str, dtype: torch.dtype, mode: str, normalize: str, scale: float):
    torch.manual_seed(0)
    image = torch.randn(2, 5, 9, 11, dtype=torch.float64)
    # on a grid that float32 holds exactly, so that both see the same four pixels
    flow = (torch.randn(2, 2, 9, 11, dtype=torch.float64) * 4 * 64).round() / 64 + 1 / 128
    flow[0, 0, 2, 3], flow[1, 1, 4, 4], flow[0, :, 5, 5] = float("nan"), float("inf"), 0.0
    metric = torch.randn(2, 1, 9, 11, dtype=torch.float64) * scale
    metric = metric if mode == "soft" else metric.abs() + 0.1
    tensors = [x.to(dtype).requires_grad_() for x in (image, flow, metric)]
    given = tensors[2] if mode in ("linear", "soft") else None
    out = splat(tensors[0], tensors[1], given, mode, normalize, backend=backend)
    grad = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    out.backward(grad.to(dtype))
    return [out.detach(), *(x.grad for x in tensors if x.grad is not None)]


@pytest.mark.parametrize("normalize", ["addeps", "zeroeps", "clipeps"])
@pytest.mark.parametrize(
    ("mode", "scale"), [("sum", 1), ("avg", 1), ("linear", 1), ("soft", 1), ("soft", 300)]
)
def test_value_and_gradients_are_those_of_the_definition(mode, normalize, scale):
    truth = _results("reference", torch.float64, mode, normalize, scale)
    exact = _results("torch", torch.float64, mode, normalize, scale)
    for found, wanted in zip(exact, truth):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    if scale == 1:
        for found, wanted in zip(_results("torch", torch.float32, mode, normalize, scale), truth):
            size = 1 + wanted.abs().max()
            assert (found.double() - wanted).abs().max() / size < 1e-4


def test_every_run_gives_the_same_bits():
    first = _results("torch", torch.float32, "soft", "addeps", 1.0)
    second = _results("torch", torch.float32, "soft", "addeps", 1.0)
    assert all(torch.equal(a, b) for a, b in zip(first, second))
