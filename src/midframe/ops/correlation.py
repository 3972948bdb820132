"""Local correlation of two feature maps: the cost volume of flow networks."""

from __future__ import annotations

import torch
from torch import Tensor

from midframe.ops import backend as backends
from midframe.ops.reference import correlation as reference


def correlation(
    first: Tensor,
    second: Tensor,
    radius: int = 4,
    stride: int = 1,
    backend: str | None = None,
) -> Tensor:
    """Compare each position of ``first`` with the square of positions around it in ``second``.

    ``out[n, (dy + r) * (2r + 1) + (dx + r), i, j]`` is the mean over channels of
    ``first[n, :, i s, j s] * second[n, :, (i + dy) s, (j + dx) s]`` for dy, dx in -r..r, zero where
    the second position lies outside. dy is the slow index. The stride s spaces the output grid and
    the displacements alike.

    Sums are in float32 (float64 for float64 inputs), also under autocast.

    Args:
        first: (N, C, H, W), any floating dtype and memory format.
        second: (N, C, H, W), of the same dtype.
        radius: r; 4 gives the 81 channels of PWC-Net, UPR-Net and ST-MFNet, 3 LiteFlowNet's 49.
        stride: s; 2 at LiteFlowNet's fine levels.
        backend: "auto", "cupy", "numba", "torch" or "reference"; None follows `use_backend` and
            MIDFRAME_OPS.

    Returns:
        (N, (2r + 1)^2, ceil(H / s), ceil(W / s)), contiguous, in the inputs' dtype.

    Raises:
        ValueError: if the shapes, dtypes or devices do not fit.
        UserError: if the backend can't run here.

    Source: Sun et al., PWC-Net, CVPR 2018, eq. 3; the stride as in Hui et al., LiteFlowNet, 2018.
    """
    _check(first, second, radius, stride)
    name = backends.choose(backend)
    if torch.is_autocast_enabled(first.device.type) and first.dtype != torch.float64:
        first, second = first.float(), second.float()
    if stride > 1:
        # (i + dy) s lies inside the image just where i + dy lies inside every s-th row of it
        first, second = first[..., ::stride, ::stride], second[..., ::stride, ::stride]
    if name == backends.REFERENCE:
        return reference(first, second, radius)
    return _forward(first, second, radius, name)


def _check(first: Tensor, second: Tensor, radius: int, stride: int) -> None:
    if first.ndim != 4 or first.shape != second.shape:
        raise ValueError(
            f"correlation needs two feature maps (N, C, H, W) of one shape, got "
            f"{tuple(first.shape)} and {tuple(second.shape)}"
        )
    if not first.is_floating_point() or first.dtype != second.dtype:
        raise ValueError(
            f"correlation needs two floating maps of one dtype, got {first.dtype}, {second.dtype}"
        )
    if first.device != second.device:
        raise ValueError(f"correlation: one map is on {first.device}, one on {second.device}")
    if first.shape[1] == 0:
        raise ValueError("correlation: the maps have no channels, so there is no mean over them")
    if radius < 0 or stride < 1:
        raise ValueError(f"correlation: radius >= 0 and stride >= 1, not {radius} and {stride}")


@torch.library.custom_op(
    "midframe::correlation",
    mutates_args=(),
    schema="(Tensor first, Tensor second, int radius, str backend) -> Tensor",
)
def _forward(first, second, radius, backend):  # type: ignore[no-untyped-def]
    if first.numel() == 0:
        return _allocate(first, second, radius, backend)
    code = backends.module("correlation", backend, first.device)
    return code.forward(first, second, radius)


@_forward.register_fake
def _allocate(first, second, radius, backend):  # type: ignore[no-untyped-def]
    batch, _, height, width = first.shape
    return first.new_empty(batch, (2 * radius + 1) ** 2, height, width)


@torch.library.custom_op(
    "midframe::correlation_backward",
    mutates_args=(),
    schema=(
        "(Tensor grad, Tensor first, Tensor second, int radius, str backend, bool[] needs)"
        " -> (Tensor, Tensor)"
    ),
)
def _backward(grad, first, second, radius, backend, needs):  # type: ignore[no-untyped-def]
    if first.numel() == 0:
        return _allocate_gradients(grad, first, second, radius, backend, needs)
    code = backends.module("correlation", backend, first.device)
    return code.backward(grad, first, second, radius, tuple(needs))


@_backward.register_fake
def _allocate_gradients(  # type: ignore[no-untyped-def]
    grad, first, second, radius, backend, needs
):
    return tuple(x.new_empty(x.shape if need else 0) for x, need in zip((first, second), needs))


def _save(ctx, inputs, output):  # type: ignore[no-untyped-def]
    first, second, ctx.radius, ctx.backend = inputs
    ctx.save_for_backward(first, second)


def _gradient(ctx, grad):  # type: ignore[no-untyped-def]
    needs = list(ctx.needs_input_grad[:2])
    found = _backward(grad.contiguous(), *ctx.saved_tensors, ctx.radius, ctx.backend, needs)
    return (*(g if need else None for g, need in zip(found, needs)), None, None)


_forward.register_autograd(_gradient, setup_context=_save)
for _op in (_forward, _backward):
    for _device in ("cpu", "cuda"):
        _op.register_autocast(_device, torch.float32)
