"""Hints by benchmark: the published choice, what wins over it, and what the record says."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
import yaml

from midframe.benchmark.journal import Journal
from midframe.benchmark.protocol import Protocol
from midframe.benchmark.protocol_file import from_config
from midframe.benchmark.runner import Predictor, run
from midframe.models.base import Pad
from midframe.models.ifrnet import IFRNet
from midframe.models.uprnet import UPRNet
from midframe.models.zoo import create_model
from midframe.paths import config_dir
from midframe.types import Inputs, Prediction

GREY = 0.5
FAKE = dataclasses.replace(  # three scenes of 48x32, 48x36 and 48x40: see `scenes`
    from_config(
        yaml.safe_load((config_dir() / "benchmark" / "middlebury_upr.yaml").read_text())["protocol"]
    ),
    name="fake",
    expected={"test": 3},
)


class Seen:
    """Notes what reaches the network; the frame is the average of the two."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.calls = []

    def forward(self, x, **hints):
        self.calls.append((x.frames.clone(), hints))
        return Prediction(x.frames.mean(1, keepdim=True).expand(-1, x.t.shape[1], -1, -1, -1))


class SeenUPR(Seen, UPRNet):
    pass


class SeenIFRNet(Seen, IFRNet):
    pass


def _run(model, scenes, **changes) -> tuple[Predictor, list]:
    protocol = dataclasses.replace(FAKE, **changes)
    predictor = Predictor(model, protocol)
    outcome = run(predictor, protocol, scenes)
    assert outcome.complete
    return predictor, predictor.calls(outcome.sizes)


@pytest.mark.parametrize("name", ["upr_base", "upr_large", "upr_llarge"])
def test_upr_chooses_as_the_published_code_was_called(golden, name):
    model = create_model("upr")
    cases = json.loads(golden(f"upr/{name}.json").read_text())["cases"]
    assert {case["protocol"] for case in cases} == {"vimeo", "demo", "snufilm", "x4k"}
    for case in cases:
        height, width = case["input"]["crop_yxhw"][2:]
        family = None if case["protocol"] == "demo" else case["protocol"]
        hints = model.hints(height, width, family)
        published = {k: v for k, v in case["call"]["kwargs"].items() if k != "time_period"}
        assert hints == published, case["name"]
        pad = model.padding(**hints)
        assert (pad.mode, pad.side) == ("half", "after")
        assert list(pad.apply(torch.zeros(1, height, width)).shape[1:]) == case["padded_hw"]


@pytest.mark.parametrize(
    ("benchmark", "hints"),
    [
        ("vimeo", {"pyr_level": 3}),
        ("vimeo_septuplet", {"pyr_level": 3}),
        ("ucf101", {"pyr_level": 3}),
        ("ucf101_379", {"pyr_level": 3}),
        ("snufilm", {"pyr_level": 5}),
        ("snufilm_extreme", {"pyr_level": 5}),
        ("x4k", {"pyr_level": 7, "nr_lvl_skipped": 2}),
        ("x4k_2k", {"pyr_level": 7, "nr_lvl_skipped": 2}),
        ("middlebury", {"pyr_level": 4}),  # as its demo, by the width
        (None, {"pyr_level": 4}),
    ],
)
def test_upr_by_benchmark(benchmark, hints):
    assert create_model("upr").hints(480, 640, benchmark) == hints


def test_ifrnet_estimates_snufilm_at_four_fifths(golden):
    model = create_model("ifrnet_s")
    cases = json.loads(golden("ifrnet/IFRNet_S.json").read_text())["cases"]
    case = next(c for c in cases if c["protocol"] == "snufilm")
    for benchmark in ("snufilm", "snufilm_hard"):
        hints = model.hints(110, 150, benchmark)
        assert hints == case["call"]["kwargs"] == {"scale_factor": 0.8}
    assert model.padding(**hints) == Pad(20, "replicate", "both")
    assert model.hints(110, 150, "middlebury") == model.hints(110, 150) == {}


def test_a_familys_hints_and_their_padding_reach_the_network(scenes):
    model = SeenUPR()
    _run(model, scenes, family="snufilm_hard")
    assert len(model.calls) == 3
    for frames, hints in model.calls:
        assert hints == {"pyr_level": 5}
        assert tuple(frames.shape[-2:]) == (64, 64)
        # 48 columns and 32 to 40 rows of picture, then grey at the bottom and right
        assert (frames[..., 48:] == GREY).all() and (frames[..., 40:, :] == GREY).all()
        assert not (frames[..., :32, :48] == GREY).all()
    other = SeenUPR()
    _run(other, scenes, family="middlebury")
    assert [hints for _, hints in other.calls] == [{"pyr_level": 1}] * 3  # by the width
    assert [tuple(f.shape[-2:]) for f, _ in other.calls] == [(32, 48), (36, 48), (40, 48)]


def test_the_family_is_the_name_unless_stated(scenes):
    model = SeenIFRNet("S")
    _run(model, scenes, name="snufilm_easy", family="")
    assert all(hints == {"scale_factor": 0.8} for _, hints in model.calls)
    assert [tuple(f.shape[-2:]) for f, _ in model.calls] == [(40, 60), (40, 60), (40, 60)]


def test_what_the_user_writes_wins_over_the_protocol_and_that_over_the_papers(scenes):
    papers = {"pyr_level": 7, "nr_lvl_skipped": 2}
    for protocols, users, expected in (
        ({}, {}, papers),
        ({"pyr_level": 4}, {}, {"pyr_level": 4, "nr_lvl_skipped": 2}),
        ({}, {"nr_lvl_skipped": 0}, {"pyr_level": 7, "nr_lvl_skipped": 0}),
        (
            {"pyr_level": 4, "nr_lvl_skipped": 1},
            {"pyr_level": 3},
            {"pyr_level": 3, "nr_lvl_skipped": 1},
        ),
    ):
        model = SeenUPR()
        model.fixed_hints = users
        _, calls = _run(model, scenes, family="x4k", hints=protocols)
        assert all(hints == expected for _, hints in model.calls)
        assert [call["hints"] for call in calls] == [expected]
        assert calls[0]["pad"]["multiple"] == 2 ** (expected["pyr_level"] + 1)


def test_an_argument_of_interpolate_wins_over_all():
    model = SeenUPR()
    x = Inputs(torch.rand(1, 2, 3, 20, 30), torch.tensor([[0.5]]))
    model.interpolate(x, benchmark="snufilm")
    model.fixed_hints = {"pyr_level": 2}
    model.interpolate(x, benchmark="snufilm")
    model.interpolate(x, benchmark="snufilm", pyr_level=1)
    assert [hints for _, hints in model.calls] == [{"pyr_level": n} for n in (5, 2, 1)]


def test_the_record_says_hints_and_padding_by_size(scenes):
    predictor, calls = _run(SeenUPR(), scenes, family="snufilm")
    pad = {"multiple": 64, "mode": "half", "side": "after", "least": (0, 0)}
    sizes = ["48x32", "48x36", "48x40"]
    assert calls == [{"hints": {"pyr_level": 5}, "pad": pad, "images": 3, "sizes": sizes}]
    by_width = predictor.model, dataclasses.replace(FAKE, family="middlebury")
    calls = Predictor(*by_width).calls({(480, 640): 5, (420, 380): 1, (388, 584): 2})
    assert [(c["hints"]["pyr_level"], c["images"], c["sizes"]) for c in calls] == [
        (4, 7, ["584x388", "640x480"]),
        (3, 1, ["380x420"]),
    ]


def test_images_of_an_interrupted_run_are_in_the_record(scenes, tmp_path):
    path = tmp_path / "journal.jsonl"
    predictor = Predictor(SeenUPR(), FAKE)
    outcomes = []
    for _ in range(2):
        journal = Journal(path, "key")
        outcomes.append(run(predictor, FAKE, scenes, journal=journal))
        journal.close()
    assert (outcomes[0].reused, outcomes[1].reused) == (0, 3)
    assert predictor.calls(outcomes[1].sizes) == predictor.calls(outcomes[0].sizes) != []


def test_a_protocol_from_a_file_may_name_its_family():
    node = dataclasses.asdict(FAKE)
    assert from_config({**node, "family": "snufilm"}).family == "snufilm"
    assert from_config({**node, "family": None}).family == "fake"
    plain = Protocol("x", 1, "a.b", ("p",), {}, dict(FAKE.metrics))
    assert plain.family == "x"
    assert plain.digest() != dataclasses.replace(plain, family="snufilm").digest()
