"""What an exported file says of itself: enough to run it without the model's code or weights."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from midframe.errors import UserError
from midframe.export.graph import FIELDS, input_names
from midframe.plain_text import plain

KEY = "midframe"  # of the metadata in a file, and the name of a json file
LONGEST = 1 << 16  # bytes; what midframe writes takes about one thousand
_GREATEST = 1 << 15  # pixels
FORMATS = ("onnx", "pt2", "ncnn")


@dataclass(frozen=True)
class Facts:
    """The metadata of an exported file.

    Attributes:
        model: its name in conf/model.
        format: "onnx", "pt2" or "ncnn".
        net: the options of the network that differ from its file's, or are in it.
        hints: options of every call, which are frozen into the graph.
        weights_sha256: of the weights file; None of untrained weights.
        averaged: whether these weights are the moving average (EMA) that a training kept.
        size: (width, height) that it takes, None for any.
        least: width and height that frames have at least, where it takes any.
        multiple: to which the graph pads frames by itself.
        context: frames on each side of the gap.
        times: "any" or "half".
        needs: fields of `Inputs` beyond frames and t.
        bins: of events, 0 where there are none.
        trainable: whether the model learns, see `Interpolator.trainable`.
        precision: of weights and sums.
        opset: of ONNX.
        tolerance: the largest difference to PyTorch that was allowed, of values in [0, 1].
        error: the largest that was found.
        mean_error: the mean difference.
        midframe: version of midframe that wrote it.
        torch: version of PyTorch.
    """

    model: str
    format: str
    size: tuple[int, int] | None
    least: int
    multiple: int
    context: int
    times: str
    needs: tuple[str, ...] = ()
    bins: int = 0
    trainable: bool = True
    net: Mapping[str, Any] = field(default_factory=dict)
    hints: Mapping[str, Any] = field(default_factory=dict)
    weights_sha256: str | None = None
    averaged: bool = False
    precision: str = "fp32"
    opset: int | None = None
    tolerance: float = 0.0
    error: float = 0.0
    mean_error: float = 0.0
    midframe: str = ""
    torch: str = ""

    @property
    def inputs(self) -> list[str]:
        """The graph's inputs, in their order."""
        return input_names(self.context, self.times, self.needs)

    @property
    def dynamic(self) -> bool:
        """Whether frames may have any size."""
        return self.size is None

    def text(self) -> str:
        """Return the json that a file holds."""
        return json.dumps(asdict(self), sort_keys=True)


def read_facts(text: str | bytes | None, where: str) -> Facts:
    """Return what a file says of itself, which anybody may have written.

    Raises:
        UserError: for none, too much, or what cannot be so.
    """
    if not text:
        raise UserError(
            f"{where} says nothing about itself: it was not made by `midframe export`, which "
            "writes what an engine must know into the file"
        )
    if len(text) > LONGEST:
        raise UserError(f"{where}: its metadata have {len(text)} bytes, more than {LONGEST}")
    try:
        found = json.loads(text)
        return _checked(found if isinstance(found, dict) else {})
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        reason = plain(str(error))[:200]
        raise UserError(f"{where}: its metadata are not those of midframe: {reason}") from error


def _checked(found: dict[str, Any]) -> Facts:
    known = {one.name for one in fields(Facts)}
    given = {key: value for key, value in found.items() if key in known}
    missing = {"model", "format", "size", "least", "multiple", "context", "times"} - given.keys()
    if missing:
        raise ValueError(f"{', '.join(sorted(missing))} is missing")
    for name in ("least", "multiple", "bins"):
        _hold(name, given.get(name, 1 if name != "bins" else 0), 0, _GREATEST)
    if given["size"] is not None:
        width, height = given["size"]
        given["size"] = (_hold("size", width, 1, _GREATEST), _hold("size", height, 1, _GREATEST))
    choices = {
        "context": (1, 2),
        "times": ("any", "half"),
        "format": FORMATS,
        "trainable": (True, False),
        "averaged": (False, True),
    }
    for name, values in choices.items():
        value = given.get(name, values[0])
        if type(value) is not type(values[0]) or value not in values:
            raise ValueError(f"{name} is none of {', '.join(map(str, values))}")
    needs = given.get("needs", [])
    if not isinstance(needs, list) or not set(needs) <= set(FIELDS):
        raise ValueError(f"needs is none of {', '.join(FIELDS)}")
    given["needs"] = tuple(needs)
    for name in ("net", "hints"):
        if not isinstance(given.get(name, {}), dict):
            raise ValueError(f"{name} holds no options")
    for name in ("tolerance", "error", "mean_error"):
        value = given.get(name, 0.0)
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError(f"{name} is no number")
    for name in ("model", "precision", "midframe", "torch", "weights_sha256"):
        if given.get(name) is not None:
            given[name] = plain(str(given[name]))[:200]
    return Facts(**given)


def _hold(name: str, value: Any, least: int, greatest: int) -> int:
    if type(value) is not int or not least <= value <= greatest:
        raise ValueError(f"{name} is no whole number from {least} to {greatest}")
    return value
