"""Pictures: the images most worth a look, bounded in number and bytes, and what is said of them."""

from __future__ import annotations

import base64

import cv2
import fake_results
import numpy as np
import pytest

from midframe.picture import error_map
from midframe.report import finding, pictures, sections

NAMES = ("a", "b", "c", "d")
LARGE = 1 << 24


def album(*paths, count=9, budget=LARGE):
    entries, speeds = finding.read(paths)
    return sections.build("x", entries, speeds, count, budget).sections[0].album


def decoded(layer):
    head, _, data = layer.source.partition(",")
    assert head == "data:image/webp;base64"
    picture = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    return picture[..., ::-1]


@pytest.fixture
def two(tmp_path):
    one = {"a": (30, 1), "b": (20, 1), "c": (40, 1), "d": (36, 1)}
    other = {"a": (31, 1), "b": (21, 1), "c": (41, 1), "d": (26, 1)}
    for name, values in (("one", one), ("two", other)):
        fake_results.write(tmp_path / name, name, values)
        fake_results.add_pictures(tmp_path / name, NAMES, noise=10 if name == "one" else 30)
    return tmp_path


def test_worst_best_and_most_different_come_first_and_say_why(two):
    found = album(two).shown
    assert [(one.key, one.reasons) for one in found] == [
        ("test/b", ("worst",)),
        ("test/c", ("best",)),
        ("test/d", ("most different",)),
        ("test/a", ()),
    ]


def test_of_each_image_there_are_truth_predictions_errors_and_flow(two):
    layers = album(two).shown[0].layers
    assert [layer.label for layer in layers] == [
        "Ground truth",
        *("one", "Error of one", "Flow of one"),
        *("two", "Error of two", "Flow of two"),
    ]


def test_flow_that_is_zero_everywhere_is_left_out_and_said_to_be(two):
    for path in (two / "one" / "flow" / "test").iterdir():
        assert cv2.imwrite(str(path), np.full((48, 64, 3), 255, np.uint8))
    found = album(two)
    labels = {layer.label for one in found.shown for layer in one.layers}
    assert "Flow of two" in labels and "Flow of one" not in labels
    assert "Left out, since it is zero everywhere: Flow of one." in found.notes


def test_pictures_within_the_bound_are_the_originals_to_the_bit(two):
    found = album(two)
    layers = {layer.label: layer for layer in found.shown[0].layers}
    original = cv2.imread(str(two / "one" / "images" / "test" / "b.png"))[..., ::-1]
    truth = cv2.imread(str(two / "one" / "truth" / "test" / "b.png"))[..., ::-1]
    assert np.array_equal(decoded(layers["one"]), original)
    assert not any("compressed" in note for note in found.notes)
    drawn = decoded(layers["Error of one"]).astype(float)
    assert np.abs(drawn - error_map(original, truth)).mean() < 12  # compressed


def test_at_most_so_many_images(two):
    found = album(two, count=2)
    assert [one.key for one in found.shown] == ["test/b", "test/c"]
    assert "2 of 4 images with pictures are shown (--pictures bounds them)" in found.notes[-1]
    assert album(two, count=0).notes == ["Pictures were not asked for."]


@pytest.mark.parametrize("budget", [0, 5_000, 20_000, 60_000, 120_000])
def test_pictures_never_take_more_than_the_bound(two, budget):
    found = album(two, budget=budget)
    assert found.size <= budget
    left_out = len(found.shown) < len(NAMES)
    assert any("--max-mb" in note for note in found.notes) == left_out
    assert len(found.shown) == (0 if not budget else len(found.shown))


def test_with_less_room_pictures_are_compressed_and_that_is_said(two):
    whole = album(two)
    found = album(two, budget=whole.size // 2)
    assert len(found.shown) == len(NAMES)
    assert any("compressed (WebP, quality" in note for note in found.notes)


def test_large_pictures_are_made_smaller_and_that_is_said(tmp_path):
    folder = fake_results.write(tmp_path / "r")
    fake_results.add_pictures(folder, size=(40, 2000))
    found = album(tmp_path)
    assert {(one.width, one.height, one.full) for one in found.shown} == {(1280, 26, (2000, 40))}
    assert "3 images are shown at a longer side of 1280 pixels." in found.notes


def test_without_pictures_there_is_no_comparison_and_that_is_said(tmp_path):
    fake_results.write(tmp_path / "r")
    found = album(tmp_path)
    assert found.shown == [] and "save_images=true" in found.notes[0]


def test_without_true_frames_there_are_no_error_maps_and_that_is_said(tmp_path):
    folder = fake_results.write(tmp_path / "r")
    fake_results.add_pictures(folder, truth=False)
    found = album(tmp_path)
    assert {layer.kind for one in found.shown for layer in one.layers} == {"prediction", "flow"}
    assert any("no true frames" in note for note in found.notes)


def test_models_beside_use_the_true_frames_of_the_model_they_stand_beside(tmp_path):
    folder = fake_results.write(tmp_path / "r")
    fake_results.add_pictures(folder)
    beside = fake_results.write(folder / "beside" / "average", "average")
    fake_results.add_pictures(beside, truth=False)
    labels = [layer.label for layer in album(tmp_path).shown[0].layers]
    assert {"Error of net", "Error of average"} <= set(labels)


def test_predictions_of_another_size_than_the_truth_have_no_error_map(tmp_path):
    folder = fake_results.write(tmp_path / "r")
    fake_results.add_pictures(folder)
    fake_results.picture(folder / "images" / "test" / "a.png", 0, (30, 30))
    first = next(one for one in album(tmp_path).shown if one.key == "test/a")
    assert "Error of net" not in [layer.label for layer in first.layers]


def test_pictures_that_say_to_be_huge_are_not_decoded(tmp_path, monkeypatch):
    folder = fake_results.write(tmp_path / "r")
    fake_results.add_pictures(folder)
    monkeypatch.setattr(pictures, "PIXELS_MOST", 100)
    found = album(tmp_path)
    assert not any(one.layers for one in found.shown)
    assert any("million pixels are left out" in note for note in found.notes)
