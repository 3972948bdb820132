"""PWC-Net: optical flow by pyramid, warping and cost volume.

Sun et al., "PWC-Net: CNNs for Optical Flow Using Pyramid, Warping, and Cost Volume", CVPR 2018,
arXiv 1709.02371; the form with dense decoders and a context network. Parameter names are those of
the public PyTorch checkpoints; weights by the names of the authors' code load as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midframe.models.blocks import bgr, conv, leaky, wide
from midframe.models.flow import FlowNetwork
from midframe.models.flow_init import Init, start_seeing, wants_he
from midframe.ops import backwarp, correlation

FEATURES = (16, 32, 64, 96, 128, 196)
DENSE = (128, 128, 96, 64, 32)
CONTEXT = (128, 128, 128, 96, 64, 32)
DILATION = (1, 2, 4, 8, 16, 1)
VOLUME = 81
VISIBLE = 0.999
NAMES = ("One", "Two", "Thr", "Fou", "Fiv", "Six")

Grid = Literal["corners", "centers", "mixed"]


def _authors_names() -> Iterator[tuple[str, str]]:
    """Yield what keys of the authors' checkpoints begin with, and what they begin with here."""
    for level, name in enumerate(NAMES, start=1):
        for place, end in enumerate(("aa", "a", "b") if level == 6 else ("a", "aa", "b")):
            yield f"conv{level}{end}.0", f"netExtractor.net{name}.{2 * place}"
    for level, name in enumerate(NAMES[1:], start=2):
        for place, dense in enumerate(NAMES[:5]):
            yield f"conv{level}_{place}.0", f"net{name}.net{dense}.0"
        yield f"predict_flow{level}", f"net{name}.netSix.0"
        if level > 2:
            yield f"deconv{level}", f"net{NAMES[level - 2]}.netUpflow"
            yield f"upfeat{level}", f"net{NAMES[level - 2]}.netUpfeat"
    for place in range(len(CONTEXT)):
        yield f"dc_conv{place + 1}.0", f"netRefiner.netMain.{2 * place}"
    yield f"dc_conv{len(CONTEXT) + 1}", f"netRefiner.netMain.{2 * len(CONTEXT)}"


class Extractor(nn.Module):
    """Feature pyramid of one frame: (N, 3, H, W) -> levels 1 (H/2) to 6 (H/64)."""

    def __init__(self) -> None:
        super().__init__()
        inside = 3
        for name, width in zip(NAMES, FEATURES):
            rest = (conv(width, width) for _ in range(2))
            self.add_module(f"net{name}", leaky(conv(inside, width, stride=2), *rest))
            inside = width

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the six levels, finest first."""
        levels = []
        for level in self.children():
            x = level(x)
            levels.append(x)
        return levels


class Decoder(nn.Module):
    """The flow of one level (2 to 6) from its features and the level above."""

    netOne: nn.Sequential
    netTwo: nn.Sequential
    netThr: nn.Sequential
    netFou: nn.Sequential
    netFiv: nn.Sequential

    def __init__(self, level: int, grid: Grid, visible: float) -> None:
        super().__init__()
        self.grid, self.visible, self.scale = grid, visible, 0.0
        inside = VOLUME
        if level < 6:
            above = VOLUME + sum(DENSE) + (FEATURES[level] + 4 if level < 5 else 0)
            self.netUpflow = nn.ConvTranspose2d(2, 2, 4, 2, 1)
            self.netUpfeat = nn.ConvTranspose2d(above, 2, 4, 2, 1)
            self.scale = 20.0 / 2**level  # from the network's unit to pixels of this level
            inside += FEATURES[level - 1] + 4
        for name, width in zip(NAMES, DENSE):
            self.add_module(f"net{name}", leaky(conv(inside, width)))
            inside += width
        self.netSix = nn.Sequential(conv(inside, 2))

    def forward(
        self, first: Tensor, second: Tensor, above: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """Return the flow (N, 2, h, w) and the dense features.

        Args:
            first: (N, C, h, w) features of the frame where the flow starts.
            second: features of the frame where it ends.
            above: flow and features of the level above, or None at the coarsest.
        """
        parts = []
        if above is not None:
            flow = self.netUpflow(above[0].to(first.dtype))
            up = self.netUpfeat(above[1])
            way = wide(flow) * self.scale
            second = backwarp(second, way, "zeros", grid=self.grid, visible=self.visible)
            parts = [first, flow, up]
        volume = F.leaky_relu(correlation(first, second), 0.1)
        x = torch.cat([volume, *parts], 1)
        for dense in (self.netOne, self.netTwo, self.netThr, self.netFou, self.netFiv):
            x = torch.cat([dense(x), x], 1)
        return wide(self.netSix(x)), x


class Refiner(nn.Module):
    """Context network: what is added to the finest flow."""

    def __init__(self) -> None:
        super().__init__()
        inside = VOLUME + FEATURES[1] + 4 + sum(DENSE)
        layers = []
        for width, dilation in zip(CONTEXT, DILATION):
            layers.append(nn.Conv2d(inside, width, 3, 1, dilation, dilation))
            inside = width
        self.netMain = nn.Sequential(*leaky(*layers), conv(inside, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, 2, h, w)."""
        return wide(self.netMain(x))


class PWCNet(FlowNetwork):
    """The network; see the module's page for the paper.

    Weights may be bfloat16 while frames are float32; flows are then float32 as well.

    Args:
        grid: where warping samples: "corners" as in the stand-alone network, "centers" as in
            ST-MFNet's copy and "mixed" as in a SoftSplat reproduction's, which share the weights
            but not the numbers.
        channels: "bgr" turns the frames around, as the public weights want; ST-MFNet's copy is fed
            "rgb".
        mean: is subtracted from the network's three input channels.
        init: "default" is PyTorch's; "he" learns motion from scratch many times sooner, see
            `flow_init.start_seeing`.
        visible: see `midframe.ops.backwarp`.
    """

    multiple: ClassVar[int] = 64
    other_names: ClassVar[Mapping[str, str]] = MappingProxyType(dict(_authors_names()))
    unread: ClassVar[frozenset[str]] = frozenset({"deconv2.weight", "deconv2.bias"})

    def __init__(
        self,
        grid: Grid = "corners",
        channels: Literal["bgr", "rgb"] = "bgr",
        mean: tuple[float, float, float] = (0.0, 0.0, 0.0),
        init: Init = "default",
        visible: float = VISIBLE,
    ) -> None:
        super().__init__()
        self.channels, self.mean = channels, mean
        self.netExtractor = Extractor()
        self.netTwo = Decoder(2, grid, visible)
        self.netThr = Decoder(3, grid, visible)
        self.netFou = Decoder(4, grid, visible)
        self.netFiv = Decoder(5, grid, visible)
        self.netSix = Decoder(6, grid, visible)
        self.netRefiner = Refiner()
        if wants_he("PWC-Net", init):
            start_seeing(self, self.netExtractor)

    def flows(self, first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
        """Return the flows of levels 2 to 6 (H/4 to H/64), in 20 pixels of the input."""
        return self.flow_between(*self.pyramids(first, second))

    def both_ways(self, first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
        """Return `flows` both ways (2 B, 2, h, w), from features computed once."""
        one, two = self.pyramids(first, second)
        start = [torch.cat(pair) for pair in zip(one, two)]
        return self.flow_between(start, [torch.cat(pair) for pair in zip(two, one)])

    def pyramids(self, first: Tensor, second: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return both frames' features, from which flow in either direction follows."""
        both = torch.cat((first, second))
        both = bgr(both) if self.channels == "bgr" else both
        if any(self.mean):
            both = both - both.new_tensor(self.mean)[:, None, None]
        levels = self.netExtractor(both.to(self.dtype))
        one, two = zip(*(level.chunk(2) for level in levels))
        return list(one), list(two)

    def flow_between(self, first: list[Tensor], second: list[Tensor]) -> tuple[Tensor, ...]:
        """Return `flows` from two frames' features."""
        decoders = (self.netTwo, self.netThr, self.netFou, self.netFiv, self.netSix)
        flows: list[Tensor] = []
        above: tuple[Tensor, Tensor] | None = None
        for decoder, one, two in reversed(list(zip(decoders, first[1:], second[1:]))):
            above = decoder(one, two, above)
            flows.insert(0, above[0])
        assert above is not None
        flows[0] = flows[0] + self.netRefiner(above[1])
        return tuple(flows)
