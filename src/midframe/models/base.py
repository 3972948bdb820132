"""The contract of every model: `Interpolator`, and how inputs of any size are padded."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midframe.errors import UserError, known_names
from midframe.models.widths import Width
from midframe.types import Inputs, Prediction

TRIAL = (128, 128)  # of models that take frames of any size

PadMode = Literal["zeros", "half", "replicate", "reflect"]
PadSide = Literal["after", "both"]


@dataclass(frozen=True)
class Pad:
    """How frames are brought to a size that a network takes.

    Published numbers depend on it, so it is data and can be replaced by a benchmark protocol.

    Attributes:
        multiple: height and width are padded to the next multiple of this.
        mode: "zeros", "half" (mid grey), "replicate" or "reflect", which leaves the border itself
            out; what is wider than the frame is reflected again and again, as `numpy.pad` does.
        side: "after" pads at the bottom and right, "both" splits it, the smaller half first.
        least: (height, width) that is reached in any case, such as a fixed canvas.
    """

    multiple: int = 1
    mode: PadMode = "replicate"
    side: PadSide = "both"
    least: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        if self.mode not in get_args(PadMode) or self.side not in get_args(PadSide):
            known = f"mode {', '.join(get_args(PadMode))}; side {', '.join(get_args(PadSide))}"
            raise ValueError(f"mode={self.mode}, side={self.side} is not known; there are {known}")
        if self.multiple < 1 or len(self.least) != 2:
            raise ValueError(
                f"multiple={self.multiple} is 1 or more, least={self.least} a height and a width"
            )

    def amounts(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return (left, right, top, bottom) in pixels for frames of this size."""

        def split(size: int, least: int) -> tuple[int, int]:
            extra = -(-max(size, least) // self.multiple) * self.multiple - size
            before = 0 if self.side == "after" else extra // 2
            return before, extra - before

        return (*split(width, self.least[1]), *split(height, self.least[0]))

    def apply(self, x: Tensor) -> Tensor:
        """Pad the last two axes of ``x`` (..., H, W)."""
        left, right, top, bottom = amounts = self.amounts(*x.shape[-2:])
        if not any(amounts):
            return x
        flat = x.reshape(-1, 1, *x.shape[-2:])
        if self.mode == "reflect" and not _fits(amounts, flat):
            for axis, (before, after) in ((-1, (left, right)), (-2, (top, bottom))):
                flat = flat.index_select(axis, _mirrored(flat.shape[axis], before, after, x.device))
        elif self.mode in ("zeros", "half"):
            flat = F.pad(flat, amounts, value=0.0 if self.mode == "zeros" else 0.5)
        else:
            flat = F.pad(flat, amounts, mode=self.mode)
        return flat.reshape(*x.shape[:-2], *flat.shape[-2:])

    def crop(self, x: Tensor, height: int, width: int) -> Tensor:
        """Undo `apply` on a tensor (..., H', W') for frames that were (height, width)."""
        left, _, top, _ = self.amounts(height, width)
        return x[..., top : top + height, left : left + width]


def _fits(amounts: tuple[int, int, int, int], x: Tensor) -> bool:
    """Whether one reflection gives as many pixels."""
    left, right, top, bottom = amounts
    return max(left, right) < x.shape[-1] and max(top, bottom) < x.shape[-2]


def _mirrored(size: int, before: int, after: int, device: torch.device) -> Tensor:
    """Return which of ``size`` pixels stand where, when a line is reflected at both of its ends."""
    period = max(2 * (size - 1), 1)
    place = torch.arange(-before, size + after, device=device).remainder(period)
    return torch.minimum(place, period - place)


def check_class(cls: type[Interpolator], where: str) -> None:
    """Hold what a class says of itself against what can be said.

    Raises:
        UserError: for the first attribute of another type or value, or that names a field which
            records do not have.
    """
    names = "a frozenset of names, such as frozenset({'flow'})"
    inputs, outputs = ({x.name for x in fields(record)} for record in (Inputs, Prediction))
    known = {
        "needs": sorted(inputs - {"frames", "t"}),
        "provides": sorted(outputs - {"frame", "flow_kind"}),
    }
    forms: dict[str, tuple[Callable[[Any], bool], str]] = {
        **dict.fromkeys(("needs", "provides", "idle", "unread"), (_is_names, names)),
        "pad": (lambda x: isinstance(x, Pad), "a Pad, such as Pad(multiple=16)"),
        "context": (lambda x: x in (1, 2), "1 (two frames) or 2 (four frames)"),
        "times": (lambda x: x in ("any", "half"), "'any' or 'half'"),
        "learns": (lambda x: x in ("frames", "flow"), "'frames' or 'flow'"),
    }
    for name, (fits, wanted) in forms.items():
        value = getattr(cls, name)
        if not fits(value):
            raise UserError(f"{where}: {cls.__name__}.{name} = {value!r} must be {wanted}")
        strange = sorted(set(value) - set(known[name])) if name in known else []
        if strange:
            what = f"{where}: {cls.__name__}.{name} has {', '.join(strange)}"
            raise UserError(f"{what}; {known_names(strange, known[name])}")


def _is_names(value: Any) -> bool:
    return isinstance(value, (set, frozenset)) and all(isinstance(x, str) for x in value)


class Interpolator(nn.Module):
    """Base class of all interpolation models.

    A subclass writes `forward`; everything that a caller needs to know about it beforehand is a
    class attribute that no instance changes, so that a run can be checked before it starts. What
    options would narrow is a class of its own.

    Attributes:
        needs: fields of `Inputs` beyond frames and t that it reads ("events", "motion").
        provides: fields of `Prediction` beyond frame that it fills.
        context: frames on each side of the gap: 1 takes two frames, 2 takes four.
        times: "any" target time, or "half": only t = 0.5.
        pad: how `interpolate` pads; ``pad.multiple`` is what `forward` asks of sizes.
        trainable: whether there is anything to learn.
        learns: "frames", from true frames between its inputs; "flow", a flow network, from labels
            at the frames' own times.
        casts: whether `forward` takes float32 frames whatever the weights' dtype, and keeps what
            needs it (frames, flows, warps) in float32: see `for_inference`.
        key_names: what the dotted parts of published checkpoints' keys begin with, and what they
            begin with here.
        other_names: the same of checkpoints by other code than the first.
        state_names: under which names published checkpoints hold state dicts, each with what its
            keys begin with here: {"Generator": "generator."}.
        unread: keys of published checkpoints that belong to nothing here, and are left out.
        idle: names of parameters without effect, such as those that published weights hold though
            nothing reads them; all others get a gradient.
        recorded_from: pixels of a side from which on a file for any size (`midframe export`) is
            recorded, though it takes smaller ones: where PyTorch cannot record what holds for all.
        trial_size: (height, width) of frames on which it can be tried out, few pixels.
        fixed_hints: hints that the model's yaml gives to every call of `interpolate`.
    """

    needs: ClassVar[frozenset[str]] = frozenset()
    provides: ClassVar[frozenset[str]] = frozenset()
    trainable: ClassVar[bool] = True
    learns: ClassVar[Literal["frames", "flow"]] = "frames"
    casts: ClassVar[bool] = False
    key_names: ClassVar[Mapping[str, str]] = MappingProxyType({})
    other_names: ClassVar[Mapping[str, str]] = MappingProxyType({})
    state_names: ClassVar[Mapping[str, str]] = MappingProxyType({})
    unread: ClassVar[frozenset[str]] = frozenset()
    idle: ClassVar[frozenset[str]] = frozenset()
    context: ClassVar[int] = 1
    times: ClassVar[Literal["any", "half"]] = "any"
    pad: ClassVar[Pad] = Pad()
    recorded_from: ClassVar[int] = 1
    trial_size: ClassVar[tuple[int, int]] = TRIAL
    fixed_hints: Mapping[str, Any] = MappingProxyType({})

    @property
    def least_context(self) -> int:
        """Frames on each side that will do; `context` of all but a few models."""
        return self.context

    @property
    def alone(self) -> bool:
        """Whether a prediction depends on what else is in the batch: one sample at a time then."""
        return any(one.alone for one in self.children() if isinstance(one, Interpolator))

    @property
    def title(self) -> str:
        """What messages call the model; that of the one inside, where one wraps another."""
        return type(self).__name__

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, in which layers take their input; PyTorch's default where none are."""
        weight = next(self.parameters(), None)
        return torch.get_default_dtype() if weight is None else weight.dtype

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        """Predict the frames at ``x.t``; differentiable.

        Args:
            x: frames whose sizes are multiples of ``padding(**hints).multiple``.
            **hints: options of one call, under the names of the papers.

        Raises:
            ValueError: for other sizes: see `check_size`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def target_features(self, x: Inputs, target: Tensor) -> tuple[Tensor, ...]:
        """Return features of the true frames to hold against ``Prediction.features``.

        Only of models that provide "features". ``target`` is (B, T, 3, H, W).
        """
        raise TypeError(f"{type(self).__name__} provides no features; drop the feature loss term")

    def hints(self, height: int, width: int, benchmark: str | None = None) -> dict[str, Any]:
        """Return the options that the authors use.

        Args:
            height: of the frames.
            width: of the frames.
            benchmark: the family of the data that is measured, such as "snufilm" or
                "snufilm_hard", where papers choose by data set; None anywhere else.
        """
        return {}

    def hints_for(
        self, height: int, width: int, benchmark: str | None = None, **hints: Any
    ) -> dict[str, Any]:
        """Return all options of a call of `interpolate` with these arguments.

        What is written wins over what is chosen: ``hints`` over `fixed_hints`, and these over
        those of `hints`, option by option.
        """
        return {**self.hints(height, width, benchmark), **self.fixed_hints, **hints}

    def reduced_hints(self, height: int, width: int) -> dict[str, Any]:
        """Return hints of a call that takes less memory, with motion estimated at half the size.

        Empty where a model has none: large frames are then worked on block by block.

        Args:
            height: of the frames.
            width: of the frames.
        """
        return {}

    def widths(self) -> tuple[Width, ...]:
        """Return which options set which weights' channels, so that `compress` may narrow them.

        Every option that it names must be one of `__init__`'s, and an option in a list or mapping
        is named by its place ("widths.pyramid.2"). A model without any cannot be compressed.
        """
        return ()

    def padding(self, **hints: Any) -> Pad:
        """Return the padding for a call with these hints."""
        return self.pad

    def check_size(self, x: Inputs, **hints: Any) -> None:
        """Raise ValueError for frames whose sizes `forward` cannot take with these hints."""
        multiple = self.padding(**hints).multiple
        height, width = x.frames.shape[-2:]
        if height % multiple or width % multiple:
            given = ", ".join(f"{name}={value}" for name, value in hints.items())
            raise ValueError(
                f"{type(self).__name__}{given and f' with {given}'} takes heights and widths that "
                f"are multiples of {multiple}, not {height}x{width}; `interpolate` pads to them"
            )

    def check_given(self, x: Inputs) -> None:
        """Raise `UserError` for inputs without a field that the model needs."""
        lacking = [name for name in sorted(self.needs) if getattr(x, name, None) is None]
        if lacking:
            motion = "; midframe.models.motion.guided makes motion" * ("motion" in lacking)
            raise UserError(
                f"{type(self).__name__} needs {', '.join(lacking)} beside the frames, and these "
                f"inputs have none{motion}"
            )

    def pad_for(self, pad: Pad | None = None, **hints: Any) -> Pad:
        """Return the padding of a call of `interpolate` with these arguments.

        A ``pad`` replaces the model's own, but for the sizes that `forward` needs: the multiple is
        the least that both have.
        """
        own = self.padding(**hints)
        return own if pad is None else replace(pad, multiple=math.lcm(pad.multiple, own.multiple))

    @torch.no_grad()
    def interpolate(
        self, x: Inputs, *, pad: Pad | None = None, benchmark: str | None = None, **hints: Any
    ) -> Prediction:
        """Predict frames of any size: pad, forward, crop, clamp; in eval mode, no gradient.

        Args:
            x: frames (B, 2c, 3, H, W) of any size.
            pad: replaces the model's own padding, as benchmark protocols do: see `pad_for`.
            benchmark: the family of the data that is measured: see `hints`.
            **hints: see `forward`; `hints_for` says what stands in for those that are missing.

        Returns:
            A prediction at the input's size. Coarse levels and features stay on the padded grid.
        """
        height, width = x.frames.shape[-2:]
        hints = self.hints_for(height, width, benchmark, **hints)
        pad = self.pad_for(pad, **hints)
        was_training = self.training
        self.eval()
        try:
            # mid grey is of frames: beyond their border there are neither events nor motion
            beside = replace(pad, mode="zeros") if pad.mode == "half" else pad
            given = {name: getattr(x, name) for name in ("events", "motion", "events_ends")}
            more = {name: y if y is None else beside.apply(y) for name, y in given.items()}
            out = self(Inputs(pad.apply(x.frames), x.t, **more), **hints)
        finally:
            self.train(was_training)

        def cut(value: Tensor | None) -> Tensor | None:
            return None if value is None else pad.crop(value, height, width)

        out.frame = pad.crop(out.frame, height, width).clamp(0, 1)
        out.flow, out.mask, out.residual = cut(out.flow), cut(out.mask), cut(out.residual)
        return out
