"""`midframe bench anytime`: both ways make the same frames, and the record and table are kept."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from midframe import Inputs, Prediction, cli
from midframe.errors import UserError
from midframe.models.base import Interpolator
from midframe.speed.anytime import bench_anytime, markdown

WHERE = {"processor": "P", "date": "D", "revision": "R", "versions": {"torch": "V"}}


class Counting(Interpolator):
    """Says how often its shared part ran; ``slip`` makes several times differ from single ones."""

    calls: list[int] = []

    def __init__(self, slip: float = 0.0) -> None:
        super().__init__()
        self.slip, self.scale = slip, nn.Parameter(torch.ones(1))

    def forward(self, x: Inputs, **hints: object) -> Prediction:
        self.calls.append(x.t.shape[1])
        first, second = (frame[:, None] for frame in x.pair)
        t = x.t[:, :, None, None, None] + self.slip * (x.t.shape[1] > 1)
        return Prediction(self.scale * ((1 - t) * first + t * second))


@pytest.fixture(autouse=True)
def _none_before() -> None:
    Counting.calls = []


def test_one_call_and_a_call_each_take_turns():
    found = bench_anytime(Counting(), (20, 16), 3, rounds=2)
    assert Counting.calls == [3, 1, 1, 1] * 3  # the first turn warms up
    assert list(found["ways"]) == ["one call", "3 calls"]
    assert found["speed"] > 0 and found["speed_cpu"] > 0
    assert found["equal"] and found["max_difference"] < 1e-6
    assert found["size"] == "20x16" and found["times"] == 3 and found["rounds"] == 2


def test_frames_that_differ_are_told():
    found = bench_anytime(Counting(slip=0.1), (20, 16), 2, rounds=1)
    assert not found["equal"] and found["max_difference"] > 1e-3


def test_the_threads_are_left_as_they_were():
    torch.set_num_threads(2)
    assert bench_anytime(Counting(), (20, 16), 2, rounds=1, threads=1)["threads"] == 1
    assert torch.get_num_threads() == 2


def test_what_cannot_be_measured_is_told():
    with pytest.raises(UserError, match="at least 2 times"):
        bench_anytime(Counting(), (20, 16), 1)
    with pytest.raises(UserError, match="only t = 0.5"):
        bench_anytime("softsplat_gridnet", (20, 16), 2)


def test_the_table_names_model_size_and_precision():
    row = bench_anytime(Counting(), (20, 16), 2, rounds=1)
    table = markdown({"environment": WHERE, "models": [row]})
    assert "| `Counting` | 2 of 20x16 fp32 |" in table


def test_the_command_keeps_json_and_table(tmp_path, capsys):
    files = tmp_path / "a.json", tmp_path / "b.md"
    command = ["bench", "anytime", "--model", "average", "--size", "24x16", "--times", "2"]
    options = ["--rounds", "1", "--save", str(files[0]), "--table", str(files[1])]
    assert cli.main([*command, *options]) in (None, 0)
    kept = json.loads(files[0].read_text())
    assert kept == json.loads(capsys.readouterr().out)
    assert kept["benchmark"] == "anytime" and kept["models"][0]["model"] == "average"
    assert "| `average` |" in files[1].read_text()


def test_upr_finds_motion_and_features_once_for_all_times(monkeypatch):
    from midframe import create_model

    model, counts = create_model("upr"), {"motion": 0, "features": 0, "frames": 0}
    parts = zip(counts, (model.motion_estimator, model.feat_pyramid, model.synthesis_network))
    for name, part in parts:

        def count(*_: object, name: str = name) -> None:
            counts[name] += 1

        part.register_forward_hook(count)
    model.interpolate(Inputs(torch.rand(1, 2, 3, 32, 32), torch.arange(1, 8)[None] / 8))
    levels = counts["motion"]
    assert levels >= 1 and counts == {
        "motion": levels, "features": levels, "frames": 7 * levels,
    }  # fmt: skip
