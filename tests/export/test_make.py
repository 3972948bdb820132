"""What is exported is compared before it gets its name."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from tiny_network import wanted

from midframe.errors import UserError
from midframe.export import make as make_module
from midframe.export import operators, verify
from midframe.export.engine import load_engine
from midframe.export.make import Wanted, make
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
