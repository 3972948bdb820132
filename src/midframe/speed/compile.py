"""What torch.compile brings: a model's forward pass and training step, in turns with eager ones."""

from __future__ import annotations

from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from midframe.errors import UserError
from midframe.models.base import Interpolator
from midframe.models.zoo import create_model
from midframe.speed.frames import example, given
from midframe.speed.turns import Call, milliseconds, ratio, turns, using_threads
from midframe.types import Inputs, Prediction

NOISE = 1e-5  # of the loss, and of each gradient's norm as a part of the largest: rounding
EAGER, COMPILED = "eager", "compiled"


def bench_compile(
    model: str | Interpolator = "ifrnet_s",
    batch: int = 4,
    size: int = 224,
    *,
    rounds: int = 5,
    threads: int | None = None,
    backend: str = "inductor",
) -> dict[str, Any]:
    """Time forward pass and training step of a model, eager and compiled, in turns.

    The step is forward, a loss that every output takes part in, and backward; the optimizer is the
    same for both and left out. Weights are channels_last and everything is float32.

    Args:
        model: a name, or a model to train.
        batch: samples of a step.
        size: their height and width.
        rounds: timed turns of each.
        threads: of PyTorch; None leaves its setting.
        backend: of `torch.compile`.

    Returns:
        What can be written as JSON: per pass the seconds of the first compiled call, the median
        milliseconds of either way, ``speed`` by the clock and of the processor, and after how many
        calls the compilation has paid (None: never); the difference of the losses, and of the
        gradients' norms as a part of the largest; whether both are no more than rounding.

    Raises:
        UserError: if the model has nothing to train, or does not compile as one graph.
    """
    base = create_model(model) if isinstance(model, str) else model
    if not base.trainable:
        raise UserError(f"{type(base).__name__} has nothing to train")
    with using_threads(threads) as used:
        for weight in base.parameters():
            if weight.ndim == 4:  # 3D convolutions are faster as they are
                weight.data = weight.data.to(memory_format=torch.channels_last)
        x, target = step_data(base, batch, size)
        found = _compare(base, x, target, rounds, backend)
    return {
        "benchmark": "compile",
        "model": model if isinstance(model, str) else type(model).__name__,
        "batch": batch,
        "size": size,
        "threads": used,
        "rounds": rounds,
        "torch": torch.__version__,
        **found,
    }


def step_data(model: Interpolator, batch: int, size: int) -> tuple[Inputs, Tensor]:
    """Return the inputs of a training step and targets (B, 1, 3, H, W), the same every time."""
    frames = example(model, (size + batch, size)).frames
    crops = [frames[..., i : i + size] for i in range(batch)]
    x = given(model, torch.cat(crops).contiguous(), torch.full((batch, 1), 0.5))
    return x, torch.stack(x.pair).mean(0)[:, None]


def step_loss(out: Prediction, target: Tensor) -> Tensor:
    """Return a loss of the frame and, so that flow networks learn too, of all flows.

    Squares: the slope of absolute values jumps at zero, where the flow of a new network is, and
    gradients would differ by what rounding made of its sign.
    """
    total = (out.frame - target).square().mean()
    flows = [flow for flow in (out.flow, *out.flows_coarse) if flow is not None]
    for flow in flows:
        total = total + 0.01 * flow.float().square().mean()
    return total


def train_step(run: nn.Module, model: Interpolator, x: Inputs, target: Tensor) -> Tensor:
    """Run a step through ``run``, which is ``model`` or compiled from it; gradients are set."""
    model.zero_grad(set_to_none=True)
    loss = step_loss(run(x), target)
    loss.backward()
    return loss.detach()


def gradient_norms(model: Interpolator) -> Tensor:
    """Return the norm of each trainable parameter's gradient; 0 where there is none."""
    wanted = [p for p in model.parameters() if p.requires_grad]
    return torch.stack([p.new_zeros(()) if p.grad is None else p.grad.norm() for p in wanted])


def _compare(
    base: Interpolator, x: Inputs, target: Tensor, rounds: int, backend: str
) -> dict[str, Any]:
    compiled = torch.compile(base, backend=backend, fullgraph=True, dynamic=False)
    found: dict[str, Any] = {"passes": {}}
    base.train()
    eager_loss, eager_norms = train_step(base, base, x, target), gradient_norms(base)
    start = perf_counter()
    try:
        loss, norms = train_step(compiled, base, x, target), gradient_norms(base)
    except torch._dynamo.exc.TorchDynamoException as error:
        first = str(error).strip().partition("\n")[0]
        raise UserError(f"{type(base).__name__} does not compile as one graph: {first}") from error
    took = perf_counter() - start
    found["passes"]["forward+backward"] = _timed(
        lambda: train_step(base, base, x, target),
        lambda: train_step(compiled, base, x, target),
        rounds,
        took,
    )
    off = float((norms - eager_norms).abs().max() / eager_norms.max())
    found["loss_difference"] = float(f"{float((loss - eager_loss).abs()):.1e}")
    found["gradient_difference"] = float(f"{off:.1e}")
    found["equal"] = found["loss_difference"] <= NOISE and off <= 10 * NOISE

    base.eval()
    with torch.no_grad():
        start = perf_counter()
        compiled(x)
        took = perf_counter() - start
        found["passes"]["forward"] = _timed(lambda: base(x), lambda: compiled(x), rounds, took)
    return found


def _timed(eager: Call, compiled: Call, rounds: int, took: float) -> dict[str, Any]:
    """Time an eager call and a compiled one, whose first call ``took`` seconds."""
    wall, busy = turns({EAGER: eager, COMPILED: compiled}, rounds)
    won = median(a - b for a, b in zip(wall[EAGER], wall[COMPILED]))
    return {
        "compile_s": round(took, 1),
        "eager_ms": milliseconds(wall[EAGER]),
        "compiled_ms": milliseconds(wall[COMPILED]),
        "speed": ratio(wall, EAGER, COMPILED),
        "speed_cpu": ratio(busy, EAGER, COMPILED),
        "pays_after_calls": round(took / won) if won > 0 else None,
    }
