"""ONNX files: written by PyTorch's exporter, run by ONNX Runtime."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from midframe.errors import UserError
from midframe.export.facts import KEY, Facts
from midframe.export.graph import FRAME, Graph
from midframe.export.onnx_check import check_model
from midframe.export.operators import by_index_put
from midframe.export.program import exported
from midframe.export.verify import Tell, silent
from midframe.plain_text import plain

# 18 has all that the graphs need: GridSample (16), ScatterElements with a sum and a maximum (18).
# GridSample of opset 20 was renamed inside ("linear"), and runtimes have taken it silently wrong.
OPSET = 18
_FRAME_AXES = ("height", "width")
_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
_INSTALL = "pip install 'midframe[export]'"


def write(
    graph: Graph, example: Sequence[Tensor], facts: Facts, path: Path, tell: Tell = silent
) -> None:
    """Write a graph as an ONNX file.

    Args:
        graph: what to export.
        example: its inputs, whose size it keeps unless it is dynamic.
        facts: become the file's metadata.
        path: the file.
        tell: is given a line for each part of the work.

    Raises:
        UserError: without the packages, or where the exporter cannot do it.
    """
    try:
        import onnx
        import onnxscript
        import onnxscript.optimizer
    except ImportError as error:
        raise UserError(f"--format onnx needs the package {error.name}: {_INSTALL}") from error
    graph.add = by_index_put
    tell(f"recording {facts.model}")
    program = exported(graph, example, facts)
    tell(f"writing {path.name}")
    with _quietly(), torch.no_grad():
        made = torch.onnx.export(
            program,
            (),
            dynamo=True,
            opset_version=OPSET,
            input_names=graph.names,
            output_names=[FRAME],
            verbose=False,
            optimize=False,  # its search for patterns takes minutes; runtimes optimise themselves
            custom_translation_table={torch.ops.aten.conv3d.default: _conv3d},
        )
        assert made is not None
        onnxscript.optimizer.fold_constants(made.model)
        onnxscript.optimizer.remove_unused_nodes(made.model)
    proto = made.model_proto
    _name_axes(proto, facts)
    opsets = {one.domain or "ai.onnx": one.version for one in proto.opset_import}
    if opsets.get("ai.onnx") != OPSET or len(opsets) > 1:
        told = ", ".join(f"{name} {version}" for name, version in opsets.items())
        raise UserError(f"the graph needs the operator sets {told}, not ai.onnx {OPSET} alone")
    strip(proto)
    onnx.helper.set_model_props(proto, {KEY: facts.text()})
    onnx.save(proto, path)


def _conv3d(input: Any, weight: Any, bias: Any = None, *rest: Any, **named: Any) -> Any:
    """Translate a 3D convolution; onnxscript 0.7 gives one without bias a bias of wrong shape."""
    from onnxscript import opset18 as op
    from onnxscript.function_libs.torch_lib.ops.core import aten_conv3d

    if bias is None:
        bias = op.Expand(op.CastLike(0.0, input), op.Shape(weight, start=0, end=1))
    return aten_conv3d(input, weight, bias, *rest, **named)


def describe(path: Path, facts: Facts) -> None:
    """Replace the metadata of a file that `write` wrote."""
    import onnx

    proto = onnx.load(path)
    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, {KEY: facts.text()})
    onnx.save(proto, path)


def strip(proto: Any) -> None:
    """Take out what says where the code lay that the graph was made from."""
    for node in proto.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for values in (proto.graph.value_info, proto.graph.input, proto.graph.output):
        for value in values:
            del value.metadata_props[:]
    for value in proto.graph.initializer:
        del value.metadata_props[:]
    del proto.graph.metadata_props[:]
    del proto.functions[:]
    proto.graph.doc_string = ""


def _name_axes(proto: Any, facts: Facts) -> None:
    """Call the axes of any size height and width in all inputs and in the output."""
    if not facts.dynamic:
        return
    for value in (*proto.graph.input, *proto.graph.output):
        axes = value.type.tensor_type.shape.dim
        if len(axes) > 1:
            for axis, name in zip(axes[-2:], _FRAME_AXES):
                axis.Clear()
                axis.dim_param = name
    del proto.graph.value_info[:]  # their axes go by other names


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the exporter from telling what it could do for others' models."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


class Session:
    """An ONNX file that runs.

    Only the file itself is read: one that names others is refused, and no libraries of operators
    are loaded.

    Args:
        path: the file.
        device: "cpu", or "cuda" or "cuda:1" where ONNX Runtime can use it.
        threads: of one call.

    Raises:
        UserError: without the package, or for a file that it cannot run.
    """

    def __init__(self, path: Path, device: str, threads: int) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise UserError(f"{path} needs the package onnxruntime: {_INSTALL}") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4  # what is fatal; errors are raised
        # without this, threads that wait for work keep the processor busy between two frames
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # not its own format, by which the same bytes would say something else than what was checked
        options.add_session_config_entry("session.load_model_format", "ONNX")
        providers = _providers(device, onnxruntime.get_available_providers())
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}") from error
        check_model(data, path)
        try:
            self.session = onnxruntime.InferenceSession(data, options, providers=providers)
        except Exception as error:  # its classes are compiled ones without a common base
            raise UserError(f"{path} is no graph that onnxruntime runs: {_first(error)}") from error
        self.path = path
        self.text: str | None = self.session.get_modelmeta().custom_metadata_map.get(KEY)

    def check(self, facts: Facts) -> None:
        """Raise `UserError` where the graph's inputs are not what its metadata say."""
        found = {one.name: one.type for one in self.session.get_inputs()}
        # an input that nothing depends on is not there, such as the time of a still model
        strange = set(found) - set(facts.inputs)
        if strange or set(found.values()) != {"tensor(float)"}:
            told = plain(", ".join(f"{name} {kind}" for name, kind in found.items()))[:200]
            raise UserError(f"{self.path} has inputs {told}, not {', '.join(facts.inputs)}")
        if [one.name for one in self.session.get_outputs()] != [FRAME]:
            raise UserError(f"{self.path} has other outputs than {FRAME}")
        self.names = list(found)

    def __call__(self, given: Mapping[str, Tensor]) -> Tensor:
        """Return the frame (1, 3, H, W)."""
        feeds = {name: _array(given[name]) for name in self.names}
        try:
            (frame,) = self.session.run(None, feeds)
        except Exception as error:
            raise UserError(f"{self.path} failed: {_first(error)}") from error
        return torch.from_numpy(frame)


def _providers(device: str, there: Sequence[str]) -> list[Any]:
    """Return what ONNX Runtime shall run on, most wanted first.

    Raises:
        UserError: for a GPU, where it is built for none.
    """
    wanted = torch.device(device)
    if wanted.type != "cuda":
        return [_CPU]
    if _CUDA not in there:
        raise UserError(
            f"this onnxruntime has no {_CUDA}; pip install onnxruntime-gpu, or use the CPU"
        )
    return [(_CUDA, {"device_id": wanted.index or 0}), _CPU]


def _array(x: Tensor) -> np.ndarray:
    return np.ascontiguousarray(x.detach().float().cpu().numpy())


def _first(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return plain(lines[0])[:300]
