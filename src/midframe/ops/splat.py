"""Forward warping by splatting: softmax splatting and its simpler relatives."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from midframe.ops import backend as backends
from midframe.ops.reference import splat as reference

Mode = Literal["sum", "avg", "linear", "soft"]
Normalize = Literal["addeps", "zeroeps", "clipeps"]

# in the order of the kernels' numbers for them
MODES = ("sum", "avg", "linear", "soft")
NORMALIZE = ("addeps", "zeroeps", "clipeps")


def splat(
    input: Tensor,
    flow: Tensor,
    metric: Tensor | None = None,
    mode: Mode = "sum",
    normalize: Normalize = "addeps",
    backend: str | None = None,
) -> Tensor:
    """Warp ``input`` forward: each pixel goes to where its flow points, on the four pixels there.

    A source pixel p = (x, y) with value i(p) and importance m(p) adds ``w m i`` to each of the four
    pixels around ``p + flow(p)``, with the bilinear weight w; neighbours outside the image are
    dropped. With N the sum of ``w m`` at a target pixel, the result there is ``sum / D(N)``:

    ======== ================= ======================
    mode     importance m      divided by
    ======== ================= ======================
    sum      1                 nothing
    avg      1                 D(N)
    linear   metric            D(N)
    soft     exp(metric)       D(N)
    ======== ================= ======================

    with D(N) = N + 1e-7 (``addeps``), N or 1 where N is 0 (``zeroeps``), max(N, 1e-7)
    (``clipeps``). A target that nothing reaches is 0. Published weights depend on the choice:
    UPR-Net is avg + zeroeps, ST-MFNet soft + zeroeps, SoftSplat soft + addeps.

    ``soft`` never overflows: where the largest metric that reaches a target exceeds 64, all of
    that target's exponents (and the epsilon) are lowered by the excess, which leaves the function
    as it is. A pixel whose target is not finite contributes nothing. At integer flow the flow's
    gradient is the one-sided derivative to the right.

    Sums are in float32 (float64 for float64 inputs), also under autocast. Their order, and so the
    last bit, varies from run to run on a GPU unless ``torch.use_deterministic_algorithms(True)``.

    Args:
        input: (N, C, H, W), any floating dtype and memory format.
        flow: (N, 2, H, W) in pixels, x (to the right) then y (down).
        metric: (N, 1, H, W) for linear and soft, else None.
        mode: what the importance is.
        normalize: how the sum is divided; without effect in mode sum.
        backend: "auto", "cupy", "numba", "torch" or "reference"; None follows `use_backend` and
            MIDFRAME_OPS.

    Returns:
        (N, C, H, W), contiguous, in ``input``'s dtype.

    Raises:
        ValueError: if the shapes, devices or the mode do not fit.
        UserError: if the backend can't run here.

    Source: Niklaus and Liu, Softmax Splatting for Video Frame Interpolation, CVPR 2020, eq. 3-6.
    """
    _check(input, flow, metric, mode, normalize)
    name = backends.choose(backend)
    if torch.is_autocast_enabled(input.device.type) and input.dtype != torch.float64:
        input = input.float()
    exact = torch.float64 if torch.float64 in (input.dtype, flow.dtype) else torch.float32
    flow = flow.to(exact)
    metric = metric if metric is None else metric.to(exact)
    if name == backends.REFERENCE:
        return reference(input, flow, metric, mode, normalize)
    if exact == torch.float64 and input.dtype != exact:
        return _forward(input.to(exact), flow, metric, mode, normalize, name)[0].to(input.dtype)
    return _forward(input, flow, metric, mode, normalize, name)[0]


def _check(input: Tensor, flow: Tensor, metric: Tensor | None, mode: str, normalize: str) -> None:
    if mode not in MODES or normalize not in NORMALIZE:
        raise ValueError(
            f"splat: mode is one of {', '.join(MODES)} and normalize one of "
            f"{', '.join(NORMALIZE)}, not {mode!r} and {normalize!r}"
        )
    if input.ndim != 4 or not input.is_floating_point():
        raise ValueError(
            f"splat needs a floating input (N, C, H, W), got {tuple(input.shape)} {input.dtype}"
        )
    batch, _, height, width = input.shape
    if flow.shape != (batch, 2, height, width) or not flow.is_floating_point():
        raise ValueError(
            f"splat needs a floating flow {(batch, 2, height, width)} for an input "
            f"{tuple(input.shape)}, got {tuple(flow.shape)} {flow.dtype}"
        )
    wanted = mode in ("linear", "soft")
    if wanted != (metric is not None):
        verb = "needs a metric (N, 1, H, W)" if wanted else "takes no metric: leave it None"
        raise ValueError(f"splat: mode {mode!r} {verb}")
    if metric is not None and metric.shape != (batch, 1, height, width):
        raise ValueError(
            f"splat: the metric is {(batch, 1, height, width)} for an input "
            f"{tuple(input.shape)}, got {tuple(metric.shape)}"
        )
    for other in (flow, metric):
        if other is not None and other.device != input.device:
            raise ValueError(
                f"splat: the input is on {input.device}, flow or metric on {other.device}"
            )


@torch.library.custom_op(
    "midframe::splat",
    mutates_args=(),
    schema=(
        "(Tensor input, Tensor flow, Tensor? metric, str mode, str normalize, str backend)"
        " -> (Tensor, Tensor, Tensor)"
    ),
)
def _forward(input, flow, metric, mode, normalize, backend):  # type: ignore[no-untyped-def]
    if input.numel() == 0:
        return tuple(x.zero_() for x in _allocate(input, flow, metric, mode, normalize, backend))
    code = backends.module("splat", backend, input.device)
    return code.forward(input, flow, metric, mode, normalize)


@_forward.register_fake
def _allocate(input, flow, metric, mode, normalize, backend):  # type: ignore[no-untyped-def]
    batch, _, height, width = input.shape
    weight = flow.new_empty(0 if mode == "sum" else (batch, 1, height, width))
    shift = flow.new_empty((batch, 1, height, width) if mode == "soft" else 0)
    return input.new_empty(input.shape), weight, shift


@torch.library.custom_op(
    "midframe::splat_backward",
    mutates_args=(),
    schema=(
        "(Tensor grad, Tensor input, Tensor flow, Tensor? metric, Tensor? output, Tensor weight,"
        " Tensor shift, str mode, str normalize, str backend, bool[] needs)"
        " -> (Tensor, Tensor, Tensor)"
    ),
)
def _backward(  # type: ignore[no-untyped-def]
    grad, input, flow, metric, output, weight, shift, mode, normalize, backend, needs
):
    if input.numel() == 0:
        shapes = (input, flow, metric)
        return tuple(
            flow.new_zeros(x.shape if need else 0, dtype=None if i else input.dtype)
            for i, (x, need) in enumerate(zip(shapes, needs))
        )
    code = backends.module("splat", backend, input.device)
    saved = (output, weight, shift)
    return code.backward(grad, input, flow, metric, *saved, mode, normalize, tuple(needs))


@_backward.register_fake
def _(  # type: ignore[no-untyped-def]
    grad, input, flow, metric, output, weight, shift, mode, normalize, backend, needs
):
    return (
        input.new_empty(input.shape if needs[0] else 0),
        flow.new_empty(flow.shape if needs[1] else 0),
        flow.new_empty(metric.shape if needs[2] else 0),
    )


def _save(ctx, inputs, output):  # type: ignore[no-untyped-def]
    input, flow, metric, ctx.mode, ctx.normalize, ctx.backend = inputs
    out, weight, shift = output
    ctx.save_for_backward(input, flow, metric, None if ctx.mode == "sum" else out, weight, shift)
    ctx.mark_non_differentiable(weight, shift)


def _gradient(ctx, grad, *_):  # type: ignore[no-untyped-def]
    needs = list(ctx.needs_input_grad[:3])
    found = _backward(
        grad.contiguous(), *ctx.saved_tensors, ctx.mode, ctx.normalize, ctx.backend, needs
    )
    return (*(g if need else None for g, need in zip(found, needs)), None, None, None)


_forward.register_autograd(_gradient, setup_context=_save)
for _op in (_forward, _backward):
    for _device in ("cpu", "cuda"):
        _op.register_autocast(_device, torch.float32)
