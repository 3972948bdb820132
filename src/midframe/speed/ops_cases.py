"""What `midframe bench ops` measures: inputs of realistic sizes, the bytes they need, the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from midframe import ops
from midframe.ops import reference
from midframe.speed import ops_peers

FORWARD, BOTH = "forward", "forward+backward"
PASSES = (FORWARD, BOTH)
REACH = 8.0  # pixels of flow
Function = Callable[..., Tensor]
MakeInputs = Callable[[], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Case:
    """One operator on one size.

    Attributes:
        op: "splat", "correlation" or "adacof".
        label: what distinguishes it, such as "soft C=32 448x256".
        dtype: of the inputs.
        make: builds the inputs, the same in each call.
        needs: which inputs get a gradient.
        call: the operator on these inputs; takes ``backend=``.
        usual: the form in plain PyTorch, and its name.
        truth: the definition in float64.
        forward_bytes: each input read and each output written once.
        backward_bytes: the same for the gradients.
        same: the usual form computes the same function.
        passes: which of `PASSES` to measure.
    """

    op: str
    label: str
    dtype: torch.dtype
    make: MakeInputs = field(repr=False)
    needs: tuple[bool, ...]
    call: Function = field(repr=False)
    usual: tuple[str, Function] = field(repr=False)
    truth: Function = field(repr=False)
    forward_bytes: int
    backward_bytes: int
    same: bool = True
    passes: tuple[str, ...] = PASSES

    def useful(self, kind: str) -> int:
        """Return the bytes that a pass has to move."""
        return self.forward_bytes + (self.backward_bytes if kind == BOTH else 0)


def splat(
    mode: str,
    channels: int,
    size: tuple[int, int],
    device: torch.device,
    *,
    batch: int = 1,
    dtype: torch.dtype = torch.float32,
) -> Case:
    """Describe splatting along a smooth flow of up to some `REACH` pixels."""
    width, height = size

    def make() -> tuple[Tensor, ...]:
        random = torch.Generator().manual_seed(0)
        flow = torch.randn(batch, 2, height // 32 + 2, width // 32 + 2, generator=random)
        flow = F.interpolate(flow, (height, width), mode="bicubic") * (REACH / 2)
        # exact in float32 and never whole, so that float64 sees the same four pixels
        flow = (flow * 64).floor() / 64 + 1 / 128
        input = torch.rand(batch, channels, height, width, generator=random)
        tensors = [input.to(dtype), flow]
        if mode == "soft":
            tensors.append(-3 * torch.rand(batch, 1, height, width, generator=random))
        return tuple(x.to(device) for x in tensors)

    def call(input: Tensor, flow: Tensor, metric: Tensor | None = None, **options: str) -> Tensor:
        return ops.splat(input, flow, metric, mode, **options)  # type: ignore[arg-type]

    def usual(input: Tensor, flow: Tensor, metric: Tensor | None = None) -> Tensor:
        return ops_peers.taped_splat(input, flow, metric, mode)

    def truth(input: Tensor, flow: Tensor, metric: Tensor | None = None) -> Tensor:
        return reference.splat(input, flow, metric, mode, "addeps")

    pixels, own = batch * height * width, dtype.itemsize
    planes = 3 if mode == "soft" else 2  # of flow and metric, in float32
    return Case(
        "splat",
        _label(f"{mode} C={channels}", size, batch),
        dtype,
        make,
        (True,) * planes if mode == "soft" else (True, True),
        call,
        ("taped", usual),
        truth,
        pixels * (2 * channels * own + 4 * planes),
        pixels * (3 * channels * own + 8 * planes),
    )


def correlation(
    device: torch.device, *, batch: int = 1, dtype: torch.dtype = torch.float32
) -> Case:
    """Describe the cost volume of the published networks at a quarter of 448x256."""
    channels, height, width, radius = 128, 64, 112, 4

    def make() -> tuple[Tensor, ...]:
        random = torch.Generator().manual_seed(0)
        shape = (batch, channels, height, width)
        return tuple(torch.randn(shape, generator=random).to(device, dtype) for _ in range(2))

    def call(first: Tensor, second: Tensor, **options: str) -> Tensor:
        return ops.correlation(first, second, radius, **options)  # type: ignore[arg-type]

    def usual(first: Tensor, second: Tensor) -> Tensor:
        return ops_peers.shift_loop(first, second, radius)

    def truth(first: Tensor, second: Tensor) -> Tensor:
        return reference.correlation(first, second, radius)

    pixels, planes = batch * height * width * dtype.itemsize, (2 * radius + 1) ** 2
    return Case(
        "correlation",
        _label(f"C={channels} r={radius}", (width, height), batch),
        dtype,
        make,
        (True, True),
        call,
        ("81 shifts", usual),
        truth,
        pixels * (2 * channels + planes),
        pixels * (4 * channels + planes),
    )


def adacof(
    size: tuple[int, int],
    device: torch.device,
    *,
    batch: int = 1,
    dtype: torch.dtype = torch.float32,
) -> Case:
    """Describe 25 taps on a picture that needs no gradient, as in the published networks."""
    (width, height), side, channels = size, 5, 3

    def make() -> tuple[Tensor, ...]:
        random = torch.Generator().manual_seed(0)
        shape = (batch, side * side, height, width)
        image = torch.rand(batch, channels, height + side - 1, width + side - 1, generator=random)
        weight = torch.rand(shape, generator=random).softmax(1)
        alpha, beta = (2 * torch.randn(shape, generator=random) for _ in range(2))
        return tuple(x.to(device, dtype) for x in (image, weight, alpha, beta))

    def call(*tensors: Tensor, **options: str) -> Tensor:
        return ops.adacof(*tensors, dilation=1, **options)  # type: ignore[misc,arg-type]

    def usual(*tensors: Tensor) -> Tensor:
        return ops_peers.grid_samples(*tensors, dilation=1)

    def truth(*tensors: Tensor) -> Tensor:
        return reference.adacof(*tensors, dilation=1)

    pixels, planes = batch * height * width * dtype.itemsize, 3 * side * side
    return Case(
        "adacof",
        _label(f"{side}x{side} C={channels}", size, batch),
        dtype,
        make,
        (False, True, True, True),
        call,
        ("25 grid_samples", usual),
        truth,
        pixels * (planes + 2 * channels),
        pixels * (2 * planes + 2 * channels),
        same=False,
    )


def on_cpu(only: Sequence[str]) -> Iterator[Case]:
    """Yield what is measured on a CPU, of the operators in ``only``."""
    device, size = torch.device("cpu"), (448, 256)
    if "splat" in only:
        for channels in (32, 3):
            for mode in ("soft", "avg", "sum"):
                yield splat(mode, channels, size, device)
    if "correlation" in only:
        yield correlation(device)
    if "adacof" in only:
        yield adacof(size, device)


def on_cuda(only: Sequence[str], device: torch.device) -> Iterator[Case]:
    """Yield what is measured on a GPU, of the operators in ``only``."""
    small, large = (448, 256), (1920, 1080)
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        if "splat" in only:
            for size, batch in ((small, 1), (small, 8), (large, 1)):
                yield splat("soft", 32, size, device, batch=batch, dtype=dtype)
        if "correlation" in only:
            for batch in (1, 8):
                yield correlation(device, batch=batch, dtype=dtype)
        if "adacof" in only:
            for size in (small, large):
                yield adacof(size, device, dtype=dtype)


def _label(start: str, size: tuple[int, int], batch: int) -> str:
    return f"{start} {size[0]}x{size[1]}" + (f" batch {batch}" if batch > 1 else "")
