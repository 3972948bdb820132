"""What is exported is compared before it gets its name."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from tiny_network import wanted

from midframe.errors import UserError
from midframe.export import make as make_module
from midframe.export import operators, verify
from midframe.export.engine import load_engine
from midframe.export.make import Wanted, make
from midframe.export.ncnn import PARTS
from midframe.files import remove_leftovers
from midframe.models import zoo
from midframe.models.average import Average


def test_a_wrong_graph_is_found_and_leaves_nothing(tmp_path, monkeypatch):
    original = operators.splat

    def shifted(input, flow, *rest, **more):
        return original(input, flow + 0.5, *rest, **more)

    monkeypatch.setattr(operators, "splat", shifted)
    with pytest.raises(UserError, match="differs from PyTorch by up to .* nothing was written"):
        make(wanted("tiny", "pt2", (24, 16)), tmp_path / "tiny.pt2")
    assert list(tmp_path.iterdir()) == []


def test_what_was_there_stays_if_the_new_one_is_no_good(tmp_path):
    path = tmp_path / "plain.pt2"
    path.write_bytes(b"earlier")
    with pytest.raises(UserError, match="allowed is -1"):
        make(wanted("plain", "pt2", (24, 16), tolerance=-1.0), path)
    assert path.read_bytes() == b"earlier" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("format", "files", "told"),
    [
        ("pt2", ["model.param"], "is a folder, and .pt2 is a file"),
        ("onnx", [], "is a folder, and .onnx is a file"),
        ("ncnn", ["model.param", "model.bin", "thesis.txt"], "holds thesis.txt, which is no part"),
        ("ncnn", ["sub/model.param"], "holds sub, which is no part"),
    ],
)
def test_a_folder_that_is_no_export_is_never_replaced(format, files, told, tmp_path):
    path = tmp_path / f"plain.{format}"
    path.mkdir()
    for name in files:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text("mine")
    with pytest.raises(UserError, match=told):
        make(wanted("plain", format, (24, 16)), path)
    assert all((path / name).read_text() == "mine" for name in files)
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_no_folder_of_ncnn(tmp_path):
    (tmp_path / "plain.ncnn").write_text("mine")
    with pytest.raises(UserError, match="is a file, and .ncnn a folder"):
        make(wanted("plain", "ncnn", (24, 16)), tmp_path / "plain.ncnn")
    assert (tmp_path / "plain.ncnn").read_text() == "mine"


@pytest.fixture
def ncnn_files(monkeypatch):
    """Stands in for what writes and runs folders of ncnn, where it is not installed."""
    code = types.SimpleNamespace(
        write=lambda graph, given, facts, path, tell: [
            (path / one).write_text("new") for one in PARTS
        ],
        describe=lambda path, facts: None,
    )
    monkeypatch.setattr(make_module, "_code", lambda format: code)
    monkeypatch.setattr(make_module, "load_engine", lambda path: None)
    same = verify.Difference((24, 16), 0.5, 0.0, 0.0)
    monkeypatch.setattr(verify, "differences", lambda *rest: [same])


def _earlier(path):
    path.mkdir()
    for name in PARTS:
        (path / name).write_text("earlier")


def test_an_earlier_folder_is_replaced(tmp_path, ncnn_files):
    path = tmp_path / "plain.ncnn"
    _earlier(path)
    make(wanted("plain", "ncnn", (24, 16)), path)
    assert list(tmp_path.iterdir()) == [path]
    assert {one.name: one.read_text() for one in path.iterdir()} == dict.fromkeys(PARTS, "new")


@pytest.mark.parametrize("killed", [False, True])
def test_a_folder_that_cannot_be_replaced_is_not_lost(tmp_path, monkeypatch, ncnn_files, killed):
    path = tmp_path / "plain.ncnn"
    _earlier(path)
    replace, renamed = Path.replace, []

    def failing(one, to):
        renamed.append(to)
        if len(renamed) == 2 or (killed and len(renamed) > 2):
            raise OSError("no room")  # a process that is killed does not tidy up either
        return replace(one, to)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OSError, match="no room"):
        make(wanted("plain", "ncnn", (24, 16)), path)
    remove_leftovers(tmp_path)  # as the next export does
    (left,) = tmp_path.iterdir()
    assert {one.name: one.read_text() for one in left.iterdir()} == dict.fromkeys(PARTS, "earlier")
    assert killed or left == path


def test_what_a_killed_process_left_is_removed(tmp_path, monkeypatch):
    asides = []

    def seen(path):
        asides.append(path.parent)
        return load_engine(path)

    monkeypatch.setattr(make_module, "load_engine", seen)
    path = tmp_path / "plain.pt2"
    make(wanted("plain", "pt2", (24, 16)), path)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = asides[0].with_name(asides[0].name.replace(f"-{os.getpid()}.", f"-{gone.pid}."))
    (left / "plain.pt2").mkdir(parents=True)
    assert left != asides[0] and left.parent == tmp_path
    make(wanted("plain", "pt2", (24, 16)), path)
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_run_is_told_by_its_name(tmp_path, monkeypatch):
    def refused(path):
        raise UserError(f"{path} is no graph that onnxruntime runs")

    monkeypatch.setattr(make_module, "load_engine", refused)
    with pytest.raises(UserError, match=r"^plain\.pt2 is no graph that"):
        make(wanted("plain", "pt2", (24, 16)), tmp_path / "plain.pt2")
    assert list(tmp_path.iterdir()) == []


def test_a_frame_that_is_not_finite_is_no_match(tmp_path):
    one = wanted("plain", "pt2", (24, 16))
    with torch.no_grad():
        one.model.rest.bias.fill_(float("nan"))
    with pytest.raises(UserError, match="by up to inf"):
        make(one, tmp_path / "plain.pt2")


def test_what_is_no_network_is_refused(tmp_path):
    model = zoo.create_model("dis")
    with pytest.raises(UserError, match="dis is no network"):
        make(Wanted(model, "dis", "onnx", None, {}), tmp_path / "dis.onnx")


def test_ncnn_takes_one_size(tmp_path):
    with pytest.raises(UserError, match="they have one size: give --size"):
        make(wanted("tiny", "ncnn"), tmp_path / "tiny.ncnn")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [(40, 24), (480, 270), (700, 300), (301, 641)])
def test_what_is_compared_on_is_a_film(size):
    x = verify.moving(Average(), size)
    assert x.frames.shape == (1, 2, 3, size[1], size[0])
    one, two = x.pair
    assert 0.005 < (one - two).abs().mean() < 0.2  # something moves, and not everything
    assert one.std() > 0.1 and one.min() >= 0 and one.max() <= 1
