"""The ways to run a model: precision, layout of the weights, compiled or not."""

from __future__ import annotations

from typing import NamedTuple

from midframe.errors import UserError, known_names
from midframe.models.base import Interpolator
from midframe.models.inference import Precision, for_inference

_LAST, _COMPILED = "channels_last", "compiled"


class Way(NamedTuple):
    """A way to run a model.

    Attributes:
        precision: of the weights, see `midframe.models.inference.for_inference`.
        channels_last: how the weights of 2D convolutions lie in memory; else as PyTorch makes them.
        compiled: whether `forward` goes through `torch.compile`.
    """

    precision: Precision
    channels_last: bool = False
    compiled: bool = False

    def __str__(self) -> str:
        """Return the name, such as "bf16 channels_last compiled"."""
        more = (_LAST * self.channels_last, _COMPILED * self.compiled)
        return " ".join((self.precision, *filter(None, more)))


WAYS = {
    str(way): way
    for compiled in (False, True)
    for last in (False, True)
    for way in (Way("fp32", last, compiled), Way("bf16", last, compiled))
}


def named(text: str) -> Way:
    """Return the way of a name; "fp32_channels_last" and "fp32 channels_last" are one.

    Raises:
        UserError: for another name.
    """
    found = {name.replace(" ", "_"): way for name, way in WAYS.items()}
    wanted = "_".join(str(text).replace("_", " ").split()).replace("channels last", "channels_last")
    if wanted not in found:
        raise UserError(f"there is no way {text} to run a model; {known_names(wanted, found)}")
    return found[wanted]


def obstacle(model: Interpolator, way: Way) -> str | None:
    """Say why a model cannot run in a way; None where it can. It may be without numbers."""
    if way.precision == "fp32" or model.casts or next(model.parameters(), None) is None:
        return None
    return f"{model.title} has no bf16 inference: its class does not say `casts = True`"


def prepare(model: Interpolator, way: Way) -> Interpolator:
    """Return a copy of a model for a way; of compiled ones what is left to do is `compile`.

    Raises:
        UserError: if there is an `obstacle`.
    """
    if why := obstacle(model, way):
        raise UserError(why)
    ready = for_inference(model, way.precision)
    if not way.channels_last:
        for weight in ready.parameters():
            weight.data = weight.data.contiguous()
    return ready
