"""SoftSplat's reproduction by a single author, small enough to read in one go.

Niklaus and Liu, "Softmax Splatting for Video Frame Interpolation", CVPR 2020, arXiv 2003.05534, as
reproduced at github.com/gangsterless/pytorch-softmax-splatting. Written from a description;
parameter names are those of its weights.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from midframe.models.base import Pad
from midframe.models.blocks import resized, wide
from midframe.models.gridnet import COLUMNS, ROWS, Block, GridNet, Style, Way
from midframe.models.pwcnet import PWCNet
from midframe.models.softsplat_parts import (
    Motion,
    SoftSplatForm,
    Still,
    brightness,
    other_half,
    side_by_side,
    toward,
)
from midframe.ops import splat
from midframe.types import Inputs

STYLE = Style("f", bias=True, shared=True)
METRIC_ROWS = (16, 32, 64, 96)


def _conv_relu(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    first, second = STYLE.conv(inside, outside, stride), STYLE.conv(outside, outside)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


def _relu_conv(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    first, second = STYLE.conv(inside, outside, stride), STYLE.conv(outside, outside)
    return nn.Sequential(nn.ReLU(), first, nn.ReLU(), second)


class FeatureExtractor(nn.Module):
    """Feature pyramid of one frame: (N, 3, H, W) -> H, H/2, H/4."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = _conv_relu(3, ROWS[0])
        self.layer2 = _conv_relu(ROWS[0], ROWS[1], 2)
        self.layer3 = _conv_relu(ROWS[1], ROWS[2], 2)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features, finest first."""
        one = self.layer1(x)
        two = self.layer2(one)
        return [one, two, self.layer3(two)]


class Decoder(nn.Module):
    """Joins what comes from below with what is beside it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_relu = _relu_conv(2 * width, width)

    def forward(self, below: Tensor, beside: Tensor) -> Tensor:
        """Return (N, width, h, w)."""
        return self.conv_relu(torch.cat((beside, below), 1))


class MetricUNet(nn.Module):
    """Importance of each pixel, by a U-Net over the frame and the brightness check."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_img, self.conv_metric = STYLE.conv(3, 12), STYLE.conv(1, 4)
        for level in (1, 2, 3):
            inside, outside = METRIC_ROWS[level - 1], METRIC_ROWS[level]
            self.add_module(f"down_l{level}", _relu_conv(inside, outside, 2))
            up = nn.UpsamplingBilinear2d(scale_factor=2)  # corners aligned
            self.add_module(f"up_l{level}", nn.Sequential(up, *_relu_conv(outside, inside)))
            self.add_module(f"Decoder{level}", Decoder(outside))
        bottom = METRIC_ROWS[-1]
        self.middle = nn.Sequential(
            STYLE.conv(bottom, bottom), nn.ReLU(), STYLE.conv(bottom, bottom)
        )
        self.out_seq = nn.Sequential(nn.ReLU(), STYLE.conv(METRIC_ROWS[0], 1))

    def forward(self, frame: Tensor, error: Tensor) -> Tensor:
        """Return (N, 1, H, W)."""
        x = torch.cat((self.conv_metric(error.to(frame.dtype)), self.conv_img(frame)), 1)
        levels = []
        for level in (1, 2, 3):
            x = getattr(self, f"down_l{level}")(x)
            levels.append(x)
        x = self.middle(x)
        for level in (3, 2, 1):
            x = getattr(self, f"Decoder{level}")(x, levels[level - 1])
            x = getattr(self, f"up_l{level}")(x)
        return wide(self.out_seq(x))


class Grid(GridNet):
    """GridNet whose lower rows start on their own."""

    enters_down = False
    down_0_0: Block
    down_1_0: Block

    def __init__(self) -> None:
        super().__init__()
        half = COLUMNS // 2
        self.lateral_init = Block(STYLE, "lateral", 2 * (ROWS[0] + 3), ROWS[0])
        for row, width in enumerate(ROWS):
            for column in range(COLUMNS - 1):
                block = Block(STYLE, "lateral", width, width)
                self.add_module(f"lateral_{row}_{column}", block)
        for row, (fine, coarse) in enumerate(zip(ROWS, ROWS[1:])):
            start = Block(STYLE, "lateral", 2 * coarse, coarse)
            self.add_module(f"down_{row}_0", start)
            for column in range(half):
                if column:
                    block = Block(STYLE, "down", fine, coarse)
                    self.add_module(f"down_{row}_{column}", block)
                self.add_module(f"up_{row}_{column}", Block(STYLE, "up", coarse, fine))
        self.lateral_final = Block(STYLE, "lateral", ROWS[0], 3)

    def block(self, way: Way, row: int, column: int) -> nn.Module:
        """Return a block by the node that it starts from."""
        if way == "up":
            return getattr(self, f"up_{row - 1}_{column - COLUMNS // 2}")
        return getattr(self, f"{way}_{row}_{column}")

    def forward(self, rows: list[Tensor]) -> Tensor:
        """Return the frame (N, 3, h, w) from what was splatted (N, C, h, w) at three scales."""
        starts = (self.lateral_init, self.down_0_0, self.down_1_0)
        return self.lateral_final(self.through([start(row) for start, row in zip(starts, rows)]))


class SoftSplatPersonal(SoftSplatForm):
    """The reproduction; see the module's page.

    Args:
        metric: importance of the pixels times a trainable factor: of a "network", as published,
            or the brightness check itself, "alpha".
        train_flow: whether PWC-Net is trained too; else it gets no gradient.

    Attributes:
        idle: parameters without effect, which the published weights hold all the same: slopes below
            zero of activations that see only frames, and features behind a ReLU.
    """

    pad = Pad(64, "replicate", "both")
    idle: ClassVar[frozenset[str]] = frozenset(
        f"grid_net.{start}.f.0.weight" for start in ("lateral_init", "down_0_0", "down_1_0")
    )

    def __init__(
        self,
        metric: Literal["network", "alpha"] = "network",
        train_flow: bool = True,
    ) -> None:
        super().__init__()
        if metric not in ("network", "alpha"):
            raise ValueError(f"SoftSplatPersonal has metric network or alpha, not {metric!r}")
        self.register_parameter("alpha", None)
        self.flow_extractor: PWCNet | None = None
        self.Matric_UNet: MetricUNet | None = None
        self.feature_extractor = FeatureExtractor()
        if self.moves:
            self.alpha = nn.Parameter(-torch.ones(1))
            self.flow_extractor = PWCNet("centers", "rgb").requires_grad_(train_flow)
            if metric == "network":
                self.Matric_UNet = MetricUNet()
        self.grid_net = Grid()

    def _enter(self, x: Inputs) -> tuple[Tensor, tuple[Tensor, ...]]:
        return torch.cat(x.pair), ()

    def _leave(self, frame: Tensor, scale: tuple[Tensor, ...]) -> Tensor:
        return frame

    def _features(self, both: Tensor) -> list[Tensor]:
        image = both.to(self.dtype)
        finest, *coarser = self.feature_extractor(image)
        return [torch.cat((image, finest), 1), *coarser]

    def _motion(self, x: Inputs, both: Tensor, features: list[Tensor]) -> Motion:
        network = self.flow_extractor
        assert network is not None
        quarter = network.both_ways(*x.pair)[0] * network.unit
        flow = resized(quarter, both.shape[-2:])
        metric = brightness(both, other_half(both), flow, "centers").mean(1, keepdim=True)
        if self.Matric_UNet is not None:
            metric = self.Matric_UNet(both.to(self.dtype), metric)
        return Motion(flow, self.alpha.to(metric.dtype) * metric, quarter)

    def _frame(self, features: list[Tensor], motion: Motion | None, t: Tensor) -> Tensor:
        if motion is not None:
            features = _splatted(features, toward(motion.carrier, t), motion.metric)
        return self.grid_net([side_by_side(feature) for feature in features])


class SoftSplatPersonalGrid(Still, SoftSplatPersonal):
    """The baseline without motion, which knows only t = 0.5."""

    pad = Pad(4, "replicate", "both")

    def __init__(self) -> None:
        super().__init__()


def _splatted(features: list[Tensor], quarter: Tensor, metric: Tensor) -> list[Tensor]:
    """Splat both frames' features (2 B, C, h, w) by a flow that is a quarter of their size."""
    out = []
    for level, feature in enumerate(features):
        size = feature.shape[-2:]
        flow, importance = resized(quarter, size) / 2**level, resized(metric, size)
        out.append(splat(feature, flow, importance, "soft", "zeroeps").to(feature.dtype))
    return out
