"""Benchmarks with events: what reaches the model, and means by target time."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
import yaml

from midframe.benchmark import report
from midframe.benchmark.protocol import Protocol
from midframe.benchmark.protocol_file import from_config
from midframe.benchmark.runner import Predictor, run
from midframe.data.layouts.events import write_example
from midframe.errors import UserError
from midframe.models.average import Average
from midframe.models.base import Interpolator
from midframe.paths import config_files
from midframe.types import Inputs, Prediction


def _protocol(name: str, **options: object) -> Protocol:
    node = yaml.safe_load(config_files("benchmark")[name].read_text())["protocol"]
    node["layout"].update(options)
    return dataclasses.replace(from_config(node, name), expected={})


SMALL = {"val_scenes": 2, "size": [32, 40], "motion": 4.0}


class Reads(Interpolator):
    """Averages, and keeps what it was given."""

    needs = frozenset({"events", "events_ends"})
    context = 2

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Inputs] = []

    def forward(self, x: Inputs, **hints: object) -> Prediction:
        self.seen.append(x)
        return Average()(x.around(1))


class Pairs(Reads):
    context = 1


@pytest.fixture(scope="module")
def scenes() -> Protocol:
    return _protocol("events_synthetic", **SMALL)


@pytest.mark.parametrize("model", [Reads, Pairs])
def test_events_and_as_many_frames_as_it_reads_reach_the_model(scenes, model):
    net = model()
    outcome = run(Predictor(net, scenes), scenes, None)
    assert outcome.complete and len(outcome.rows) == 6
    for x in net.seen:
        assert x.frames.shape == (1, 2 * model.context, 3, 32, 40)
        assert x.events.shape == (1, 3, 8, 32, 40) and x.events_ends.shape == (1, 2, 8, 32, 40)
        assert x.events.dtype == torch.float32 and x.events.abs().max() > 0
    plain = run(Predictor(Average(), scenes), scenes, None)
    assert plain.means() == outcome.means()  # which reads the middle two frames


def test_a_benchmark_says_what_its_data_gives(scenes):
    assert scenes.gives == {"events", "events_ends"}
    assert _protocol("events").gives == scenes.gives
    assert _protocol("middlebury").gives == set()
    only = _protocol("events_synthetic", gives=["events"])
    with pytest.raises(UserError, match="Reads needs events_ends, benchmark events_synthetic has"):
        Predictor(Reads(), only)


def test_a_model_without_its_motion_is_told_what_makes_it(scenes):
    class Moves(Reads):
        needs = frozenset({"events", "motion"})

    with pytest.raises(UserError, match=r"Moves needs motion, .*motion.guided makes motion"):
        Predictor(Moves(), scenes)


def test_each_target_time_has_means_of_its_own(scenes, tmp_path):
    outcome = run(Predictor(Average(), scenes), scenes, None)
    parts = outcome.at_times()
    assert list(parts) == ["0.25", "0.5", "0.75"]
    for t, part in parts.items():
        values = [r.values["psnr"] for r in outcome.rows if r.id.endswith(f"@{t}")]
        assert len(values) == 2 and part.means()["psnr"] == pytest.approx(sum(values) / 2)
    total = sum(part.means()["psnr"] for part in parts.values()) / 3
    assert outcome.means()["psnr"] == pytest.approx(total)

    report.write(tmp_path, outcome, {"model": "average"})
    record = json.loads((tmp_path / report.JSON).read_text())
    one = record["times"]["0.25"]
    assert one["images"] == 2 and one["mean"] == parts["0.25"].means()
    low, high = one["interval"]["psnr"]
    assert low <= one["mean"]["psnr"] <= high
    page = (tmp_path / report.MARKDOWN).read_text()
    for t, part in parts.items():
        means = part.means()
        row = f"| average, t = {t} (2 images) | {means['psnr']:.2f} | {means['ssim']:.4f} |"
        assert row in page


def test_a_single_time_has_no_such_rows(tmp_path):
    protocol = _protocol("events")
    outcome = run(Predictor(Average(), protocol), protocol, write_example(tmp_path / "data"))
    assert outcome.complete and outcome.at_times() == {}
    assert "times" not in report.summary(outcome, {})
    assert len(outcome.rows) == 2 * (21 - 6) and len(outcome.sequences()) == 2


def test_fast_recordings_have_truth_between(tmp_path):
    protocol = _protocol("events_x4")
    root = write_example(tmp_path / "data")
    outcome = run(Predictor(Average(), protocol), protocol, root)
    assert outcome.complete and len(outcome.rows) == 2 * 3 * 3
    assert set(outcome.at_times()) == {"0.25", "0.5", "0.75"}


def test_the_protocol_names_every_option_of_its_scenes():
    """So that another default elsewhere moves no number of it."""
    import inspect

    from midframe.data.layouts.events_synthetic import events_synthetic

    node = yaml.safe_load(config_files("benchmark")["events_synthetic"].read_text())["protocol"]
    known = set(inspect.signature(events_synthetic).parameters)
    assert set(node["layout"]) - {"_target_"} == known - {"root", "split", "context", "scenes"}
