"""`midframe bench infer`: what it times and scores is what `interpolate` and `evaluate` do."""

from __future__ import annotations

import json
from functools import partialmethod
from pathlib import Path
from typing import Any

import fakes
import pytest
import torch
import yaml
from torch import nn

from midframe import Inputs, Prediction, cli, create_model
from midframe.benchmark import runner
from midframe.benchmark.protocol_file import from_config
from midframe.errors import UserError
from midframe.models.base import Interpolator, Pad
from midframe.paths import config_files
from midframe.speed.infer import bench_infer

FRAMES = (40, 24)  # width and height


class Telling(Interpolator):
    """Tells what its calls got; its levels, and so its padding, follow from the frames' height."""

    casts = True
    calls: list[tuple[tuple[int, int], dict[str, Any]]] = []

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def hints(self, height: int, width: int, benchmark: str | None = None) -> dict[str, Any]:
        return {"levels": 4 if benchmark else 3 if height < 100 else 6}

    def padding(self, **hints: Any) -> Pad:
        return Pad(multiple=2 ** hints["levels"])

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        self.calls.append(((x.frames.shape[-1], x.frames.shape[-2]), hints))
        # the mean of all there is, so that the padding shows in the result
        mean = x.frames.mean((1, 3, 4), keepdim=True)
        return Prediction(0.9 * x.frames.mean(1, keepdim=True) + 0.1 * self.scale.float() * mean)


class Rounding(Interpolator):
    """The average of two frames and a little of a convolution, which is rounded as its type is."""

    casts = True
    pad = Pad(1)

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        out = self.layer(x.frames.flatten(1, 2).to(self.layer.weight.dtype))
        return Prediction(x.frames.mean(1, keepdim=True) + 0.1 * out[:, None].float())


@pytest.fixture(autouse=True)
def _none_before() -> None:
    Telling.calls = []


@pytest.fixture
def protocol() -> Any:
    text = config_files("benchmark")["middlebury"].read_text(encoding="utf-8")
    return from_config(yaml.safe_load(text)["protocol"], "middlebury")


def test_the_result_is_json_with_ratios() -> None:
    result = json.loads(json.dumps(bench_infer("ifrnet_s", FRAMES, rounds=2)))
    assert result["size"] == [40, 24]
    assert result["ways"]["float32"]["speed"] == 1.0
    assert {"float32 channels_last", "bf16 channels_last"} <= set(result["ways"])
    assert all(way["max_difference"] < 0.05 for way in result["ways"].values())


def test_every_way_gets_the_hints_and_the_padding_of_interpolate() -> None:
    Telling().interpolate(Inputs(torch.rand(1, 2, 3, 140, 200), torch.full((1, 1), 0.5)))
    (expected,) = Telling.calls
    assert expected == ((256, 192), {"levels": 6})
    ways = bench_infer(Telling(), (200, 140), rounds=2)["ways"]
    assert Telling.calls[1:] == [expected] * 3 * len(ways)  # one to warm up, two rounds


def test_a_model_that_does_not_cast_is_timed_without_bfloat16_weights() -> None:
    model = create_model("ifrnet_s")
    model.__class__ = type("Other", (type(model),), {"casts": False})
    ways = bench_infer(model, FRAMES, rounds=1)["ways"]
    assert "float32 channels_last" in ways and "bf16 channels_last" not in ways


def test_compiled_ways_run_compiled_code(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        def run(*tensors: Any) -> Any:
            runs.append(len(tensors))
            return graph.forward(*tensors)

        return run

    compiled = partialmethod(nn.Module.compile, backend=backend)
    monkeypatch.setattr(Interpolator, "compile", compiled, raising=False)
    ways = bench_infer(create_model("average"), FRAMES, rounds=2, compile=True)["ways"]
    assert ways["float32 channels_last compiled"]["max_difference"] == 0
    assert len(runs) >= 2 * 3  # each of two ways: one call to warm up, two rounds


def test_psnr_is_that_of_the_benchmark(tmp_path: Path, protocol: Any) -> None:
    root, model = fakes.middlebury(tmp_path / "scenes", scenes=2), Telling()
    outcome = runner.run(runner.Predictor(model, protocol), protocol, root, progress=False)
    assert Telling.calls[0] == ((640, 480), {"levels": 4})
    got = bench_infer(model, FRAMES, rounds=1, root=root)
    score = got["middlebury_psnr"]["float32"]
    assert score["psnr"] == round(outcome.means()["psnr"], 4)
    assert score["change"] == 0 and score["against_float32"] is None
    assert got["protocol"] == protocol.id
    assert got["problems"] == ["test: 2 images, the protocol has 12"]
    low = got["middlebury_psnr"]["bf16 channels_last"]
    assert low["change"] == round(low["psnr"] - score["psnr"], 4)


def test_the_likeness_is_that_to_the_frames_of_float32(tmp_path: Path) -> None:
    root = fakes.middlebury(tmp_path / "scenes", scenes=1)
    got = bench_infer(Rounding(), FRAMES, rounds=1, root=root)["middlebury_psnr"]
    assert got["float32 channels_last"]["against_float32"] > 80
    assert 30 < got["bf16 channels_last"]["against_float32"] < 90


def test_what_cannot_be_scored_is_told_before_anything_is_timed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no-such"):
        bench_infer(Telling(), FRAMES, root=tmp_path / "no-such")
    assert not Telling.calls


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--model", "average", "--size", "24x16", "--rounds", "1", "--threads", "1"]
    assert cli.main(["bench", "infer", *options]) == 0
    assert json.loads(capsys.readouterr().out)["size"] == [24, 16]
    assert cli.main(["bench", "infer", "--size", "24"]) == 2
    assert "give WIDTHxHEIGHT" in capsys.readouterr().err
