"""Inputs for the operators, their definitions as slow loops, and what "equal" means in a test.

Values sit on a grid of 1/64, so that float32 and float64 see the same positions and no weight is
tiny: what is left of a difference is rounding of the sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

GRID = 64
FORWARD, GRADIENT = 1e-5, 1e-4  # of the largest value, in float32
MODES = ("sum", "avg", "linear", "soft")
NORMALIZE = ("addeps", "zeroeps", "clipeps")
WAYS = [("sum", "addeps"), *((m, n) for m in MODES[1:] for n in NORMALIZE)]


def splat_sums(
    input: np.ndarray, flow: np.ndarray, metric: np.ndarray | None, mode: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums of w m i, (N, C, H, W), and of w m, (N, 1, H, W), without any shift.

    The bilinear weight of a target is the product of two hats around the source's goal. Long
    doubles hold exp(1000).
    """
    batch, channels, height, width = input.shape
    total = np.zeros((batch, channels, height, width), np.longdouble)
    count = np.zeros((batch, 1, height, width), np.longdouble)
    for n, y, x in np.ndindex(batch, height, width):
        u, v = np.float64(flow[n, 0, y, x]), np.float64(flow[n, 1, y, x])
        if not (np.isfinite(u) and np.isfinite(v)):
            continue
        importance = np.longdouble(1)
        if mode in ("linear", "soft"):
            importance = np.longdouble(metric[n, 0, y, x])
        if mode == "soft":
            importance = np.exp(importance)
        across = np.maximum(0, 1 - np.abs(x + u - np.arange(width)))
        down = np.maximum(0, 1 - np.abs(y + v - np.arange(height)))
        share = np.outer(down, across) * importance
        total[n] += share * input[n, :, y, x, None, None]
        count[n, 0] += share
    return total, count


def splat_loop(
    input: np.ndarray, flow: np.ndarray, metric: np.ndarray | None, mode: str, normalize: str
) -> np.ndarray:
    """Splat by its definition, in float64 or better."""
    total, count = splat_sums(input, flow, metric, mode)
    if mode != "sum":
        zero_is_one = np.where(count == 0, 1, count)
        divisors = {
            "addeps": count + 1e-7,
            "zeroeps": zero_is_one,
            "clipeps": np.maximum(count, 1e-7),
        }
        total = total / divisors[normalize]
    return total.astype(np.float64)


def correlation_loop(first: np.ndarray, second: np.ndarray, radius: int, stride: int) -> np.ndarray:
    """Correlate by the definition, in float64."""
    batch, _, height, width = first.shape
    side = 2 * radius + 1
    rows, columns = -(-height // stride), -(-width // stride)
    out = np.zeros((batch, side * side, rows, columns))
    for n, dy, dx, i, j in np.ndindex(batch, side, side, rows, columns):
        y, x = (i + dy - radius) * stride, (j + dx - radius) * stride
        if 0 <= y < height and 0 <= x < width:
            product = first[n, :, i * stride, j * stride].astype(float) * second[n, :, y, x]
            out[n, dy * side + dx, i, j] = product.mean()
    return out


def adacof_loop(
    image: np.ndarray, weight: np.ndarray, alpha: np.ndarray, beta: np.ndarray, dilation: int
) -> np.ndarray:
    """AdaCoF by the definition, in float64."""
    batch, channels, tall, wide = image.shape
    _, taps, height, width = weight.shape
    side = round(taps**0.5)
    out = np.zeros((batch, channels, height, width))
    for n, t, i, j in np.ndindex(batch, taps, height, width):
        down, right = float(alpha[n, t, i, j]), float(beta[n, t, i, j])
        whole_y, whole_x = int(down), int(right)  # toward zero
        part_y, part_x = down - whole_y, right - whole_x
        top = i + t // side * dilation + whole_y
        left = j + t % side * dilation + whole_x
        for dy, share_y in ((0, 1 - part_y), (1, part_y)):
            for dx, share_x in ((0, 1 - part_x), (1, part_x)):
                y, x = min(max(top + dy, 0), tall - 1), min(max(left + dx, 0), wide - 1)
                share = weight[n, t, i, j] * share_y * share_x
                out[n, :, i, j] += share * image[n, :, y, x]
    return out


def random(*shape: int, low: float = -2, high: float = 2, seed: int = 0) -> Tensor:
    """Return float32 values of the grid in [low, high]."""
    generator = torch.Generator().manual_seed(seed)
    edges = int(low * GRID), int(high * GRID) + 1
    return torch.randint(*edges, shape, generator=generator) / GRID


def splat_case(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return input, flow and a positive metric; `SPLAT_CASES` tells which there are."""
    shape, reach = SPLAT_CASES[name]
    batch, _, height, width = shape
    input, metric = random(*shape), random(batch, 1, height, width, low=0.25, seed=2)
    flow = random(batch, 2, height, width, low=-reach, high=reach, seed=1)
    x, y = torch.arange(width), torch.arange(height)[:, None]
    if name == "integer":
        flow = flow.round()
    if name == "holes":
        flow[:, 0], flow[:, 1] = (0.25 - 0.5 * x).floor() + 0.25, (-0.5 * y).floor() + 0.5
    if name == "edges":
        small, last = 1 / GRID, width - 1  # nine goals each way, in all pairs
        low, high = [-1 - small, -1, -1 + small, 0], [last, last + small, width - small, width]
        goals = torch.tensor([*low, last / 2, *high])
        flow = torch.stack([(goals - x).expand(9, 9), (goals[:, None] - y).expand(9, 9)])[None]
    if name == "nonfinite":
        bad = torch.tensor([np.nan, np.inf, -np.inf, 1e30, -1e30, 3e9, -3e9])
        flat = flow.flatten(2)
        flat[0, 0, 0:14:2], flat[0, 1, 1:15:2] = bad, bad
        flat[0, :, 20:27] = bad
        flow = flat.view_as(flow)
    return input, flow, metric


SPLAT_CASES = {
    "fractional": ((2, 3, 7, 9), 3),
    "leaving": ((1, 4, 6, 5), 12),
    "integer": ((1, 5, 6, 7), 3),
    "edges": ((1, 3, 9, 9), 0),
    "holes": ((1, 8, 6, 8), 0),
    "nonfinite": ((1, 3, 6, 6), 2),
    "still": ((2, 8, 4, 4), 0),
    "pixel": ((2, 1, 1, 1), 1),
    "row": ((1, 8, 1, 9), 2),
    "column": ((1, 3, 9, 1), 2),
    "wide": ((1, 33, 5, 70), 4),
}


def smooth(flow: Tensor) -> Tensor:
    """Return a flow in float64 whose goals are at least a fifth of a pixel from whole pixels."""
    return (flow.floor() + 0.2 + 0.6 * (flow - flow.floor())).double()


def adacof_case(
    batch: int, channels: int, height: int, width: int, side: int, dilation: int, reach: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the padded image, weights, and offsets up to ``reach`` either way."""
    more = (side - 1) * dilation
    image = random(batch, channels, height + more, width + more)
    shape = (batch, side * side, height, width)
    offsets = [random(*shape, low=-reach, high=reach, seed=seed) for seed in (2, 3)]
    return image, random(*shape, low=-1, high=1, seed=1), *offsets


def evaluate(
    function: Callable[..., Tensor],
    inputs: Sequence[Tensor | None],
    grad: Tensor | None = None,
) -> tuple[Tensor, list[Tensor | None]]:
    """Return the function's value and the gradient of each input (None for None).

    Args:
        function: of the inputs.
        inputs: used with the strides they have.
        grad: of the value; random numbers if None.
    """
    leaves = [x if x is None else x.detach().requires_grad_() for x in inputs]
    out = function(*leaves)
    if grad is None:
        grad = random(*out.shape, seed=9)
    given = [x for x in leaves if x is not None]
    found = iter(torch.autograd.grad(out, given, grad.to(out)))
    return out.detach(), [x if x is None else next(found) for x in leaves]


def cast(tensors: Sequence[Tensor | None], to: torch.device | torch.dtype) -> list[Tensor | None]:
    """Move or convert all that are not None."""
    return [x if x is None else x.to(to) for x in tensors]


def assert_near(
    found: Tensor, wanted: Tensor | np.ndarray, tolerance: float, what: str = ""
) -> None:
    """Compare in float64, relative to the largest finite value wanted or 1; NaN equals NaN."""
    found, wanted = found.detach().cpu().double(), torch.as_tensor(wanted).cpu().double()
    finite = wanted[wanted.isfinite()].abs()
    scale = max(1.0, finite.max().item()) if finite.numel() else 1.0
    torch.testing.assert_close(
        found, wanted, atol=tolerance * scale, rtol=0, equal_nan=True, msg=lambda m: f"{what}: {m}"
    )


def assert_all_near(
    found: tuple[Tensor, list[Tensor | None]],
    wanted: tuple[Tensor, list[Tensor | None]],
    forward: float = FORWARD,
    gradient: float = GRADIENT,
) -> None:
    """Compare two answers of `evaluate`."""
    assert_near(found[0], wanted[0], forward, "output")
    assert [x is None for x in found[1]] == [x is None for x in wanted[1]]
    for at, (mine, its) in enumerate(zip(found[1], wanted[1])):
        if mine is not None and its is not None:
            assert_near(mine, its, gradient, f"gradient of input {at}")


def assert_rounded(found: Tensor, wanted: Tensor) -> None:
    """Compare a half precision result with the exact one: at most one unit in the last place."""
    exact = wanted.detach().cpu().double()
    least = exact.abs().max().item() / GRID  # what cancels is as good as the sums in float32
    unit = torch.finfo(found.dtype).eps * 2 ** exact.abs().clamp_min(least).log2().floor()
    off = (found.detach().cpu().double() - exact.to(found.dtype).double()).abs()
    worst = (off / unit).max().item()
    assert worst <= 1, f"{worst} units in the last place of {found.dtype}"
