"""Folders of ncnn's two files (.param, .bin), made by pnnx, for phones and small machines."""

from __future__ import annotations

import re
import subprocess
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from midframe.errors import UserError
from midframe.export.facts import KEY, LONGEST, Facts
from midframe.export.graph import FRAME, Graph
from midframe.export.ncnn_ifrnet import SingleIFRNet
from midframe.export.verify import Tell, silent
from midframe.models.ifrnet import IFRNet

PARAM, BIN, FACTS = "model.param", "model.bin", f"{KEY}.json"
PARTS = (PARAM, BIN, FACTS)  # of a folder, which has nothing else
_MAGIC = "7767517"
_LAYER = re.compile(r"[A-Z][A-Za-z0-9]*")  # of ncnn; what pnnx could not turn into one has dots
_INSTALL = "pip install 'midframe[ncnn]'"
_SECONDS = 600
_GREATEST_PARAM = 1 << 24  # bytes


def write(
    graph: Graph, example: Sequence[Tensor], facts: Facts, path: Path, tell: Tell = silent
) -> None:
    """Write a graph as a folder with `PARAM`, `BIN` and the metadata.

    Args:
        graph: what to export, of one size.
        example: its inputs.
        facts: the metadata.
        path: the folder, which is there and empty.
        tell: is given a line for each part of the work.

    Raises:
        UserError: without the packages, for any size, or where ncnn has no such operators.
    """
    if facts.dynamic:
        raise UserError(
            "ncnn's graphs hold the positions of all pixels, so they have one size: give --size "
            "HEIGHTxWIDTH"
        )
    try:
        import pnnx
    except ImportError as error:
        raise UserError(f"--format ncnn needs the package {error.name}: {_INSTALL}") from error
    network: nn.Module = SingleIFRNet(graph) if isinstance(graph.model, IFRNet) else graph
    with tempfile.TemporaryDirectory(prefix="midframe-ncnn-") as name:
        folder = Path(name)
        tell(f"recording {facts.model}")
        _trace(network, example, facts.model, folder / "m.pt")
        tell(f"writing {path.name}")
        shapes = ",".join(f"[{','.join(map(str, x.shape))}]" for x in example)
        told, code = _run([pnnx.EXEC_PATH, "m.pt", f"inputshape={shapes}", "fp16=0"], folder)
        param = folder / "m.ncnn.param"
        if not param.is_file():
            raise UserError(f"pnnx cannot convert {facts.model}: {_why(told, code)}")
        text = param.read_text(encoding="utf-8")
        _check_layers(text, told, facts.model)
        names = {f"in{i}": name for i, name in enumerate(graph.names)}
        (path / PARAM).write_text(_renamed(text, {**names, "out0": FRAME}), encoding="utf-8")
        (path / BIN).write_bytes((folder / "m.ncnn.bin").read_bytes())
    describe(path, facts)


def describe(path: Path, facts: Facts) -> None:
    """Write the metadata of a folder that `write` wrote."""
    (path / FACTS).write_text(facts.text() + "\n", encoding="utf-8")


def _trace(network: nn.Module, example: Sequence[Tensor], model: str, path: Path) -> None:
    """Write what pnnx reads, without oneDNN's own convolutions, which it does not know."""
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that sizes become constants, which is meant
            with torch.backends.mkldnn.flags(enabled=False):
                traced = torch.jit.trace(network.eval(), tuple(example), check_trace=False)
            torch.jit.save(traced, path)
    except (AssertionError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{model} cannot be exported to ncnn: pnnx reads what torch.jit.trace records, which "
            f"fails ({reason})"
        ) from error


def _why(told: str, code: int) -> str:
    """Return one line of what pnnx said before it ended, or where it was."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"\berror\b|Error:|not supported", line)]
    if errors:
        return errors[-1][:200]
    stages = [line.strip("# ") for line in lines if "pass_" in line]
    if stages:
        return f"it ends with code {code} in {stages[-1]}"
    return lines[-1][:200] if lines else f"it ends with code {code}"


def _run(command: Sequence[str], folder: Path) -> tuple[str, int]:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"pnnx cannot run: {error}") from error
    return done.stdout + done.stderr, done.returncode


def _check_layers(text: str, told: str, model: str) -> None:
    """Raise `UserError` where something of the network is lost in ncnn's form."""
    kinds = {line.split()[0] for line in text.splitlines()[2:] if line.strip()}
    lacking = sorted(kind for kind in kinds if not _LAYER.fullmatch(kind))
    if lacking:
        raise UserError(f"{model} cannot be exported to ncnn, which has no {', '.join(lacking)}")
    if "batch axis" in told or "batch index" in told:
        raise UserError(f"{model} cannot be exported to ncnn, which has no batches: it needs them")


def _renamed(text: str, names: Mapping[str, str]) -> str:
    """Give inputs and output the names that they have in the other formats."""

    def line(words: str) -> str:
        return re.sub(r"\S+", lambda word: names.get(word[0], word[0]), words)

    return "".join(line(words) for words in text.splitlines(keepends=True))


class Net:
    """A folder of ncnn's that runs on the CPU, in float32.

    Args:
        path: the folder.
        threads: of one call.

    Raises:
        UserError: without the package, or for a folder that it cannot run.
    """

    def __init__(self, path: Path, threads: int) -> None:
        try:
            import ncnn
        except ImportError as error:
            raise UserError(f"{path} needs the package ncnn: {_INSTALL}") from error
        self.path, self.ncnn = path, ncnn
        if not (path / FACTS).is_file():
            raise UserError(
                f"{path} is no export of midframe: there is no {FACTS} in it, which `midframe "
                "export` writes beside the network"
            )
        self.text = _bounded(path / FACTS, LONGEST + 1)
        _check_param(path / PARAM)
        self.net = ncnn.Net()
        for option in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
            setattr(self.net.opt, f"use_{option}", False)
        self.net.opt.use_vulkan_compute = False
        self.net.opt.num_threads = threads
        if self.net.load_param(str(path / PARAM)) or self.net.load_model(str(path / BIN)):
            raise UserError(f"{path} is no network that ncnn runs")

    def check(self, facts: Facts) -> None:
        """Raise `UserError` where the network's inputs are not what its metadata say."""
        found = set(self.net.input_names())
        if not found <= set(facts.inputs) or FRAME not in self.net.output_names():
            raise UserError(f"{self.path} has other inputs than {', '.join(facts.inputs)}")
        self.names = [name for name in facts.inputs if name in found]

    def __call__(self, given: Mapping[str, Tensor]) -> Tensor:
        """Return the frame (1, 3, H, W)."""
        extractor = self.net.create_extractor()
        for name in self.names:
            x = given[name]
            x = (x if x.ndim == 1 else x[0]).detach().cpu()
            values = np.ascontiguousarray(x.numpy(), np.float32)
            extractor.input(name, self.ncnn.Mat(values).clone())
        code, frame = extractor.extract(FRAME)
        if code:
            raise UserError(f"{self.path}: ncnn failed with code {code}")
        return torch.from_numpy(np.array(frame))[None]


def _check_param(path: Path) -> None:
    """Raise `UserError` for a file that is not what pnnx writes."""
    text = _bounded(path, _GREATEST_PARAM)
    lines = text.decode("utf-8", "replace").splitlines()
    good = len(lines) > 2 and lines[0].strip() == _MAGIC
    if not good or not all(_LAYER.fullmatch((line.split() or ["A"])[0]) for line in lines[2:]):
        raise UserError(f"{path} is no network that ncnn runs")


def _bounded(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
