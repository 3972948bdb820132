"""The graph that is exported: frames and a time in, the frame out, and no Python left.

Padding, cropping and the model's hints are part of it, so that whoever runs the file needs to know
nothing about the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from midframe.export import operators
from midframe.models.base import Interpolator, Pad
from midframe.types import Inputs

FRAMES = {1: ("first", "second"), 2: ("before", "first", "second", "after")}  # by context
TIME = "t"
FRAME = "frame"  # what comes out
_NOTHING = 1e-10  # of a number: less than float32 can say of any
FIELDS = ("events", "events_ends", "motion")  # in this order, where a model needs them


def input_names(context: int, times: str, needs: Sequence[str] | frozenset[str]) -> list[str]:
    """Return the names of a graph's inputs in their order.

    Args:
        context: frames on each side of the gap, 1 or 2.
        times: "any", or "half" for a graph without a time.
        needs: fields of `Inputs` beyond frames and t.
    """
    when = [TIME] if times == "any" else []
    return [*FRAMES[context], *when, *(name for name in FIELDS if name in needs)]


class Graph(nn.Module):
    """A model as a function of plain tensors, one sample and one time a call.

    Args:
        model: in eval mode, on the CPU.
        hints: options of every call, frozen into the graph.
        size: (width, height) of the frames, or None for any; sizes are then computed inside of the
            graph.
        add: how splatted rows are summed, see `midframe.export.operators`.
    """

    def __init__(
        self,
        model: Interpolator,
        hints: Mapping[str, Any],
        size: tuple[int, int] | None,
        add: operators.Add = operators.by_index_add,
    ) -> None:
        super().__init__()
        self.model, self.frozen, self.size, self.add = model, dict(hints), size, add
        self.pad = model.pad_for(None, **hints)
        self.names = input_names(model.context, model.times, model.needs)

    def forward(self, *given: Tensor) -> Tensor:
        """Return the frame (1, 3, H, W) in [0, 1].

        Args:
            *given: the inputs in the order of `names`: frames (1, 3, H, W) RGB in [0, 1], t (1,)
                in [0, 1], events (1, bins, H, W), events_ends (1, 2, bins, H, W) and motion
                (1, 2, 2, H, W) as `Inputs` has them, without its axis of times.
        """
        with Portable(self.add):
            return self._predicted(given)

    def _predicted(self, given: Sequence[Tensor]) -> Tensor:
        named = dict(zip(self.names, given))
        frames = [self.padded(frame) for frame in given[: 2 * self.model.context]]
        t = named[TIME].reshape(1, 1) if TIME in named else frames[0].new_full((1, 1), 0.5)
        fields = {name: self._field(name, named[name]) for name in FIELDS if name in named}
        out = self.model(Separate.of(frames, t, fields), **self.frozen)
        return self.cropped(out.frame[:, 0], given[0]).clamp(0, 1)

    def padded(self, x: Tensor, beside: bool = False) -> Tensor:
        """Pad (N, C, H, W) to what the model takes.

        Args:
            x: a frame, or what is given beside frames.
            beside: which of both: beyond the border of grey there is no motion.
        """
        amounts = self._amounts(x)
        mode = "zeros" if beside and self.pad.mode == "half" else self.pad.mode
        if self.size is None:
            return _gathered(x, amounts, mode)
        return _plainly(x, amounts, mode) if any(amounts) else x

    def cropped(self, frame: Tensor, given: Tensor) -> Tensor:
        """Undo `padded` on a frame (1, 3, H', W') made from frames such as the ``given`` one."""
        left, _, top, _ = amounts = self._amounts(given)
        if self.size is None:  # a slice would ask whether it fits
            for axis, start in ((-1, left), (-2, top)):
                place = torch.arange(given.shape[axis], device=frame.device) + start
                frame = frame.index_select(axis, place)
        elif any(amounts):
            width, height = self.size
            frame = frame[..., top : top + height, left : left + width]
        return frame

    def _amounts(self, x: Tensor) -> tuple[int, int, int, int]:
        """Return (left, right, top, bottom); of one size as numbers, whatever a tracer sees."""
        width, height = (x.shape[-1], x.shape[-2]) if self.size is None else self.size
        return _amounts(self.pad, height, width)

    def _field(self, name: str, x: Tensor) -> Tensor:
        flat = self.padded(x.flatten(0, -4) if x.ndim > 4 else x, beside=True)
        whole = flat.reshape(*x.shape[:-2], *flat.shape[-2:])
        return whole if name == "events_ends" else whole[:, None]


class Separate(Inputs):
    """Inputs whose frames came one by one and stay so where a model takes the pair.

    Stacking them and taking them apart again would be axes that some formats do not have.
    """

    separate: Sequence[Tensor] = ()

    @classmethod
    def of(cls, frames: Sequence[Tensor], t: Tensor, fields: Mapping[str, Tensor]) -> Separate:
        """Return the inputs of one sample from its frames (1, 3, H, W)."""
        x = cls(torch.stack(list(frames), 1), t, **fields)
        x.separate = tuple(frames)
        return x

    @property
    def pair(self) -> tuple[Tensor, Tensor]:
        """The two frames (1, 3, H, W) at times 0 and 1."""
        middle = len(self.separate) // 2
        return self.separate[middle - 1], self.separate[middle]


class Portable(TorchFunctionMode):
    """Has what is recorded consist of PyTorch's own operators, for frames of any size.

    Our operators become those of `midframe.export.operators`; sizes stay open that are put into a
    tensor's values, as by ``x.new_tensor([width, height])``, which would fix them; and what frames
    are resized by is none the smaller in float32, which other programs have for it: 48 times 3.33
    is 160, and must not become 159.

    Args:
        add: how splatted rows are summed.
    """

    def __init__(self, add: operators.Add) -> None:
        super().__init__()
        ours = torch.ops.midframe
        forms: dict[Any, Callable[..., Any]] = {
            ours.splat: partial(operators.splat, add=add),
            ours.correlation: operators.correlation,
            ours.adacof: operators.adacof,
        }
        self.forms = {key: form for op, form in forms.items() for key in (op, op.default)}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call what stands in for ``func``, or itself."""
        if func in self.forms:
            return self.forms[func](*args, **(kwargs or {}))
        if func is Tensor.new_tensor and any(map(_is_symbol, _flat(args[1]))):
            x, values = args[0], args[1]
            whole = torch.stack([x.new_full((), value) for value in _flat(values)])
            return whole if isinstance(values, (list, tuple)) else whole[0]
        scale = (kwargs or {}).get("scale_factor")
        if func is F.interpolate and isinstance(scale, float):
            kwargs = {**(kwargs or {}), "scale_factor": _in_float32(scale)}
        return func(*args, **(kwargs or {}))


def _in_float32(scale: float) -> float:
    """Return the least number of float32 that is not below one, but for what is next to nothing."""
    near = np.float32(scale)
    enough = float(near) >= scale * (1 - _NOTHING)
    return float(near if enough else np.nextafter(near, np.float32(np.inf)))


def _flat(values: Any) -> list[Any]:
    return list(values) if isinstance(values, (list, tuple)) else [values]


def _is_symbol(value: Any) -> bool:
    return isinstance(value, (torch.SymInt, torch.SymFloat))


def _amounts(pad: Pad, height: int, width: int) -> tuple[int, int, int, int]:
    """Return what `Pad.amounts` does; sizes may be symbols.

    All that is divided is positive, since a whole division of ONNX rounds toward zero.
    """

    def split(size: int, least: int) -> tuple[int, int]:
        whole = size if not least else torch.sym_max(size, least)
        extra = (whole + pad.multiple - 1) // pad.multiple * pad.multiple - size
        before = 0 if pad.side == "after" else extra // 2
        return before, extra - before

    return (*split(width, pad.least[1]), *split(height, pad.least[0]))


def _plainly(x: Tensor, amounts: tuple[int, int, int, int], mode: str) -> Tensor:
    """Pad (N, C, H, W) by numbers known beforehand."""
    left, right, top, bottom = amounts
    if mode == "reflect" and not (
        max(left, right) < x.shape[-1] and max(top, bottom) < x.shape[-2]
    ):
        return _gathered(x, amounts, mode)
    if mode in ("zeros", "half"):
        return F.pad(x, amounts, value=0.0 if mode == "zeros" else 0.5)
    return F.pad(x, amounts, mode=mode)


def _gathered(x: Tensor, amounts: tuple[int, int, int, int], mode: str) -> Tensor:
    """Pad (N, C, H, W) by taking rows and columns by their numbers: any amounts, any size."""
    left, right, top, bottom = amounts
    for axis, before, after in ((-1, left, right), (-2, top, bottom)):
        size = x.shape[axis]
        place = torch.arange(before + size + after, device=x.device) - before
        if mode == "reflect":
            period = torch.clamp(torch.as_tensor(2 * (size - 1)), min=1)
            place = place.remainder(period)
            index = torch.minimum(place, period - place)
        else:
            index = place.clamp(0, size - 1)
        x = x.index_select(axis, index)
        if mode in ("zeros", "half"):
            outside = (place != index) if axis == -1 else (place != index)[:, None]
            x = torch.where(outside, 0.0 if mode == "zeros" else 0.5, x)
    return x
