"""One model, in one way, at one size, measured in the process it has for itself.

``python -m midframe.speed.cost_probe '{"config": ...}'`` tells how far it is in lines such as
``{"done": 3}``, and prints one line of JSON at last.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import torch

from midframe.errors import UserError, known_names
from midframe.models import zoo
from midframe.models.base import Interpolator
from midframe.models.motion import guided
from midframe.speed import apart, cost, flops, memory
from midframe.speed.frames import example, noise
from midframe.speed.turns import milliseconds
from midframe.speed.ways import named, prepare
from midframe.types import Inputs

FRAMES = {"picture": example, "noise": noise}
SMALL = (64, 64)  # of the call that loads and compiles what is loaded and compiled late
OFTEN = 0.2  # seconds between two lines on how far it is


@dataclass(frozen=True)
class Work:
    """What to measure, as JSON can say it.

    Attributes:
        config: of the model, content of conf/model; its weights are read where it names any.
        size: width and height.
        way: one of `midframe.speed.ways.WAYS`.
        device: "cpu" or "cuda:0".
        threads: of PyTorch on the CPU; None leaves its setting.
        warmup: calls that are not counted.
        rounds: calls that are.
        times: of the frames that a call makes.
        batch: samples of a call.
        frames: what they show, one of `FRAMES`.
        hints: of every call; those of the config win.
        cudnn_benchmark: whether cuDNN tries its algorithms and takes the fastest.
    """

    config: Mapping[str, Any]
    size: tuple[int, int]
    way: str = "fp32"
    device: str = "cpu"
    threads: int | None = None
    warmup: int = 1
    rounds: int = 1
    times: tuple[float, ...] = (0.5,)
    batch: int = 1
    frames: str = "picture"
    hints: Mapping[str, Any] = field(default_factory=dict)
    cudnn_benchmark: bool = False

    def written(self, model: Interpolator) -> dict[str, Any]:
        """Return the hints that a call gets."""
        return {**self.hints, **model.fixed_hints}

    def inputs(self, model: Interpolator, size: tuple[int, int] | None = None) -> Inputs:
        """Return what a call gets, on the device."""
        if self.frames not in FRAMES:
            raise UserError(f"frames={self.frames}; {known_names(self.frames, FRAMES)}")
        x = FRAMES[self.frames](model, size or self.size, self.batch, self.times)
        return x.to(self.device)


def probe(work: Work, tell: Callable[[int], None] = lambda done: None) -> dict[str, Any]:
    """Measure a model.

    Args:
        work: what to measure.
        tell: gets the number of calls so far.

    Returns:
        What can be written as JSON: see `cost.statistics`; peak_bytes, weights_bytes; cpu_ms, the
        median processor time of all threads, on the CPU; compile_s, of the first call of compiled
        ways; warmup, threads, clock and peak_is.
    """
    torch.set_num_threads(work.threads or torch.get_num_threads())
    torch.manual_seed(0)
    device, way = torch.device(work.device), named(work.way)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = work.cudnn_benchmark
    bare = prepare(zoo.build(work.config), way).to(device)
    model = guided(bare, work.config)
    hints, using = work.written(model), cost.meter(device)
    model.interpolate(work.inputs(model, SMALL), **hints)
    if "cv2" in sys.modules:  # which has threads of its own
        sys.modules["cv2"].setNumThreads(torch.get_num_threads())
    x = work.inputs(model)

    def call() -> None:
        model.interpolate(x, **hints)

    found: dict[str, Any] = {}
    using.start()
    if way.compiled:  # not before: it would be for the small size
        bare.compile()
        found["compile_s"] = round(using.seconds(call)[0], 1)
        using.start()
    wall, busy = cost.timed(call, using, work.warmup, work.rounds, tell)
    weights = memory.bytes_of(model)
    found |= cost.statistics(wall, work.batch * len(work.times))
    found |= {"peak_bytes": using.peak_bytes(weights), "weights_bytes": weights}
    found |= {"cpu_ms": milliseconds(busy)} if busy else {}
    return {
        **found,
        "warmup": work.warmup,
        "threads": torch.get_num_threads(),
        "clock": using.clock,
        "peak_is": using.peak_is,
    }


def operations(work: Work) -> dict[str, int]:
    """Count the operations of a call of the network alone, by operator: see `flops.count`."""
    model = zoo.build(work.config)
    hints = work.written(model)
    return flops.count(model, work.size, times=work.times, batch=work.batch, hints=hints)


def main(argument: str) -> int:
    """Do what the JSON asks for, print the row or its error as JSON.

    The JSON is a `Work`; ``"count": true`` asks for operations in place of time and memory.
    """
    last = monotonic()

    def tell(done: int) -> None:
        nonlocal last
        if monotonic() - last >= OFTEN:
            last = monotonic()
            print(json.dumps({apart.DONE: done}), flush=True)

    try:
        asked = json.loads(argument)
        count = asked.pop("count", False)
        work = Work(**{**asked, "size": tuple(asked["size"]), "times": tuple(asked["times"])})
        row: dict[str, Any] = {"flops": operations(work)} if count else probe(work, tell)
    except Exception as error:  # the parent makes a row of it, whatever it is
        row = apart.failure(error)
    print(json.dumps(row), flush=True)
    return 1 if "error" in row else 0


if __name__ == "__main__":
    memory.go_first()
    sys.exit(main(sys.argv[1]))
