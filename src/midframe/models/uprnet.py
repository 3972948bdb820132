"""UPR-Net: unified pyramid recurrent network, sizes base, large and LARGE.

Jin et al., "A Unified Pyramid Recurrent Network for Video Frame Interpolation", CVPR 2023, arXiv
2211.03456. The same small network runs at every level of an image pyramid, from coarse to fine: it
estimates the motion between the frames after splatting their features to the middle, then
synthesises the frame from what forward warping gives and from the frame of the level before.
Written from a description of the network; parameter names are those of the official checkpoints,
whose licence (CC BY-NC-ND 4.0) forbids to ship them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midframe.models.base import Interpolator, Pad
from midframe.models.blocks import join, per_time, resize, wide
from midframe.ops import correlation, splat
from midframe.types import Inputs, Prediction

SIZES = {"base": 1.0, "large": 1.5, "LARGE": 2.0}
FEATURES = (16, 32, 64)
MOTION = (160, 128, 112, 96, 64)
SYNTHESIS = (32, 64, 128)
RADIUS = 4
TRAINED_WIDTH = 448  # of Vimeo90K, at which three levels suffice


def _conv(inside: int, outside: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, kernel, stride, kernel // 2)


def _leaky(*layers: nn.Module) -> nn.Sequential:
    """Put LeakyReLU(0.1) behind each layer."""
    both = [module for layer in layers for module in (layer, nn.LeakyReLU(0.1))]
    return nn.Sequential(*both)


def _prelu(*layers: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    """Put a PReLU with one slope per channel behind each layer."""
    both = [m for layer in layers for m in (layer, nn.PReLU(layer.out_channels))]
    return nn.Sequential(*both)


class FeaturePyramid(nn.Module):
    """Features of one frame: (N, 3, h, w) -> c0 at h, c1 at h/2, c2 at h/4."""

    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        inside = 3
        for stage, width in enumerate(widths):
            first = _conv(inside, width, stride=2 if stage else 1)
            rest = [_conv(width, width) for _ in range(3)]
            setattr(self, f"conv_stage{stage}", _leaky(first, *rest))
            inside = width

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the three scales, finest first."""
        fine = self.conv_stage0(x)
        half = self.conv_stage1(fine)
        return fine, half, self.conv_stage2(half)


class MotionEstimator(nn.Module):
    """Flow between the frames at a quarter of the level's resolution."""

    def __init__(self, feature: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        inside, kernel = (2 * RADIUS + 1) ** 2 + 3 * feature + 4, 1
        for layer, width in enumerate(widths, start=1):
            setattr(self, f"conv_layer{layer}", _leaky(_conv(inside, width, kernel)))
            inside, kernel = width, 3
        self.conv_layer6 = nn.Sequential(_conv(inside, 4))

    def forward(
        self, first: Tensor, second: Tensor, feature: Tensor, flow: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Estimate flow anew from the level before.

        Args:
            first: c2 features (N, C, h, w) of frame 0; second of frame 1.
            second: see ``first``.
            feature: (N, C, h, w) motion features of the level before.
            flow: (N, 4, h, w) 0->1 then 1->0, in pixels of the level, of which h is a quarter.

        Returns:
            flow in the same unit, and the motion features.
        """
        middle = flow * 0.25 * 0.5  # to the temporal middle, in pixels of this grid
        one = splat(first, middle[:, :2], None, "avg", "zeroeps")
        two = splat(second, middle[:, 2:], None, "avg", "zeroeps")
        volume = F.leaky_relu(correlation(one, two, RADIUS), 0.1)
        x = join(volume, one, two, feature, flow.to(feature.dtype))
        for layer in (1, 2, 3, 4, 5):
            x = getattr(self, f"conv_layer{layer}")(x)
        return wide(self.conv_layer6(x)), x


class SynthesisNetwork(nn.Module):
    """The frame from both frames and features, splatted to its time."""

    def __init__(self, feature: tuple[int, int, int], widths: tuple[int, int, int]) -> None:
        super().__init__()
        (c0, c1, c2), (s0, s1, s2) = feature, widths

        def up(inside: int, outside: int) -> nn.Sequential:
            return _prelu(nn.ConvTranspose2d(inside, outside, 4, 2, 1), _conv(outside, outside))

        def down(inside: int, outside: int) -> nn.Sequential:
            rest = (_conv(outside, outside), _conv(outside, outside))
            return _prelu(_conv(inside, outside, stride=2), *rest)

        self.encoder_conv = _prelu(_conv(19, s0), _conv(s0, s0))
        self.encoder_down1 = down(s0 + 2 * c0, s1)
        self.encoder_down2 = down(s1 + 2 * c1, s2)
        self.decoder_up1 = up(s2 + 2 * c2, s1)
        self.decoder_up2 = up(2 * s1, s0)
        self.decoder_conv = _prelu(_conv(2 * s0, s0), _conv(s0, s0))
        self.pred = _conv(s0, 5)

    def forward(
        self, before: Tensor | None, level: Level, flow: Tensor, t: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Synthesise at every t; N = B * T.

        Args:
            before: (N, 3, h, w) the frame of the level before, or None at the coarsest.
            level: frames and features (B, ...).
            flow: (B, 4, h, w) in pixels.
            t: (B, T).

        Returns:
            frame (N, 3, h, w), the weight of frame 0 (N, 1, h, w), the residual (N, 3, h, w).
        """
        times, dtype = t.shape[1], self.pred.weight.dtype
        at = t.reshape(-1, 1, 1, 1).to(flow.dtype)
        flows = per_time(flow, times)
        flows = torch.cat((flows[:, :2] * at, flows[:, 2:] * (1 - at)), 1)
        frames = tuple(per_time(frame, times) for frame in level.frames)
        image, warped = self._warp(frames, level, flows, times)
        if before is None:
            before = image[0] * (1 - at) + image[1] * at
        s0 = self.encoder_conv(join(*(x.to(dtype) for x in (before, *image, *frames, flows))))
        s1 = self.encoder_down1(join(s0, *warped[0]))
        s2 = self.encoder_down2(join(s1, *warped[1]))
        x = self.decoder_up1(join(s2, *warped[2]))
        x = self.decoder_up2(join(x, s1))
        said = wide(self.pred(self.decoder_conv(join(x, s0))))
        residual = 2 * torch.sigmoid(said[:, :3]) - 1
        mask = _blend(torch.sigmoid(said[:, 3:4]) * (1 - at), torch.sigmoid(said[:, 4:]) * at, at)
        merged = image[0] * mask + image[1] * (1 - mask)
        return (merged + residual).clamp(0, 1), mask, residual

    @staticmethod
    def _warp(
        frames: tuple[Tensor, ...], level: Level, flows: Tensor, times: int
    ) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Return both frames splatted, and per scale both features splatted."""
        half = resize(flows, 0.5) * 0.5
        scales = (flows, half, resize(half, 0.5) * 0.5)
        image: list[Tensor] = []
        warped: list[list[Tensor]] = [[], [], []]
        for side in (0, 1):
            part = slice(2 * side, 2 * side + 2)
            for scale, flow in enumerate(scales):
                feature = per_time(level.features[side][scale], times)
                warped[scale].append(splat(feature, flow[:, part], None, "avg", "zeroeps"))
            image.append(splat(frames[side], flows[:, part], None, "avg", "zeroeps"))
        return image, warped


@dataclass
class Level:
    """One level of the image pyramid: both frames (B, 3, h, w) and their features."""

    frames: tuple[Tensor, Tensor]
    features: tuple[tuple[Tensor, ...], tuple[Tensor, ...]]


class UPRNet(Interpolator):
    """The network; see the module's page for the paper.

    Args:
        size: "base", "large" or "LARGE": all widths times 1, 1.5 or 2.
    """

    provides: ClassVar[frozenset[str]] = frozenset(
        {"flow", "mask", "residual", "flows_coarse", "frames_coarse"}
    )
    pad = Pad(16, "half", "after")
    casts: ClassVar[bool] = True

    def __init__(self, size: Literal["base", "large", "LARGE"] = "base") -> None:
        super().__init__()
        if size not in SIZES:
            raise ValueError(f"UPR-Net has sizes {', '.join(SIZES)}, not {size!r}")

        def widths(base: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(int(width * SIZES[size]) for width in base)

        feature = widths(FEATURES)
        self.feat_pyramid = FeaturePyramid(feature)
        self.motion_estimator = MotionEstimator(feature[-1], widths(MOTION))
        self.synthesis_network = SynthesisNetwork(feature, widths(SYNTHESIS))

    def hints(self, height: int, width: int) -> dict[str, Any]:
        """Return the levels of the authors' demo: three at a width of 448, one more per octave."""
        return {"pyr_level": max(math.ceil(math.log2(width / TRAINED_WIDTH) + 3), 1)}

    def padding(self, pyr_level: int = 3, **hints: Any) -> Pad:
        """Sizes are multiples of 2 ** (pyr_level + 1)."""
        return replace(self.pad, multiple=2 ** (pyr_level + 1))

    def forward(
        self, x: Inputs, pyr_level: int = 3, nr_lvl_skipped: int = 0, **hints: Any
    ) -> Prediction:
        """Interpolate at every ``x.t``; motion and features are computed once for all of them.

        Args:
            x: two frames; height and width must be multiples of ``2 ** (pyr_level + 1)``.
            pyr_level: levels of the image pyramid: 3 in training, 5 for SNU-FILM, 7 for 4K.
            nr_lvl_skipped: of the finest levels: their motion is that of the level above, and only
                the finest is synthesised; 2 for 4K.
            **hints: options of other models; ignored.

        Returns:
            Frame (clamped to [0, 1]), flow 0->1 and 1->0 (the same for every t), the weight of
            frame 0, residual; frames and flows of the coarser levels.

        Raises:
            ValueError: for sizes or levels that do not fit.
        """
        self._check(x, pyr_level, nr_lvl_skipped)
        pair = tuple(frame.flip(1) for frame in x.pair)  # the weights are trained on BGR
        flow = feature = frame = None
        flows, frames = [], []
        for number in reversed(range(nr_lvl_skipped, pyr_level)):
            level = self._level(pair, number)
            flow, feature = self._motion(level, flow, feature)
            flows.insert(0, resize(flow, 4.0))
            frame = frame if frame is None else resize(frame, 2.0)
            frame, mask, residual = self.synthesis_network(frame, level, flows[0], x.t)
            frames.insert(0, frame)
        if nr_lvl_skipped:
            scale = 2.0**nr_lvl_skipped
            flows.insert(0, resize(resize(flow, scale) * scale, 4.0))
            frame, mask, residual = self.synthesis_network(
                resize(frame, scale), self._level(pair, 0), flows[0], x.t
            )
            frames.insert(0, frame)
        return self._prediction(x.t, frames, flows, mask, residual)

    @staticmethod
    def _check(x: Inputs, levels: int, skipped: int) -> None:
        if levels < 1 or not 0 <= skipped < levels:
            raise ValueError(
                f"UPR-Net takes pyr_level >= 1 and 0 <= nr_lvl_skipped < pyr_level, "
                f"not {levels} and {skipped}"
            )
        multiple = 2 ** (levels + 1)
        height, width = x.frames.shape[-2:]
        if height % multiple or width % multiple:
            raise ValueError(
                f"UPR-Net with pyr_level={levels} takes heights and widths that are multiples of "
                f"{multiple}, not {height}x{width}; `interpolate` pads to them"
            )

    def _level(self, pair: tuple[Tensor, ...], number: int) -> Level:
        """Return the frames at 1 / 2 ** number of their size, resized in one step, and features."""
        both = resize(torch.cat(pair), 0.5**number)
        features = self.feat_pyramid(both.to(self.synthesis_network.pred.weight.dtype))
        halves = tuple(zip(*(scale.chunk(2) for scale in features)))
        return Level(both.chunk(2), halves)

    def _motion(
        self, level: Level, flow: Tensor | None, feature: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Estimate flow (B, 4, h/4, w/4) and motion features from those of the level before."""
        first, second = (features[-1] for features in level.features)
        if flow is None or feature is None:
            flow = level.frames[0].new_zeros(first.shape[0], 4, *first.shape[-2:])
            feature = torch.zeros_like(first)
        else:
            # the features are doubled like the flow: so are the published weights trained
            flow, feature = resize(flow, 2.0) * 2, resize(feature, 2.0) * 2
        return self.motion_estimator(first, second, feature, flow)

    @staticmethod
    def _prediction(
        t: Tensor, frames: list[Tensor], flows: list[Tensor], mask: Tensor, residual: Tensor
    ) -> Prediction:
        batch, times = t.shape

        def shaped(y: Tensor) -> Tensor:
            return y.reshape(batch, times, *y.shape[1:])

        def rgb(y: Tensor) -> Tensor:
            return shaped(y.flip(1))

        def shared(y: Tensor) -> Tensor:
            return y.reshape(batch, 1, 2, 2, *y.shape[-2:]).expand(-1, times, -1, -1, -1, -1)

        return Prediction(
            frame=rgb(frames[0]),
            flow=shared(flows[0]),
            flow_kind="forward",
            mask=shaped(mask),
            residual=rgb(residual),
            frames_coarse=tuple(rgb(f) for f in frames[1:]),
            flows_coarse=tuple(shared(f) for f in flows[1:]),
        )


def _blend(first: Tensor, second: Tensor, t: Tensor) -> Tensor:
    """Return first / (first + second), and 1 - t where both are zero.

    The published form divides there and gives NaN, which masks that underflow have been seen to do.
    """
    total = first + second
    empty = total == 0
    return torch.where(empty, 1 - t, first / torch.where(empty, 1.0, total))
