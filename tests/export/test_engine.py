"""Exported files behave as the models that they were made from, whoever made them."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import shutil
import struct
import sys
import zipfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest
import torch

from midframe.errors import UserError
from midframe.export.engine import Engine, load_engine
from midframe.export.verify import moving
from midframe.models.base import Interpolator
from midframe.models.tiles import Tiled
from midframe.models.timeline import Timeline, ignores_time
from midframe.types import Inputs

FORMATS = ("onnx", pytest.param("pt2", marks=pytest.mark.slow))  # which takes longer to export
# the operators take half a minute to record for any size; of one size they are below
OF_ANY_SIZE = (
    ("plain", "onnx"),
    pytest.param("tiny", "onnx", marks=pytest.mark.slow),
    pytest.param("tiny", "pt2", marks=pytest.mark.slow),
)


def _assert_as_in_pytorch(path: Path, model: Interpolator, size: tuple[int, int]) -> None:
    x = moving(model, size)
    x = Inputs(x.frames.repeat(2, 1, 1, 1, 1), torch.tensor([[0.25, 0.5], [0.7, 1.0]]))
    torch.testing.assert_close(
        load_engine(path).interpolate(x).frame, model.interpolate(x).frame, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(("name", "format"), OF_ANY_SIZE)
def test_any_size_is_as_in_pytorch(exported, name, format):
    path, model = exported(name, format)
    for size in ((72, 68), (33, 101), (5, 6)):
        _assert_as_in_pytorch(path, model, size)


def test_the_operators_are_as_in_pytorch(exported):
    _assert_as_in_pytorch(*exported("tiny", "onnx", (33, 21)), (33, 21))


@pytest.mark.parametrize("format", FORMATS)
def test_four_frames_of_one_size(exported, format):
    path, model = exported("tiny_four", format, (37, 30))
    engine = load_engine(path)
    assert (engine.context, engine.times, engine.trainable) == (2, "half", True)
    x = moving(model, (37, 30))
    got = engine.interpolate(x).frame
    torch.testing.assert_close(got, model.interpolate(x).frame, atol=1e-5, rtol=0)
    with pytest.raises(UserError, match="was exported for 37 wide, 30 high.*--size 30x40"):
        engine.interpolate(moving(model, (40, 30)))
    with pytest.raises(UserError, match="reads 4 frames, here are 2"):
        engine.interpolate(Inputs(x.frames[:, 1:3], x.t))


def test_one_that_takes_no_small_frames_is_tried_on_its_least(exported):
    """Whether its weights ignore the time is found on noise of a size that it takes."""
    path, model = exported("plain", "onnx")
    loaded = load_engine(path)
    engine = Engine(dataclasses.replace(loaded.facts, least=131), loaded.runner)
    with pytest.raises(UserError, match="takes frames from 131 x 131 on"):
        engine.interpolate(moving(model, (130, 131)))
    for one in (engine, Tiled(engine, 256), model):
        assert not ignores_time(one, torch.device("cpu"))


def test_an_engine_fills_videos_and_blocks(exported):
    path, model = exported("plain", "onnx")
    engine = load_engine(path)
    frames = list(moving(model, (48, 40)).frames[0])
    times = [Fraction(1, 4), Fraction(3, 4)]
    both = [Timeline(one, frames.__getitem__, 2).between(0, times) for one in (engine, model)]
    torch.testing.assert_close(*map(torch.stack, both), atol=1e-5, rtol=0)
    blocks = Tiled(engine, 32).interpolate(moving(model, (48, 40))).frame
    assert blocks.shape == (1, 1, 3, 40, 48)


def test_frames_that_are_too_small_are_told(exported):
    path, model = exported("plain", "onnx")
    with pytest.raises(UserError, match="takes frames from 5 x 5 on"):
        load_engine(path).interpolate(moving(model, (4, 9)))


def test_a_file_says_what_it_is(exported):
    path, _ = exported("plain", "onnx")
    facts = load_engine(path).facts
    assert (facts.model, facts.format, facts.size, facts.multiple) == ("plain", "onnx", None, 4)
    assert (facts.opset, facts.precision, facts.weights_sha256) == (18, "fp32", None)
    assert 0 < facts.error < facts.tolerance and facts.mean_error <= facts.error
    assert facts.midframe and facts.torch == torch.__version__


def test_onnx_has_opset_18_and_axes_with_names(exported):
    onnx = pytest.importorskip("onnx")
    path, _ = exported("plain", "onnx")
    proto = onnx.load(path)
    for one in (proto, onnx.load(exported("tiny", "onnx", (33, 21))[0])):
        assert [(opset.domain, opset.version) for opset in one.opset_import] == [("", 18)]
    assert [one.name for one in proto.graph.input] == ["first", "second", "t"]
    axes = [axis.dim_param for axis in proto.graph.input[0].type.tensor_type.shape.dim]
    assert axes == ["", "", "height", "width"]


@pytest.mark.parametrize(
    ("name", "format", "size"),
    [
        ("tiny", "onnx", (33, 21)),
        ("plain", "pt2", None),
        pytest.param("tiny", "onnx", None, marks=pytest.mark.slow),
        pytest.param("tiny", "pt2", None, marks=pytest.mark.slow),
    ],
)
def test_no_path_of_this_machine_is_in_a_file(exported, name, format, size):
    data = exported(name, format, size)[0].read_bytes()
    assert str(Path(__file__).parents[2]).encode() not in data
    assert b"graph.py" not in data


def test_there_must_be_a_file_of_midframe(tmp_path):
    with pytest.raises(UserError, match="there is no engine"):
        load_engine(tmp_path / "nothing.onnx")
    with pytest.raises(UserError, match="none of NAME.onnx"):
        load_engine(tmp_path / "weights.pth")
    pytest.importorskip("onnxruntime")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\x08\x08 nothing of the kind")
    with pytest.raises(UserError, match="no graph that onnxruntime runs"):
        load_engine(broken)


def _with_facts(path: Path, target: Path, text: str | None) -> Path:
    onnx = pytest.importorskip("onnx")
    proto = onnx.load(path)
    del proto.metadata_props[:]
    if text is not None:
        onnx.helper.set_model_props(proto, {"midframe": text})
    onnx.save(proto, target)
    return target


def test_metadata_of_others_are_checked(exported, tmp_path):
    path, _ = exported("plain", "onnx")
    good = json.loads(load_engine(path).facts.text())
    cases = {
        "says nothing about itself": None,
        "bytes, more than": json.dumps({**good, "net": {"a": "x" * 70000}}),
        "not those of midframe: context": json.dumps({**good, "context": 10**9}),
        "not those of midframe: size": json.dumps({**good, "size": [10**9, 1]}),
        "not those of midframe: int too large": json.dumps({**good, "error": 10**400}),
        "not those of midframe: needs": json.dumps({**good, "needs": ["weights"]}),
        "not those of midframe": "[" * 20000,
        "has inputs": json.dumps({**good, "times": "half"}),
        "says that it is ncnn": json.dumps({**good, "format": "ncnn"}),
    }
    for number, (message, text) in enumerate(cases.items()):
        with pytest.raises(UserError, match=message):
            load_engine(_with_facts(path, tmp_path / f"{number}.onnx", text))


class _Marks:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def _changed(path: Path, target: Path, changes: dict[str, object]) -> Path:
    """Copy an archive, with other contents under the names that end so; functions change json."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as copy:
        top = source.namelist()[0].partition("/")[0]
        for name in source.namelist():
            data = source.read(name)
            for end, change in changes.items():
                if name.endswith(end):
                    data = change(json.loads(data)) if callable(change) else change
                    data = data if isinstance(data, bytes) else json.dumps(data).encode()
            copy.writestr(name, data)
        for end, change in changes.items():
            if isinstance(change, bytes) and not any(n.endswith(end) for n in source.namelist()):
                copy.writestr(f"{top}/{end}", change)
    return target


def _pickled_weight(config: dict) -> dict:
    for one in config["config"].values():
        one["use_pickle"] = True
    return config


def _guarded(graph: dict) -> dict:
    return {**graph, "guards_code": ["__import__('os').system('true')"]}


def _called(graph: dict) -> dict:
    graph["graph_module"]["graph"]["nodes"][0]["target"] = "torch.os.system"
    return graph


def _read(graph: dict) -> dict:
    graph["graph_module"]["graph"]["nodes"][0]["target"] = "torch.ops.aten.from_file.default"
    return graph


def _evaluated(graph: dict) -> dict:
    text = json.dumps(graph)
    assert "Symbol('" in text
    return json.loads(text.replace("Symbol('", "__import__('os').getcwd() or Symbol('"))


def test_a_pt2_file_is_opened_only_if_nothing_in_it_would_run(exported, tmp_path):
    path, _ = exported("plain", "pt2")
    mark = tmp_path / "ran"
    evil = io.BytesIO()
    torch.save(_Marks(mark), evil)
    cases = {
        "use_pickle": {"weights_config.json": _pickled_weight, "weight_0": evil.getvalue()},
        "pickled inputs": {"sample_inputs/model.pt": evil.getvalue()},
        "guards_code": {"models/model.json": _guarded},
        "target is 'torch.os.system'": {"models/model.json": _called},
        "target is 'torch.ops.aten.from_file": {"models/model.json": _read},
        "expr_str": {"models/model.json": _evaluated},
        "it has .*library.so": {"data/aotinductor/model/library.so": b"\x7fELF"},
        "it has .*custom_obj_0": {"data/constants/custom_obj_0": pickle.dumps(_Marks(mark))},
    }
    for number, (message, changes) in enumerate(cases.items()):
        with pytest.raises(UserError, match=message):
            load_engine(_changed(path, tmp_path / f"{number}.pt2", changes))
    assert not mark.exists()
    with pytest.raises(UserError, match="no .pt2 file"):
        (tmp_path / "text.pt2").write_text("not an archive")
        load_engine(tmp_path / "text.pt2")


_ENUM = r'{"__enum__": true, "fqn": "evil_module:x", "name": "y"}'
_FACTORY = {
    **{"default_factory_module": "evil_module", "default_factory_name": "x"},
    "dict_context": [],
}


def _tree(kind: str | None, context: object, *children: str) -> str:
    inside = [json.loads(one)[1] for one in children]
    return json.dumps([1, {"type": kind, "context": context, "children_spec": inside}])


_HIDDEN = _ENUM.replace("__", r"\u005f\u005f")
_TENSOR = _tree(None, None)
TREES = {
    "enumeration": _tree("builtins.tuple", _ENUM),
    "hidden enumeration": _tree("builtins.tuple", _HIDDEN),
    "of a list": _tree("builtins.list", _HIDDEN),
    "among names": _tree("builtins.dict", f"[{_HIDDEN}]", _TENSOR),
    "of a child": _tree("builtins.tuple", "null", _TENSOR, _tree("builtins.tuple", _HIDDEN)),
    "twice hidden": _tree("builtins.tuple", _ENUM).replace("__", r"\u005f\u005f"),
    "factory": _tree("collections.defaultdict", _FACTORY),
    "hidden factory": _tree("collections.defaultdict", _FACTORY).replace("type", r"\u0074ype"),
    "another": _tree("collections.OrderedDict", "[]"),
    "with more": _tree("builtins.tuple", "null").replace("{", '{"more": null, '),
    "no tree": "[1]",
}


def _nested(tree: str) -> Callable[[dict], dict]:
    def change(graph: dict) -> dict:
        calls = graph["graph_module"]["module_call_graph"]
        (signature,) = (one["signature"] for one in calls if one["signature"])
        signature["in_spec"] = tree
        return graph

    return change


@pytest.fixture
def evil_module(tmp_path, monkeypatch) -> Iterator[Path]:
    """Give the file that is there when the module evil_module was imported."""
    mark = tmp_path / "ran"
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "evil_module.py").write_text(f"open({str(mark)!r}, 'w')\nx = dict\n")
    monkeypatch.syspath_prepend(folder)
    yield mark
    sys.modules.pop("evil_module", None)


def test_what_pytorch_says_of_a_damaged_pt2_file_is_one_line(exported, tmp_path, capfd):
    """It prints a traceback itself, and raises an error that points to it."""
    path, _ = exported("plain", "pt2")
    names = zipfile.ZipFile(path).namelist()
    (weight,) = (name for name in names if name.endswith("weights/weight_0"))
    lacking, short = tmp_path / "lacking.pt2", tmp_path / "short.pt2"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(lacking, "w") as copy:
        for name in names:
            if name != weight:
                copy.writestr(name, source.read(name))
    _changed(path, short, {"weights/weight_0": b"1234"})
    for file, said in ((lacking, "weight_0"), (short, "out of bounds")):
        capfd.readouterr()
        with pytest.raises(UserError, match=f"is no program that PyTorch .* runs: .*{said}"):
            load_engine(file)
        assert capfd.readouterr() == ("", "")


def test_a_pt2_file_is_not_unpacked_to_more_than_it_is(exported, tmp_path):
    path, _ = exported("plain", "pt2")
    packed = tmp_path / "packed.pt2"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, "w") as copy:
        for name in source.namelist():
            kind = zipfile.ZIP_DEFLATED if name.endswith("weight_0") else zipfile.ZIP_STORED
            data = bytes(1 << 20) if name.endswith("weight_0") else source.read(name)
            copy.writestr(name, data, compress_type=kind)
    assert packed.stat().st_size < 1 << 18
    with pytest.raises(UserError, match="its parts are compressed"):
        load_engine(packed)
    # or that say to be larger, as those that lie over each other do
    data = bytearray(_changed(path, tmp_path / "large.pt2", {}).read_bytes())
    entry = data.rfind(b"PK\x01\x02", 0, data.rfind(b"weights/weight_0"))
    data[entry + 24 : entry + 28] = struct.pack("<I", len(data))
    (tmp_path / "large.pt2").write_bytes(bytes(data))
    with pytest.raises(UserError, match="its parts are larger than the file"):
        load_engine(tmp_path / "large.pt2")


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_a_pt2_file_imports_nothing(tree, exported, evil_module, tmp_path):
    path, _ = exported("plain", "pt2")
    evil = _changed(path, tmp_path / "evil.pt2", {"models/model.json": _nested(tree)})
    with pytest.raises(UserError, match="is not opened, since its in_spec is"):
        load_engine(evil)
    assert not evil_module.exists()


def test_what_is_loaded_of_a_pt2_file_is_what_was_looked_at(exported, evil_module, tmp_path):
    """Of an archive with two directories, Python reads the last, PyTorch the one it is told of."""
    path, _ = exported("plain", "pt2")
    tree = TREES["enumeration"] + 5000 * " "
    evil = _changed(path, tmp_path / "evil.pt2", {"models/model.json": _nested(tree)}).read_bytes()
    good = _changed(path, tmp_path / "good.pt2", {}).read_bytes()
    end = 22  # bytes of the end record, in which the last but one value is the directory's place
    starts = [struct.unpack("<L", one[-6:-2])[0] for one in (evil, good)]
    shifted = bytearray(good[starts[1] : -end])
    at = 0
    while at < len(shifted):
        name, extra, comment = struct.unpack_from("<3H", shifted, at + 28)
        (place,) = struct.unpack_from("<L", shifted, at + 42)
        struct.pack_into("<L", shifted, at + 42, place + starts[0] - starts[1])
        at += 46 + name + extra + comment
    both = tmp_path / "both.pt2"
    both.write_bytes(evil[:-end] + good[: starts[1]] + shifted + evil[-end:])
    assert load_engine(both).facts.model == "plain"
    assert not evil_module.exists()


@pytest.mark.slow
def test_a_pt2_file_runs_where_it_is_told_to(exported):
    """On a device without values, where anything of another one is an error."""
    for name, size in (("tiny", None), ("tiny", (24, 16)), ("tiny_four", (37, 30))):
        path, model = exported(name, "pt2", size)
        x = moving(model, size or (33, 20))
        x = Inputs(x.frames.to("meta"), x.t.to("meta"))
        frame = load_engine(path, device="meta").interpolate(x).frame
        assert frame.device.type == "meta" and frame.shape == x.frames[:, :1].shape


def test_onnx_runtime_is_told_which_gpu(exported, monkeypatch):
    path, _ = exported("plain", "onnx")
    runtime = pytest.importorskip("onnxruntime")
    session, asked = runtime.InferenceSession, []

    def without_gpu(data, options, providers):
        asked.append(providers)
        return session(data, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(runtime, "InferenceSession", without_gpu)
    if "CUDAExecutionProvider" not in runtime.get_available_providers():
        with pytest.raises(UserError, match="has no CUDAExecutionProvider"):
            load_engine(path, device="cuda:1")
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(runtime, "get_available_providers", lambda: both)
    for device in ("cuda:1", "cuda", "cpu"):
        load_engine(path, device=device)
    gpus = [[("CUDAExecutionProvider", {"device_id": number}), both[1]] for number in (1, 0)]
    assert asked == [*gpus, [both[1]]]


def test_a_copied_pt2_file_that_was_not_changed_is_opened(exported, tmp_path):
    """So that what is refused above is refused for its change."""
    path, _ = exported("plain", "pt2")
    shutil.copy(path, tmp_path / "copy.pt2")
    assert load_engine(tmp_path / "copy.pt2").facts.model == "plain"
