"""One measurement in its own process: what is called, and what becomes of failures."""

from __future__ import annotations

import json
from functools import partialmethod
from typing import Any

import pytest
import torch
from torch import nn

from midframe.models import zoo
from midframe.models.base import Interpolator, Pad
from midframe.speed import cost_probe, memory
from midframe.speed.cost_probe import Work, operations, probe
from midframe.types import Inputs, Prediction

THREADS = torch.get_num_threads()


class Telling(Interpolator):
    """Tells what its calls got."""

    casts = True
    pad = Pad(8)
    calls: list[tuple[tuple[int, ...], list[float], dict[str, Any]]] = []

    def __init__(self, hungry: bool = False) -> None:
        super().__init__()
        self.hungry, self.scale = hungry, nn.Parameter(torch.ones(10))

    def forward(self, x: Inputs, level: int = 1, **hints: Any) -> Prediction:
        self.calls.append((tuple(x.frames.shape), x.t.flatten().tolist(), {"level": level}))
        if self.hungry:
            torch.empty(1 << 50)
        return Prediction(x.frames[:, :1].expand(-1, x.t.shape[1], -1, -1, -1))


@pytest.fixture(autouse=True)
def _none_before() -> None:
    Telling.calls = []


def work(**other: Any) -> Work:
    config = {"name": "telling", "net": {"_target_": f"{__name__}.Telling"}}
    options = {"config": config, "size": (24, 16), "threads": THREADS, "rounds": 3}
    return Work(**{**options, **other})


def test_calls_are_those_asked_for() -> None:
    row = probe(work(batch=2, times=(0.25, 0.75), warmup=2, hints={"level": 4}))
    (first, *others) = Telling.calls
    assert first[0][-2:] == (64, 64)  # loads what is loaded late
    assert others == [((2, 2, 3, 16, 24), [0.25, 0.75] * 2, {"level": 4})] * 5
    assert row["rounds"] == 3 and row["warmup"] == 2 and row["threads"] == THREADS
    assert row["frames_per_s"] == pytest.approx(4e3 / row["mean_ms"], rel=2e-3)
    assert row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"] and row["cpu_ms"] > 0
    assert row["weights_bytes"] == 40 and row["peak_bytes"] >= 40
    assert "compile_s" not in row and json.loads(json.dumps(row)) == row


def test_hints_written_for_the_model_win() -> None:
    node = {**work().config, "hints": {"level": 9}}
    probe(work(config=node, hints={"level": 4}))
    assert {call[2]["level"] for call in Telling.calls} == {9}


def test_half_precision_is_of_the_weights() -> None:
    assert probe(work(way="bf16"))["weights_bytes"] == 20


def test_noise_is_normal_and_the_same_each_time() -> None:
    model = zoo.build(work().config)
    one, other = (work(size=(200, 100), frames="noise").inputs(model).frames for _ in range(2))
    assert torch.equal(one, other)
    assert abs(one.mean()) < 0.02 and abs(one.std() - 1) < 0.02


def test_compiled_ways_compile_for_the_size_and_count_no_compiling(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shapes: list[Any] = []

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        shapes.append([tuple(x.shape) for x in inputs if isinstance(x, torch.Tensor)])
        return graph.forward

    compiled = partialmethod(nn.Module.compile, backend=backend)
    monkeypatch.setattr(Interpolator, "compile", compiled, raising=False)
    row = probe(work(config=zoo.config_of("average"), way="fp32_compiled", warmup=0))
    assert len(shapes) == 1 and (1, 2, 3, 16, 24) in shapes[0]
    assert row["compile_s"] >= 0 and row["rounds"] == 3


def test_events_and_motion_are_given_or_made() -> None:
    assert probe(work(config=zoo.config_of("warped"), rounds=1))["p50_ms"] > 0  # makes its motion
    config = zoo.config_of("event")
    net = {**config["net"], "channels": [4, 4, 4, 4, 4]}
    small = work(config={**config, "net": net}, rounds=1, size=(64, 64))
    assert probe(small)["p50_ms"] > 0 and operations(small)["convolution"] > 0


def test_operations_follow_batch_and_times() -> None:
    node = zoo.config_of("ifrnet_s")
    one = operations(work(config=node, size=(64, 64)))
    assert operations(work(config=node, size=(64, 64), batch=3)) == {
        name: 3 * count for name, count in one.items()
    }
    more = operations(work(config=node, size=(64, 64), times=(0.25, 0.5)))["convolution"]
    assert one["convolution"] < more < 2 * one["convolution"]  # the encoder runs once


def asked(**other: Any) -> str:
    given = work(**other)
    return json.dumps({**vars(given), **({"count": True} if other.get("count") else {})})


def test_the_process_prints_how_far_it_is_and_a_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cost_probe, "OFTEN", 0.0)
    assert cost_probe.main(asked(warmup=1)) == 0
    *told, row = map(json.loads, capsys.readouterr().out.splitlines())
    assert told == [{"done": i} for i in (1, 2, 3, 4)] and row["rounds"] == 3
    counted = json.dumps({**vars(work(config=zoo.config_of("ifrnet_s"))), "count": True})
    assert cost_probe.main(counted) == 0
    assert json.loads(capsys.readouterr().out)["flops"]["convolution"] > 0


def test_memory_that_is_not_there_is_told_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    net = {"_target_": f"{__name__}.Telling", "hungry": True}
    assert cost_probe.main(asked(config={"name": "telling", "net": net})) == 1
    row = json.loads(capsys.readouterr().out)
    assert row["error"] == "out of memory" and "allocate" in row["detail"]


def test_other_failures_are_their_first_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cost_probe.main(asked(frames="pictures")) == 1
    assert json.loads(capsys.readouterr().out)["error"].startswith("frames=pictures; did you mean")
    assert cost_probe.main(json.dumps({"size": [1, 1], "times": [0.5]})) == 1
    assert json.loads(capsys.readouterr().out)["error"].startswith("TypeError: ")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (type("OutOfMemoryError", (Exception,), {})("of CuPy"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("sizes do not match"), False),
    ],
)
def test_which_errors_are_of_memory(error: Exception, expected: bool) -> None:
    assert memory.ran_out(error) is expected
