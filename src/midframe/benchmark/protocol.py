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
from collections.abc import Callable, Mapping
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
_MOVE_NOTHING = ("published", "beside", "note", "extra")  # parts of a protocol


@dataclass(frozen=True)
class Metric:
    """One column of a table.

    Attributes:
        function: a name in `midframe.metrics`, such as "psnr", or the dotted name of a function of
            one's own: (pred, target) -> (N,), one value per image; both (N, 3, H, W) in [0, 1].
            It is called with the images of one clip, in order of time. One that has a parameter
            ``ends`` is also given (2, 3, H, W), the frames at times 0 and 1.
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
            inspect.signature(function).bind(
                None, None, **self._ends(function, None), **self.options
            )
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

    def __call__(self, pred: Tensor, target: Tensor, ends: Tensor | None = None) -> Tensor:
        """Call the function with its options, and with ``ends`` where it asks for them."""
        function = self.find()
        return function(pred, target, **self._ends(function, ends), **self.options)

    @staticmethod
    def _ends(function: Callable[..., Tensor], ends: Tensor | None) -> dict[str, Tensor | None]:
        return {"ends": ends} if "ends" in inspect.signature(function).parameters else {}


@dataclass(frozen=True)
class Published:
    """A published row, as data: never measured here.

    Attributes:
        model: the model's name in the source.
        values: by the names of the protocol's metrics.
        source: where the numbers stand.
        name: our name of the same model (conf/model), if there is one.
        subset: of the protocol that the numbers are of; None: the overall mean.
    """

    model: str
    values: Mapping[str, float]
    source: str
    name: str | None = None
    subset: str | None = None

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
        submission: where a result is handed in, since nobody has the true frames: the path of each
            predicted picture, such as "{id}/frame10i11.png", with {subset} and {t} where there are
            several. There are no metrics then.
        extra: columns that a command adds to the protocol's own; they are measured on the same
            images and are no part of its version.
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
    submission: str = ""
    extra: Mapping[str, Metric] = field(default_factory=dict)
    note: str = ""
    layout_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.subsets or not (self.metrics or self.submission):
            raise UserError(self._at("no subset or no metric"))
        if self.submission and (self.metrics or "{id}" not in self.submission):
            what = "submission is for frames that nobody has: it names {id}, and there is no metric"
            raise UserError(self._at(what))
        self._check_submission()
        for row in self.published:
            if row.subset not in (None, *self.subsets):
                raise UserError(
                    self._at(f"published: {row.model} is of {row.subset}, which subsets lack")
                )
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

    def _check_submission(self) -> None:
        """Raise `UserError` where two pictures would have one path, or the path has no sense."""
        for word, several in (("{subset}", len(self.subsets)), ("{t}", len(self.times))):
            if self.submission and several > 1 and word not in self.submission:
                raise UserError(self._at(f"submission={self.submission} must name {word}"))
        try:
            self.submission.format(id="a", subset="b", t="0.5")
        except (KeyError, IndexError, ValueError) as error:
            known = "{id}, {subset} and {t}"
            raise UserError(
                self._at(f"submission={self.submission} may name {known}, not {error}")
            ) from error

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
        return digest_of(self.describe())

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

    @property
    def columns(self) -> dict[str, Metric]:
        """All columns of a table: the protocol's own metrics, then the extra ones."""
        return {**self.metrics, **self.extra}

    def measure(
        self, name: str, pred: Tensor, target: Tensor, ends: Tensor | None = None
    ) -> Tensor:
        """Return the values (N,) of a column for images (N, 3, H, W) of one clip.

        Args:
            name: of one of `columns`.
            pred: in [0, 1], in order of time.
            target: the same shape.
            ends: (2, 3, H, W), the frames at times 0 and 1.

        Raises:
            UserError: naming the metric, if it refuses an option or returns anything else.
        """
        metric = self.columns[name]
        try:
            values = metric(pred, target, ends)
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
        picture = torch.zeros(1, 3, 64, 64)
        ends = torch.zeros(2, 3, 64, 64)
        for name, metric in self.columns.items():
            if "." not in metric.function:  # one's own may be slow
                self.measure(name, picture, picture, ends)

    @property
    def gives(self) -> frozenset[str]:
        """The fields of `midframe.types.Inputs` beside frames and t that its data has.

        A layout says so by its option ``gives``, as those of event cameras have.
        """
        option = inspect.signature(self.find_layout()).parameters.get("gives")
        return frozenset(() if option is None or option.default is option.empty else option.default)


def digest_of(description: Mapping[str, Any]) -> str:
    """Return the digest of a protocol that was written down, see `Protocol.digest`.

    Args:
        description: as `Protocol.describe` returns it, or as it stands in a record.
    """
    content = {key: value for key, value in description.items() if key not in _MOVE_NOTHING}
    if not content.get("submission"):
        content.pop("submission", None)
    # How a lack is taken moves no number; without other options the digest is what it always
    # was, so results and interrupted runs of older protocols keep theirs.
    options = content.pop("layout_options", None) or {}
    options = {key: value for key, value in options.items() if key != "on_error"}
    if options:
        content["layout_options"] = options
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


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
