"""`midframe compare`: two results held against one another, or what keeps them apart."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import fakes
import numpy as np
import pytest

from midframe import cli
from midframe.launch import evaluate
from midframe.metrics import statistics

TINY = (
    "benchmark=middlebury_upr",
    "benchmark.suites.middlebury_upr.protocol.expected.test=4",
    "device=cpu",
    "threads=1",
)


def _evaluate(folder, out, *words):
    assert evaluate.main([*TINY, f"benchmark.root={folder}", f"out={out}", *words]) == 0
    return out


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Results of dis with average beside, of average on three images, by another protocol."""
    folder = tmp_path_factory.mktemp("compare")
    root = fakes.middlebury(folder / "data", 4, size=(32, 48), two_folders=False)
    three = fakes.middlebury(folder / "three", 3, size=(32, 48), two_folders=False)
    _evaluate(root, folder / "dis", "model=dis", "beside=[average]")
    _evaluate(three, folder / "three_images", "model=average", "beside=[]", "metric=[ie]")
    rounded = "benchmark.suites.middlebury_upr.protocol.quantisation=uint8"
    _evaluate(root, folder / "rounded", "model=average", "beside=[]", rounded)
    return folder


def _columns(folder):
    lines = (folder / "images.csv").read_text().splitlines()
    names = lines[0].split(",")
    return {n: [line.split(",")[i] for line in lines[1:]] for i, n in enumerate(names)}


def test_differences_are_those_of_the_rows(results, capsys):
    words = [str(results / "dis"), str(results / "dis" / "beside" / "average")]
    assert cli.main(["compare", *words, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["images"] == 4 and record["benchmark"] == "middlebury_upr@1"
    ours, theirs = (_columns(results / name) for name in ("dis", "dis/beside/average"))
    for name, better in (("psnr", np.greater), ("ie", np.less)):
        a, b = (np.array(one[name], float) for one in (ours, theirs))
        found = record["metrics"][name]
        assert found["difference"] == pytest.approx((a - b).mean())
        assert found["interval"] == pytest.approx(statistics.interval(a - b))
        assert found["better"] == better(a, b).sum() and found["p"] == 2 * 0.5**4
    paired = json.loads((results / "dis" / "summary.json").read_text())["paired"]
    assert paired["average"] == record["metrics"]  # what the evaluation itself says


def test_a_table_shows_them(results, capsys):
    words = [str(results / "dis"), str(results / "dis" / "beside" / "average")]
    assert cli.main(["compare", *words]) == 0
    shown = capsys.readouterr().out
    assert "4 common images" in shown and "A better" in shown and "p = 0.12" in shown
    assert "A: dis" in shown and "B: average" in shown and "IE" in shown


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("dis", "rounded", 'quantisation: "none" and "uint8"'),
        ("dis", "three_images", "has 4 images and .* 3, 3 are common; --common"),
        ("dis", "data", "holds no result: there is no summary.json"),
        ("nowhere", "dis", "holds no result"),
    ],
)
def test_what_does_not_compare_is_refused_and_named(results, capsys, a, b, said):
    assert cli.main(["compare", str(results / a), str(results / b)]) == 2
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err and not shown.out
    assert re.search(said, shown.err)


def test_common_images_are_compared_where_that_is_asked_for(results, capsys):
    beside = results / "dis" / "beside" / "average"
    words = [str(beside), str(results / "three_images"), "--common", "--json"]
    assert cli.main(["compare", *words]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["images"] == 3
    assert all(one["ties"] == 3 and one["difference"] == 0 for one in record["metrics"].values())


def test_a_damaged_result_is_named(results, tmp_path, capsys):
    (tmp_path / "summary.json").write_text("{")
    (tmp_path / "images.csv").write_text("")
    assert cli.main(["compare", str(tmp_path), str(results / "dis")]) == 2
    assert "damaged" in capsys.readouterr().err


def _copy(results, tmp_path, name="copy"):
    return Path(shutil.copytree(results / "dis" / "beside" / "average", tmp_path / name))


def _protocol(**changed):
    return lambda record: record["protocol"].update(changed)


def _column(record, **changed):
    record["protocol"]["metrics"]["psnr"].update(changed)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_protocol(quantisation="uint8"), "its protocol is not the one that its digest is of"),
        (lambda r: r["protocol"].pop("reduction"), "no 'reduction'"),
        (lambda r: r["protocol"]["metrics"]["psnr"].pop("digits"), "no 'digits'"),
        (lambda r: _column(r, digits=10**6), "digits of psnr"),
        (lambda r: _column(r, better="more"), "better of psnr"),
        (_protocol(times=None), "protocol.times is no list"),
        (_protocol(metrics=3), "damaged"),
        (lambda r: r.pop("protocol"), "no 'protocol'"),
        (lambda r: r.update(metric_weights={"psnr": 1}), "metric_weights is no mapping"),
        (lambda r: r.update(images=3), "4 images, summary.json has 3"),
        (lambda r: r.update(groups={"g": ["test/Beanbags"]}), "is in no group of summary.json"),
    ],
)
def test_a_damaged_or_false_record_is_named(results, tmp_path, capsys, change, said):
    copy = _copy(results, tmp_path)
    record = json.loads((copy / "summary.json").read_text())
    change(record)
    (copy / "summary.json").write_text(json.dumps(record))
    for words in ([copy, results / "dis"], [results / "dis", copy]):
        assert cli.main(["compare", *map(str, words)]) == 2
        shown = capsys.readouterr().err
        assert said in shown and str(copy) in shown and "Traceback" not in shown


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: [*lines, lines[1]], "is there twice"),
        (lambda lines: lines[:3], "2 images, summary.json has 4"),
        (lambda lines: [*lines[:-1], lines[-1][:8]], "damaged"),
        (lambda lines: [], "0 images, summary.json has 4"),
    ],
)
def test_damaged_rows_are_named(results, tmp_path, capsys, change, said):
    path = _copy(results, tmp_path) / "images.csv"
    path.write_text("\n".join(change(path.read_text().splitlines())))
    assert cli.main(["compare", str(path.parent), str(results / "dis")]) == 2
    shown = capsys.readouterr().err
    assert said in shown and str(path) in shown and "Traceback" not in shown


def test_what_is_no_file_is_not_read(results, tmp_path, capsys):
    path = _copy(results, tmp_path) / "summary.json"
    path.unlink()
    path.symlink_to("/dev/zero")
    assert cli.main(["compare", str(path.parent), str(results / "dis")]) == 2
    assert f"{path} is no file" in capsys.readouterr().err


def test_names_are_shown_as_they_are(results, tmp_path, capsys):
    copy = _copy(results, tmp_path, "run[old]")
    record = json.loads((copy / "summary.json").read_text())
    record["model"] = "net [/bold] [red]v2 :smile:\x1b[31m"
    (copy / "summary.json").write_text(json.dumps(record))
    assert cli.main(["compare", str(results / "dis"), str(copy)]) == 0
    shown = capsys.readouterr().out
    assert "B: net [/bold] [red]v2 :smile:\ufffd[31m" in shown and "run[old]" in shown
    assert "\x1b" not in shown
