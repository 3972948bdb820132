"""What is special to the CUDA kernels of correlation and AdaCoF: tiles, splits, wide indices."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cuda_on_cpu
import pytest
import torch
from torch import Tensor

from midframe.ops import adacof, correlation
from midframe.ops.backends import cupy_correlation, launcher

NEAR = {torch.float64: 1e-12, torch.float32: 3e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}


@pytest.fixture(autouse=True)
def kernels() -> Iterator[None]:
    why = cuda_on_cpu.why_not()
    if why:
        pytest.skip(why)
    with cuda_on_cpu.kernels_on_cpu():
        yield


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The kernels launched by now, with their blocks."""
    names: list[tuple[str, int]] = []
    launch = launcher.launch

    def noted(kernel, grid, *rest):  # type: ignore[no-untyped-def]
        names.append((kernel.name, grid[0]))
        launch(kernel, grid, *rest)

    monkeypatch.setattr(launcher, "launch", noted)
    return names


def _randoms(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(dtype) for s in shapes]


def _taps(
    batch: int, channels: int, height: int, width: int, side: int, dilation: int = 1
) -> list[tuple[int, ...]]:
    more = (side - 1) * dilation
    return [(batch, channels, height + more, width + more), *[(batch, side**2, height, width)] * 3]


def _evaluated(function: Callable[..., Tensor], inputs: list[Tensor]) -> list[Tensor]:
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    out = function(*leaves)
    ramp = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view(out.shape)
    out.backward(ramp.to(out.dtype))
    return [out.detach(), *(x.grad for x in leaves)]


def assert_agrees(function: Callable[..., Tensor], inputs: list[Tensor]) -> None:
    """Assert that value and gradients are the reference's in float64."""
    found = _evaluated(lambda *x: function(*x, backend="cupy"), inputs)
    exact = [x.double() for x in inputs]
    wanted = _evaluated(lambda *x: function(*x, backend="reference"), exact)
    for i, (one, other) in enumerate(zip(found, wanted)):
        assert one.dtype == inputs[0].dtype and one.is_contiguous()
        error = (one.double() - other).abs().max() / other.abs().max().clamp_min(1.0)
        # the gradient that comes in is rounded too
        assert error < 2 * NEAR[one.dtype], f"{'value' if i == 0 else f'gradient {i}'}: {error}"


def _correlate(radius: int) -> Callable[..., Tensor]:
    return lambda first, second, backend: correlation(first, second, radius, backend=backend)


def _sample(dilation: int = 1) -> Callable[..., Tensor]:
    return lambda *inputs, backend: adacof(*inputs, dilation, backend=backend)


@pytest.mark.parametrize("size", [(7, 31), (8, 32), (9, 33), (1, 36), (17, 4)])
@pytest.mark.parametrize("radius", [3, 4])
def test_tiles_end_where_the_map_ends(radius, size):
    assert_agrees(_correlate(radius), _randoms(*[(2, 3, *size)] * 2))


@pytest.mark.parametrize("radius", [0, 1, 2, 5, 6, 7, 8])
def test_every_radius_that_has_tiles(radius, launched):
    assert_agrees(_correlate(radius), _randoms(*[(1, 9, 10, 36)] * 2))
    assert [name for name, _ in launched] == ["correlation", "correlation_backward"]


@pytest.mark.parametrize("radius, dtype", [(9, torch.float32), (5, torch.float64)])
def test_radii_beyond_the_tiles(radius, dtype, launched):
    assert_agrees(_correlate(radius), _randoms(*[(2, 3, 6, 11)] * 2, dtype=dtype))
    assert [name for name, _ in launched] == ["correlation_plain", "correlation_plain_backward"]


@pytest.mark.parametrize("dtype", launcher.SCALARS)
@pytest.mark.parametrize("channels", [1, 5, 6, 7, 13])
def test_chunks_of_channels(channels, dtype):
    assert_agrees(_correlate(4), _randoms(*[(1, channels, 5, 12)] * 2, dtype=dtype))


@pytest.mark.parametrize("channels", [47, 48, 73, 101])
def test_few_tiles_share_out_the_channels(channels, launched):
    inputs = _randoms(*[(1, channels, 3, 8)] * 2)
    assert_agrees(_correlate(4), inputs)
    blocks = channels // cupy_correlation.SHARE
    joined = ["correlation_mean"] if blocks > 1 else []
    assert [n for n, _ in launched] == ["correlation", *joined, "correlation_backward"]
    assert launched[0][1] == blocks
    assert launched[-1][1] == 2 * blocks


def test_maps_that_begin_between_fours():
    """Wide loads need addresses that a slice of a buffer need not have."""
    flat = _randoms((2 * 3 * 5 * 8 + 1,))[0]
    first, second = flat[1:].view(2, 3, 5, 8).unbind()
    assert first.data_ptr() % 16 and first.is_contiguous()
    assert_agrees(_correlate(3), [first[None], second[None]])


@pytest.mark.parametrize("radius", [4, 9])
def test_correlation_with_wide_indices(radius, monkeypatch):
    monkeypatch.setattr(launcher, "is_wide", lambda *sizes: True)
    assert_agrees(_correlate(radius), _randoms(*[(2, 50, 4, 9)] * 2))


def test_what_is_outside_of_a_tile_is_zero_and_not_left_from_another():
    """Infinite values of one tile must not reach the border of the next block's."""
    first, second = _randoms(*[(1, 4, 8, 64)] * 2)
    second[..., :32] = torch.inf
    out = correlation(first, second, 4, backend="cupy")
    wanted = correlation(first, second, 4, backend="reference")
    assert torch.equal(out.isfinite(), wanted.isfinite())
    assert out[..., 36:].isfinite().all()


@pytest.mark.parametrize("radius", [2, 4, 5, 8])
def test_no_gradient_comes_from_rows_between_the_groups(radius):
    """Radii whose displacement rows do not fill the last group of threads."""
    first, second = _randoms(*[(1, 2, 40, 6)] * 2)
    first[:, :, 30:] = second[:, :, 30:] = torch.inf
    ones = torch.ones(1, (2 * radius + 1) ** 2, 40, 6)
    for needed in (first, second):
        gradients = []
        for backend in ("cupy", "reference"):
            a, b = (x.clone().requires_grad_(x is needed) for x in (first, second))
            correlation(a, b, radius, backend=backend).backward(ones)
            gradients.append(a.grad if b.grad is None else b.grad)
        assert torch.equal(gradients[0].isfinite(), gradients[1].isfinite())


@pytest.mark.parametrize("size", [(7, 31), (8, 32), (9, 33), (1, 1)])
@pytest.mark.parametrize("channels", [3, 4, 5, 9])
def test_adacof_tiles_and_groups_of_channels(channels, size):
    assert_agrees(_sample(), _randoms(*_taps(2, channels, *size, side=3)))


@pytest.mark.parametrize("side", [1, 2, 5, 13])
@pytest.mark.parametrize("channels", [3, 6])
def test_adacof_of_any_side(side, channels):
    assert_agrees(_sample(2), _randoms(*_taps(1, channels, 3, 5, side, 2), dtype=torch.float64))


@pytest.mark.parametrize("dtype", launcher.SCALARS)
def test_adacof_dtypes(dtype):
    image, weight, alpha, beta = _randoms(*_taps(1, 3, 6, 7, 3), dtype=dtype)
    assert_agrees(_sample(), [image, weight, (alpha * 4).round() / 4, (beta * 4).round() / 4])


@pytest.mark.parametrize("channels", [3, 6])
def test_adacof_with_wide_indices(channels, monkeypatch):
    monkeypatch.setattr(launcher, "is_wide", lambda *sizes: True)
    assert_agrees(_sample(), _randoms(*_taps(2, channels, 4, 9, 3)))


@pytest.mark.parametrize("channels", [3, 6])
def test_adacof_gradient_of_the_image_without_atomics(channels, launched):
    kept = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        assert_agrees(_sample(), _randoms(*_taps(2, channels, 4, 9, 3)))
    finally:
        torch.use_deterministic_algorithms(kept)
    names = [name for name, _ in launched]
    assert names.count("adacof_list") == 9 and "adacof_scatter" not in names
