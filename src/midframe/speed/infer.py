"""Inference speed on the CPU: `interpolate` in float32 and bfloat16, in turns in one run."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from midframe.errors import UserError
from midframe.models.base import Interpolator
from midframe.models.inference import has_bf16_units
from midframe.models.zoo import create_model
from midframe.speed import ways
from midframe.speed.frames import example
from midframe.speed.turns import milliseconds, ratio, turns, using_threads
from midframe.types import Inputs, Prediction

if TYPE_CHECKING:
    from midframe.benchmark.runner import Predict, Predictor

BASE = "float32"
BENCHMARK = "middlebury"


@dataclass(frozen=True)
class Way:
    """A way of running a model: how it is prepared, and what is around its calls.

    Attributes:
        model: gives `interpolate`, with the padding and hints of the size of the frames.
        autocast: whether calls are under PyTorch's autocast to bfloat16.
    """

    model: Interpolator
    autocast: bool = False

    def __call__(self, predict: Predict, x: Inputs) -> Prediction:
        """Call ``predict``, which runs the model, in this way."""
        if not self.autocast:
            return predict(x)
        with torch.autocast("cpu", torch.bfloat16):
            return predict(x)


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
    """Time `Interpolator.interpolate` on one pair of frames through each way of running a model.

    The ways take turns round by round, so that what else the machine does weighs on all of them
    alike: trust the ratios more than the milliseconds.

    Args:
        model: a name, or a model to copy.
        size: width and height of the frames; padding and hints are those of `interpolate`.
        weights: for a model given by name.
        rounds: timed calls of each way.
        threads: of PyTorch; None leaves its setting.
        compile: also time both precisions through torch.compile, which takes minutes to build.
        root: the Middlebury "other" folder; adds each way's PSNR by the benchmark middlebury.

    Returns:
        What can be written as JSON: per way the median wall and processor time in ms, the speed as
        a multiple of contiguous float32's, and the difference of its frame from float32's.

    Raises:
        UserError: if the model cannot take part in that benchmark, or its data is not there.
    """
    base = create_model(model, weights) if isinstance(model, str) else model
    sides = _ways(base, compile)
    with using_threads(threads) as used:
        # before the work: what is wrong with the data or the model shows here
        predictors = {} if root is None else _predictors(sides, Path(root))
        result = {
            "benchmark": "infer",
            "model": model if isinstance(model, str) else type(model).__name__,
            "size": list(size),
            "threads": used,
            "torch": torch.__version__,
            "bf16_units": has_bf16_units(),
            "ways": _measure(sides, example(base, size), rounds),
        }
        if root is not None:
            result |= _quality(sides, predictors, Path(root))
    return result


def _ways(base: Interpolator, compiled: bool) -> dict[str, Way]:
    last = {x: ways.Way(x, channels_last=True) for x in ("fp32", "bf16")}
    # of a model that does not say that it casts, autocast is the only half precision
    ready = {x: ways.prepare(base, way) for x, way in last.items() if not ways.obstacle(base, way)}
    found = {
        BASE: Way(base),
        f"{BASE} channels_last": Way(ready["fp32"]),
        "bf16 autocast channels_last": Way(ready["fp32"], autocast=True),
    }
    if "bf16" in ready:
        found["bf16 channels_last"] = Way(ready["bf16"])
    for precision in ready if compiled else ():
        fast = ways.prepare(base, last[precision])
        fast.compile()  # its forward, which `interpolate` calls
        label = {"fp32": BASE}.get(precision, precision)
        found[f"{label} channels_last compiled"] = Way(fast)
    return found


def _measure(sides: Mapping[str, Way], x: Inputs, rounds: int) -> dict[str, dict[str, float]]:
    calls = {name: lambda way=way: way(way.model.interpolate, x) for name, way in sides.items()}
    frames = {name: call().frame.float() for name, call in calls.items()}  # also the warm-up
    wall, busy = turns(calls, rounds)
    return {
        name: {
            "ms": milliseconds(wall[name]),
            "cpu_ms": milliseconds(busy[name]),
            "speed": ratio(wall, BASE, name),
            "speed_cpu": ratio(busy, BASE, name),
            "max_difference": round(float((frames[name] - frames[BASE]).abs().max()), 5),
        }
        for name in sides
    }


def _predictors(sides: Mapping[str, Way], root: Path) -> dict[str, Predictor]:
    """Return what calls each way's model as the benchmark asks, once there is something to do."""
    import yaml

    from midframe.benchmark import runner
    from midframe.benchmark.protocol_file import from_config
    from midframe.paths import config_files

    text = config_files("benchmark")[BENCHMARK].read_text(encoding="utf-8")
    protocol = from_config(yaml.safe_load(text)["protocol"], BENCHMARK)
    found = {name: runner.Predictor(way.model, protocol) for name, way in sides.items()}
    one = runner.run(found[BASE], protocol, root, limit=1, progress=False)
    if not one.rows:
        raise UserError(f"--root {root}: nothing to measure; {one.problems[0]}")
    return found


def _quality(
    sides: Mapping[str, Way], predictors: Mapping[str, Predictor], root: Path
) -> dict[str, Any]:
    """Return by the protocol each way's mean PSNR, its change, and its PSNR against float32."""
    from midframe.benchmark import runner

    frames: dict[str, list[Tensor]] = {name: [] for name in sides}
    found = {}
    for name, way in sides.items():

        def predict(x: Inputs, name: str = name, way: Way = way) -> Prediction:
            out = way(predictors[name], x)
            frames[name].append(out.frame[:, 0].float())
            return out

        found[name] = runner.run(predict, predictors[name].protocol, root, progress=False)
    means = {name: outcome.means()["psnr"] for name, outcome in found.items()}
    return {
        "protocol": found[BASE].protocol.id,
        "problems": found[BASE].problems,
        "middlebury_psnr": {
            name: {
                "psnr": round(means[name], 4),
                "change": round(means[name] - means[BASE], 4),
                "against_float32": _likeness(frames[name], frames[BASE]),
            }
            for name in sides
        },
    }


def _likeness(frames: Sequence[Tensor], exact: Sequence[Tensor]) -> float | None:
    """Return the mean PSNR of frames against others; None where any are equal to the last bit."""
    from midframe.metrics import psnr

    mean = statistics.fmean(float(psnr(a, b)) for a, b in zip(frames, exact))
    return round(mean, 2) if math.isfinite(mean) else None
