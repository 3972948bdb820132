"""Floating point operations of a model: PyTorch's counter, taught the operators of midframe.ops."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from types import MappingProxyType
from typing import Any

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedFakeTensorException,
)
from torch.utils.flop_counter import FlopCounterMode

from midframe.models.base import Interpolator
from midframe.ops import use_backend
from midframe.speed.frames import given

Shape = Sequence[int]
# What can't be run without numbers: an operation that asks for a value, or for code outside PyTorch
NEEDS_NUMBERS = (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedFakeTensorException,
)
NO_HINTS: Mapping[str, Any] = MappingProxyType({})
UNIT = "floating point operations; a multiplication and its addition are two"
COUNTED = (
    "convolutions, matrix products, splats, correlations and AdaCoF; not element-wise operations, "
    "resizing and backward warping"
)


def splat_flops(
    input: Shape, flow: Shape, metric: Shape | None, mode: str, *_: Any, **__: Any
) -> int:
    """Count a splat: each value, and with it the weight if there is one, goes to four pixels."""
    batch, channels, height, width = input
    carried = channels + (mode != "sum")
    return 2 * 4 * carried * batch * height * width


def correlation_flops(first: Shape, second: Shape, radius: int, *_: Any, **__: Any) -> int:
    """Count a correlation: one multiply-add per channel and displacement at every position."""
    batch, channels, height, width = first
    return 2 * (2 * radius + 1) ** 2 * channels * batch * height * width


def adacof_flops(image: Shape, weight: Shape, *_: Any, **__: Any) -> int:
    """Count AdaCoF: four corners with their weights per tap, channel and pixel of the output."""
    batch, taps, height, width = weight
    return 2 * 4 * taps * image[1] * batch * height * width


def count(
    model: Interpolator,
    size: tuple[int, int],
    *,
    times: Sequence[float] = (0.5,),
    batch: int = 1,
    hints: Mapping[str, Any] = NO_HINTS,
    fake: bool = True,
) -> dict[str, int]:
    """Count a call of `interpolate` on frames of a size, padded as the model pads.

    Counted are convolutions, matrix products, splats, correlations and AdaCoF; neither element-wise
    operations nor resizing and backward warping, as is usual.

    Args:
        model: in float32 on the CPU.
        size: width and height.
        times: of the frames that the call makes.
        batch: samples of the call.
        hints: of the call.
        fake: work on shapes alone, which takes no time and no memory; a model that can't is run.

    Returns:
        Operations by operator, such as {"convolution": ..., "splat": ...}, in ``UNIT``.
    """

    def counted() -> dict[str, int]:
        frames = torch.full((batch, 2 * model.context, 3, size[1], size[0]), 0.5)
        t = torch.tensor([*times]).expand(batch, -1)
        return _counted(lambda: model.interpolate(given(model, frames, t), **hints))

    if not fake:
        return counted()
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            return counted()
    except NEEDS_NUMBERS:
        return counted()


def direct_convolution_flops(
    input: Shape, weight: Shape, *_: Any, out_shape: Shape, **__: Any
) -> int:
    """Count a convolution that is asked of oneDNN itself, which PyTorch's table does not have."""
    positions = out_shape[0] * prod(out_shape[2:])
    return 2 * prod(weight) * positions


def _counted(call: Callable[[], Any]) -> dict[str, int]:
    ops = torch.ops.midframe
    counter = FlopCounterMode(
        display=False,
        # of this counter alone: PyTorch's table of formulas is left as it is
        custom_mapping={
            ops.splat: splat_flops,
            ops.correlation: correlation_flops,
            ops.adacof: adacof_flops,
            torch.ops.aten.mkldnn_convolution: direct_convolution_flops,
        },
    )
    # the reference backend works without the operators, and would be counted by its parts
    with use_backend("torch"), counter:
        call()
    total = counter.get_flop_counts().get("Global", {})
    return {str(op).rpartition(".")[2]: int(flops) for op, flops in total.items()}
