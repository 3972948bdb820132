"""Frozen models that others learn from, behind one call each.

Flow estimators for pseudo labels, DIS on the CPU or a network; interpolation models for frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from midframe.errors import UserError
from midframe.models.dis import create_dis, estimate, grey
from midframe.models.inference import Precision, for_inference
from midframe.models.of_run import model_of_run
from midframe.models.weights import chosen_weights, find_weights, sha256_of
from midframe.models.zoo import build, check_config, config_of, create_flow, describe
from midframe.types import Inputs, Prediction


class FlowTeacher:
    """Estimates the flow between frames; not a module, so no trainer takes hold of its weights.

    Attributes:
        chunk: pairs of frames that are computed at once.
        settings: what labels follow from, to tell those of two teachers apart.
    """

    chunk: int = 16
    settings: Mapping[str, Any]

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the flow from ``first`` to ``second``, without gradient.

        Args:
            first: (N, 3, H, W) RGB in [0, 1], any size.
            second: the same, on the same device.

        Returns:
            (N, 2, H, W) float32 in pixels, x then y, on the frames' device.
        """
        raise NotImplementedError(f"{type(self).__name__} does not estimate flow")


class DisFlow(FlowTeacher):
    """OpenCV's DIS flow on the CPU: about a millisecond for 128x128 pixels, needs no weights.

    Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016.

    Args:
        preset: "ultrafast", "fast" or "medium".

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


class NetworkFlow(FlowTeacher):
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
                f"teacher={name} has no weights, and labels of an untrained network teach nothing; "
                f"give teacher.weights=FILE" + (f" (official ones: {official})" if official else "")
            )
        if not isinstance(chunk, int) or chunk < 1:
            raise UserError(f"teacher.chunk={chunk} must be a whole number from 1 on")
        self.chunk = chunk
        self.net = create_flow(name, path, **(options or {})).requires_grad_(False)
        self.settings = {"name": name, "weights_sha256": sha256_of(path), **(options or {})}
        self._device = torch.device("cpu")

    @torch.no_grad()
    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the flow, ``chunk`` pairs at a time."""
        if first.device != self._device:
            self.net.to(first.device)
            self._device = first.device
        try:
            # labels in full precision, whatever the student trains in
            with torch.autocast(first.device.type, enabled=False):
                parts = zip(first.float().split(self.chunk), second.float().split(self.chunk))
                return torch.cat([self.net.estimate(a, b).float() for a, b in parts])
        except torch.OutOfMemoryError as error:
            height, width = first.shape[-2:]
            raise UserError(
                f"teacher={self.settings['name']}: out of memory with {self.chunk} pairs of "
                f"{width}x{height} at once; set teacher.chunk={max(self.chunk // 2, 1)}"
            ) from error


class FrameTeacher:
    """A trained interpolation model, frozen, whose frames a student learns from.

    Not a module, so no trainer takes hold of its weights: it stays in eval mode, outside of
    devices' wrappers, checkpoints and weight averaging, and follows the frames to their device.

    Attributes:
        net: the model; it reads ``net.context`` frames on each side.

    Args:
        name: as `create_model` takes it; None where ``weights`` are those of a run.
        weights: a checkpoint's path or a run directory, which knows its network.
        options: of the network, in place of those of its file or run.
        precision: "fp32" or "bf16", see `midframe.models.inference.for_inference`.

    Raises:
        UserError: without weights (of a model that learns), or for weights that do not fit.
    """

    def __init__(
        self,
        name: str | None = None,
        weights: str | None = None,
        options: Mapping[str, Any] | None = None,
        precision: Precision = "fp32",
    ) -> None:
        config = teacher_config(name, weights, options)
        if config["weights"] is None and check_config(config).trainable:
            official = (config.get("info") or {}).get("official_weights")
            raise UserError(
                f"teacher={config['name']} has no weights, and frames of an untrained network "
                "teach nothing; give teacher.weights=RUN or FILE"
                + (f" (official ones: {official})" if official else "")
            )
        self.net = for_inference(build(config), precision)
        self._device = torch.device("cpu")

    @torch.no_grad()
    def __call__(self, inputs: Inputs) -> Prediction:
        """Return the prediction at the same times, by as many frames as the model reads.

        Args:
            inputs: with at least that many frames, of any size.
        """
        device = inputs.frames.device
        if device != self._device:
            self.net.to(device)
            self._device = device
        # in its own precision, whatever the student trains in
        with torch.autocast(device.type, enabled=False):
            return self.net.interpolate(inputs.around(self.net.context))


def teacher_config(
    name: str | None, weights: str | None, options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the config of a `FrameTeacher`, as `midframe.models.zoo.build` takes it.

    A run directory wins over conf/model, since its network may have other options.

    Raises:
        UserError: without any name, or if the weights are those of a run of another model.
    """
    run = model_of_run(weights)
    if run is not None and name not in (None, run["name"]):
        raise UserError(
            f"teacher.weights={weights} are those of a run of {run['name']}, not of {name}; use "
            f"teacher=model teacher.weights={weights}"
        )
    if run is None and name is None:
        raise UserError(
            "teacher=model needs teacher.name=NAME, one of conf/model (or teacher=NAME at once), "
            "or teacher.weights=RUN, a run directory"
        )
    config = dict(run or config_of(str(name)))
    config["net"] = {**config["net"], **(options or {})}
    config["weights"] = chosen_weights(weights, config)
    return config
