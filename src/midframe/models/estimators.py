"""Optical flow of frames by whoever makes it: DIS on the CPU, or a trained network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from midframe.errors import UserError
from midframe.files import sha256_of
from midframe.models.dis_flow import create_dis, estimate, grey
from midframe.models.weights import find_weights
from midframe.models.zoo import create_flow, describe


class FlowEstimator:
    """Estimates the flow between frames; not a module, so no trainer takes hold of its weights.

    Attributes:
        chunk: pairs of frames that are computed at once.
        settings: what flow follows from, to tell that of two estimators apart.
        option: the config node that made it, for messages.
        purpose: what flow of an untrained network is no good for, for messages.
    """

    chunk: int = 16
    settings: Mapping[str, Any]
    option: ClassVar[str] = "teacher"
    purpose: ClassVar[str] = "labels of an untrained network teach nothing"

    @property
    def alone(self) -> bool:
        """Whether flow depends on what else is estimated at once, see `Interpolator.alone`."""
        return False

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the flow from ``first`` to ``second``, without gradient.

        Args:
            first: (N, 3, H, W) RGB in [0, 1], any size.
            second: the same, on the same device.

        Returns:
            (N, 2, H, W) float32 in pixels, x then y, on the frames' device.
        """
        raise NotImplementedError(f"{type(self).__name__} does not estimate flow")


class DisFlow(FlowEstimator):
    """OpenCV's DIS flow on the CPU: about a millisecond for 128x128 pixels, needs no weights.

    Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016.

    Args:
        preset: "ultrafast", "fast", "medium" or "fine".

    Raises:
        UserError: for another preset.
    """

    def __init__(self, preset: str = "medium") -> None:
        self.estimator = create_dis(preset)
        self.settings = {"name": "dis", "preset": preset}

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the flow, one pair after the other."""
        pairs = zip(grey(first), grey(second))
        flow = np.stack([estimate(self.estimator, a, b) for a, b in pairs])
        moved = torch.from_numpy(np.ascontiguousarray(flow.transpose(0, 3, 1, 2)))
        return moved.to(first.device)


class NetworkFlow(FlowEstimator):
    """A trained flow network in float32, which follows the frames to their device.

    Args:
        name: as `create_flow` takes it.
        weights: a checkpoint's path or a run directory.
        chunk: pairs that are computed at once, which bounds the memory.
        options: of the network, as `create_flow` takes them.

    Raises:
        UserError: without weights, or for weights that do not fit.
    """

    def __init__(
        self,
        name: str,
        weights: str | None = None,
        chunk: int = 16,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        path = find_weights(weights)
        if path is None:
            official = describe(name).get("official_weights")
            raise UserError(
                f"{self.option}={name} has no weights, and {self.purpose}; "
                f"give {self.option}.weights=FILE"
                + (f" (official ones: {official})" if official else "")
            )
        if not isinstance(chunk, int) or chunk < 1:
            raise UserError(f"{self.option}.chunk={chunk} must be a whole number from 1 on")
        self.chunk = chunk
        self.net = create_flow(name, path, **(options or {})).requires_grad_(False)
        self.settings = {"name": name, "weights_sha256": sha256_of(path), **(options or {})}
        self._device = torch.device("cpu")

    @property
    def alone(self) -> bool:
        """That of the network."""
        return self.net.alone

    @torch.no_grad()
    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the flow, ``chunk`` pairs at a time."""
        if first.device != self._device:
            self.net.to(first.device)
            self._device = first.device
        try:
            # in full precision, whatever it is made for runs in
            with torch.autocast(first.device.type, enabled=False):
                parts = zip(first.float().split(self.chunk), second.float().split(self.chunk))
                return torch.cat([self.net.estimate(a, b).float() for a, b in parts])
        except torch.OutOfMemoryError as error:
            height, width = first.shape[-2:]
            raise UserError(
                f"{self.option}={self.settings['name']}: out of memory with {self.chunk} pairs of "
                f"{width}x{height} at once; set {self.option}.chunk={max(self.chunk // 2, 1)}"
            ) from error
