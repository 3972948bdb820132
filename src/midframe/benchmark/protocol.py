"""How a number is made: a benchmark protocol as data.

A PSNR without its protocol means nothing: padding, rounding, the SSIM variant and which images
count all move it. Everything of that kind stands in a `Protocol`.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal, get_args

import torch
from torch import Tensor

import midframe.metrics
from midframe.data.records import LAYOUT_ARGUMENTS, Layout
from midframe.errors import UserError
from midframe.models.base import Pad
from midframe.nodes import check_options
from midframe.paths import projects

Reduction = Literal["images", "subsets", "sequences"]
Quantisation = Literal["none", "uint8"]


@dataclass(frozen=True)
class Metric:
    """One column of a table.

    Attributes:
        function: a name in `midframe.metrics`, such as "psnr", or the dotted name of a function of
            one's own: (pred, target) -> (N,), one value per image; both (N, 3, H, W) in [0, 1].
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
        _one_of("better", self.better, ("higher", "lower"))
        _whole("digits", self.digits, least=0)
        function = self.find()
        try:
            inspect.signature(function).bind(None, None, **self.options)
        except TypeError as error:
            raise UserError(f"{self.function} is called with (pred, target): {error}") from error

    def find(self) -> Callable[..., Tensor]:
        """Return the function, whose options are not bound; `UserError` if there is none."""
        if "." in self.function:
            found = _locate(self.function)
        else:
            found = getattr(midframe.metrics, self.function, None)
        if not callable(found) or isinstance(found, type):
            known = [n for n in midframe.metrics.__all__ if n.islower() and n != "known_flow"]
            raise UserError(
                f"there is no metric {self.function}; midframe.metrics has {', '.join(known)}, and "
                "a function of your own is named like my_module.my_metric"
            )
        return found  # type: ignore[no-any-return]


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

    def __post_init__(self) -> None:
        if not isinstance(self.values, Mapping):
            raise UserError(f"values must be like {{psnr: 30.1}}, not {self.values!r}")


@dataclass(frozen=True)
class Protocol:
    """A benchmark: which images, how they reach the model, how the result is measured.

    Attributes:
        name: of the benchmark.
        version: raised with every change that may move a number; results carry name@version.
        layout: dotted name of a data layout, as conf/data names it: see
            `midframe.data.records.Layout`.
        layout_options: its keyword arguments; with ``on_error: skip``, where it has that, what is
            missing makes the result incomplete, otherwise it is an error.
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
        reduction: the overall mean is taken over "images", or over the means of "subsets". With
            "sequences" every mean, that of a subset as well, is one over the means of sequences:
            the groups of the layout's clips.
        published: rows of papers by this protocol.
        beside: models that are measured on the same images and shown beside, unless a command says
            others: names of conf/model that need no training.
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
    beside: tuple[str, ...] = ()
    note: str = ""
    layout_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.subsets or not self.metrics:
            raise UserError(self._at("no subset or no metric"))
        unknown = [s for s in self.expected if s not in self.subsets]
        if unknown:
            raise UserError(
                self._at(
                    f"expected has a count of {unknown[0]}, which subsets does not name (it has "
                    f"{', '.join(self.subsets)})"
                )
            )
        if not self.times or not all(0 <= t <= 1 for t in self.times):
            raise UserError(self._at(f"times={list(self.times)} must lie in [0, 1]"))
        try:
            _whole("version", self.version)
            _whole("context", self.context)
            for subset, count in self.expected.items():
                _whole(f"expected.{subset}", count, least=0)
            _one_of("quantisation", self.quantisation, ("none", "uint8"))
            _one_of("reduction", self.reduction, get_args(Reduction))
        except UserError as error:
            raise UserError(self._at(str(error))) from error
        object.__setattr__(self, "family", self.family or self.name)  # frozen for others

    def _at(self, what: str) -> str:
        return f"benchmark {self.name}: {what}; mend conf/benchmark/{self.name}.yaml"

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
        for key in ("published", "beside", "note"):
            del content[key]
        # How a lack is taken moves no number; without other options the digest is what it always
        # was, so results and interrupted runs of older protocols keep theirs.
        options = content.pop("layout_options")
        options = {key: value for key, value in options.items() if key != "on_error"}
        if options:
            content["layout_options"] = options
        text = json.dumps(content, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def find_layout(self) -> Layout:
        """Return the layout with its options bound.

        Raises:
            UserError: if there is no such function, or it does not take these options.
        """
        where = f"benchmark {self.name}: layout {self.layout}"
        try:
            function = _locate(self.layout)
        except UserError as error:
            raise UserError(f"benchmark {self.name}: layout {error}") from error
        if not callable(function):
            raise UserError(f"{where} is no function layout(root, split, context)")
        check_options(function, self.layout_options, where, given=LAYOUT_ARGUMENTS)
        return functools.partial(function, **self.layout_options)

    def measure(self, name: str, pred: Tensor, target: Tensor) -> Tensor:
        """Return the values (N,) of a metric for images (N, 3, H, W).

        Raises:
            UserError: naming the metric, if it refuses an option or returns anything else.
        """
        metric = self.metrics[name]
        try:
            values = metric.find()(pred, target, **metric.options)
        except ValueError as error:
            what = f"benchmark {self.name}: metric {name} ({metric.function})"
            raise UserError(f"{what}: {error}") from error
        if not isinstance(values, Tensor) or values.shape != (len(pred),):
            shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise UserError(
                f"benchmark {self.name}: metric {metric.function} returned {shape} for "
                f"{len(pred)} images; it must return one value per image, ({len(pred)},)"
            )
        return values

    def try_metrics(self) -> None:
        """Raise `UserError` for options that a metric of the package refuses."""
        picture = torch.zeros(1, 3, 16, 16)
        for name, metric in self.metrics.items():
            if "." not in metric.function:  # one's own may be slow
                self.measure(name, picture, picture)

    @property
    def gives(self) -> frozenset[str]:
        """The fields of `midframe.types.Inputs` beside frames and t that its data has.

        A layout says so by its option ``gives``, as those of event cameras have.
        """
        option = inspect.signature(self.find_layout()).parameters.get("gives")
        return frozenset(() if option is None or option.default is option.empty else option.default)


def from_config(node: Mapping[str, Any], name: str | None = None) -> Protocol:
    """Build a protocol from plain data, as a file in conf/benchmark holds it.

    Args:
        node: what stands under ``protocol``.
        name: that of the file; ``node`` may leave it out then.

    Raises:
        UserError: naming what is unknown, missing or of the wrong form.
    """
    where = name or "benchmark"
    node = _mapping(node, f"{where}.protocol", "{version: 1, layout: ...}")
    where = node.setdefault("name", where)
    if name not in (None, where):
        raise UserError(
            f"benchmark {name}: its protocol says name: {where}; write {name} or leave it out"
        )
    target, options = _layout(node.get("layout"), where)
    times = _items(node.get("times", (0.5,)), f"{where}.times", "[0.5]")
    if not all(isinstance(t, (int, float)) for t in times):
        raise UserError(f"benchmark {where}.times: give numbers, not {times}")
    metrics = _mapping(node.get("metrics"), f"{where}.metrics", "{psnr: {function: psnr}}")
    published = _items(node.get("published"), f"{where}.published", "[{model: A, ...}]")
    subsets = _items(node.get("subsets"), f"{where}.subsets", "[test]")
    expected = _mapping(node.get("expected"), f"{where}.expected", "{test: 12}")
    node.update(
        layout=target,
        layout_options=options,
        subsets=tuple(str(s) for s in subsets),
        expected={str(s): count for s, count in expected.items()},
        times=tuple(float(t) for t in times),
        metrics={k: _make(Metric, v, f"{where}.metrics.{k}") for k, v in metrics.items()},
        published=tuple(_make(Published, row, f"{where}.published") for row in published),
        pad=_pad(node.get("pad"), f"{where}.pad"),
        family=node.get("family") or "",
        hints=_mapping(node.get("hints"), f"{where}.hints", "{scale_factor: 0.5}"),
        beside=tuple(map(str, _items(node.get("beside", ()), f"{where}.beside", "[average]"))),
        note=node.get("note") or "",
    )
    return _make(Protocol, node, where)  # type: ignore[no-any-return]


def _layout(node: Any, where: str) -> tuple[str, dict[str, Any]]:
    """Return the dotted name and the options of a layout, written as in conf/data or as a name."""
    options = {"_target_": node} if isinstance(node, str) else node
    if not isinstance(options, Mapping) or not isinstance(options.get("_target_"), str):
        raise UserError(
            f"benchmark {where}: layout must be like {{_target_: my_module.my_layout}}, with the "
            f"layout's options beside it, not {node!r}"
        )
    words = ("_target_", "_partial_", "_convert_")  # those of conf/data, where Hydra reads them
    return options["_target_"], {str(k): v for k, v in options.items() if k not in words}


def _pad(node: Any, where: str) -> Pad | None:
    if node is None:
        return None
    pad = _mapping(node, where, "{multiple: 16, mode: zeros}")
    pad["least"] = tuple(_items(pad.get("least", (0, 0)), f"{where}.least", "[480, 640]"))
    return _make(Pad, pad, where)  # type: ignore[no-any-return]


def _make(cls: Any, node: Any, where: str) -> Any:
    fields = dataclasses.fields(cls)
    must = {f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING}
    node = _mapping(node, where, "{" + ", ".join(f"{key}: ..." for key in sorted(must)) + "}")
    unknown = sorted(set(node) - {f.name for f in fields})
    if unknown:
        known = ", ".join(sorted(f.name for f in fields))
        raise UserError(f"benchmark {where} has no key {', '.join(unknown)}; known: {known}")
    lacking = sorted(must - {key for key, value in node.items() if value is not None})
    if lacking:
        raise UserError(f"benchmark {where} lacks {', '.join(lacking)}")
    try:
        return cls(**node)
    except (TypeError, ValueError) as error:
        raise UserError(f"benchmark {where}: {error}") from error
    except UserError as error:
        said = str(error)
        raise UserError(
            said if said.startswith("benchmark") else f"benchmark {where}: {said}"
        ) from error


def _mapping(node: Any, where: str, like: str) -> dict[str, Any]:
    if not isinstance(node, (Mapping, type(None))):
        raise UserError(f"benchmark {where} must be like {like}, not {node!r}")
    return dict(node or {})


def _items(node: Any, where: str, like: str) -> list[Any]:
    if isinstance(node, str) or not isinstance(node, (Sequence, type(None))):
        raise UserError(f"benchmark {where} must be a list like {like}, not {node!r}")
    return list(node or ())


def _whole(key: str, value: Any, least: int = 1) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise UserError(f"{key}={value} must be a whole number from {least} on")


def _one_of(key: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UserError(f"{key}={value} is not known; use {' or '.join(known)}")


def _locate(name: str) -> Any:
    """Return what a dotted name means, in the package or a project of one's own."""
    projects()  # whose modules can be imported from then on
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        where = "a module of your own lies in a folder that MIDFRAME_PROJECT names"
        raise UserError(f"{name} not found: {error}; {where}") from error
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise UserError(f"{name} not found: {error}") from error
