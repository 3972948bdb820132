"""LiteFlowNet: a small network for optical flow, by cascaded matching and regularisation.

Hui et al., "LiteFlowNet: A Lightweight Convolutional Neural Network for Optical Flow Estimation",
CVPR 2018, arXiv 1805.07036. Parameter names are those of the public PyTorch checkpoints.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from midframe.models.blocks import bgr, conv, leaky, resized, wide
from midframe.models.flow import FlowNetwork
from midframe.models.flow_init import Init, start_seeing, wants_he
from midframe.ops import backwarp, correlation

LEVELS = (2, 3, 4, 5, 6)
FEATURES = {2: 32, 3: 64, 4: 96, 5: 128, 6: 192}
# per level: what matching and subpixel lift features to, the last kernel, the smoothing window
LIFTED = {2: 64}
KERNEL = {2: 7, 3: 5, 4: 5, 5: 3, 6: 3}
WINDOW = {2: 7, 3: 5, 4: 5, 5: 3, 6: 3}
SMOOTH_LIFTED = {2: 128, 3: 128, 4: 128}
RADIUS = 3
MEANS = ((0.411618, 0.434631, 0.454253), (0.410782, 0.433645, 0.452793))  # BGR


def _lift(level: int, widths: dict[int, int]) -> nn.Module:
    """Lift a level's features by a 1x1 convolution, where the level does."""
    if level not in widths:
        return nn.Identity()
    return leaky(conv(FEATURES[level], widths[level], 1))


def _estimator(inside: int, kernel: int) -> nn.Sequential:
    hidden = (conv(inside, 128), conv(128, 64), conv(64, 32))
    return nn.Sequential(*leaky(*hidden), conv(32, 2, kernel))


def _exactly(layer: nn.Module, x: Tensor) -> Tensor:
    """Run a convolution of flow values in their own precision, whatever the weights' or autocast's.

    These layers only resize or average flow; in bfloat16 they would round it.
    """
    weights = {name: value.to(x.dtype) for name, value in layer.named_parameters()}
    with torch.autocast(x.device.type, enabled=False):
        out: Tensor = functional_call(layer, weights, (x,))
    return out


def _scale(level: int) -> float:
    """Pixels of the level per unit of the network's flow."""
    return 20.0 / 2 ** (level - 1)


class Features(nn.Module):
    """Feature pyramid of one frame: (N, 3, H, W) -> levels 2 (H/2) to 6 (H/32)."""

    def __init__(self) -> None:
        super().__init__()
        self.netOne = leaky(conv(3, 32, 7))
        self.netTwo = leaky(conv(32, 32, stride=2), conv(32, 32), conv(32, 32))
        self.netThr = leaky(conv(32, 64, stride=2), conv(64, 64))
        self.netFou = leaky(conv(64, 96, stride=2), conv(96, 96))
        self.netFiv = leaky(conv(96, 128, stride=2))
        self.netSix = leaky(conv(128, 192, stride=2))

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        """Return the features by level."""
        x = self.netOne(x)
        stages = (self.netTwo, self.netThr, self.netFou, self.netFiv, self.netSix)
        levels = {}
        for level, stage in zip(LEVELS, stages):
            x = levels[level] = stage(x)
        return levels


class Matching(nn.Module):
    """Flow from the correlation of the features, on top of the level above."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self.stride = 2 if level <= 3 else 1
        self.scale = _scale(level)
        self.netFeat = _lift(level, LIFTED)
        if level < 6:
            self.netUpflow = nn.ConvTranspose2d(2, 2, 4, 2, 1, groups=2, bias=False)
        if self.stride == 2:
            self.netUpcorr = nn.ConvTranspose2d(49, 49, 4, 2, 1, groups=49, bias=False)
        self.netMain = _estimator(49, KERNEL[level])

    def forward(self, first: Tensor, second: Tensor, flow: Tensor | None) -> Tensor:
        """Return the flow (N, 2, h, w) from features (N, C, h, w) and the flow at half of h."""
        first, second = self.netFeat(first), self.netFeat(second)
        if flow is not None:
            flow = _exactly(self.netUpflow, flow)
            second = backwarp(second, flow * self.scale, "zeros")
        volume = F.leaky_relu(correlation(first, second, RADIUS, self.stride), 0.1)
        if self.stride == 2:
            volume = self.netUpcorr(volume)
        found = wide(self.netMain(volume))
        return found if flow is None else flow + found


class Subpixel(nn.Module):
    """A second look at the features, warped by the flow just found."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self.scale = _scale(level)
        self.netFeat = _lift(level, LIFTED)
        width = LIFTED.get(level, FEATURES[level])
        self.netMain = _estimator(2 * width + 2, KERNEL[level])

    def forward(self, first: Tensor, second: Tensor, flow: Tensor) -> Tensor:
        """Return the refined flow (N, 2, h, w)."""
        first, second = self.netFeat(first), self.netFeat(second)
        second = backwarp(second, flow * self.scale, "zeros")
        return flow + wide(self.netMain(torch.cat((first, second, flow.to(first.dtype)), 1)))


class Regularization(nn.Module):
    """Smoothing of the flow by a learnt window at each pixel."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self.scale, self.window = _scale(level), WINDOW[level]
        self.netFeat = _lift(level, SMOOTH_LIFTED)
        inside = SMOOTH_LIFTED.get(level, FEATURES[level]) + 3
        hidden = (conv(inside, 128), conv(128, 128), conv(128, 64))
        self.netMain = leaky(*hidden, conv(64, 64), conv(64, 32), conv(32, 32))
        taps = self.window**2
        if self.window == 3:
            self.netDist = nn.Sequential(conv(32, taps))
        else:
            half, size = self.window // 2, self.window
            self.netDist = nn.Sequential(
                nn.Conv2d(32, taps, (size, 1), 1, (half, 0)),
                nn.Conv2d(taps, taps, (1, size), 1, (0, half)),
            )
        self.netScaleX = nn.Conv2d(taps, 1, 1)
        self.netScaleY = nn.Conv2d(taps, 1, 1)

    def forward(self, images: tuple[Tensor, Tensor], feature: Tensor, flow: Tensor) -> Tensor:
        """Return the smoothed flow (N, 2, h, w).

        Args:
            images: both frames (N, 3, h, w) at this level's size.
            feature: of the first frame.
            flow: (N, 2, h, w).
        """
        warped = backwarp(images[1], flow * self.scale, "zeros")
        error = torch.linalg.vector_norm(images[0] - warped, dim=1, keepdim=True)
        free = flow - flow.mean((2, 3), keepdim=True)
        lifted = self.netFeat(feature)
        seen = torch.cat((error.to(lifted.dtype), free.to(lifted.dtype), lifted), 1)
        distance = -wide(self.netDist(self.netMain(seen))).square()
        share = (distance - distance.amax(1, keepdim=True)).exp()
        total = share.sum(1, keepdim=True)
        parts = [
            _exactly(scale, share * self._around(flow[:, axis, None])) / total
            for axis, scale in enumerate((self.netScaleX, self.netScaleY))
        ]
        return torch.cat(parts, 1)

    def _around(self, plane: Tensor) -> Tensor:
        """Return the window around each pixel of (N, 1, h, w), zeros outside: (N, taps, h, w)."""
        window = F.unfold(plane, self.window, padding=self.window // 2)
        return window.view(plane.shape[0], -1, *plane.shape[-2:])


class LiteFlowNet(FlowNetwork):
    """The network; see the module's page for the paper. Frames are turned to BGR inside.

    Weights may be bfloat16 while frames are float32; flows are then float32 as well.

    Args:
        init: "default" is PyTorch's; "he" learns motion from scratch many times sooner, see
            `flow_init.start_seeing`.
    """

    multiple: ClassVar[int] = 32

    def __init__(self, init: Init = "default") -> None:
        super().__init__()
        self.netFeatures = Features()
        self.netMatching = nn.ModuleList(Matching(level) for level in LEVELS)
        self.netSubpixel = nn.ModuleList(Subpixel(level) for level in LEVELS)
        self.netRegularization = nn.ModuleList(Regularization(level) for level in LEVELS)
        if wants_he("LiteFlowNet", init):
            start_seeing(self, self.netFeatures)
            for part in self.modules():
                if isinstance(part, Regularization):  # begins as the plain average of the window
                    nn.init.ones_(part.netScaleX.weight)
                    nn.init.ones_(part.netScaleY.weight)

    def flows(self, first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
        """Return the flows of levels 2 to 6 (H/2 to H/32), in 20 pixels of the input."""
        images = [
            bgr(x) - x.new_tensor(mean)[:, None, None] for x, mean in zip((first, second), MEANS)
        ]
        features = [self.netFeatures(x.to(self.dtype)) for x in images]
        sized: dict[int, tuple[Tensor, Tensor]] = {}
        for level in LEVELS:  # each from the level before
            size = features[0][level].shape[-2:]
            images = [resized(x, size) for x in images]
            sized[level] = (images[0], images[1])
        flows: list[Tensor] = []
        for index in reversed(range(len(LEVELS))):
            level = LEVELS[index]
            one, two = features[0][level], features[1][level]
            flow = self.netMatching[index](one, two, flows[0] if flows else None)
            flow = self.netSubpixel[index](one, two, flow)
            flows.insert(0, self.netRegularization[index](sized[level], one, flow))
        return tuple(flows)
