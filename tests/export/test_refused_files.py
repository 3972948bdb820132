"""Files of every format that cannot be run, and packages that are not there: what is said of it.

The files are written by hand, so that nothing has to be exported.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_network import Plain, wanted

from midframe.errors import UserError
from midframe.export import make as making
from midframe.export import ncnn, onnx, pt2_check
from midframe.export.engine import Engine, load_engine
from midframe.export.facts import Facts, read_facts
from midframe.export.make import make
from midframe.export.pt2 import Program
from midframe.types import Inputs

FACTS = Facts("plain", "onnx", (6, 4), 1, 1, 1, "half")


def frames(height: int = 4, width: int = 6) -> Inputs:
    pair = torch.stack([torch.full((3, height, width), level) for level in (0.25, 0.5)])
    return Inputs(pair[None], torch.full((1, 1), 0.5))


class Ran:
    """Runs no graph: gives a frame of a size of its own."""

    text = None

    def __init__(self, *shape: int) -> None:
        self.shape = shape

    def check(self, facts: Facts) -> None:
        pass

    def __call__(self, given: Any) -> torch.Tensor:
        return torch.zeros(self.shape)


@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (1, 1, 4, 6), (3, 4, 6)])
def test_a_frame_of_another_size_than_those_that_were_given_is_refused(shape):
    engine = Engine(FACTS, Ran(*shape))
    told = rf"plain \(onnx\) gave {'x'.join(map(str, shape))} for frames of 3x4x6: the file is not"
    with pytest.raises(UserError, match=told):
        engine.interpolate(frames())
    assert Engine(FACTS, Ran(1, 3, 4, 6)).interpolate(frames()).frame.shape == (1, 1, 3, 4, 6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": ...}, "model is missing"),
        ({"times": ..., "size": ...}, "size, times is missing"),
        ({"net": ["size"]}, "net holds no options"),
        ({"hints": None}, "hints holds no options"),
        ({"error": "none"}, "error is no number"),
        ({"tolerance": float("inf")}, "tolerance is no number"),
        ({"mean_error": float("nan")}, "mean_error is no number"),
    ],
)
def test_metadata_that_lack_or_twist_something_are_refused(change, said):
    good = json.loads(FACTS.text())
    assert read_facts(json.dumps(good), "a.onnx").model == "plain"
    text = json.dumps({k: v for k, v in {**good, **change}.items() if v is not ...})
    with pytest.raises(UserError, match=rf"^a\.onnx: its metadata are not those.*: {said}"):
        read_facts(text, "a.onnx")


def test_a_folder_that_was_there_is_replaced_whole(tmp_path, monkeypatch):
    def write(graph, example, facts, path, tell):
        (path / "model.bin").write_text("new")

    code = SimpleNamespace(write=write, describe=lambda path, facts: None)
    one = wanted("plain", "ncnn", (24, 16))
    monkeypatch.setattr(making, "_code", lambda format: code)
    monkeypatch.setattr(making, "load_engine", lambda path: one.model)
    out = tmp_path / "plain.ncnn"
    out.mkdir()
    (out / "model.param").write_text("old")
    assert make(one, out).facts.error == 0
    assert [path.name for path in out.iterdir()] == ["model.bin"]
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("onnx", lambda path: onnx.write(None, [], FACTS, path)),
        ("onnxruntime", lambda path: onnx.Session(path, "cpu", 1)),
        ("pnnx", lambda path: ncnn.write(None, [], FACTS, path)),
        ("ncnn", lambda path: ncnn.Net(path, 1)),
    ],
)
def test_a_package_that_is_not_there_is_named_with_what_installs_it(
    tmp_path, monkeypatch, name, call
):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=rf"needs the package {name}: pip install 'midframe\["):
        call(tmp_path / "a")


def graph(path: Path, operator: str, *outs: str, inputs=("first", "second"), **options) -> Path:
    """Write an ONNX file with one operator of the two frames."""
    helper = pytest.importorskip("onnx").helper
    pytest.importorskip("onnxruntime")
    shape = [1, 3, "height", "width"]
    given = [helper.make_tensor_value_info(name, 1, shape) for name in inputs]
    outs = outs or ("frame",)
    made = [helper.make_tensor_value_info(name, 1, None) for name in outs]
    nodes = [helper.make_node(operator, list(inputs), [name], **options) for name in outs]
    opset = [helper.make_opsetid("", 18)]
    proto = helper.make_model(
        helper.make_graph(nodes, "g", given, made), opset_imports=opset, ir_version=9
    )
    facts = json.loads(FACTS.text())
    helper.set_model_props(proto, {"midframe": json.dumps({**facts, "size": None})})
    path.write_bytes(proto.SerializeToString())
    return path


def test_an_onnx_file_runs_as_it_says_or_is_refused(tmp_path):
    engine = load_engine(graph(tmp_path / "add.onnx", "Add"))
    assert engine.interpolate(frames()).frame.unique().tolist() == [0.75]
    with pytest.raises(UserError, match=r"odd\.onnx is no graph that onnxruntime runs: .*Nonsense"):
        load_engine(graph(tmp_path / "odd.onnx", "Nonsense"))
    for outs in (("picture",), ("frame", "more")):
        with pytest.raises(UserError, match=r"out\.onnx has other outputs than frame"):
            load_engine(graph(tmp_path / "out.onnx", "Add", *outs))
    with pytest.raises(UserError, match=r"in\.onnx has inputs first tensor\(float\), other"):
        load_engine(graph(tmp_path / "in.onnx", "Add", inputs=("first", "other")))
    product = load_engine(graph(tmp_path / "product.onnx", "MatMul"))  # of 4 x 6 and 4 x 6: none
    with pytest.raises(UserError, match=r"product\.onnx failed: .*MatMul"):
        product.interpolate(frames())
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(UserError, match=r"cannot read .*folder\.onnx: Is a directory"):
        load_engine(tmp_path / "folder.onnx")


PARAM = """7767517
3 3
Input first 0 1 first
Input second 0 1 second
BinaryOp sum 2 1 first second frame 0=0
"""


def network(folder: Path, text: str = PARAM, facts: bool = True) -> Path:
    """Write a folder of ncnn's with a network in it."""
    folder.mkdir()
    (folder / ncnn.PARAM).write_text(text)
    (folder / ncnn.BIN).touch()
    if facts:
        said = {**json.loads(FACTS.text()), "format": "ncnn"}
        (folder / ncnn.FACTS).write_text(json.dumps(said))
    return folder


def test_a_folder_of_ncnn_runs_as_it_says_or_is_refused(tmp_path):
    pytest.importorskip("ncnn")
    engine = load_engine(network(tmp_path / "sum.ncnn"))
    assert engine.interpolate(frames()).frame.unique().tolist() == [0.75]
    extractor = SimpleNamespace(input=lambda *_: 0, extract=lambda name: (-100, None))
    engine.runner.net = SimpleNamespace(create_extractor=lambda: extractor)
    with pytest.raises(UserError, match=r"sum\.ncnn: ncnn failed with code -100"):
        engine.interpolate(frames())
    for name, change, said in (
        ("odd", ("BinaryOp", "Nonsense"), r"odd\.ncnn is no network that ncnn runs"),
        ("in", ("first", "other"), r"in\.ncnn has other inputs than first, second"),
        ("out", (" frame", " picture"), r"out\.ncnn has other inputs than first, second"),
        ("magic", ("7767517", "7767518"), r"model\.param is no network that ncnn runs"),
    ):
        with pytest.raises(UserError, match=said):
            load_engine(network(tmp_path / f"{name}.ncnn", PARAM.replace(*change)))
    weights = "7767517\n2 2\nInput first 0 1 first\nConvolution c 1 1 first frame 0=3 1=1 6=9\n"
    with pytest.raises(UserError, match=r"short\.ncnn is no network that ncnn runs"):
        load_engine(network(tmp_path / "short.ncnn", weights))  # whose file has none
    with pytest.raises(UserError, match=r"is no export of midframe: there is no midframe\.json"):
        load_engine(network(tmp_path / "empty.ncnn", facts=False))


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (None, "pnnx cannot run: .*No such file"),
        ("something went wrong", "pnnx cannot convert plain: something went wrong"),
        ("RuntimeError: no such operator\n  at line 3", "plain: RuntimeError: no such operator"),
        ("### pass_level1\n### pass_level2", "plain: it ends with code 3 in pass_level2"),
        ("", "plain: it ends with code 3"),
        ("param: ...\ncat along batch axis 0 is not supported", "ncnn, which has no batches"),
    ],
)
def test_what_pnnx_says_of_a_network_is_handed_on(tmp_path, monkeypatch, told, said):
    def run(command, cwd, **options):
        if told is None:
            raise FileNotFoundError(2, "No such file or directory")
        if told.startswith("param"):
            (cwd / "m.ncnn.param").write_text(PARAM)
        return SimpleNamespace(stdout="", stderr=told, returncode=3)

    monkeypatch.setitem(sys.modules, "pnnx", SimpleNamespace(EXEC_PATH="pnnx"))
    monkeypatch.setattr("subprocess.run", run)
    with pytest.raises(UserError, match=said):
        make(wanted("plain", "ncnn", (24, 16)), tmp_path / "plain.ncnn")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_cannot_be_traced_for_pnnx_says_why(tmp_path, monkeypatch):
    def fails(*args, **options):
        raise AssertionError("expected a number\nand more")

    monkeypatch.setitem(sys.modules, "pnnx", SimpleNamespace(EXEC_PATH="pnnx"))
    monkeypatch.setattr("torch.jit.trace", fails)
    with pytest.raises(UserError, match=r"plain cannot .*torch\.jit\.trace.*\(expected a number\)"):
        make(wanted("plain", "ncnn", (24, 16)), tmp_path / "plain.ncnn")
    assert list(tmp_path.iterdir()) == []


def archive(path: Path, **parts: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as out:
        for name, data in {"byteorder": b"little", "archive_version": b"0", **parts}.items():
            out.writestr(f"a/{name}", data)
    return path


def test_an_archive_that_is_no_program_is_refused(tmp_path, monkeypatch):
    def load(archive, extra_files):  # which takes a second to tell
        raise RuntimeError("there is no model\nand so on")

    monkeypatch.setattr("torch.export.load", load)
    with pytest.raises(UserError, match=r"a\.pt2 is no program that PyTorch .* runs: there is"):
        Program(archive(tmp_path / "a.pt2"), "cpu")
    long = {"extra/midframe.json": b" " * ((1 << 16) + 1)}
    with pytest.raises(UserError, match="is not opened, since its metadata are too long"):
        Program(archive(tmp_path / "long.pt2", **long), "cpu")
    path = archive(tmp_path / "b.pt2", **{"models/model.json": b"{}" + 200 * b" "})
    monkeypatch.setattr(pt2_check, "_GRAPH", 201)
    with pytest.raises(UserError, match=r"models/model\.json is too long"):
        Program(path, "cpu")
    monkeypatch.setattr(pt2_check, "_GREATEST", 100)
    with pytest.raises(UserError, match="since it is larger than any model"):
        Program(path, "cpu")


def test_a_program_that_fails_says_so_in_one_line():
    def fails(*values):
        raise RuntimeError("size mismatch\nand where")

    program = Program.__new__(Program)
    program.path, program.device, program.module = Path("a.pt2"), torch.device("cpu"), fails
    program.check(FACTS)
    with pytest.raises(UserError, match=r"^a\.pt2 failed: size mismatch$"):
        program({name: torch.zeros(1) for name in FACTS.inputs})


@pytest.mark.parametrize("children", [None, {}, [None], [{"type": None}]])
def test_nested_arguments_that_are_none_are_no_tree(children):
    node = {"type": "builtins.list", "context": "null", "children_spec": children}
    assert not pt2_check._is_tree(json.dumps([1, node]))
    leaf = {"type": None, "context": None, "children_spec": []}
    assert pt2_check._is_tree(json.dumps([1, {**node, "children_spec": [leaf]}]))


def test_a_recorder_that_cannot_follow_one_size_is_not_silenced(monkeypatch):
    """For any size it is an error of the model that a size mends; for one it is ours."""
    from midframe.export.program import exported

    def fails(*args, **options):
        raise ValueError("cannot follow\nthis")

    monkeypatch.setattr("torch.export.export", fails)
    model = Plain()
    with pytest.raises(ValueError, match="cannot follow"):
        exported(SimpleNamespace(model=model), [], FACTS)
