"""A benchmark of one's own: a layout, a metric and one yaml in a folder that the project names."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from midframe.data.io import write_image
from midframe.launch import evaluate

LAYOUT = '''
"""Three numbered pictures in each folder."""
from pathlib import Path
from midframe.data.io import ImageFile
from midframe.data.layouts.folders import need
from midframe.data.records import Clip

def folders(root, split, context, *, suffix="png"):
    found = []
    for folder in sorted(need(root, "  DIR/test/scene/0.png 1.png 2.png").glob(f"{split}/*")):
        frames = tuple(ImageFile(str(folder / f"{i}.{suffix}")) for i in range(3))
        found.append(Clip(folder.name, frames, (0, 2), (1,)))
    return found

def worst(pred, target, *, scale=255):
    return scale * (pred - target).abs().flatten(1).amax(1)
'''
YAML = """\
# @package benchmark.suites.mine
# Folders of three pictures
root: null
protocol:
  version: 2
  layout: {_target_: layout_of_a_test.folders, suffix: png}
  subsets: [test]
  metrics:
    psnr: {function: psnr}
    worst: {function: layout_of_a_test.worst, options: {scale: 100}, better: lower}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf" / "benchmark").mkdir(parents=True)
    (tmp_path / "layout_of_a_test.py").write_text(LAYOUT)
    for scene, error in (("a", 10), ("b", 51)):
        for i in range(3):
            picture = np.full((24, 32, 3), 100, np.uint8)
            picture[3, 4, 1] += error * (i == 1)
            write_image(tmp_path / "data" / "test" / scene / f"{i}.png", picture)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("MIDFRAME_PROJECT", str(tmp_path))
    return tmp_path


def _run(project: Path, text: str, *words: str) -> int:
    (project / "conf" / "benchmark" / "mine.yaml").write_text(text)
    choice = [] if any(word.startswith("benchmark=") for word in words) else ["benchmark=mine"]
    common = ["benchmark.root=data", "model=average", "device=cpu", "threads=1", "out=result"]
    return evaluate.main([*choice, *common, *words])


def test_layout_metric_and_yaml_of_ones_own_give_a_result(project):
    assert _run(project, YAML) == 0
    rows = list(csv.DictReader((project / "result" / "images.csv").open()))
    assert [row["id"] for row in rows] == ["a", "b"]
    for row, error in zip(rows, (10, 51)):
        assert float(row["worst"]) == pytest.approx(100 * error / 255, abs=1e-4)
        psnr = 10 * np.log10(255**2 / (error**2 / (24 * 32 * 3)))
        assert float(row["psnr"]) == pytest.approx(psnr, abs=1e-4)
    record = json.loads((project / "result" / "summary.json").read_text())
    assert record["benchmark"] == "mine@2" and record["complete"]
    assert record["protocol"]["layout"] == "layout_of_a_test.folders"
    assert record["protocol"]["layout_options"] == {"suffix": "png"}
    layout = (project / "layout_of_a_test.py").read_bytes()
    assert record["projects"] == {str(project): None}
    assert record["modules"] == {"layout_of_a_test": hashlib.sha256(layout).hexdigest()}


def test_it_stands_beside_the_packages_own(project):
    scenes = project / "data" / "Venus"
    for name, i in (("frame10", 0), ("frame10i11", 1), ("frame11", 2)):
        write_image(scenes / f"{name}.png", np.full((24, 32, 3), 50 * i, np.uint8))
    assert _run(project, YAML, "benchmark=[middlebury_upr,mine]") == 0
    assert sorted(p.name for p in (project / "result").iterdir()) == ["middlebury_upr", "mine"]


@pytest.mark.parametrize(
    ("old", "new", "choice", "said"),
    [
        (
            "# @package benchmark.suites.mine\n",
            "",
            "mine",
            "must be `# @package benchmark.suites.m",
        ),
        ("suites.mine", "suites.middlebury", "mine", "conf/benchmark/mine.yaml must be"),
        ("suites.mine", "suites.middlebury", "[middlebury,mine]", "conf/benchmark/mine.yaml must"),
        ("version", "name: other\n  version", "mine", "write mine or leave it out"),
        ("root: null", "rot: null", "mine", "benchmark mine has no key rot; its file holds"),
        (YAML[YAML.index("protocol") :], "", "mine", "benchmark mine has no protocol"),
        ("suffix: png", "sufix: png", "mine", "no option sufix; did you mean suffix? known"),
        (".folders", ".folder", "mine", "'folder'"),
        ("layout_of_a_test.folders", "lay_out.folders", "mine", "No module named 'lay_out'"),
        ("scale: 100", "scales: 100", "mine", "metrics.worst: layout_of_a_test.worst is called"),
        ("function: psnr", "function: snr", "mine", "there is no metric snr"),
        ("[test]", "[test, val]", "mine", None),
    ],
)
def test_mistakes_get_one_line_that_says_what_to_mend(project, capsys, old, new, choice, said):
    assert old in YAML
    code = _run(project, YAML.replace(old, new, 1), f"benchmark={choice}")
    shown = capsys.readouterr()
    if said is None:  # a split that this layout knows nothing of
        assert code == 0 and "val: 0 clips are there" in shown.out
        return
    assert code == 2 and said in shown.err and "Traceback" not in shown.err
    assert not (project / "result").exists()


def test_a_root_that_is_a_file_or_missing_or_not_given_is_named(project, capsys):
    (project / "file").touch()
    for root, said in (("file", "no folder"), ("nowhere", "DIR/test/scene"), ("null", "DIR/test")):
        assert _run(project, YAML, f"benchmark.root={root}") == 2
        shown = capsys.readouterr().err
        assert "benchmark.root=" in shown and said in shown


def test_of_a_damaged_file_the_rest_is_measured(project, capsys):
    (project / "data" / "test" / "a" / "1.png").write_bytes(b"no picture")
    assert _run(project, YAML) == 0
    assert "1.png" in capsys.readouterr().out
    record = json.loads((project / "result" / "summary.json").read_text())
    assert not record["complete"] and record["images"] == 1
