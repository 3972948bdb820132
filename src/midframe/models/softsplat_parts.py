"""What the forms of SoftSplat have in common besides GridNet: importance, motion, synthesis."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from midframe.models.base import Interpolator
from midframe.models.blocks import both_flows, wide
from midframe.ops.warp import Grid, backwarp
from midframe.types import Inputs, Prediction


def brightness(frame: Tensor, other: Tensor, flow: Tensor, grid: Grid = "corners") -> Tensor:
    """How far a frame is from the other one, brought back by the flow: (N, C, H, W), at least 0.

    Args:
        frame: (N, C, H, W).
        other: the same shape.
        flow: (N, 2, H, W) from ``frame`` to ``other`` in pixels.
        grid: see `midframe.ops.backwarp`.
    """
    return (wide(frame) - wide(backwarp(other, flow, "zeros", grid=grid))).abs()


def other_half(x: Tensor) -> Tensor:
    """Swap the halves of the batch: with both frames in it, the other one of each."""
    return torch.cat(x.chunk(2)[::-1])


def toward(flow: Tensor, t: Tensor) -> Tensor:
    """Shorten flows (2 B, 2, h, w) from one frame to the other so that they end at times (B,)."""
    return flow * torch.cat((t, 1 - t)).reshape(-1, 1, 1, 1).to(flow.dtype)


def side_by_side(both: Tensor, lead: int = 0) -> Tensor:
    """Lay both frames' (2 N, C, h, w) side by side: (N, 2 C, h, w).

    The first ``lead`` channels of either come before the rest of either.
    """
    first, second = both.chunk(2)
    if not lead:
        return torch.cat((first, second), 1)
    heads, tails = (first[:, :lead], second[:, :lead]), (first[:, lead:], second[:, lead:])
    return torch.cat((*heads, *tails), 1)


class Motion(NamedTuple):
    """What moves both frames' features.

    Attributes:
        flow: (2 B, 2, H, W) from either frame to the other in pixels.
        metric: (2 B, 1, H, W), the importance of the pixels in the form's own measure.
        carrier: (2 B, 2, h, w), the flow as the features are splatted along it.
    """

    flow: Tensor
    metric: Tensor
    carrier: Tensor


class SoftSplatForm(Interpolator):
    """Base class of the forms: flow, features and importance once, then each time's synthesis.

    A form writes how frames are normalised and back (`_enter`, `_leave`), what is splatted
    (`_features`), along what (`_motion`), and what becomes of it (`_frame`).

    Attributes:
        moves: whether there is motion: without it there are neither flow network nor metric, and
            GridNet sees the features where they are.
    """

    provides: ClassVar[frozenset[str]] = frozenset({"flow"})
    casts: ClassVar[bool] = True
    moves: ClassVar[bool] = True

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        """Interpolate at every ``x.t``; flow, features and metric are computed once for all.

        The published codes of the reproductions know t = 0.5 only; other times shorten the flows
        accordingly.

        Args:
            x: two frames whose height and width are multiples of ``pad.multiple``.
            **hints: options of other models; ignored.

        Returns:
            Frame (clamped where the form says so) and flow 0->1 and 1->0, the same for every t.

        Raises:
            ValueError: for sizes that do not fit.
        """
        self.check_size(x)
        both, scale = self._enter(x)
        features = self._features(both)
        motion = self._motion(x, both, features) if self.moves else None
        # One time after the other: GridNet fills a processor with one frame, and seven at once take
        # seven times the memory and, on a CPU, longer.
        made = [wide(self._frame(features, motion, at)) for at in x.t.unbind(1)]
        frame = self._leave(torch.stack(made, 1), scale)
        if motion is None:
            return Prediction(frame)
        flow = both_flows(motion.flow, x.t.shape[1])
        return Prediction(frame, flow=flow, flow_kind="forward")

    def _enter(self, x: Inputs) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return both frames as the form's networks see them (2 B, 3, H, W), and the scale."""
        raise NotImplementedError(f"{type(self).__name__} does not define _enter")

    def _leave(self, frame: Tensor, scale: tuple[Tensor, ...]) -> Tensor:
        """Return frames (B, T, 3, H, W) as RGB in [0, 1] from what `_frame` gives."""
        raise NotImplementedError(f"{type(self).__name__} does not define _leave")

    def _features(self, both: Tensor) -> list[Tensor]:
        """Return what is splatted of both frames at the three scales, finest first."""
        raise NotImplementedError(f"{type(self).__name__} does not define _features")

    def _motion(self, x: Inputs, both: Tensor, features: list[Tensor]) -> Motion:
        """Return along what it is splatted, where there is motion."""
        raise NotImplementedError(f"{type(self).__name__} does not define _motion")

    def _frame(self, features: list[Tensor], motion: Motion | None, t: Tensor) -> Tensor:
        """Return the frame (B, 3, H, W) at times (B,), from features that stay without a motion."""
        raise NotImplementedError(f"{type(self).__name__} does not define _frame")


class Still:
    """Makes of a form, before which it is inherited, the baseline that knows only t = 0.5."""

    times: ClassVar[Literal["any", "half"]] = "half"
    provides: ClassVar[frozenset[str]] = frozenset()
    moves: ClassVar[bool] = False
