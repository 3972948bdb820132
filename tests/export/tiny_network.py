"""A network of a few weights that uses what exports are about: time, flow, padding, operators."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from midframe.export.make import Wanted
from midframe.models.base import Interpolator, Pad
from midframe.ops import adacof, backwarp, correlation, splat
from midframe.types import Inputs, Prediction


class Tiny(Interpolator):
    """Splats, warps and correlates two frames that are padded to multiples of 4."""

    pad = Pad(4, "half", "both")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.motion = nn.Conv2d(6 + 9, 4, 3, 2, 1)
        self.rest = nn.ConvTranspose2d(4, 3, 4, 2, 1)

    def forward(self, x: Inputs, shift: float = 0.0, **hints: Any) -> Prediction:
        """Interpolate at every time; ``shift`` is added to the flow."""
        self.check_size(x)
        frames = [self._at(x, t) for t in x.t.unbind(1)]
        return Prediction(torch.stack(frames, 1) + shift)

    def _at(self, x: Inputs, t: Tensor) -> Tensor:
        first, second = x.pair
        said = self.motion(torch.cat((first, second, correlation(first, second, 1)), 1))
        flow = 4 * nn.functional.interpolate(said, scale_factor=2.0, mode="bilinear")
        at = t.reshape(-1, 1, 1, 1)
        metric = first.mean(1, keepdim=True)
        forth = splat(first, flow[:, :2] * at, metric, "soft", "zeroeps")
        back = backwarp(second, flow[:, 2:] * (1 - at))
        return forth * (1 - at) + back * at + 0.1 * self.rest(said)


class TinyFour(Interpolator):
    """Four frames, the middle only, AdaCoF."""

    context: ClassVar[int] = 2
    times = "half"
    pad = Pad(8, "reflect", "after")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.taps = nn.Conv2d(12, 12, 3, 1, 1)

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        """Interpolate in the middle."""
        self.check_size(x)
        said = self.taps(x.frames.flatten(1, 2))
        weight, alpha, beta = said.split(4, 1)
        image = nn.functional.pad(x.pair[0], (0, 1, 0, 1), mode="replicate")
        frame = adacof(image, weight.softmax(1), 3 * alpha, 3 * beta)
        return Prediction(frame[:, None])


class Plain(Interpolator):
    """The frames' mean and a layer: for what does not depend on the network."""

    pad = Pad(4, "half", "both")

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.rest = nn.Conv2d(6, 3, 1)

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        """Interpolate at every time."""
        self.check_size(x)
        first, second = x.pair
        rest = 0.1 * self.rest(torch.cat(x.pair, 1))
        times = [t.reshape(-1, 1, 1, 1) for t in x.t.unbind(1)]
        return Prediction(torch.stack([first * (1 - t) + second * t + rest for t in times], 1))


MODELS = {"tiny": Tiny, "tiny_four": TinyFour, "plain": Plain}


def wanted(name: str, format: str, size: tuple[int, int] | None = None, **more: Any) -> Wanted:
    """What `make` is asked for in tests."""
    return Wanted(MODELS[name]().eval(), name, format, size, {}, **more)
