"""Exported video metrics, with small graphs written by hand."""

from __future__ import annotations

import hashlib
import re
import sys
import warnings
from pathlib import Path

import pytest
import torch

from midframe.benchmark.protocol import Metric
from midframe.errors import UserError
from midframe.metrics import digests, vfips

onnx = pytest.importorskip("onnx", reason="onnx writes the graphs: pip install onnx onnxruntime")
pytest.importorskip("onnxruntime", reason="onnxruntime runs them: pip install onnxruntime")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
SIZES: list[int | str] = [1, "frames", 3, "height", "width"]


def written(path: Path, *shape: int | str, inputs: int = 2, reduce: bool = True) -> Path:
    """Write a graph: the mean over both clips of frame number x (first - 2 second)."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    names = ["prediction", "truth", "more"][:inputs]
    nodes = [
        helper.make_node("Add", ["truth", "truth"], ["twice"]),
        helper.make_node("Sub", ["prediction", "twice"], ["difference"]),
        # the sum over frames up to each weighs earlier frames more: order and count show
        helper.make_node("CumSum", ["difference", "axis"], ["sums"]),
        helper.make_node("ReduceMean", ["sums"], ["value"], keepdims=0)
        if reduce
        else helper.make_node("Identity", ["sums"], ["value"]),
    ]
    axis = helper.make_tensor("axis", onnx.TensorProto.INT64, [], [1])
    graph = helper.make_graph(
        nodes,
        "metric",
        [helper.make_tensor_value_info(name, kind, list(shape or SIZES)) for name in names],
        [helper.make_tensor_value_info("value", kind, [] if reduce else list(shape or SIZES))],
        [axis],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def clip(count: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return tuple(torch.rand(n, 3, 12, 20) for n in (count, count, 2))


def expected(pred, target, ends, frames: int | None = None) -> float:
    """The graph's formula on clips put together by hand."""
    first, second = (
        torch.stack([ends[0], *images, ends[1], *[ends[1]] * ((frames or 0) - len(images) - 2)])
        for images in (pred.double(), target.double())
    )
    return (first - 2 * second).cumsum(0).mean().item()


def test_clips_are_the_images_between_their_ends(tmp_path):
    file = written(tmp_path / "metric.onnx")
    for count in (1, 2, 7):
        pred, target, ends = clip(count)
        found = vfips(pred, target, ends=ends, weights=file)
        assert found.shape == (count,) and found.dtype == torch.float32
        assert found.tolist() == pytest.approx([expected(pred, target, ends)] * count, rel=1e-5)


def test_the_last_frame_is_repeated_where_more_are_taken(tmp_path):
    file = written(tmp_path / "metric.onnx", 1, 12, 3, 12, 20)
    pred, target, ends = clip(3)
    found = vfips(pred, target, ends=ends, weights=file)
    assert found[0].item() == pytest.approx(expected(pred, target, ends, 12), rel=1e-5)
    with pytest.raises(UserError, match="takes 12 as its frames, the clip has 13"):
        vfips(*(torch.rand(11, 3, 12, 20),) * 2, ends=ends, weights=file)
    with pytest.raises(UserError, match="takes 20 as its width, the clip has 24"):
        vfips(*(torch.rand(1, 3, 12, 24),) * 2, ends=torch.rand(2, 3, 12, 24), weights=file)


def test_the_order_of_the_inputs_can_be_turned(tmp_path):
    file = written(tmp_path / "metric.onnx")
    pred, target, ends = clip()
    turned = vfips(pred, target, ends=ends, weights=file, first="truth")
    assert turned[0].item() == pytest.approx(expected(target, pred, ends), rel=1e-5)
    assert turned[0] != vfips(pred, target, ends=ends, weights=file)[0]
    with pytest.raises(ValueError, match="first is"):
        vfips(pred, target, ends=ends, weights=file, first="both")


def test_a_file_is_checked_recorded_and_read_again(tmp_path):
    file = written(tmp_path / "metric.onnx")
    pred, target, ends = clip()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    metric = Metric("vfips", {"weights": str(file), "sha256": digest})
    assert metric(pred, target, ends).shape == (2,)
    assert digests(metric) == {"weights": digest}
    written(file, 1, 9, 3, 12, 20)
    with pytest.raises(UserError, match="is not the file that sha256="):
        metric(pred, target, ends)
    found = vfips(pred, target, ends=ends, weights=file)
    assert found[0].item() == pytest.approx(expected(pred, target, ends, 9), rel=1e-5)


def test_what_is_missing_or_no_such_graph_is_named(tmp_path, monkeypatch):
    pred, target, ends = clip()

    def refused(match: str, **options: object) -> None:
        with pytest.raises(UserError, match=match):
            vfips(pred, target, ends=ends, **options)

    refused("has no weights: get an ONNX file.*hqqxyy/VFIPS")
    refused("there is no file .*gone.onnx", weights=tmp_path / "gone.onnx")
    (tmp_path / "text.onnx").write_text("no graph")
    refused("is no graph that onnxruntime runs", weights=tmp_path / "text.onnx")
    refused("has inputs .* and 1 outputs", weights=written(tmp_path / "3.onnx", inputs=3))
    refused("must take clips", weights=written(tmp_path / "4.onnx", 1, 3, 8, 8))
    refused("not one value", weights=written(tmp_path / "map.onnx", reduce=False))
    file = written(tmp_path / "metric.onnx")
    with pytest.raises(ValueError, match="needs ends"):
        vfips(pred, target, weights=file)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "onnxruntime", None)
        refused("needs the package onnxruntime", weights=written(tmp_path / "new.onnx"))


def test_a_graph_whose_weights_lie_elsewhere_is_refused(tmp_path):
    file = written(tmp_path / "metric.onnx")
    model = onnx.load(file)
    (axis,) = model.graph.initializer
    raw = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(axis), "axis")
    axis.CopyFrom(raw)
    onnx.external_data_helper.set_external_data(axis, "beside.bin")
    (tmp_path / "beside.bin").write_bytes(axis.raw_data)
    axis.ClearField("raw_data")
    file.write_bytes(model.SerializeToString())
    pred, target, ends = clip()
    with pytest.raises(UserError, match="is no graph that onnxruntime runs"):
        vfips(pred, target, ends=ends, weights=file)


class Compared(torch.nn.Module):
    """A network for two clips that wants its channels first, as many do."""

    def __init__(self) -> None:
        super().__init__()
        self.features = torch.nn.Conv3d(3, 4, 3, padding=1)

    def forward(self, prediction: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        first, second = (self.features(x.transpose(1, 2)) for x in (prediction, truth))
        return (first - second).abs().mean((1, 2, 3, 4))


def test_a_network_exported_as_the_page_says(tmp_path):
    (code,) = (c for c in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S) if "onnx" in c)
    names: dict = {}
    exec(code, names)
    network, file = Compared(), tmp_path / "network.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names["export"](network, str(file), 5, 12, 20)
    pred, target, ends = clip(3)
    first, second = (torch.cat((ends[:1], x, ends[1:]))[None] for x in (pred, target))
    wanted = network(first, second).item()
    found = vfips(pred, target, ends=ends, weights=file)
    assert found.tolist() == pytest.approx([wanted] * 3, rel=1e-4)
    by_dotted_name = Metric("midframe.metrics.vfips", {"weights": str(file)})
    assert torch.equal(by_dotted_name(pred, target, ends), found)
