"""A model as a protocol calls it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

import torch

from midframe.benchmark.batches import Size
from midframe.benchmark.protocol import Protocol
from midframe.errors import UserError
from midframe.models.base import Interpolator, Pad
from midframe.types import Inputs, Prediction

Predict = Callable[[Inputs], Prediction]


class Predictor:
    """Calls a model as a protocol asks, with its padding and hints, and waits for the device.

    What somebody wrote wins over what was chosen for him, option by option: first comes the
    model's own choice for the protocol's family and the frames' size, then the protocol's hints,
    then those that the user wrote for the model (``model.hints``, its `fixed_hints`).

    Args:
        model: any `Interpolator`, on its device; see `midframe.models.inference` for bfloat16.
        protocol: gives padding, hints, and the times that the model must know.

    Raises:
        UserError: if the model cannot take part in this benchmark.
    """

    def __init__(self, model: Interpolator, protocol: Protocol) -> None:
        name = model.title
        if model.least_context > protocol.context:
            raise UserError(
                f"{name} reads {2 * model.least_context} frames, benchmark {protocol.name} gives "
                f"{2 * protocol.context}; choose another benchmark"
            )
        if model.times == "half" and any(t != 0.5 for t in protocol.times):
            raise UserError(
                f"{name} knows only t = 0.5, benchmark {protocol.name} asks for other times"
            )
        lacking = sorted(model.needs - protocol.gives) if model.needs else []
        if lacking:
            wrap = "; midframe.models.motion.guided makes motion" * ("motion" in lacking)
            raise UserError(
                f"{name} needs {', '.join(lacking)}, benchmark {protocol.name} has none{wrap}"
            )
        self.model, self.protocol = model, protocol
        self.written = {**protocol.hints, **model.fixed_hints}
        self.alone = model.alone
        self.device = next((p.device for p in model.parameters()), torch.device("cpu"))

    def __call__(self, x: Inputs) -> Prediction:
        """Predict, and wait until the device is done."""
        inputs = x.around(self.model.context)
        pad, family = self.protocol.pad, self.protocol.family
        out = self.model.interpolate(inputs, pad=pad, benchmark=family, **self.written)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return out

    def call(self, height: int, width: int) -> tuple[dict[str, Any], Pad]:
        """Return the hints and the padding of calls with frames of this size."""
        hints = self.model.hints_for(height, width, self.protocol.family, **self.written)
        return hints, self.model.pad_for(self.protocol.pad, **hints)

    def calls(self, sizes: Mapping[Size, int]) -> list[dict[str, Any]]:
        """Return how images were predicted, as plain data for the record.

        Args:
            sizes: how many images there are of each size, as `Outcome.sizes` tells.

        Returns:
            For each set of hints and padding: hints, pad, images, and their sizes as "640x480".
        """
        found: dict[str, dict[str, Any]] = {}
        for (height, width), count in sorted(sizes.items()):
            hints, pad = self.call(height, width)
            said = {"hints": hints, "pad": dataclasses.asdict(pad)}
            key = json.dumps(said, sort_keys=True, default=str)
            entry = found.setdefault(key, {**said, "images": 0, "sizes": []})
            entry["images"] += count
            entry["sizes"].append(f"{width}x{height}")
        return list(found.values())
