"""The contract of optical flow networks: they estimate flow and interpolate by splatting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from midframe.models.average import blend
from midframe.models.base import Interpolator, Pad
from midframe.models.blocks import both_flows, resized, wide
from midframe.ops import backwarp, splat
from midframe.types import Inputs, Prediction

TRUST = 20.0  # how fast a pixel's importance falls with its brightness error: exp(-20 error)


class FlowNetwork(Interpolator):
    """Base class of networks that estimate the flow between two frames.

    A subclass writes `flows`, which works in the network's own units; `estimate` is what everybody
    else calls. As an interpolator, it splats both frames along their flow: a baseline that needs
    nothing but the flow. While it is trained the frame is only the blend, since what it learns
    from is flow.

    Attributes:
        multiple: heights and widths that `flows` takes are multiples of this.
        unit: pixels of the input per unit of the flows.
        enlarged: how many times as large as need be `estimate` makes the frames.
        learns: "flow": from labels at the frames' own times, t = 0 and t = 1.
    """

    provides: ClassVar[frozenset[str]] = frozenset({"flow", "flows_coarse"})
    casts: ClassVar[bool] = True
    learns: ClassVar[Literal["frames", "flow"]] = "flow"
    key_names: ClassVar[Mapping[str, str]] = MappingProxyType({"module": "net"})
    multiple: ClassVar[int] = 64
    unit: ClassVar[float] = 20.0
    enlarged: ClassVar[int] = 1

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.pad = Pad(cls.multiple, "replicate", "after")

    def flows(self, first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
        """Estimate the flow from ``first`` to ``second`` at every level; differentiable.

        Args:
            first: (B, 3, H, W) RGB in [0, 1]; sizes are multiples of ``multiple``.
            second: the same.

        Returns:
            Flows (B, 2, h, w), finest first, in units of ``unit`` pixels of the *input*.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define flows")

    def both_ways(self, first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
        """Return `flows` (2 B, 2, h, w): first to second, then second to first."""
        return self.flows(torch.cat((first, second)), torch.cat((second, first)))

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        """Estimate the flow both ways, and in eval mode splat the frames to every ``x.t``.

        Args:
            x: two frames whose sizes are multiples of ``multiple``.
            **hints: options of other models; ignored.

        Returns:
            Frame, flow 0->1 and 1->0 (the same for every t), and the levels of the network as
            ``flows_coarse``, finest first; the flow is the finest of them, resized.
        """
        self.check_size(x)
        height, width = x.frames.shape[-2:]
        levels = [flow.to(x.frames.dtype) for flow in self.both_ways(*x.pair)]
        flow = resized(levels[0] * self.unit, (height, width))
        times = x.t.shape[1]
        return Prediction(
            frame=blend(x) if self.training else _splatted(x, *flow.chunk(2)),
            flow=both_flows(flow, times),
            flow_kind="forward",
            flows_coarse=tuple(
                both_flows(y * (self.unit * y.shape[-1] / width), times) for y in levels
            ),
        )

    def estimate(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the flow from ``first`` to ``second`` in pixels, for frames of any size.

        Frames are resized to what the network takes and the flow back, as published.

        Args:
            first: (B, 3, H, W) RGB in [0, 1].
            second: the same.

        Returns:
            (B, 2, H, W) in pixels, x then y: ``first[p]`` is found at ``second[p + flow[p]]``.
        """
        return self._estimated(self.flows, first, second)

    def estimate_both(self, first: Tensor, second: Tensor) -> Tensor:
        """Return what `estimate` gives from first to second, then back: (2 B, 2, H, W).

        Where `both_ways` does, features of each frame are computed once.
        """
        return self._estimated(self.both_ways, first, second)

    @staticmethod
    def check_pair(first: Tensor, second: Tensor) -> None:
        """Raise ValueError for what `estimate` does not take."""
        if first.shape != second.shape or first.ndim != 4 or first.shape[1] != 3:
            raise ValueError(
                f"estimate takes two frames (B, 3, H, W) of one size, got {tuple(first.shape)} "
                f"and {tuple(second.shape)}"
            )

    def _estimated(
        self,
        flows: Callable[[Tensor, Tensor], tuple[Tensor, ...]],
        first: Tensor,
        second: Tensor,
    ) -> Tensor:
        """Call `flows` or `both_ways` on resized frames; return the finest flow in pixels."""
        self.check_pair(first, second)
        height, width = first.shape[-2:]
        left, right, top, bottom = Pad(self.multiple).amounts(height, width)
        padded = (height + top + bottom, width + left + right)
        size = (self.enlarged * padded[0], self.enlarged * padded[1])
        frames = (self.resized(self.prepared(frame), size) for frame in (first, second))
        flow = flows(*frames)[0].to(wide(first).dtype) * self.unit
        flow = self.resized(flow, (height, width))
        return flow * flow.new_tensor([width / size[1], height / size[0]])[:, None, None]

    def prepared(self, frames: Tensor) -> Tensor:
        """Return what `estimate` resizes of frames (B, 3, H, W): the frames as they are."""
        return frames

    def resized(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize frames before, and flow after, as `estimate` does: corners not aligned."""
        return resized(x, size)


def _splatted(x: Inputs, forth: Tensor, back: Tensor) -> Tensor:
    """Splat both frames along the flow and mix what arrives; what neither reaches is blended."""
    batch, times = x.t.shape
    t = x.t.reshape(-1, 1, 1, 1).to(forth.dtype)
    arrived = []
    for here, there, flow, way, near in (
        (*x.pair, forth, t, 1 - t),
        (*reversed(x.pair), back, 1 - t, t),
    ):
        error = (here - backwarp(there, flow)).abs().mean(1, keepdim=True)
        marked = torch.cat((here, torch.ones_like(error)), 1)  # ones tell where anything arrives
        marked, flow, error = (y.repeat_interleave(times, 0) for y in (marked, flow, error))
        moved = splat(marked, flow * way, -TRUST * error, "soft", "zeroeps")
        reached = (moved[:, 3:] > 0.5).to(moved.dtype) * near.clamp(min=1e-3)
        arrived.append((moved[:, :3] * reached, reached))
    total, share = (one + other for one, other in zip(*arrived))
    empty = share == 0
    frame = torch.where(empty, blend(x).flatten(0, 1), total / torch.where(empty, 1.0, share))
    return frame.clamp(0, 1).unflatten(0, (batch, times))
