"""SoftSplat: softmax splatting of frames and features, then synthesis.

Niklaus and Liu, "Softmax Splatting for Video Frame Interpolation", CVPR 2020, arXiv 2003.05534.
Written from a description of the published network, whose terms allow non-commercial use only;
parameter names are those of its weights.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from midframe.models.base import Pad
from midframe.models.blocks import resized, resized_flow, wide
from midframe.models.flow import FlowNetwork
from midframe.models.flow_init import Init, wants_he
from midframe.models.gridnet import COLUMNS, ROWS, Block, GridNet, Style, Way
from midframe.models.liteflownet import LiteFlowNet
from midframe.models.pwcnet import PWCNet
from midframe.models.softsplat_flow import SmallFlow
from midframe.models.softsplat_init import start_from_average
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

STYLE = Style("netMain", bias=False, shared=False)
EPSILON = 1e-7
LARGEST_METRIC = 20.0
NAMES = ("One", "Two", "Thr")
METRIC_ROWS = (16, 32, 64, 96)


class Basic(nn.Module):
    """Convolution, activation, convolution, with a 1x1 convolution around them."""

    def __init__(self, inside: int, middle: int, outside: int) -> None:
        super().__init__()
        self.netMain = nn.Sequential(
            STYLE.conv(inside, middle), STYLE.slope(middle), STYLE.conv(middle, outside)
        )
        self.netShortcut = STYLE.conv(inside, outside, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outside, h, w)."""
        return self.netMain(x) + self.netShortcut(x)


class Encoder(nn.Module):
    """Feature pyramid of one frame: (N, 3, H, W) -> H, H/2, H/4."""

    netOne: nn.Sequential
    netTwo: nn.Sequential
    netThr: nn.Sequential

    def __init__(self) -> None:
        super().__init__()
        inside = 3
        for name, width in zip(NAMES, ROWS):
            first = STYLE.conv(inside, width, 1 if name == "One" else 2)
            rest = (STYLE.slope(width), STYLE.conv(width, width), STYLE.slope(width))
            self.add_module(f"net{name}", nn.Sequential(first, *rest))
            inside = width

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features, finest first, the finest with the frame before them."""
        one = self.netOne(x)
        two = self.netTwo(one)
        return [torch.cat((x, one), 1), two, self.netThr(two)]


class SoftMetric(nn.Module):
    """Importance of each pixel, by a small U-Net over the frame and the brightness check."""

    def __init__(self) -> None:
        super().__init__()
        self.netInput, self.netError = STYLE.conv(3, 12), STYLE.conv(1, 4)
        for row, width in enumerate(METRIC_ROWS):
            self.add_module(f"{row}x0 - {row}x1", Block(STYLE, "lateral", width, width))
            if row:
                above = METRIC_ROWS[row - 1]
                down, up = Block(STYLE, "down", above, width), Block(STYLE, "up", width, above)
                self.add_module(f"{row - 1}x0 - {row}x0", down)
                self.add_module(f"{row}x1 - {row - 1}x1", up)
        self.netOutput = Basic(METRIC_ROWS[0], METRIC_ROWS[0], 1)

    def forward(self, both: Tensor, features: Tensor, flow: Tensor) -> Tensor:
        """Return (2 B, 1, H, W): the lower, the more a pixel counts.

        Args:
            both: both frames (2 B, 3, H, W).
            features: of both frames, at full size.
            flow: (2 B, 2, H, W) from each to the other.
        """
        error = brightness(features, other_half(features), flow).mean(1, keepdim=True)
        row = torch.cat((self.netInput(both), self.netError(error.to(both.dtype))), 1)
        rows = [row]
        for depth in range(1, len(METRIC_ROWS)):
            row = getattr(self, f"{depth - 1}x0 - {depth}x0")(row)
            rows.append(row)
        row = getattr(self, "3x0 - 3x1")(row)
        for depth in reversed(range(len(METRIC_ROWS) - 1)):
            beside = getattr(self, f"{depth}x0 - {depth}x1")(rows[depth])
            up = getattr(self, f"{depth + 1}x1 - {depth}x1")
            row = beside + up(row, beside.shape[-2:])
        return wide(self.netOutput(row))


class AlphaMetric(nn.Module):
    """Importance of each pixel by the brightness check alone, times a trainable factor."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(-torch.ones(1))

    def forward(self, both: Tensor, features: Tensor, flow: Tensor) -> Tensor:
        """Return (2 B, 1, H, W) as `SoftMetric` does, from the frames alone."""
        error = brightness(both, other_half(both), flow).mean(1, keepdim=True)
        return -self.alpha.to(error.dtype) * error


class Warp(nn.Module):
    """What both frames' features, splatted to the target time, give at the three scales."""

    netOne: Basic
    netTwo: Basic
    netThr: Basic

    def __init__(self) -> None:
        super().__init__()
        for name, width in zip(NAMES, ROWS):
            inside = 2 * (width + 1 + (3 if name == "One" else 0))
            self.add_module(f"net{name}", Basic(inside, width, width))

    def forward(
        self, features: list[Tensor], flow: Tensor | None, metric: Tensor | None
    ) -> list[Tensor]:
        """Return the rows (N, C, h, w) of GridNet.

        Args:
            features: of both frames (2 N, C, h, w), finest first.
            flow: (2 N, 2, H, W) to the target time in pixels, or None to leave them in place.
            metric: (2 N, 1, H, W), or None with ``flow``.
        """
        rows = []
        for name, feature in zip(NAMES, features):
            size = feature.shape[-2:]
            if flow is None or metric is None:
                row = torch.cat((feature, torch.zeros_like(feature[:, :1])), 1)
            else:
                flow, metric = resized_flow(flow, size), resized(metric, size)
                carried = torch.cat((feature, metric.to(feature.dtype)), 1)
                importance = (-metric).clamp(-LARGEST_METRIC, LARGEST_METRIC)
                row = splat(carried, flow, importance, "soft", "addeps").to(feature.dtype)
            rows.append(getattr(self, f"net{name}")(side_by_side(row)))
        return rows


class Synthesis(GridNet):
    """Encoder, importance, splatting and GridNet."""

    def __init__(self, metric: nn.Module | None) -> None:
        super().__init__()
        self.netEncode = Encoder()
        self.netSoftmetric = metric
        self.netWarp = Warp()
        self._build()
        self.netOutput = Basic(ROWS[0], ROWS[0], 3)

    def _build(self) -> None:
        for row, width in enumerate(ROWS):
            for column in range(COLUMNS - 1):
                self._put("lateral", row, column, Block(STYLE, "lateral", width, width))
        for column in range(COLUMNS):
            for row in range(len(ROWS) - 1):
                fine, coarse = ROWS[row], ROWS[row + 1]
                if column < COLUMNS // 2:
                    self._put("down", row, column, Block(STYLE, "down", fine, coarse))
                else:
                    self._put("up", row + 1, column, Block(STYLE, "up", coarse, fine))

    def _put(self, way: Way, row: int, column: int, block: Block) -> None:
        self.add_module(self._name(way, row, column), block)

    @staticmethod
    def _name(way: Way, row: int, column: int) -> str:
        down, right = {"lateral": (0, 1), "down": (1, 0), "up": (-1, 0)}[way]
        return f"{row}x{column} - {row + down}x{column + right}"

    def block(self, way: Way, row: int, column: int) -> nn.Module:
        """Return a block by the node that it starts from."""
        return getattr(self, self._name(way, row, column))

    def forward(self, features: list[Tensor], flow: Tensor | None, metric: Tensor | None) -> Tensor:
        """Return the normalised frame (N, 3, H, W); the arguments are those of `Warp`."""
        return self.netOutput(self.through(self.netWarp(features, flow, metric)))


class SoftSplat(SoftSplatForm):
    """The published network; see the module's page for the paper.

    Args:
        flow: "own" is the published weights' small flow network; "pwcnet" and "liteflownet" are
            larger ones, with the parameter names of their own checkpoints below ``netFlow.``.
        metric: importance of the pixels by the published "network", or by the brightness check
            times a trainable factor, "alpha" (eq. 9 of the paper).
        train_flow: whether the flow network is fine-tuned; else it gets no gradient.
        init: "default" is PyTorch's; "he" starts at no motion and the average of the frames, with
            features by which places can be told apart: see `flow_init`, `softsplat_init`.
    """

    pad = Pad(2, "replicate", "after")
    # from there on no level of the flow network has one pixel only; see `wevi_refine`
    recorded_from: ClassVar[int] = 65

    def __init__(
        self,
        flow: Literal["own", "pwcnet", "liteflownet"] = "own",
        metric: Literal["network", "alpha"] = "network",
        train_flow: bool = True,
        init: Init = "default",
    ) -> None:
        super().__init__()
        networks = {"own": SmallFlow, "pwcnet": PWCNet, "liteflownet": LiteFlowNet}
        metrics = {"network": SoftMetric, "alpha": AlphaMetric}
        if flow not in networks or metric not in metrics:
            raise ValueError(
                f"SoftSplat has flow {', '.join(networks)} and metric {', '.join(metrics)}, "
                f"not {flow!r} and {metric!r}"
            )
        self.netFlow: nn.Module | None = None
        if self.moves:
            self.netFlow = networks[flow](init=init).requires_grad_(train_flow)
        self.netSynthesis = Synthesis(metrics[metric]() if self.moves else None)
        if wants_he("SoftSplat", init):
            start_from_average(self.netSynthesis)

    def _enter(self, x: Inputs) -> tuple[Tensor, tuple[Tensor, ...]]:
        pair = torch.stack(x.pair, 1).flip(2)  # BGR
        mean = pair.mean(dim=(1, 2, 3, 4), keepdim=True)
        deviation = pair.std(dim=(1, 2, 3, 4), correction=0, keepdim=True)
        both = torch.cat(((pair - mean) / (deviation + EPSILON)).unbind(1))
        return both.to(self.dtype), (mean, deviation)

    def _leave(self, frame: Tensor, scale: tuple[Tensor, ...]) -> Tensor:
        mean, deviation = scale
        return (frame * deviation + mean).flip(2)

    def _features(self, both: Tensor) -> list[Tensor]:
        return self.netSynthesis.netEncode(both)

    def _motion(self, x: Inputs, both: Tensor, features: list[Tensor]) -> Motion:
        network, metric = self.netFlow, self.netSynthesis.netSoftmetric
        assert network is not None and metric is not None
        if isinstance(network, FlowNetwork):
            flow = network.estimate_both(*x.pair)
        else:
            flow = network(both)
        return Motion(flow, metric(both, features[0], flow), flow)

    def _frame(self, features: list[Tensor], motion: Motion | None, t: Tensor) -> Tensor:
        if motion is None:
            return self.netSynthesis(features, None, None)
        return self.netSynthesis(features, toward(motion.flow, t), toward(motion.metric, t) * 2)


class SoftSplatGrid(Still, SoftSplat):
    """The baseline without motion, which knows only t = 0.5.

    Args:
        init: see `SoftSplat`.
    """

    def __init__(self, init: Init = "default") -> None:
        super().__init__(init=init)
