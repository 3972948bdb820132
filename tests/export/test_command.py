"""`midframe export`, its table, and what docs/export.md shows."""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from midframe import cli, list_models
from midframe.cli import main
from midframe.data.io import ImageFile, write_image
from midframe.export import table
from midframe.export.engine import load_engine
from midframe.export.facts import FORMATS
from midframe.export.verify import moving
from midframe.launch import export

PAGE = Path(__file__).resolve().parents[2] / "docs" / "export.md"
UPR = ["upr_small", "--weights", "none", "--size", "37x53", "--hint"]
IFR = ["ifrnet_s", "--weights", "none", "--size", "32x32", "--hint"]
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_a_model_by_name_becomes_a_file(tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    assert main(["export", "average", "--size", "24x40"]) == 0
    told = capsys.readouterr().out
    assert "40 wide, 24 high, t = 0.5: max" in told
    steps = ["recording average", "writing average-24x40.onnx", "comparing at 40 wide, 24 high"]
    assert told.splitlines()[:3] == steps
    assert "average-24x40.onnx: average for 40 wide, 24 high;" in told
    facts = load_engine("average-24x40.onnx").facts
    assert (facts.model, facts.size, facts.tolerance) == ("average", (40, 24), 1e-3)
    assert main(["export", "average", "--size", "24x40"]) == 2
    assert "add --overwrite" in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name one model"),
        (["no_such_model"], "there is no model"),
        (["ifrnet_s"], "needs trained weights: --weights FILE"),
        (["average", "--size", "40"], "give HEIGHTxWIDTH"),
        (["average", "--size", "100000x100000"], "a height and a width of 16384 at most"),
        (["average", "--size", "1x70000"], "a height and a width of 16384 at most"),
        (["average", "--size", "16384x16384"], "no more than 67 million pixels"),
        ([*UPR, "pyr_level=abc"], "--hint: UPR-Net takes whole numbers"),
        ([*UPR, "pyr_level=true"], "--hint: UPR-Net takes whole numbers"),
        ([*UPR, "pyr_level=2.0"], "--hint: UPR-Net takes whole numbers"),
        ([*UPR, "pyr_level=99"], "pyr_level >= 1 and <= 10, and 0 <= nr_lvl_skipped"),
        ([*UPR, "pyr_level=0"], "not 0 and 0"),
        ([*UPR, "nr_lvl_skipped=5"], "0 <= nr_lvl_skipped < pyr_level, not 1 and 5"),
        ([*IFR, "scale_factor=0"], "--hint: IFRNet takes a scale_factor above 0, not 0"),
        ([*IFR, "scale_factor=-1"], "a number from 0.01 to 4.0"),
        ([*IFR, "scale_factor=.nan"], "--hint: IFRNet takes a scale_factor above 0, not nan"),
        ([*IFR, "scale_factor=half"], "--hint: IFRNet takes a scale_factor above 0, not half"),
        ([*IFR, "scale_factor=0.333"], "takes a scale_factor of two decimals"),
        (["average", "--out", "average.bin"], "the name ends with .onnx"),
        (["average", "--tolerance", "0"], "give a number above 0"),
        (["average", "--hint", "pyr_level"], "give NAME=VALUE"),
        (["average", "--hint", "pyr_level=3"], "has no hint"),
        (["dis"], "dis is no network"),
        (["dis_refined", "--weights", "none"], "dis_refined has flow of OpenCV's in it"),
        (["ifrnet_s", "--weights", "none", "--format", "ncnn"], "give --size HEIGHTxWIDTH"),
    ],
)
def test_mistakes_are_told_in_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *words]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_usage_has_sizes_as_the_command_takes_them():
    parser = argparse.ArgumentParser()
    export.add_arguments(parser)
    (form,) = (one.metavar for one in parser._actions if one.dest == "size")
    assert form == "HxW|dynamic" and f"[--size {form}]" in cli.USAGE


def test_formats_and_tolerance_are_those_of_the_library():
    from midframe.export.make import TOLERANCE

    assert export._FORMATS == FORMATS
    assert TOLERANCE == 1e-3


def test_rows_become_a_table_with_its_reasons():
    rows = {
        "one": {"ONNX": {"error": 2e-7, "mean": 1e-8}, "ncnn": {"why": "one has ScatterND"}},
        "two": {"ONNX": {"why": "cannot convert two"}, "ncnn": {"why": "two has ScatterND"}},
    }
    lines = table.markdown(rows).splitlines()
    assert lines[2].startswith("| `one` | 2.0e-07 | not run |") and "no (1) |" in lines[2]
    assert "| no (2) |" in lines[3] and lines[3].endswith("no (1) |")
    assert lines[-2:] == ["1. the model has ScatterND", "2. cannot convert the model"]


def test_the_table_of_the_page_has_every_model():
    start, end = table.MARKERS
    text = PAGE.read_text(encoding="utf-8").partition(f"{start}\n")[2].partition(end)[0]
    lines = text.splitlines()
    assert lines[0] == f"| {' | '.join(['model', *table.FORMS])} |"
    ours = [name for name in list_models() if not name.startswith("mine")]
    named = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert set(named) == {name for name in ours if _shipped(name)}


def _shipped(name: str) -> bool:
    return (PAGE.parents[1] / "conf" / "model" / f"{name}.yaml").is_file()


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """Two pictures a.png and b.png in the working directory."""
    from tiny_network import Tiny

    monkeypatch.chdir(tmp_path)
    x = moving(Tiny(), (52, 45))
    for name, frame in zip("ab", x.frames[0]):
        picture = frame.mul(255).round().byte().permute(1, 2, 0).numpy()
        write_image(tmp_path / f"{name}.png", picture)
    return x


def _expected(model, x) -> np.ndarray:
    frame = model.interpolate(x).frame[0, 0]
    return frame.mul(255).round().byte().permute(1, 2, 0).numpy()


@pytest.mark.slow
def test_the_pages_onnx_example_runs_as_it_stands(exported, pair, tmp_path):
    path, model = exported("tiny", "onnx")
    shutil.copy(path, tmp_path / "model.onnx")
    code = PYTHON.findall(PAGE.read_text(encoding="utf-8"))[0]
    assert "onnxruntime" in code and len([line for line in code.splitlines() if line]) <= 15
    exec(compile(code, "docs/export.md", "exec"), {})
    got = ImageFile("between.png").read().astype(int)
    assert abs(got - _expected(model, pair)).max() <= 1


@pytest.mark.slow
def test_the_pages_ncnn_example_runs_as_it_stands(pair, tmp_path):
    pytest.importorskip("ncnn")
    pytest.importorskip("pnnx")
    from midframe import create_model
    from midframe.export.make import Wanted, make

    model = create_model("ifrnet_s")
    make(Wanted(model, "ifrnet_s", "ncnn", (52, 45), {}), tmp_path / "model.ncnn")
    code = PYTHON.findall(PAGE.read_text(encoding="utf-8"))[1]
    exec(compile(code, "docs/export.md", "exec"), {})
    got = ImageFile("between.png").read().astype(int)
    assert abs(got - _expected(model, pair)).max() <= 1


@pytest.mark.slow
def test_a_scale_that_float32_has_below_it_keeps_the_size(tmp_path, monkeypatch, capsys):
    """1 / 0.3 is 3.33: of 48 pixels ONNX made 159, where PyTorch makes 160."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    assert main(["export", *IFR, "scale_factor=0.3", "--out", "x.onnx"]) == 0
    assert "frames are padded to multiples of 160" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["dis", "ifrnet_s", "upr", "softsplat", "stmfnet_mini", "event"])
def test_a_model_exports_or_says_why_not(name):
    """Of one size to ONNX, as the table has it; the others take minutes each."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    found = table._one(name, "onnx", table.SIZE, 1e-3)
    if name == "dis":
        assert "is no network" in found["why"]
    else:
        assert found.get("error", 1) < 1e-3, found
