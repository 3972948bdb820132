"""AdaCoF: adaptive collaboration of flows, one weighted sum of offset taps per pixel."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from midframe.ops import backend as backends
from midframe.ops.reference import adacof as reference


def adacof(
    image: Tensor,
    weight: Tensor,
    alpha: Tensor,
    beta: Tensor,
    dilation: int = 1,
    backend: str | None = None,
) -> Tensor:
    """Sample ``image`` at k x k learned positions around each pixel and sum with learned weights.

    ``out[n, c, i, j]`` is the sum over taps t = row * k + column of ``weight[n, t, i, j]`` times
    ``image`` at ``(i + row d + alpha[n, t, i, j], j + column d + beta[n, t, i, j])``, in pixels of
    the padded image.

    The sampling is that of the published kernel, on which trained weights rely: the whole part
    of an offset is *truncated toward zero*, so that a negative offset extrapolates (alpha = -0.5
    gives ``1.5 p0 - 0.5 p1``) and the function jumps at every negative integer; each of the four
    corner positions is clamped to the padded image. The gradient holds the truncation fixed. Unlike
    the published kernel, which returns zeros, the image's gradient is computed, if it is asked for.

    Sums are in float32 (float64 for float64 inputs), also under autocast.

    Args:
        image: (N, C, H + (k - 1) d, W + (k - 1) d), padded by the caller (the networks replicate
            the border, (k - 1) d / 2 on each side).
        weight: (N, k * k, H, W), any sign; the networks' are a softmax over the taps.
        alpha: (N, k * k, H, W) vertical offsets in pixels, down is positive.
        beta: (N, k * k, H, W) horizontal offsets in pixels, to the right is positive.
        dilation: d, the spacing of the taps.
        backend: "auto", "cupy", "numba", "torch" or "reference"; None follows `use_backend` and
            MIDFRAME_OPS.

    Returns:
        (N, C, H, W), contiguous, in the promoted dtype of the inputs.

    Raises:
        ValueError: if the shapes or devices do not fit.
        UserError: if the backend can't run here.

    Source: Lee et al., AdaCoF, CVPR 2020, eq. 2; ST-MFNet, CVPR 2022, section 3.1.
    """
    _check(image, weight, alpha, beta, dilation)
    name = backends.choose(backend)
    dtype = image.dtype
    for other in (weight, alpha, beta):
        dtype = torch.promote_types(dtype, other.dtype)
    if torch.is_autocast_enabled(image.device.type) and dtype != torch.float64:
        dtype = torch.float32
    inputs = (image.to(dtype), weight.to(dtype), alpha.to(dtype), beta.to(dtype))
    if name == backends.REFERENCE:
        return reference(*inputs, dilation)
    return _forward(*inputs, dilation, name)


def _check(image: Tensor, weight: Tensor, alpha: Tensor, beta: Tensor, dilation: int) -> None:
    named = {"image": image, "weight": weight, "alpha": alpha, "beta": beta}
    for label, tensor in named.items():
        if tensor.ndim != 4 or not tensor.is_floating_point():
            raise ValueError(
                f"adacof needs floating tensors of four dimensions; {label} is "
                f"{tuple(tensor.shape)} {tensor.dtype}"
            )
        if tensor.device != image.device:
            raise ValueError(f"adacof: image is on {image.device}, {label} on {tensor.device}")
    batch, taps, height, width = weight.shape
    side = math.isqrt(taps)
    if taps == 0 or side * side != taps:
        raise ValueError(f"adacof: weight has {taps} channels, not a square number k * k")
    if alpha.shape != weight.shape or beta.shape != weight.shape:
        raise ValueError(
            f"adacof: weight, alpha and beta have one shape, got {tuple(weight.shape)}, "
            f"{tuple(alpha.shape)}, {tuple(beta.shape)}"
        )
    if dilation < 1:
        raise ValueError(f"adacof: dilation is at least 1, not {dilation}")
    more = (side - 1) * dilation
    if image.shape[0] != batch or tuple(image.shape[2:]) != (height + more, width + more):
        raise ValueError(
            f"adacof: for a weight {tuple(weight.shape)} and dilation {dilation} the padded image "
            f"is ({batch}, C, {height + more}, {width + more}), got {tuple(image.shape)}"
        )


@torch.library.custom_op(
    "midframe::adacof",
    mutates_args=(),
    schema=(
        "(Tensor image, Tensor weight, Tensor alpha, Tensor beta, int dilation, str backend)"
        " -> Tensor"
    ),
)
def _forward(image, weight, alpha, beta, dilation, backend):  # type: ignore[no-untyped-def]
    if image.numel() == 0 or weight.numel() == 0:
        return _allocate(image, weight, alpha, beta, dilation, backend)
    code = backends.module("adacof", backend, image.device)
    return code.forward(image, weight, alpha, beta, dilation)


@_forward.register_fake
def _allocate(image, weight, alpha, beta, dilation, backend):  # type: ignore[no-untyped-def]
    batch, _, height, width = weight.shape
    return image.new_empty(batch, image.shape[1], height, width)


@torch.library.custom_op(
    "midframe::adacof_backward",
    mutates_args=(),
    schema=(
        "(Tensor grad, Tensor image, Tensor weight, Tensor alpha, Tensor beta, int dilation,"
        " str backend, bool[] needs) -> (Tensor, Tensor, Tensor, Tensor)"
    ),
)
def _backward(  # type: ignore[no-untyped-def]
    grad, image, weight, alpha, beta, dilation, backend, needs
):
    if image.numel() == 0 or weight.numel() == 0:  # either may have elements, whose gradient is 0
        inputs = (image, weight, alpha, beta)
        return tuple(x.new_zeros(x.shape if need else 0) for x, need in zip(inputs, needs))
    code = backends.module("adacof", backend, image.device)
    return code.backward(grad, image, weight, alpha, beta, dilation, tuple(needs))


@_backward.register_fake
def _(  # type: ignore[no-untyped-def]
    grad, image, weight, alpha, beta, dilation, backend, needs
):
    inputs = (image, weight, alpha, beta)
    return tuple(x.new_empty(x.shape if need else 0) for x, need in zip(inputs, needs))


def _save(ctx, inputs, output):  # type: ignore[no-untyped-def]
    *tensors, ctx.dilation, ctx.backend = inputs
    ctx.save_for_backward(*tensors)


def _gradient(ctx, grad):  # type: ignore[no-untyped-def]
    needs = list(ctx.needs_input_grad[:4])
    found = _backward(grad.contiguous(), *ctx.saved_tensors, ctx.dilation, ctx.backend, needs)
    return (*(g if need else None for g, need in zip(found, needs)), None, None)


_forward.register_autograd(_gradient, setup_context=_save)
for _op in (_forward, _backward):
    for _device in ("cpu", "cuda"):
        _op.register_autocast(_device, torch.float32)
