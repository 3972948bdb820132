"""How a number is made: a benchmark protocol as data.

A PSNR without its protocol means nothing: padding, rounding, the SSIM variant and which images
count all move it. Everything of that kind stands in a `Protocol`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

import midframe.metrics
from midframe.errors import UserError
from midframe.models.base import Pad

Reduction = Literal["images", "subsets"]
Quantisation = Literal["none", "uint8"]


@dataclass(frozen=True)
class Metric:
    """One column of a table.

    Attributes:
        function: a function of `midframe.metrics`: (pred, target) -> (N,).
        options: its keyword arguments, such as the SSIM variant.
        digits: decimals shown.
        unit: shown behind the name, such as "dB".
        better: "higher" or "lower".
    """

    function: str
    options: Mapping[str, Any] = field(default_factory=dict)
    digits: int = 2
    unit: str = ""
    better: Literal["higher", "lower"] = "higher"

    def __post_init__(self) -> None:
        if not callable(getattr(midframe.metrics, self.function, None)):
            raise UserError(f"midframe.metrics has no metric {self.function!r}")


@dataclass(frozen=True)
class Published:
    """A published row, as data: never measured here.

    Attributes:
        model: the model's name in the source.
        values: by the names of the protocol's metrics.
        source: where the numbers stand.
        name: our name of the same model (conf/model), if there is one.
    """

    model: str
    values: Mapping[str, float]
    source: str
    name: str | None = None


@dataclass(frozen=True)
class Protocol:
    """A benchmark: which images, how they reach the model, how the result is measured.

    Attributes:
        name: of the benchmark.
        version: raised with every change that may move a number; results carry name@version.
        layout: dotted name of a function ``layout(root, split, context) -> list[Clip]``.
        subsets: splits of the layout; each is a row of its own.
        expected: how many predicted images each subset has; other counts are incomplete.
        metrics: columns by name.
        context: frames on each side of the gap that the images are read with.
        times: the target times; images at others are an error.
        pad: replaces the model's own padding, None leaves it.
        family: of the data, by which models choose options as their papers do, such as "snufilm"
            (see `Interpolator.hints`); empty: the name.
        hints: options of every call of the model; they win over its own choice for the family,
            and what the user writes for the model (``model.hints``) wins over them.
        quantisation: "uint8" rounds the prediction to grey levels before every metric.
        reduction: the overall mean is taken over "images", or over the means of "subsets".
        published: rows of papers by this protocol.
        note: what else there is to know.
    """

    name: str
    version: int
    layout: str
    subsets: tuple[str, ...]
    expected: Mapping[str, int]
    metrics: Mapping[str, Metric]
    context: int = 1
    times: tuple[float, ...] = (0.5,)
    pad: Pad | None = None
    family: str = ""
    hints: Mapping[str, Any] = field(default_factory=dict)
    quantisation: Quantisation = "none"
    reduction: Reduction = "images"
    published: tuple[Published, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        unknown = [s for s in self.expected if s not in self.subsets]
        if unknown or not self.subsets or not self.metrics:
            what = f"subset {unknown[0]} has a count only" if unknown else "no subset or no metric"
            raise UserError(f"benchmark {self.name}: {what}; mend conf/benchmark/{self.name}.yaml")
        for value, known, key in (
            (self.quantisation, ("none", "uint8"), "quantisation"),
            (self.reduction, ("images", "subsets"), "reduction"),
        ):
            if value not in known:
                raise UserError(
                    f"benchmark {self.name}: {key}={value} is not known; use {' or '.join(known)}"
                )
        object.__setattr__(self, "family", self.family or self.name)  # frozen for others

    @property
    def id(self) -> str:
        """Return name@version."""
        return f"{self.name}@{self.version}"

    def describe(self) -> dict[str, Any]:
        """Return everything as plain data, for records."""
        return dataclasses.asdict(self)

    def digest(self) -> str:
        """Return 12 hex digits that change with everything that may move a number."""
        content = self.describe()
        for key in ("published", "note"):
            del content[key]
        text = json.dumps(content, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def find_layout(self) -> tuple[Any, str]:
        """Return the layout function and the text of the folder tree that it expects."""
        module_name, _, function = self.layout.rpartition(".")
        try:
            module = import_module(module_name)
            return getattr(module, function), getattr(module, "TREE", "")
        except (ImportError, AttributeError, ValueError) as error:
            raise UserError(
                f"benchmark {self.name}: layout {self.layout} not found: {error}"
            ) from error


def from_config(node: Mapping[str, Any]) -> Protocol:
    """Build a protocol from plain data, as a file in conf/benchmark holds it.

    Raises:
        UserError: naming keys that are unknown or missing.
    """
    node = dict(node)
    name = node.get("name", "benchmark")
    metrics = {k: _make(Metric, v, f"{name}.metrics.{k}") for k, v in node["metrics"].items()}
    published = [_make(Published, row, f"{name}.published") for row in node.get("published") or ()]
    pad = node.get("pad")
    if pad is not None:
        pad = dict(pad)
        pad["least"] = tuple(pad.get("least", (0, 0)))
        pad = _make(Pad, pad, f"{name}.pad")
    node.update(
        subsets=tuple(node.get("subsets") or ()),
        times=tuple(float(t) for t in node.get("times", (0.5,))),
        metrics=metrics,
        published=tuple(published),
        pad=pad,
        family=node.get("family") or "",
        hints=node.get("hints") or {},
    )
    return _make(Protocol, node, name)


def _make(cls: Any, node: Mapping[str, Any], where: str) -> Any:
    known = {f.name for f in dataclasses.fields(cls)}
    unknown = sorted(set(node) - known)
    if unknown:
        raise UserError(
            f"benchmark {where} has no key {', '.join(unknown)}; known: {', '.join(sorted(known))}"
        )
    try:
        return cls(**node)
    except TypeError as error:
        raise UserError(f"benchmark {where}: {error}") from error
