"""The runner: numbers as by hand, missing images reported, a killed run goes on."""

from __future__ import annotations

import dataclasses
import json

import cv2
import fakes
import numpy as np
import pytest
import torch
import yaml

from midframe import metrics
from midframe.benchmark.journal import Journal, Row
from midframe.benchmark.pictures import Pictures
from midframe.benchmark.protocol import Metric, Protocol
from midframe.benchmark.protocol_file import from_config
from midframe.benchmark.runner import Outcome, Predictor, run
from midframe.data.io import ImageFile
from midframe.data.layouts import middlebury
from midframe.data.records import Clip
from midframe.errors import UserError
from midframe.models.average import Average
from midframe.models.base import Interpolator, Pad
from midframe.models.motion import guided
from midframe.models.tiles import Tiled
from midframe.models.zoo import config_of, create_model, list_models
from midframe.paths import config_dir
from midframe.types import Prediction

MIDDLEBURY = from_config(
    yaml.safe_load((config_dir() / "benchmark" / "middlebury.yaml").read_text())["protocol"]
)
TINY = dataclasses.replace(
    MIDDLEBURY, expected={"test": 3}, pad=Pad(16, "zeros", "after", (48, 64))
)


def _picture(path):
    return cv2.imread(str(path)).astype(np.float64)


class Counting:
    """Averages, counts its calls, and breaks off at one of them."""

    def __init__(self, stop_at=None):
        self.calls, self.stop_at = 0, stop_at

    def __call__(self, x):
        self.calls += 1
        if self.calls == self.stop_at:
            raise KeyboardInterrupt
        return Average()(x)


def test_average_has_the_psnr_and_ie_computed_by_hand(scenes):
    outcome = run(Predictor(Average(), TINY), TINY, scenes)
    assert outcome.complete and [r.id for r in outcome.rows] == ["Beanbags", "Grove2", "Venus"]
    psnr = []
    for row in outcome.rows:
        first, middle, last = (
            _picture(scenes / row.id / f"{n}.png") for n in ("frame10", "frame10i11", "frame11")
        )
        mean = (first + last) / 2
        psnr.append(10 * np.log10(255**2 / ((mean - middle) ** 2).mean()))
        assert row.values["psnr"] == pytest.approx(psnr[-1], abs=1e-3)
        error = np.abs(np.rint(mean) - middle).mean()
        assert row.values["ie"] == pytest.approx(error, abs=0.1)  # halves round either way
    assert outcome.means()["psnr"] == pytest.approx(np.mean(psnr), abs=1e-3)


def test_quantisation_rounds_the_prediction_before_every_metric(scenes):
    plain = run(Predictor(Average(), TINY), TINY, scenes).means()
    rounding = dataclasses.replace(TINY, quantisation="uint8")
    rounded = run(Predictor(Average(), rounding), rounding, scenes).means()
    assert rounded["psnr"] != plain["psnr"] and rounded["ie"] == pytest.approx(plain["ie"])


def test_the_protocols_padding_reaches_the_model(scenes):
    seen = []

    class Probe(Average):
        def forward(self, x, **hints):
            seen.append((tuple(x.frames.shape[-2:]), float(x.frames[..., -1].max()), hints))
            return super().forward(x)

    hinted = dataclasses.replace(TINY, hints={"scale_factor": 0.5})
    run(Predictor(Probe(), hinted), hinted, scenes)
    assert {size for size, _, _ in seen} == {(48, 64)}
    assert all(edge == 0 and hints == {"scale_factor": 0.5} for _, edge, hints in seen)


def _one_of_each_class() -> list[str]:
    """Return a model's name for each class, which says how it is padded."""
    return list({config_of(name)["net"]["_target_"]: name for name in list_models()}.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", _one_of_each_class())
def test_a_protocols_padding_leaves_every_model_the_sizes_it_needs(tmp_path, name):
    """A pad for networks of multiple 16 measures those of 64 as well, and says what it did."""
    root = fakes.middlebury(tmp_path, 1, size=(30, 50), two_folders=False)
    protocol = dataclasses.replace(TINY, expected={"test": 1})
    model = create_model(name)
    if model.context > protocol.context or model.needs:
        pytest.skip("reads more than these frames")
    predictor = Predictor(model, protocol)
    outcome = run(predictor, protocol, root)
    assert outcome.complete
    (call,) = predictor.calls(outcome.sizes)
    multiple = call["pad"]["multiple"]
    assert multiple % 16 == 0 and multiple % model.padding(**call["hints"]).multiple == 0
    assert call["pad"]["mode"] == "zeros" and call["pad"]["least"] == (48, 64)


def test_a_models_own_multiple_joins_the_protocols():
    class Sixteen(Interpolator):
        pad = Pad(16, "half")

    class Twelve(Interpolator):
        pad = Pad(12, "half")

    canvas = Pad(16, "zeros", "after", (480, 640))
    assert Sixteen().pad_for(canvas) == canvas  # IFRNet's numbers stay what they were
    assert Twelve().pad_for(canvas) == dataclasses.replace(canvas, multiple=48)
    assert Twelve().pad_for() == Twelve.pad


def test_a_killed_run_continues_and_ends_with_the_same_rows(scenes, tmp_path):
    path = tmp_path / "journal.jsonl"
    first = Counting(stop_at=3)
    journal = Journal(path, "key")
    with pytest.raises(KeyboardInterrupt):
        run(first, TINY, scenes, journal=journal)
    journal.close()
    with path.open("a") as file:
        file.write('{"id": "Venus", "sub')  # as a kill in the midst of writing leaves it
    second, journal = Counting(), Journal(path, "key")
    resumed = run(second, TINY, scenes, journal=journal)
    journal.close()
    assert (second.calls, resumed.reused) == (1, 2)
    whole = run(Counting(), TINY, scenes)
    assert [(r.key, r.values) for r in resumed.rows] == [(r.key, r.values) for r in whole.rows]
    assert len(path.read_text().splitlines()) == 4  # key and three rows, the torn one is gone


def test_rows_of_another_key_are_not_reused(scenes, tmp_path):
    path = tmp_path / "journal.jsonl"
    for key, expected in (("a", 3), ("a", 0), ("b", 3)):
        model, journal = Counting(), Journal(path, key)
        run(model, TINY, scenes, journal=journal)
        journal.close()
        assert model.calls == expected


def test_a_reused_row_needs_its_image(scenes, tmp_path):
    images = tmp_path / "images"
    for remove, expected in ((None, 3), ("Grove2", 1)):
        if remove:
            (images / "test" / f"{remove}.png").unlink()
        model, journal = Counting(), Journal(tmp_path / "journal.jsonl", "key")
        run(model, TINY, scenes, journal=journal, pictures=Pictures(tmp_path))
        journal.close()
        assert model.calls == expected
    first, last = (_picture(scenes / "Venus" / f"{n}.png") for n in ("frame10", "frame11"))
    assert np.abs(_picture(images / "test" / "Venus.png") - (first + last) / 2).max() <= 0.5


def test_two_processes_do_not_share_a_journal(scenes, tmp_path):
    journal = Journal(tmp_path / "journal.jsonl", "key")
    journal.add([Row("Beanbags", "test")])
    with pytest.raises(UserError, match="another process"):
        Journal(tmp_path / "journal.jsonl", "key").add([Row("Venus", "test")])
    journal.close(discard=True)
    assert not list(tmp_path.glob("journal*"))


def test_missing_scenes_make_the_result_incomplete(scenes):
    full = dataclasses.replace(TINY, expected={"test": 12})
    outcome = run(Counting(), full, scenes)
    assert not outcome.complete and "3 images, the protocol has 12" in outcome.problems[0]


def test_entries_that_a_layout_leaves_out_make_a_result_without_counts_incomplete(scenes):
    counted = dataclasses.replace(TINY, expected={})
    outcome = run(Counting(), counted, scenes)
    assert outcome.problems == ["test: 3 clips are there, 9 are missing"]
    strict = dataclasses.replace(counted, layout_options={})
    with pytest.raises(UserError, match=r"benchmark\.suites\.\w+\.protocol\.layout\.on_error=skip"):
        run(Counting(), strict, scenes)


def _yielding(monkeypatch, *clips):
    """A protocol whose layout yields these clips, lazily."""
    monkeypatch.setattr(middlebury, "made", lambda root, split, context: clips, raising=False)
    layout = "midframe.data.layouts.middlebury.made"
    return dataclasses.replace(TINY, layout=layout, layout_options={}, expected={})


def test_clips_that_break_the_rules_are_named(monkeypatch):
    frames = tuple(ImageFile(f"{i}.png") for i in range(3))
    good = Clip("a", frames, (0, 2), (1,))
    for clips, said in (
        ([good, good], "two clips have this id"),
        ([Clip("a", frames, (2, 0), (1,))], "must rise"),
        ([Clip("a", frames, (0, 2), ())], "no frame to predict"),
        ([Clip("a", (*frames, *frames), (0, 5), (1,))], "no time 0.2"),
    ):
        with pytest.raises(UserError, match=said):
            run(Counting(), _yielding(monkeypatch, *clips), None)


def test_a_layout_without_any_clip_says_so(monkeypatch):
    outcome = run(Counting(), _yielding(monkeypatch), None)
    assert not outcome.complete and "test: 0 clips are there" in outcome.problems[0]


def test_scenes_that_need_no_files_are_measured():
    layout = "midframe.data.layouts.synthetic.synthetic"
    options = {"size": 32, "scenes": 2, "val_scenes": 2}
    made = dataclasses.replace(
        TINY, layout=layout, layout_options=options, subsets=("val",), expected={"val": 2}
    )
    outcome = run(Counting(), made, None)
    assert outcome.complete and len(outcome.rows) == 2


def test_a_metric_that_returns_no_value_per_image_is_named(scenes, monkeypatch):
    monkeypatch.setattr(metrics.pixel, "mean_error", lambda a, b: (a - b).mean(), raising=False)
    columns = {"mean": Metric("midframe.metrics.pixel.mean_error")}
    with pytest.raises(UserError, match=r"mean_error returned \(\).*one value per image"):
        run(Counting(), dataclasses.replace(TINY, metrics=columns), scenes)


def test_a_missing_or_cut_off_file_is_named_and_the_rest_measured(scenes):
    (scenes / "Beanbags" / "frame11.png").unlink()
    data = (scenes / "Venus" / "frame10.png").read_bytes()
    (scenes / "Venus" / "frame10.png").write_bytes(data[: len(data) // 2])
    outcome = run(Counting(), TINY, scenes)
    assert [r.id for r in outcome.rows] == ["Grove2"]
    assert "Beanbags" in outcome.problems[0] and "frame10.png" in outcome.problems[1]


def test_a_prediction_that_is_not_finite_makes_the_result_incomplete(scenes):
    def broken(x):
        return Prediction(torch.full((1, 1, 3, *x.frames.shape[-2:]), float("nan")))

    outcome = run(broken, TINY, scenes)
    assert "test/Beanbags: the prediction is not finite" in outcome.problems


def test_missing_root_shows_the_expected_tree(tmp_path):
    with pytest.raises(UserError, match=r"benchmark.root=(.|\n)*frame10i11.png"):
        run(Counting(), TINY, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"benchmark\.root"):
        run(Counting(), TINY, tmp_path / "empty")


def test_models_that_cannot_take_part_are_refused():
    class Four(Interpolator):
        context = 2

    class Middle(Interpolator):
        times = "half"

    class Events(Interpolator):
        needs = frozenset({"events"})

    for model in (Four(), Tiled(Four(), 64)):  # named as what it is, not by how it works
        with pytest.raises(UserError, match="Four reads 4 frames"):
            Predictor(model, TINY)
    with pytest.raises(UserError, match="t = 0.5"):
        Predictor(Middle(), dataclasses.replace(TINY, times=(0.25, 0.5, 0.75)))
    with pytest.raises(UserError, match="events"):
        Predictor(Events(), TINY)


def test_a_model_that_makes_its_motion_takes_part_with_two_frames(scenes):
    seen = []

    class Moved(Average):
        needs = frozenset({"motion"})

        def forward(self, x, **hints):
            seen.append((x.frames.shape[1], x.motion.shape[1:3]))
            return super().forward(x)

    outcome = run(Predictor(guided(Moved()), TINY), TINY, scenes)
    assert len(outcome.rows) == len(seen)
    assert set(seen) == {(2, (1, 2))}


def test_reduction_over_subsets_weighs_them_equally():
    protocol = Protocol("x", 1, "a.b", ("p", "q"), {}, {"psnr": Metric("psnr")})
    rows = [Row(str(i), "p", {"psnr": 30.0}) for i in range(3)] + [Row("0", "q", {"psnr": 20.0})]
    assert Outcome(protocol, rows).means()["psnr"] == pytest.approx(27.5)
    by_subset = dataclasses.replace(protocol, reduction="subsets")
    assert Outcome(by_subset, rows).means()["psnr"] == pytest.approx(25.0)


def test_published_codes_numbers_on_real_scenes(golden, golden_fill, shared_data):
    """IFRNet with fixed weights: the published script's PSNR, SSIM and IE of three scenes."""
    record = json.loads(golden("ifrnet/middlebury_full.json").read_text())
    model = golden_fill.fill_(create_model("ifrnet_s"), **record["weights"])
    outcome = run(
        Predictor(model, MIDDLEBURY), MIDDLEBURY, shared_data("middlebury_other"), limit=2
    )
    assert outcome.problems == ["limited to 2 of every subset"]
    for row in outcome.rows:
        expected = record["results"]["IFRNet_S"][row.id]
        assert row.values["psnr"] == pytest.approx(expected["psnr"], abs=1e-3)
        assert row.values["ssim"] == pytest.approx(expected["ssim_matlab_3d"], abs=1e-4)
        assert row.values["ie"] == pytest.approx(expected["ie"], abs=1e-2)
