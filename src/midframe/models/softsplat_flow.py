"""The flow network of SoftSplat as published: PWC-Net's kind, small, from frames as they come.

Niklaus and Liu, "Softmax Splatting for Video Frame Interpolation", CVPR 2020, arXiv 2003.05534.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from midframe.models.blocks import leaky, resized_flow, wide
from midframe.models.flow_init import Init, start_seeing, wants_he
from midframe.models.softsplat_parts import other_half
from midframe.ops import backwarp, correlation

FLOW_FEATURES = (16, 32, 64, 96, 128, 192)
FLOW_DECODER = (128, 128, 96, 64, 32)
FLOW_NAMES = ("First", "Second", "Third", "Fourth", "Fifth", "Sixth")
VOLUME = 81


class FlowExtractor(nn.Module):
    """Feature pyramid of one frame: (N, 3, H, W) -> levels 1 (H/2) to 6 (H/64), rounded up."""

    def __init__(self) -> None:
        super().__init__()
        inside = 3
        for name, width in zip(FLOW_NAMES, FLOW_FEATURES):
            layers = (nn.Conv2d(inside, width, 3, 2, 1), nn.Conv2d(width, width, 3, 1, 1))
            self.add_module(f"net{name}", leaky(*layers))
            inside = width

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the six levels, finest first."""
        levels = []
        for name in FLOW_NAMES:
            x = getattr(self, f"net{name}")(x)
            levels.append(x)
        return levels


class FlowDecoder(nn.Module):
    """The flow of one level from its features and the flow of the level above."""

    def __init__(self, level: int) -> None:
        super().__init__()
        inside = FLOW_FEATURES[level - 1] + VOLUME + (2 if level < len(FLOW_FEATURES) else 0)
        layers = []
        for width in FLOW_DECODER:
            layers.append(nn.Conv2d(inside, width, 3, 1, 1))
            inside = width
        self.netMain = nn.Sequential(*leaky(*layers), nn.Conv2d(inside, 2, 3, 1, 1))

    def forward(self, first: Tensor, second: Tensor, flow: Tensor | None) -> Tensor:
        """Return the flow (N, 2, h, w) in pixels of this level."""
        parts = []
        if flow is not None:
            flow = resized_flow(flow, first.shape[-2:])
            second = backwarp(second, flow, "zeros")
            parts = [flow.to(first.dtype)]
        volume = correlation(first, second)
        return wide(self.netMain(torch.cat([first, volume, *parts], 1)))


class SmallFlow(nn.Module):
    """The published model's own flow network, of PWC-Net's kind."""

    def __init__(self, init: Init = "default") -> None:
        super().__init__()
        self.netExtractor = FlowExtractor()
        for level, name in enumerate(FLOW_NAMES, start=1):
            self.add_module(f"net{name}", FlowDecoder(level))
        if wants_he("SoftSplat's flow network", init):
            start_seeing(self, self.netExtractor, deviation=1.0)

    def forward(self, both: Tensor) -> Tensor:
        """Return the flows (2 B, 2, H, W) between normalised BGR frames (2 B, 3, H, W)."""
        flow = None
        levels = self.netExtractor(both)
        for name, features in zip(reversed(FLOW_NAMES), reversed(levels)):
            flow = getattr(self, f"net{name}")(features, other_half(features), flow)
        assert flow is not None  # there are levels
        return resized_flow(flow, both.shape[-2:])
