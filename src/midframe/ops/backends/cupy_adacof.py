"""AdaCoF as CUDA kernels: a thread for each output pixel, the image packed by four channels.

Everything but the image's gradient is a sum in a fixed order. That one is scattered by atomics or,
where `torch.use_deterministic_algorithms` is on, listed tap by tap and added in order by PyTorch,
which is slow.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from midframe.ops.backends import launcher
from midframe.ops.backends.launcher import Grid, Kernel

LARGEST_UNROLLED = 11  # taps of a row whose offsets are loaded together
NAMES = ("adacof_pack", "adacof", "adacof_backward", "adacof_scatter", "adacof_unpack")
TILE: Grid = (32, 8, 1)
THREADS = 256


@functools.cache
def _kernel(name: str, dtype: torch.dtype, wide: bool, side: int, many: bool) -> Kernel:
    fixed = side if side <= LARGEST_UNROLLED else 0
    return launcher.kernel("adacof", name, dtype, wide, SIDE=fixed, MANY=int(many))


class _Call:
    """The kernels and sizes of one call.

    Args:
        image: (N, C, H + (k - 1) d, W + (k - 1) d), contiguous.
        weight: (N, k * k, H, W), contiguous.
        dilation: d.
    """

    def __init__(self, image: Tensor, weight: Tensor, dilation: int) -> None:
        batch, channels, *image_size = image.shape
        _, taps, height, width = weight.shape
        self.side = math.isqrt(taps)
        self.image = image
        self.groups = -(-channels // 4)
        self.area = image_size[0] * image_size[1]
        self.tiles = -(-width // TILE[0]) * -(-height // TILE[1]) * batch
        self.packed = batch * self.groups * self.area  # fours
        self.list = batch * self.groups * 4 * height * width  # fours
        self.sizes = (channels, height, width, *image_size, self.side, dilation)
        self.wide = launcher.is_wide(4 * self.packed + THREADS, weight.numel(), self.list)

    def run(self, name: str, grid: Grid, block: Grid, *arguments: Tensor | int) -> None:
        """Launch a kernel."""
        kernel = _kernel(name, self.image.dtype, self.wide, self.side, self.groups > 1)
        launcher.launch(kernel, grid, block, arguments, self.image.device)

    def over_pixels(self, name: str, groups: int, *tensors: Tensor | int) -> None:
        """Launch a kernel with a thread for each output pixel (and group of channels)."""
        self.run(name, (self.tiles * groups, 1, 1), TILE, *tensors, *self.sizes)

    def over_fours(self, name: str, source: Tensor, target: Tensor) -> None:
        """Launch a kernel with a thread for each pixel of the packed image."""
        grid = (-(-self.packed // THREADS), 1, 1)
        more = (self.sizes[0], self.area, self.packed)
        self.run(name, grid, (THREADS, 1, 1), source, target, *more)

    def empty(self, *shape: int) -> Tensor:
        """Return an empty tensor of what sums are made of."""
        double = self.image.dtype == torch.float64
        return self.image.new_empty(shape, dtype=torch.float64 if double else torch.float32)

    def pack(self) -> Tensor:
        """Return the image by fours (N * groups * area, 4)."""
        packed = self.image.new_empty(self.packed, 4)
        self.over_fours("adacof_pack", self.image, packed)
        return packed


def forward(image: Tensor, weight: Tensor, alpha: Tensor, beta: Tensor, dilation: int) -> Tensor:
    """Sum the taps; see `contract.AdaCoF`."""
    image, weight = image.contiguous(), weight.contiguous()
    alpha, beta = alpha.contiguous(), beta.contiguous()
    out = image.new_empty(*image.shape[:2], *weight.shape[2:])
    call = _Call(image, weight, dilation)
    call.over_pixels("adacof", call.groups, call.pack(), weight, alpha, beta, out)
    return out


def backward(
    grad: Tensor,
    image: Tensor,
    weight: Tensor,
    alpha: Tensor,
    beta: Tensor,
    dilation: int,
    needs: tuple[bool, bool, bool, bool],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients; see `contract.AdaCoF`."""
    image, weight, grad = image.contiguous(), weight.contiguous(), grad.contiguous()
    alpha, beta = alpha.contiguous(), beta.contiguous()
    found = [x.new_empty(x.shape if need else 0) for x, need in zip((image, *[weight] * 3), needs)]
    call = _Call(image, weight, dilation)
    if needs[0]:
        _image_gradient(call, grad, weight, alpha, beta, found[0])
    if any(needs[1:]):
        every = [g if need else torch.empty_like(weight) for g, need in zip(found, needs)]
        call.over_pixels("adacof_backward", 1, grad, call.pack(), weight, alpha, beta, *every[1:])
    return found[0], found[1], found[2], found[3]


def _image_gradient(
    call: _Call, grad: Tensor, weight: Tensor, alpha: Tensor, beta: Tensor, out: Tensor
) -> None:
    sums = call.empty(call.packed, 4).zero_()
    inputs = (grad, weight, alpha, beta)
    if torch.are_deterministic_algorithms_enabled():
        shares = call.empty(call.list, 4)
        numbers = torch.empty(call.list, dtype=torch.int64, device=grad.device)
        for tap in range(weight.shape[1]):
            call.over_pixels("adacof_list", call.groups, *inputs, shares, numbers, tap)
            sums.index_put_((numbers,), shares, accumulate=True)
    else:
        call.over_pixels("adacof_scatter", call.groups, *inputs, sums)
    call.over_fours("adacof_unpack", sums, out)


def variants() -> Iterator[Kernel]:
    """Name every kernel that networks make use of."""
    for dtype in launcher.SCALARS:
        for wide in (False, True):
            for side in (1, 3, 5):
                for name in NAMES:
                    yield _kernel(name, dtype, wide, side, many=False)
            for name in (*NAMES, "adacof_list"):
                yield _kernel(name, dtype, wide, 13, many=True)
