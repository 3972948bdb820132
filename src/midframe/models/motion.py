"""Where the forward flow to a target time comes from, for models that need it.

A training sample's flow is estimated with the target frame as an input, so that the network learns
what to make of well moved frames. Elsewhere there is no target, and flow between the frames is
carried to the time: at constant acceleration where four frames are known (Xu et al., "Quadratic
Video Interpolation", NeurIPS 2019), evenly where only two are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from midframe.errors import UserError
from midframe.models.base import Interpolator, Pad
from midframe.models.dis_flow import FINE
from midframe.models.estimators import DisFlow, FlowEstimator, NetworkFlow
from midframe.models.wrapper import Wrapper
from midframe.nodes import check_options, find_class
from midframe.types import Inputs, Prediction

FIELD = "motion"
CLASSICAL = "dis"  # the network that is none


class Motion:
    """Makes the motion of `Inputs`; not a module, so its weights are no part of any model.

    Its network follows the frames to their device and computes in float32.

    Args:
        network: "dis" for OpenCV's flow on the CPU, which needs no weights, or a flow network of
            conf/model, such as "pwcnet_event".
        weights: of the network, a checkpoint's path or a run directory.
        preset: of "dis": "ultrafast", "fast", "medium" or "fine".
        chunk: pairs of frames that a network computes at once, which bounds the memory.
        options: of the network, in place of those of its file.

    Raises:
        UserError: for a network without weights, or weights that do not fit.
    """

    def __init__(
        self,
        network: str = CLASSICAL,
        weights: str | None = None,
        preset: str = FINE,
        chunk: int = 16,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if network == CLASSICAL:
            if weights is not None or options:
                raise UserError(
                    f"model.motion.network={network} takes neither weights nor options; give a "
                    "flow network for them, such as model.motion.network=pwcnet_event"
                )
            self.estimator: FlowEstimator = DisFlow(preset)
        else:
            self.estimator = _OfMotion(network, weights, chunk, options)

    def __deepcopy__(self, memo: dict[int, Any]) -> Motion:
        return self  # frozen, and shared like a teacher

    @property
    def settings(self) -> dict[str, Any]:
        """What its flow follows from, as plain data for the record."""
        return dict(self.estimator.settings)

    @torch.no_grad()
    def to_target(self, pair: tuple[Tensor, Tensor], target: Tensor) -> Tensor:
        """Return the flow from two frames to the true frames between them.

        Args:
            pair: (B, 3, H, W) RGB in [0, 1] at times 0 and 1.
            target: (B, T, 3, H, W).

        Returns:
            (B, T, 2, 2, H, W) 0->t and 1->t in pixels.
        """
        times = target.shape[1]
        ends = torch.stack(pair, 1)[:, None].expand(-1, times, -1, -1, -1, -1)
        ways = target[:, :, None].expand_as(ends)
        flow = self.estimator(ends.flatten(0, 2), ways.flatten(0, 2))
        return flow.unflatten(0, ends.shape[:3])

    @torch.no_grad()
    def quadratic(self, frames: Tensor, t: Tensor) -> Tensor:
        """Return the flow to times ``t`` at constant acceleration, see `quadratic_motion`.

        Where an outer frame is its neighbour to the bit, as at the ends of a video, nothing is
        known of the acceleration on that side, and there is none.

        Args:
            frames: (B, 4, 3, H, W) RGB in [0, 1] at times -1, 0, 1 and 2.
            t: (B, T).

        Returns:
            (B, T, 2, 2, H, W) 0->t and 1->t in pixels.
        """
        first = frames[:, [1, 1, 2, 2]].transpose(0, 1)
        second = frames[:, [0, 2, 3, 1]].transpose(0, 1)
        flow = self.estimator(first.flatten(0, 1), second.flatten(0, 1))
        before, forth, after, back = flow.chunk(4)
        left, right = (
            (frames[:, a] == frames[:, b]).flatten(1).all(1)[:, None, None, None]
            for a, b in ((0, 1), (2, 3))
        )
        before, after = torch.where(left, -forth, before), torch.where(right, -back, after)
        return quadratic_motion(before, forth, after, back, t)

    @torch.no_grad()
    def linear(self, frames: Tensor, t: Tensor) -> Tensor:
        """Return the flow to times ``t`` at constant speed: t F01 and (1 - t) F10.

        Args:
            frames: (B, 2, 3, H, W) RGB in [0, 1] at times 0 and 1.
            t: (B, T).

        Returns:
            (B, T, 2, 2, H, W) 0->t and 1->t in pixels.
        """
        first, second = frames.unbind(1)
        flow = self.estimator(torch.cat((first, second)), torch.cat((second, first)))
        forth, back = flow.chunk(2)
        return quadratic_motion(-forth, forth, -back, back, t)

    def between(self, x: Inputs) -> Tensor:
        """Return the flow (B, T, 2, 2, H, W) to ``x.t``: `quadratic` of four frames, or `linear`.

        Of more than four frames the middle ones count.
        """
        frames = x.around(2).frames
        return self.quadratic(frames, x.t) if frames.shape[1] == 4 else self.linear(frames, x.t)


class _OfMotion(NetworkFlow):
    option = "model.motion"
    purpose = "frames that an untrained network moves go anywhere"


def quadratic_motion(
    before: Tensor, forth: Tensor, after: Tensor, back: Tensor, t: Tensor
) -> Tensor:
    """Return the flow to times ``t`` of what moves at constant acceleration.

    0->t is a t^2 + b t with a = (F01 + F0-1) / 2 and b = (F01 - F0-1) / 2; 1->t is the same from
    the other side, in 1 - t.

    Args:
        before: (B, 2, H, W) flow 0->-1 in pixels.
        forth: flow 0->1.
        after: flow 1->2.
        back: flow 1->0.
        t: (B, T) times in [0, 1].

    Returns:
        (B, T, 2, 2, H, W) 0->t and 1->t in pixels.

    Source: Xu et al., "Quadratic Video Interpolation", NeurIPS 2019, eq. 3-4.
    """
    t = t[:, :, None, None, None].to(forth.dtype)

    def carried(way: Tensor, other: Tensor, time: Tensor) -> Tensor:
        bend, speed = (way + other)[:, None] / 2, (way - other)[:, None] / 2
        return bend * time**2 + speed * time

    return torch.stack((carried(forth, before, t), carried(back, after, 1 - t)), 2)


class Guided(Wrapper):
    """A model that needs motion, with what makes it: takes frames alone, or with events.

    Reads four frames, for motion at constant acceleration; two will do. Motion is made from frames
    of the given size, before any padding; inputs that have motion keep it.

    Args:
        model: shared, not copied.
        motion: what makes the flow.
    """

    context = 2

    def __init__(self, model: Interpolator, motion: Motion) -> None:
        super().__init__(model, own=("context",))
        self.motion = motion
        self.needs = model.needs - {FIELD}  # type: ignore[misc]

    @property
    def alone(self) -> bool:
        """Whether the model or what makes the motion looks at the whole batch."""
        return super().alone or self.motion.estimator.alone

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        """Make the motion and call the model."""
        return super().forward(self._guided(x), **hints)

    @torch.no_grad()
    def interpolate(
        self, x: Inputs, *, pad: Pad | None = None, benchmark: str | None = None, **hints: Any
    ) -> Prediction:
        """Make the motion and predict frames of any size, see `Interpolator.interpolate`."""
        x = self._guided(x)
        return self.model.interpolate(x, pad=pad, benchmark=benchmark, **hints)

    def _guided(self, x: Inputs) -> Inputs:
        made = self.motion.between(x) if x.motion is None else x.motion
        return replace(x, motion=made).around(self.model.context)


def motion_of(config: Mapping[str, Any]) -> Motion:
    """Build what a model's config names in ``motion``, `Motion` with its defaults where nothing.

    Args:
        config: content of conf/model.

    Raises:
        UserError: for an unknown class or option, or a network without weights.
    """
    check_motion(config)
    node = dict(config.get(FIELD) or {})
    cls = node.pop("_target_", None)
    found: type[Motion] = Motion if cls is None else find_class(cls, _where(config), Motion)
    return found(**node)


def check_motion(config: Mapping[str, Any]) -> None:
    """Raise `UserError` for what is wrong with ``motion`` of a model's config, without building."""
    node = config.get(FIELD) or {}
    where = _where(config)
    if not isinstance(node, Mapping):
        raise UserError(f"{where}={node} must hold options, such as {FIELD}.network=dis")
    cls = find_class(node["_target_"], where, Motion) if "_target_" in node else Motion
    check_options(cls, [str(key) for key in node if key != "_target_"], where)


def guided(model: Interpolator, config: Mapping[str, Any] | None = None) -> Interpolator:
    """Let a model that needs motion make it itself; any other is returned as it is.

    The one place where models are wrapped: all that predicts by a model's config comes here.

    Args:
        model: as `midframe.create_model` or `midframe.models.zoo.build` gives it.
        config: its config, whose ``motion`` says what makes the flow: see `motion_of`.

    Raises:
        UserError: as `motion_of`.
    """
    if FIELD not in model.needs:
        return model
    return Guided(model, motion_of(config or {})).eval()


def _where(config: Mapping[str, Any]) -> str:
    return f"model {config.get('name', 'model')}: {FIELD}"
