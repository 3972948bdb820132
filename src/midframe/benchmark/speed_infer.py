"""Inference speed on the CPU: float32 and bfloat16, measured in turns in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from midframe.models.base import Interpolator
from midframe.models.inference import for_inference, has_bf16_units
from midframe.models.zoo import create_model
from midframe.types import Inputs, Prediction

BASE = "float32"
Call = Callable[[Inputs], Prediction]


def bench_infer(
    model: str | Interpolator = "ifrnet_s",
    size: tuple[int, int] = (448, 256),
    *,
    weights: str | Path | None = None,
    rounds: int = 10,
    threads: int | None = None,
    compile: bool = False,
    root: str | Path | None = None,
) -> dict[str, Any]:
    """Time one pair of frames through each way of running a model.

    The ways take turns round by round, so that what else the machine does weighs on all of them
    alike: trust the ratios more than the milliseconds.

    Args:
        model: a name, or a model to copy.
        size: width and height; padded to what the model takes.
        weights: for a model given by name.
        rounds: timed calls of each way.
        threads: of PyTorch; None leaves its setting.
        compile: also time both precisions through torch.compile, which takes minutes to build.
        root: the Middlebury "other" folder; adds each way's PSNR there.

    Returns:
        What can be written as JSON: per way the median wall and processor time in ms, the speed as
        a multiple of contiguous float32's, and the difference of its frame from float32's.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        base = create_model(model, weights) if isinstance(model, str) else model.eval()
        ways = _ways(base, compile)
        with torch.inference_mode():
            result = {
                "benchmark": "infer",
                "model": model if isinstance(model, str) else type(model).__name__,
                "size": list(size),
                "threads": torch.get_num_threads(),
                "torch": torch.__version__,
                "bf16_units": has_bf16_units(),
                "ways": _measure(ways, _example(base, size), rounds),
            }
            if root is not None:
                result["middlebury_psnr"] = _quality(base, ways, Path(root))
    finally:
        torch.set_num_threads(before)
    return result


def _ways(base: Interpolator, compiled: bool) -> dict[str, Call]:
    last, low = for_inference(base, "fp32"), for_inference(base, "bf16")

    def autocast(x: Inputs) -> Prediction:
        with torch.autocast("cpu", torch.bfloat16):
            return last(x)

    ways: dict[str, Call] = {
        BASE: base,
        "float32 channels_last": last,
        "bf16 autocast channels_last": autocast,
        "bf16 channels_last": low,
    }
    if compiled:
        ways["float32 channels_last compiled"] = torch.compile(last)
        ways["bf16 channels_last compiled"] = torch.compile(low)
    return ways


def _example(base: Interpolator, size: tuple[int, int]) -> Inputs:
    random = torch.Generator().manual_seed(0)
    frames = torch.rand(1, 2 * base.context, 3, size[1], size[0], generator=random)
    return Inputs(base.padding().apply(frames), torch.tensor([[0.5]]))


def _measure(ways: dict[str, Call], x: Inputs, rounds: int) -> dict[str, dict[str, float]]:
    frames = {name: call(x).frame.float() for name, call in ways.items()}  # also the warm-up
    wall: dict[str, list[float]] = {name: [] for name in ways}
    busy: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, call in ways.items():
            start, start_busy = time.perf_counter(), time.process_time()
            call(x)
            wall[name].append(time.perf_counter() - start)
            busy[name].append(time.process_time() - start_busy)
    out = {}
    for name in ways:
        # Per round first: a slow spell of the machine then hits both sides of each ratio.
        ratio = statistics.median(a / b for a, b in zip(wall[BASE], wall[name]))
        ratio_busy = statistics.median(a / b for a, b in zip(busy[BASE], busy[name]))
        out[name] = {
            "ms": round(1e3 * statistics.median(wall[name]), 2),
            "cpu_ms": round(1e3 * statistics.median(busy[name]), 2),
            "speed": round(ratio, 3),
            "speed_cpu": round(ratio_busy, 3),
            "max_difference": round(float((frames[name] - frames[BASE]).abs().max()), 5),
        }
    return out


def _quality(base: Interpolator, ways: dict[str, Call], root: Path) -> dict[str, Any]:
    """Return each way's mean PSNR on Middlebury, the change, and its PSNR against float32."""
    from midframe.data.layouts.middlebury import other
    from midframe.metrics import psnr

    scores: dict[str, list[float]] = {name: [] for name in ways}
    against: dict[str, list[float]] = {name: [] for name in ways}
    for clip in other(root, on_error="skip"):
        first, truth, second = (_tensor(source.read()) for source in clip.frames)
        height, width = truth.shape[-2:]
        pad = base.padding()
        x = Inputs(pad.apply(torch.stack((first, second), 1)), torch.tensor([[0.5]]))
        exact = None
        for name, call in ways.items():
            frame = pad.crop(call(x).frame[:, 0].float(), height, width).clamp(0, 1)
            exact = frame if exact is None else exact
            scores[name].append(float(psnr(frame, truth)))
            against[name].append(float(psnr(frame, exact)))
    means = {name: statistics.fmean(values) for name, values in scores.items()}
    return {
        name: {
            "psnr": round(means[name], 4),
            "change": round(means[name] - means[BASE], 4),
            "against_float32": None if name == BASE else round(statistics.fmean(against[name]), 2),
        }
        for name in ways
    }


def _tensor(picture: Any) -> Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
