"""A tiny model with BatchNorm, for programs that tests start."""

from __future__ import annotations

import torch
from torch import nn

from midframe.models.base import Interpolator
from midframe.types import Inputs, Prediction


class Normed(Interpolator):
    """The average of the frames, and what a normalised layer adds."""

    def __init__(self) -> None:
        super().__init__()
        layers = (nn.Conv2d(6, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.Tanh())
        self.layers = nn.Sequential(*layers, nn.Conv2d(8, 3, 1))

    def forward(self, x: Inputs, **hints: object) -> Prediction:
        frame = x.frames.mean(1) + self.layers(torch.cat(x.pair, 1))
        return Prediction(frame[:, None].expand(-1, x.t.shape[1], -1, -1, -1))
