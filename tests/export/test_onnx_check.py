"""ONNX files are read alone: none that names other files is opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from midframe.errors import UserError
from midframe.export import onnx_check
from midframe.export.engine import load_engine
from midframe.export.facts import KEY, Facts
from midframe.types import Inputs

onnx = pytest.importorskip("onnx")

SIDE = 8
SHAPE = (1, 3, SIDE, SIDE)
FACTS = Facts("still", "onnx", (SIDE, SIDE), 1, 1, 1, "half")


def _tensor(outside: bool, name: str = "w"):
    """Return a tensor of quarters, or one whose values are said to be in secret.bin."""
    made = onnx.numpy_helper.from_array(np.full(SHAPE, 0.25, np.float32), name)
    if outside:
        made.ClearField("raw_data")
        made.data_location = onnx.TensorProto.EXTERNAL
        made.external_data.add(key="location", value="secret.bin")
    return made


def _model(tensor):
    """Return a model that adds a tensor to the first frame and takes the second away."""
    helper = onnx.helper
    nodes = [
        helper.make_node("Add", ["first", "w"], ["sum"]),
        helper.make_node("Sub", ["sum", "second"], ["frame"]),
    ]
    first, second, frame = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, SHAPE)
        for name in ("first", "second", "frame")
    )
    graph = helper.make_graph(nodes, "still", [first, second], [frame], [tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {KEY: FACTS.text()})
    return model


def _run(path: Path) -> float:
    x = torch.zeros(1, 2, *SHAPE[1:])
    return float(load_engine(path).interpolate(Inputs(x, torch.tensor([[0.5]]))).frame.mean())


def test_a_file_does_not_read_the_working_directory(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    (tmp_path / "secret.bin").write_bytes(np.full(SHAPE, 0.75, np.float32).tobytes())
    monkeypatch.chdir(tmp_path)
    for outside in (False, True):
        Path(f"{outside}.onnx").write_bytes(_model(_tensor(outside)).SerializeToString())
    assert _run(Path("False.onnx")) == 0.25
    with pytest.raises(UserError, match="True.onnx is not opened, since it has values in other"):
        load_engine("True.onnx")


def _hidden(place: str, outside: bool):
    """Return a model with a further tensor somewhere."""
    helper, model = onnx.helper, _model(_tensor(False))
    tensor = _tensor(outside, "further")
    constant = helper.make_node("Constant", [], ["further"], value=tensor)
    inner = helper.make_graph([constant], "inner", [], [])
    nested = helper.make_graph([helper.make_node("If", ["c"], [], then_branch=inner)], "n", [], [])
    if place in ("values", "indices"):
        sparse = onnx.SparseTensorProto(dims=[4], **{place: tensor})
        model.graph.sparse_initializer.append(sparse)
    elif place == "attribute":
        model.graph.node.append(constant)
    elif place == "subgraph":
        model.graph.node.append(helper.make_node("If", ["c"], [], then_branch=nested))
    elif place == "function":
        model.functions.append(onnx.FunctionProto(name="f", node=[constant]))
    elif place == "default":
        model.functions.append(onnx.FunctionProto(attribute_proto=constant.attribute))
    elif place == "training":
        model.training_info.append(onnx.TrainingInfoProto(algorithm=inner))
    else:
        several = onnx.AttributeProto(name="several")
        value = onnx.SparseTensorProto(values=tensor)
        for kind in ("graphs", "tensors", "sparse_tensors", "sparse_tensor"):
            if kind != place:
                continue
            if kind == "sparse_tensor":
                several.sparse_tensor.CopyFrom(value)
            else:
                given = {"graphs": nested, "tensors": tensor, "sparse_tensors": value}[kind]
                getattr(several, kind).append(given)
        model.graph.node.append(onnx.NodeProto(attribute=[several]))
    return model.SerializeToString()


PLACES = ["values", "indices", "attribute", "subgraph", "function", "default", "training"]
PLACES += ["graphs", "tensors", "sparse_tensors", "sparse_tensor"]


@pytest.mark.parametrize("place", PLACES)
def test_every_place_of_a_tensor_is_looked_at(place):
    onnx_check.check_model(_hidden(place, False), Path("x.onnx"))
    with pytest.raises(UserError, match="values in other files"):
        onnx_check.check_model(_hidden(place, True), Path("x.onnx"))


def test_a_place_alone_is_enough():
    """Some readers ask for the one, some for the other."""
    for field in ("data_location", "external_data"):
        tensor = _tensor(True)
        tensor.ClearField(field)
        with pytest.raises(UserError, match="values in other files"):
            onnx_check.check_model(_model(tensor).SerializeToString(), Path("x.onnx"))


def test_the_fields_are_those_of_onnx():
    """By the package's own description of the format, all messages with tensors are known."""
    messages, waiting = {}, [onnx.ModelProto.DESCRIPTOR]
    while waiting:
        one = waiting.pop()
        if one.name not in messages:
            messages[one.name] = {f.number: f.message_type for f in one.fields if f.message_type}
            waiting += messages[one.name].values()
    having = {"TensorProto"}
    for _ in messages:  # until nothing is added, which takes no more rounds
        having |= {
            name
            for name, fields in messages.items()
            if any(one.name in having for one in fields.values())
        }
    expected = {
        name: {
            number: one.name
            for number, one in messages[name].items()
            if one.name in having and name != "TensorProto"
        }
        for name in having
    }
    assert expected == onnx_check.FIELDS
    numbers = {one.name: one.number for one in onnx.TensorProto.DESCRIPTOR.fields}
    assert numbers["external_data"] == onnx_check.EXTERNAL_DATA
    assert numbers["data_location"] == onnx_check.DATA_LOCATION


def _key(number: int, written: int) -> bytes:
    value, found = number << 3 | written, b""
    while value >= 0x80:
        value, found = value >> 7, found + bytes([value & 0x7F | 0x80])
    return found + bytes([value])


@pytest.mark.parametrize(
    "data",
    [
        _key(7, 2) + b"\x05abc",  # longer than the file
        _key(7, 2) + b"\xff" * 12,  # a length without an end
        _key(7, 2)[:-1] + b"\x80",
        _key(7, 3) + _key(7, 4),  # a group
        _key(7, 7),
        _key(0, 0) + b"\x01",
        _key(7 + (1 << 29), 2) + b"\x00",  # the graph, for who reads 32 bits
        _key(14 + (1 << 29), 0) + b"\x01",
        _key(1, 1) + b"\x00" * 7,
        _key(1, 5) + b"\x00" * 3,
    ],
)
def test_what_is_no_message_is_refused(data):
    with pytest.raises(UserError, match="x.onnx is no graph that onnxruntime runs: it is damaged"):
        onnx_check.check_model(data, Path("x.onnx"))


def test_files_that_are_cut_are_told_and_no_more():
    whole = _model(_tensor(False)).SerializeToString()
    onnx_check.check_model(whole, Path("x.onnx"))
    for end in range(len(whole)):
        try:
            onnx_check.check_model(whole[:end], Path("x.onnx"))
        except UserError as error:
            assert "damaged" in str(error)
