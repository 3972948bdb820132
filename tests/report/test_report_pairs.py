"""Two models on frames at several times of a gap: a clip counts once, wherever it is told."""

from __future__ import annotations

import json

import fake_results
import pytest

from midframe import cli
from midframe.report import finding, page, sections

BY = {"times": (0.25, 0.75), "subsets": ("easy", "hard"), "expected": {"easy": 2, "hard": 1}}
CLIPS = {"easy/a": 30.0, "easy/b": 33.0, "hard/c": 24.0}


@pytest.fixture
def pair(tmp_path):
    by = fake_results.protocol(published=(), **BY)
    for name, gain in (("one", 0.5), ("two", 0.0)):
        values = {
            f"{clip}@{time}": (psnr + gain + time, 0.9)
            for clip, psnr in CLIPS.items()
            for time in by.times
        }
        times = {
            str(time): {"images": 3, "mean": {"psnr": 29 + gain + time, "ssim": 0.9}}
            for time in by.times
        }
        fake_results.write(tmp_path / name, name, values, by, times=times)
    return tmp_path / "one", tmp_path / "two"


def test_compare_counts_clips(pair, capsys):
    assert cli.main(["compare", *map(str, pair)]) == 0
    shown = capsys.readouterr().out
    assert "6 common images" in shown and "better and worse are counted over 3" in shown
    assert cli.main(["compare", *map(str, pair), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["metrics"]["psnr"]
    assert found["difference"] == pytest.approx(0.5) and found["better"] == 3
    assert found["p"] == 2 * 0.5**3  # of three clips, not six frames


def test_results_without_a_common_image_are_not_compared(pair, tmp_path, capsys):
    by = fake_results.protocol(published=(), **BY)
    other = fake_results.write(tmp_path / "x", "x", {"easy/z@0.25": (1, 1)}, by)
    assert cli.main(["compare", str(pair[0]), str(other), "--common"]) == 2
    assert "have no image in common" in capsys.readouterr().err


def test_the_page_shows_pairs_and_parts(pair):
    html = page.html(sections.build("Results", *finding.read(pair), 6, 1 << 24))
    pairs = html.split("Model against model")[1]
    assert "+0.500" in pairs and "bold where it excludes zero" in pairs
    assert "By subset" in html and "By time" in html
    assert "t = 0.25" in html and "29.75" in html
