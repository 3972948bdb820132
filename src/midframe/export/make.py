"""From a model to an exported file that has been run: written aside, compared, and then renamed."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from midframe import __version__
from midframe.errors import UserError
from midframe.export import verify
from midframe.export.engine import Engine, load_engine
from midframe.export.facts import FORMATS, Facts
from midframe.export.graph import Graph
from midframe.files import aside_of, remove_leftovers
from midframe.models.base import Interpolator
from midframe.models.dis import Dis
from midframe.models.dis_refined import DisRefined
from midframe.models.motion import Guided
from midframe.plain_text import in_words, plain

TOLERANCE = 1e-3  # a quarter of a step of eight bits
USUAL = (448, 256)  # whose hints a graph of any size has


@dataclass(frozen=True)
class Wanted:
    """What is to be exported.

    Attributes:
        model: in eval mode on the CPU, in float32; one that makes its motion takes it instead.
        name: of the model.
        format: "onnx", "pt2" or "ncnn".
        size: (width, height), or None for any.
        hints: given by the user, beside those of the model.
        tolerance: largest difference to PyTorch that is allowed, of values in [0, 1].
        net: options of the network, for the record.
        weights_sha256: for the record.
        averaged: for the record, see `Facts.averaged`.
    """

    model: Interpolator
    name: str
    format: str
    size: verify.Size | None
    hints: Mapping[str, Any]
    tolerance: float = TOLERANCE
    net: Mapping[str, Any] | None = None
    weights_sha256: str | None = None
    averaged: bool = False

    @property
    def all_hints(self) -> dict[str, Any]:
        """Options of every call, by the size where it is known."""
        width, height = self.size or USUAL
        return network(self.model).hints_for(height, width, **self.hints)


@dataclass(frozen=True)
class Made:
    """A file that was made.

    Attributes:
        facts: what it says of itself.
        differences: to PyTorch, size by size and time by time.
    """

    facts: Facts
    differences: list[verify.Difference]


def network(model: Interpolator) -> Interpolator:
    """Return the network itself of a model that makes its motion: its graph reads motion."""
    return model.model if isinstance(model, Guided) else model


def make(wanted: Wanted, path: Path, tell: verify.Tell = verify.silent) -> Made:
    """Export, run what was exported against PyTorch, and only then give it its name.

    Args:
        wanted: the model and how.
        path: the file, or the folder of ncnn; an earlier one is replaced.
        tell: is given a line before each part of the work, which may take minutes.

    Raises:
        UserError: where something else is there, or it cannot be exported, or differs by more than
            is allowed: what was there stays as it was then.
    """
    model = network(wanted.model)
    _check_network(model, wanted.name)
    path = path.resolve()
    _check_place(path, wanted.format)
    hints = wanted.all_hints
    graph = Graph(model, hints, wanted.size).eval()
    for parameter in graph.parameters():
        parameter.requires_grad_(False)
        parameter.data = parameter.data.contiguous()  # other formats have one layout
    facts = _facts(wanted, graph, hints)
    sizes = verify.sizes_to_check(wanted.size, graph.pad.multiple)
    given = verify.example(model, sizes[-1])
    code = _code(wanted.format)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    aside = aside_of(path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}"))
    try:
        aside.mkdir()
        file = aside / path.name
        if wanted.format == "ncnn":
            file.mkdir()
        code.write(graph, given, facts, file, tell)
        found = verify.differences(_loaded(file, path), model, sizes, hints, tell)
        greatest = max(one.greatest for one in found)
        if not greatest <= wanted.tolerance:
            raise UserError(_told(wanted, found))
        facts = replace(
            facts, error=greatest, mean_error=sum(one.mean for one in found) / len(found)
        )
        code.describe(file, facts)
        _check_place(path, wanted.format)  # the work took minutes
        _put(file, path)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return Made(facts, found)


def _check_network(model: Interpolator, name: str) -> None:
    """Raise `UserError` for what computes by other means than PyTorch."""
    if isinstance(model, (Dis, DisRefined)):
        flow = "has flow of OpenCV's in it"
        what = flow if model.trainable else "is no network: its flow is OpenCV's"
        raise UserError(f"{name} {what}, which no format holds")


def _loaded(file: Path, path: Path) -> Engine:
    """Load what was made; what is wrong with it is told by the name that it would have."""
    try:
        return load_engine(file)
    except UserError as error:
        raise UserError(str(error).replace(str(file), path.name)) from error


def _check_place(path: Path, format: str) -> None:
    """Raise `UserError` for what is there and is no earlier file, or folder of ncnn, of that name.

    Of a folder that holds anything else nobody knows what would be lost.
    """
    if format != "ncnn":
        if path.is_dir():
            raise UserError(f"{path} is a folder, and .{format} is a file; give another name")
        return
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file, and .ncnn a folder; give another name")
    from midframe.export.ncnn import PARTS

    strange = [one.name for one in path.iterdir() if one.name not in PARTS] if path.is_dir() else []
    if strange:
        raise UserError(
            f"{path} holds {plain(min(strange))[:100]}, which is no part of an exported model; "
            "only folders of these are replaced: give another name"
        )


def _put(file: Path, path: Path) -> None:
    """Give what was made its name; what had it is deleted when the new one is in its place.

    A folder cannot take another one's name at once, so the earlier one lies beside it for a moment,
    under a name that `remove_leftovers` leaves alone: a crash in between loses nothing.
    """
    if not path.is_dir():
        file.replace(path)
        return
    earlier = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.earlier")
    path.replace(earlier)
    try:
        file.replace(path)
    except BaseException:
        earlier.replace(path)
        raise
    shutil.rmtree(earlier, ignore_errors=True)


def _facts(wanted: Wanted, graph: Graph, hints: Mapping[str, Any]) -> Facts:
    from midframe.export.onnx import OPSET

    model = graph.model
    return Facts(
        model=wanted.name,
        format=wanted.format,
        size=wanted.size,
        # smaller ones would have a level of one pixel, which PyTorch records as a case of its own
        least=1 if wanted.size is not None else graph.pad.multiple + 1,
        multiple=graph.pad.multiple,
        context=model.context,
        times=model.times,
        needs=tuple(sorted(model.needs)),
        bins=int(getattr(model, "bins", 0)),
        trainable=model.trainable,
        net=dict(wanted.net or {}),
        hints=dict(hints),
        weights_sha256=wanted.weights_sha256,
        averaged=wanted.averaged,
        opset=OPSET if wanted.format == "onnx" else None,
        tolerance=wanted.tolerance,
        midframe=__version__,
        torch=torch.__version__,
    )


def _code(format: str) -> ModuleType:
    if format not in FORMATS:
        raise UserError(f"format {format}: give {', '.join(FORMATS)}")
    return import_module(f"midframe.export.{format}")


def _told(wanted: Wanted, found: list[verify.Difference]) -> str:
    worst = max(found, key=lambda one: one.greatest)
    return (
        f"the exported {wanted.name} differs from PyTorch by up to {worst.greatest:.2g} at "
        f"{in_words(worst.size)}, t = {worst.t:g} ({worst.mean:.2g} on average); allowed is "
        f"{wanted.tolerance:g}, so nothing was written; --tolerance takes another limit"
    )
