"""Frozen models that others learn from, behind one call each.

Flow estimators for pseudo labels, DIS on the CPU or a network; interpolation models for frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from midframe.errors import UserError
from midframe.models.estimators import DisFlow, NetworkFlow
from midframe.models.estimators import FlowEstimator as FlowTeacher
from midframe.models.inference import Precision, for_inference
from midframe.models.motion import guided
from midframe.models.of_run import model_of_run
from midframe.models.weights import weights_to_use
from midframe.models.zoo import build, check_config, config_of
from midframe.types import Inputs, Prediction

__all__ = ["DisFlow", "FlowTeacher", "FrameTeacher", "NetworkFlow", "teacher_config"]


class FrameTeacher:
    """A trained interpolation model, frozen, whose frames a student learns from.

    Not a module, so no trainer takes hold of its weights: it stays in eval mode, outside of
    devices' wrappers, checkpoints and weight averaging, and follows the frames to their device.

    Attributes:
        net: the model; it reads ``net.context`` frames on each side, or as many as there are where
            only its motion would be better for more.

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
        self.net = guided(for_inference(build(config), precision), config)
        self._device = torch.device("cpu")

    @torch.no_grad()
    def __call__(self, inputs: Inputs) -> Prediction:
        """Return the prediction at the same times, by as many frames as the model reads.

        Args:
            inputs: with at least that many frames, of any size, and all else that it needs.
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
    config["weights"] = weights_to_use(weights, config)
    return config
