"""SoftSplat's reproduction SoftSplat-Full, in the two forms of its code.

Niklaus and Liu, "Softmax Splatting for Video Frame Interpolation", CVPR 2020, arXiv 2003.05534, as
reproduced at github.com/JHLew/SoftSplat-Full. Written from a description; parameter names are those
of its weights, which fit the form "june", but for PWC-Net's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from midframe.models.base import Pad
from midframe.models.blocks import resized, resized_flow, wide
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

STYLE = Style("layers", bias=True, shared=True, counted=False)
EPSILON = 1e-8
MEAN = (0.429, 0.431, 0.397)
METRIC_WIDTH = 64

Form = Literal["head", "june"]


class SynthesisNetwork(GridNet):
    """GridNet behind one convolution a row; row 0 has a sixth lateral block before the output."""

    def __init__(self) -> None:
        super().__init__()
        steps, pairs = COLUMNS // 2, list(zip(ROWS, ROWS[1:]))

        def blocks(way: Way, inside: int, outside: int, count: int) -> nn.ModuleList:
            return nn.ModuleList(Block(STYLE, way, inside, outside) for _ in range(count))

        self.lateral = nn.ModuleList(
            blocks("lateral", width, width, COLUMNS - 1 if row else COLUMNS)
            for row, width in enumerate(ROWS)
        )
        self.down = nn.ModuleList(blocks("down", fine, coarse, steps) for fine, coarse in pairs)
        self.up = nn.ModuleList(blocks("up", coarse, fine, steps) for fine, coarse in pairs)
        self.compress = nn.ModuleList(
            STYLE.conv(2 * (width if row else width + 3), width) for row, width in enumerate(ROWS)
        )
        self.to_RGB = nn.Sequential(STYLE.slope(ROWS[0]), STYLE.conv(ROWS[0], 3))

    def block(self, way: Way, row: int, column: int) -> nn.Module:
        """Return a block by the node that it starts from."""
        if way == "up":
            row, column = row - 1, column - COLUMNS // 2
        return getattr(self, way)[row][column]

    def forward(self, rows: list[Tensor]) -> Tensor:
        """Return the frame (N, 3, h, w) from what was splatted (N, C, h, w) at three scales."""
        rows = [compress(row) for compress, row in zip(self.compress, rows)]
        return self.to_RGB(self.block("lateral", 0, COLUMNS - 1)(self.through(rows)))


def feature_pyramid() -> nn.ModuleList:
    """Return the levels of the feature pyramid, at H, H/2 and H/4."""
    levels, inside = [], 3
    for row, width in enumerate(ROWS):
        first = STYLE.conv(inside, width, 2 if row else 1)
        rest = (STYLE.slope(width), STYLE.conv(width, width), STYLE.slope(width))
        levels.append(nn.Sequential(first, *rest))
        inside = width
    return nn.ModuleList(levels)


def metric_network() -> nn.Sequential:
    """Return the network from a frame and its difference to the other one to the importance."""
    first, second = STYLE.conv(6, METRIC_WIDTH), STYLE.conv(METRIC_WIDTH, METRIC_WIDTH)
    last = STYLE.conv(METRIC_WIDTH, 1)
    return nn.Sequential(first, STYLE.slope(METRIC_WIDTH), second, STYLE.slope(METRIC_WIDTH), last)


class SoftSplatFull(SoftSplatForm):
    """The reproduction; see the module's page.

    Args:
        form: "june" works on frames in [-1, 1] and clamps always; "head" normalises each channel
            of frames and features over the two frames, and clamps in evaluation only.
        metric: importance of the pixels: the brightness check times a trainable factor, "alpha",
            or a small "network" (which only the form "june" was published with).
        train_flow: whether PWC-Net is trained too, as published; else it gets no gradient.
    """

    pad = Pad(4, "replicate", "both")
    key_names: ClassVar[Mapping[str, str]] = PWCNet.key_names

    def __init__(
        self,
        form: Form = "head",
        metric: Literal["alpha", "network"] = "alpha",
        train_flow: bool = True,
    ) -> None:
        super().__init__()
        if form not in ("head", "june") or metric not in ("alpha", "network"):
            raise ValueError(
                f"SoftSplatFull has form head or june and metric alpha or network, "
                f"not {form!r} and {metric!r}"
            )
        self.form = form
        self.register_parameter("alpha", None)
        self.flow_predictor: PWCNet | None = None
        self.v_net: nn.Sequential | None = None
        if self.moves:
            self.flow_predictor = PWCNet("mixed", "rgb", MEAN)
            self.flow_predictor.requires_grad_(train_flow)
            if metric == "alpha":
                self.alpha = nn.Parameter(-torch.ones(1))
            else:
                self.v_net = metric_network()
        self.feature_pyramid = feature_pyramid()
        self.synth_net = SynthesisNetwork()

    def _enter(self, x: Inputs) -> tuple[Tensor, tuple[Tensor, ...]]:
        if self.form == "june":
            return torch.cat(x.pair) * 2 - 1, ()
        pair = torch.stack(x.pair, 1)
        mean, deviation = _statistics(pair)
        return torch.cat(((pair - mean) / deviation).unbind(1)), (mean, deviation)

    def _leave(self, frame: Tensor, scale: tuple[Tensor, ...]) -> Tensor:
        if self.form == "june":
            return ((frame + 1) / 2).clamp(0, 1)
        mean, deviation = scale
        frame = frame * deviation + mean
        return frame if self.training else frame.clamp(0, 1)

    def _features(self, both: Tensor) -> list[Tensor]:
        image = feature = both.to(self.dtype)
        features = []
        for level in self.feature_pyramid:
            feature = level(feature)
            features.append(_normalised(feature) if self.form == "head" else feature)
        return [torch.cat((image, features[0]), 1), *features[1:]]

    def _motion(self, x: Inputs, both: Tensor, features: list[Tensor]) -> Motion:
        assert self.flow_predictor is not None
        seen = both.chunk(2) if self.form == "june" else x.pair
        flow = self.flow_predictor.estimate_both(*seen)
        return Motion(flow, self._metric(both, flow), flow)

    def _metric(self, both: Tensor, flow: Tensor) -> Tensor:
        """Return the importance (2 B, 1, H, W) of both frames' pixels."""
        difference = brightness(both, other_half(both), flow, "shrunk")
        if self.v_net is None:
            return self.alpha.to(flow.dtype) * difference.sum(1, keepdim=True)
        seen = torch.cat((both, -difference), 1)
        return wide(self.v_net(seen.to(self.dtype)))

    def _frame(self, features: list[Tensor], motion: Motion | None, t: Tensor) -> Tensor:
        if motion is not None:
            features = _splatted(features, toward(motion.flow, t), motion.metric)
        rows = [side_by_side(x, lead=0 if row else 3) for row, x in enumerate(features)]
        return self.synth_net(rows)


class SoftSplatFullGrid(Still, SoftSplatFull):
    """The baseline without motion, which knows only t = 0.5.

    Args:
        form: see `SoftSplatFull`.
    """

    def __init__(self, form: Form = "head") -> None:
        super().__init__(form)


def _splatted(features: list[Tensor], flow: Tensor, metric: Tensor) -> list[Tensor]:
    """Splat both frames' features (2 B, C, h, w), each resizing flow and metric to its size."""
    out = []
    for feature in features:
        size = feature.shape[-2:]
        moved = splat(feature, resized_flow(flow, size), resized(metric, size), "soft", "zeroeps")
        out.append(moved.to(feature.dtype))
    return out


def _statistics(pair: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation (B, 1, C, 1, 1) of each channel of (B, 2, C, H, W)."""
    deviation, mean = torch.std_mean(pair, dim=(1, 3, 4), correction=1, keepdim=True)
    return mean, deviation + EPSILON


def _normalised(both: Tensor) -> Tensor:
    """Normalise each channel of features (2 B, C, h, w) over the two frames."""
    pair = torch.stack(wide(both).chunk(2), 1)
    mean, deviation = _statistics(pair)
    return torch.cat(((pair - mean) / deviation).to(both.dtype).unbind(1))
