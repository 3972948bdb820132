"""Batches: formed by the data alone, of the same numbers as images by themselves."""

from __future__ import annotations

import dataclasses
import json

import cv2
import fakes
import numpy as np
import pytest
import torch
import yaml
from conftest import SCENES

from midframe import metrics
from midframe.benchmark import batches
from midframe.benchmark.batches import Batching, Unit, batching, plan
from midframe.benchmark.journal import Journal
from midframe.benchmark.predictor import Predictor
from midframe.benchmark.protocol import Metric, Protocol
from midframe.benchmark.protocol_file import from_config
from midframe.benchmark.runner import run
from midframe.data.io import ImageFile
from midframe.data.records import Clip
from midframe.errors import UserError
from midframe.launch.beside import Entry
from midframe.launch.job import How, Side
from midframe.models.average import Average
from midframe.models.base import Interpolator
from midframe.models.motion import Guided, Motion
from midframe.models.pwcnet_event import EventPWCNet
from midframe.models.tiles import Tiled
from midframe.models.zoo import create_model
from midframe.paths import config_dir
from midframe.types import Inputs

FOLDERS = Protocol(
    "folders",
    1,
    "midframe.data.layouts.middlebury.other",
    ("test",),
    {},
    {"psnr": Metric("psnr"), "ssim": Metric("ssim", {"variant": "gaussian_3d"})},
    layout_options={"on_error": "skip"},
)


@pytest.fixture
def root(tmp_path):
    return fakes.middlebury(tmp_path / "data", 5, size=(32, 48), two_folders=False)


class Sizes(Average):
    """The average, which keeps how many clips it was given at once."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x: Inputs, **hints):
        self.seen.append(len(x.frames))
        return super().forward(x)


def _values(outcome):
    return [(row.key, row.values) for row in outcome.rows]


def _clips(tmp_path, sizes, targets=(1,)):
    clips = []
    for i, (height, width) in enumerate(sizes):
        path = tmp_path / f"{height}x{width}.png"
        if not path.exists():
            cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))
        frames = tuple(ImageFile(str(path)) for _ in range(5))
        clips.append(Clip(str(i), frames, (0, 4), targets))
    return clips


def test_a_batch_holds_consecutive_clips_of_one_size(tmp_path):
    small, large = (8, 8), (8, 16)
    clips = {
        "a": _clips(tmp_path, [small, small, small, large, large, small]),
        "b": _clips(tmp_path, [small]),
    }
    assert [u.members for u in plan(clips, Batching(2)) if u.subset == "a"] == [
        *((0, 1), (2,), (3, 4), (5,)),
    ]
    assert plan(clips, Batching(2))[-1] == Unit("b", (0,))
    assert [len(u.members) for u in plan(clips, Batching(1))] == [1] * 7
    several = {"a": [*clips["a"][:2], *_clips(tmp_path, [small, small], targets=(1, 2, 3))]}
    assert [u.members for u in plan(several, Batching(4))] == [(0, 1), (2, 3)]


def test_a_missing_file_stands_by_itself(tmp_path):
    clips = _clips(tmp_path, [(8, 8)] * 4)
    frames = (ImageFile(str(tmp_path / "nowhere.png")),) * 5
    clips[1] = dataclasses.replace(clips[1], frames=frames)
    assert [u.members for u in plan({"a": clips}, Batching(4))] == [(0,), (1,), (2, 3)]


@pytest.mark.parametrize(
    ("size", "targets", "expected"),
    [((256, 448), 1, 16), ((720, 1280), 1, 2), ((2160, 4096), 1, 1), ((256, 448), 7, 2)],
)
def test_auto_is_one_on_a_processor_and_bounded_by_pixels_on_a_gpu(size, targets, expected):
    assert batching("auto", "cuda").of(size, targets) == expected
    assert batching("auto", "cpu").of(size, targets) == 1
    assert batching(3, "cuda").of(size, targets) == 3


@pytest.mark.parametrize("bad", [0, -1, "many", 1.5, True, None])
def test_a_batch_that_is_no_number_is_refused(bad):
    with pytest.raises(UserError, match=r"batch=.* must be a whole number from 1 on, or auto"):
        batching(bad, "cpu")


@pytest.mark.parametrize("name", ["average", "dis", "ifrnet_s", "upr"])
def test_images_of_a_batch_have_the_numbers_that_they_have_alone(root, name):
    predictor = Predictor(create_model(name), FOLDERS)
    alone, two, all_at_once = (
        run(predictor, FOLDERS, root, batching=Batching(most)) for most in (1, 2, 9)
    )
    assert len(alone.rows) == 5 and alone.sizes == two.sizes == {(32, 48): 5}
    for outcome in (two, all_at_once):
        assert [row.key for row in outcome.rows] == [row.key for row in alone.rows]
        for row, expected in zip(outcome.rows, alone.rows):
            assert row.values == pytest.approx(expected.values, abs=1e-4)


def test_scenes_of_other_sizes_are_not_mixed(scenes):  # each of which has another height
    model = Sizes()
    outcome = run(Predictor(model, FOLDERS), FOLDERS, scenes, batching=Batching(8))
    assert model.seen == [1, 1, 1] and len(outcome.sizes) == 3
    assert [row.id for row in outcome.rows] == list(SCENES)


def test_every_time_of_every_clip_of_a_batch_is_measured(tmp_path):
    root = fakes.gopro(tmp_path, train=1, test=2, frames=18, size=(32, 40))
    protocol = _x8()
    model = Sizes()
    alone = run(Predictor(Average(), protocol), protocol, root)
    both = run(Predictor(model, protocol), protocol, root, batching=Batching(3))
    assert max(model.seen) > 1 and _values(both) == _values(alone)
    assert len({row.values["psnr"] for row in both.rows}) > 3


def _x8():
    node = yaml.safe_load((config_dir() / "benchmark" / "gopro.yaml").read_text())["protocol"]
    return dataclasses.replace(from_config(node, "gopro"), expected={})


def test_a_batch_with_a_missing_row_is_done_again_whole(root, tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(path, "key")
    whole = run(Predictor(Average(), FOLDERS), FOLDERS, root, journal=journal, batching=Batching(2))
    journal.close()
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], *lines[3:]]) + "\n")  # the second of the first batch
    model, journal = Sizes(), Journal(path, "key")
    again = run(Predictor(model, FOLDERS), FOLDERS, root, journal=journal, batching=Batching(2))
    journal.close()
    assert model.seen == [2] and again.reused == 3 and _values(again) == _values(whole)


def test_rows_of_a_batch_of_other_clips_are_not_reused(root, tmp_path):
    for most, expected in ((2, [2, 2, 1]), (3, [3, 2]), (1, [1] * 5), (1, [])):
        model, journal = Sizes(), Journal(tmp_path / "journal.jsonl", "key")
        run(Predictor(model, FOLDERS), FOLDERS, root, journal=journal, batching=Batching(most))
        journal.close()
        assert model.seen == expected


def test_the_rest_of_a_batch_with_a_damaged_file_is_measured(root):
    (root / "Dimetrodon" / "frame10i11.png").write_bytes(b"no picture")
    outcome = run(Predictor(Average(), FOLDERS), FOLDERS, root, batching=Batching(5))
    assert len(outcome.rows) == 4 and "Dimetrodon" in " ".join(outcome.problems)
    assert "data." not in " ".join(outcome.problems)  # an option of trainings


def test_metrics_see_the_images_of_one_clip_and_its_ends(root, monkeypatch):
    seen = []

    def between(pred, target, ends):
        seen.append((tuple(pred.shape), tuple(target.shape), ends))
        return torch.full((len(pred),), 7.0)

    monkeypatch.setattr(metrics.pixel, "between", between, raising=False)
    extra = {"seen": Metric("midframe.metrics.pixel.between")}
    protocol = dataclasses.replace(FOLDERS, extra=extra)
    outcome = run(Predictor(Average(), protocol), protocol, root, batching=Batching(5))
    assert [row.values["seen"] for row in outcome.rows] == [7.0] * 5
    assert {(a, b) for a, b, _ in seen} == {((1, 3, 32, 48), (1, 3, 32, 48))}
    for scene, (_, _, ends) in zip(sorted(p.name for p in root.iterdir()), seen):
        for file, end in zip(("frame10.png", "frame11.png"), ends):
            picture = cv2.imread(str(root / scene / file))[..., ::-1]
            assert ((end * 255).round().permute(1, 2, 0).numpy() == picture).all()


class Stretched(Interpolator):
    """Holds a network that looks at the whole batch."""

    trainable = False

    def __init__(self, stretch):
        super().__init__()
        self.flow = EventPWCNet(stretch)

    def forward(self, x, **hints):
        return Average()(x)


class MotionOf(Motion):
    """Motion by a network that looks at the whole batch."""

    def __init__(self, alone):
        self.estimator = type("Estimator", (), {"alone": alone, "settings": {}})()


def test_models_that_look_at_the_whole_batch_get_one_clip_at_a_time():
    assert EventPWCNet("batch").alone and not EventPWCNet("sample").alone
    for inner, expected in (("batch", True), ("sample", False)):
        for model in (Stretched(inner), Tiled(Stretched(inner), 64)):
            assert model.alone is expected
            side = Side(Entry(model, {}, "x"), FOLDERS, {}, How(4), first=True)
            assert side.facts["batch"] == (1 if expected else 4)
    assert Guided(Average(), MotionOf(True)).alone and not Guided(Average(), MotionOf(False)).alone


def test_reading_is_ahead_by_a_few_batches_and_in_order():
    asked = []

    def numbers():
        for number in range(10):
            asked.append(number)
            yield number

    found = []
    members = lambda number: [f"{number}a", f"{number}b"]  # noqa: E731
    for number, loaded in batches.ahead(numbers(), members, str.upper):
        assert len(asked) <= number + 3
        found.append((number, loaded))
    assert found == [(i, [f"{i}A", f"{i}B"]) for i in range(10)]


def test_an_error_of_reading_comes_out(root):
    def broken(clip):
        raise UserError(f"{clip} is broken")

    with pytest.raises(UserError, match="3 is broken"):
        list(batches.ahead(iter([3]), lambda number: [str(number)], broken))


def test_the_batch_is_part_of_the_run_key():
    keys = set()
    for batch in (1, 2, "auto"):
        side = Side(Entry(Average(), {}, "x"), FOLDERS, {}, How(batch), first=True)
        keys.add(side.key)
        assert json.dumps(side.facts["batch"])
    assert len(keys) == 2  # on a processor auto is one
