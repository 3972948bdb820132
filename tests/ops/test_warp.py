"""Backward warping against an independent reference, the published code, and its derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from midframe.ops import backwarp


def _reference(image: np.ndarray, flow: np.ndarray, border: str) -> np.ndarray:
    """Bilinear sampling pixel by pixel, in float64, without a normalised grid."""
    count, channels, height, width = image.shape
    out = np.zeros((count, channels, *flow.shape[-2:]))

    def pixel(n: int, row: int, column: int) -> np.ndarray:
        if border == "border":
            return image[n, :, min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
        inside = 0 <= row < height and 0 <= column < width
        return image[n, :, row, column] if inside else np.zeros(channels)

    for n, row, column in np.ndindex(count, *flow.shape[-2:]):
        x, y = column + flow[n, 0, row, column], row + flow[n, 1, row, column]
        left, top = int(np.floor(x)), int(np.floor(y))
        for down in (0, 1):
            for right in (0, 1):
                share = (1 - abs(x - left - right)) * (1 - abs(y - top - down))
                out[n, :, row, column] += share * pixel(n, top + down, left + right)
    return out


@pytest.mark.parametrize("border", ["border", "zeros"])
@pytest.mark.parametrize("size", [(7, 9), (2, 5), (6, 2)])
def test_equals_the_reference_inside_and_outside(border, size):
    rng = np.random.default_rng(0)
    image = rng.random((2, 3, *size))
    flow = rng.normal(0, 4, (2, 2, *size))
    out = backwarp(torch.from_numpy(image), torch.from_numpy(flow), border)
    np.testing.assert_allclose(out.numpy(), _reference(image, flow, border), atol=1e-5)


def test_equals_the_published_code_with_gradients(golden):
    with np.load(golden("ifrnet/losses.npz")) as arrays:
        data = {k[5:]: torch.from_numpy(arrays[k]) for k in arrays if k.startswith("warp/")}
    image, flow = data["img"].requires_grad_(), data["flow"].requires_grad_()
    out = backwarp(image, flow)
    torch.testing.assert_close(out, data["out"], atol=1e-5, rtol=0)
    (out * data["cotangent"]).sum().backward()
    torch.testing.assert_close(image.grad, data["grad_img"], atol=1e-4, rtol=0)
    torch.testing.assert_close(flow.grad, data["grad_flow"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
def test_whole_pixels_copy(kernel):
    image = torch.rand(1, 2, 10, 12)
    flow = torch.zeros(1, 2, 10, 12)
    flow[:, 0], flow[:, 1] = 2, -3
    out = backwarp(image, flow, kernel=kernel)
    torch.testing.assert_close(out[..., 3:, :-2], image[..., :-3, 2:], atol=1e-5, rtol=0)
    assert torch.allclose(backwarp(image, torch.zeros_like(flow), kernel=kernel), image, atol=1e-5)


def test_far_outside_repeats_the_border_or_is_zero():
    image = torch.rand(1, 3, 6, 8)
    flow = torch.full((1, 2, 6, 8), 1e4)
    corner = image[..., -1:, -1:].expand_as(image)
    torch.testing.assert_close(backwarp(image, flow), corner)
    assert (backwarp(image, flow, "zeros") == 0).all()


def test_gradients_are_the_derivatives():
    image = torch.rand(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    whole = torch.randint(-2, 3, (1, 2, 5, 6)).double()
    flow = (whole + 0.2 + 0.6 * torch.rand_like(whole)).requires_grad_()  # away from the kinks

    def warp(image, flow):
        return backwarp(image, flow, "zeros")

    # Positions are float32, so differences need wide steps.
    assert torch.autograd.gradcheck(warp, (image, flow), eps=1e-3, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_images_keep_exact_positions(dtype):
    image = torch.rand(1, 1, 4, 1000).to(dtype)
    flow = torch.zeros(1, 2, 4, 1000)
    flow[:, 0] = 1
    with torch.autocast("cpu", torch.bfloat16):
        out = backwarp(image, flow)
    assert out.dtype == dtype
    torch.testing.assert_close(out[..., :-1], image[..., 1:], atol=1e-2, rtol=0)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"\(1, 3, 4, 4\)"):
        backwarp(torch.rand(1, 3, 4, 4), torch.rand(1, 4, 4, 4))
    with pytest.raises(ValueError):
        backwarp(torch.rand(2, 3, 4, 4), torch.rand(1, 2, 4, 4))


GRIDS = {
    "corners": lambda x, u, size: x + u,
    "centers": lambda x, u, size: x + u * size / (size - 1),
    "mixed": lambda x, u, size: (x + u) * size / (size - 1) - 0.5,
    "shrunk": lambda x, u, size: (x + u) * (size - 1) / size,
}


@pytest.mark.parametrize("grid", GRIDS)
def test_each_published_grid_samples_where_it_says(grid):
    rng = np.random.default_rng(1)
    image, flow = rng.random((2, 3, 7, 9)), rng.normal(0, 3, (2, 2, 7, 9))
    y, x = np.mgrid[:7, :9]
    place = GRIDS[grid]
    moved = np.stack((place(x, flow[:, 0], 9) - x, place(y, flow[:, 1], 7) - y), 1)
    out = backwarp(torch.from_numpy(image), torch.from_numpy(flow), "zeros", grid=grid)
    np.testing.assert_allclose(out.numpy(), _reference(image, moved, "zeros"), atol=1e-10)


def test_pixels_that_look_outside_are_blanked():
    image = torch.ones(1, 1, 4, 6)
    flow = torch.zeros(1, 2, 4, 6)
    flow[:, 0] = 0.25
    partly = backwarp(image, flow, "zeros")
    assert (partly[..., -1] == 0.75).all()
    blanked = backwarp(image, flow, "zeros", visible=0.999)
    assert (blanked[..., -1] == 0).all()
    assert (blanked[..., :-1] == 1).all()


def test_gradients_are_those_of_the_formula():
    torch.manual_seed(0)
    image = torch.rand(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    flow = (torch.rand(1, 2, 5, 6, dtype=torch.float64) * 0.8 + 0.1).requires_grad_()
    for grid in ("corners", "centers"):
        assert torch.autograd.gradcheck(
            lambda i, f, g=grid: backwarp(i, f, "zeros", grid=g), (image, flow)
        )


def test_wrong_options_are_named():
    image, flow = torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2, 2)
    with pytest.raises(ValueError, match="grid is one of"):
        backwarp(image, flow, grid="center")
    with pytest.raises(ValueError, match="visible goes with"):
        backwarp(image, flow, visible=0.999)


def test_equals_the_published_warp_of_the_event_model(golden):
    with np.load(golden("wevi/warp_loss.npz")) as arrays:
        data = {k: torch.from_numpy(arrays[k]) for k in ("src", "flow", "gout")}
        wanted = {k: torch.from_numpy(arrays[k]) for k in ("bw", "bw_gsrc", "bw_gflow")}
    image, flow = data["src"].requires_grad_(), data["flow"].requires_grad_()
    out = backwarp(image, flow, "zeros")
    torch.testing.assert_close(out, wanted["bw"], atol=1e-5, rtol=0)
    out.backward(data["gout"])
    torch.testing.assert_close(image.grad, wanted["bw_gsrc"], atol=1e-4, rtol=0)
    torch.testing.assert_close(flow.grad, wanted["bw_gflow"], atol=1e-3, rtol=0)
