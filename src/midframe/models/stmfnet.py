"""ST-MFNet: spatio-temporal multi-flow network, and ST-MFNet Mini, its narrow form.

Danier, Zhang and Bull, "ST-MFNet: A Spatio-Temporal Multi-Flow Network for Frame Interpolation",
CVPR 2022, arXiv 2111.15483; Morris, Danier, Zhang, Anantrasirichai and Bull, "ST-MFNet Mini:
Knowledge Distillation-Driven Frame Interpolation", ICIP 2023, arXiv 2302.08455. Written from a
description of the network; parameter names are those of the official checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from midframe.models.base import Interpolator, Pad
from midframe.models.blocks import wide
from midframe.models.flow_init import Init, wants_he
from midframe.models.pwcnet import VISIBLE, PWCNet
from midframe.models.softsplat_parts import other_half, side_by_side
from midframe.models.stmfnet_features import UMultiScaleResNext
from midframe.models.stmfnet_grid import IDLE, MIMOGridNet
from midframe.models.stmfnet_init import start_from_average
from midframe.models.stmfnet_kernels import (
    KernelEstimation,
    Upsampler,
    gaussian,
    halved,
    warp,
)
from midframe.models.stmfnet_texture import TextureNetwork
from midframe.models.stmfnet_widths import widths_of
from midframe.models.widths import Width
from midframe.ops import backwarp, splat
from midframe.types import Inputs, Prediction

MEAN = (0.4631, 0.4352, 0.3990)  # of the frames' three channels


class Metric(nn.Module):
    """Importance of each pixel: how badly the flow explains it, times a trainable factor."""

    def __init__(self) -> None:
        super().__init__()
        self.paramScale = nn.Parameter(-torch.ones(1, 1, 1, 1))

    def forward(self, both: Tensor, flow: Tensor) -> Tensor:
        """Return (2 B, 1, H, W) from both frames (2 B, 3, H, W) and the flow between them."""
        back = backwarp(other_half(both), flow, "zeros", grid="centers", visible=VISIBLE)
        error = (both - back).abs().mean(1, keepdim=True)
        return self.paramScale.to(error.dtype) * error


class STMFNet(Interpolator):
    """The network; see the module's page for the papers.

    Three stages: the middle two frames are warped by adaptive kernels at three scales and splatted
    along their flow; GridNet makes a frame of that; a 3D network over all four frames and this one
    adds the texture that is missing.

    Args:
        features: channels of the feature U-Net at H/2, H/4, H/8 and H/16; even numbers.
        kernels: channels of the networks that estimate AdaCoF's kernels.
        grid: channels of GridNet's rows at 2 H, H and H/2.
        texture: channels of the texture network at H/2, H/4, H/8 and H/8.
        fuse: channels to which its five times are fused.
        flow: whether there is PWC-Net and what it splats; ST-MFNet Mini has none.
        train_flow: whether PWC-Net is fine-tuned; else it gets no gradient.
        init: "default" is as published; "he" starts at the average of the middle two frames, from
            where little training goes further: see `stmfnet_init`. Flow is not concerned.
    """

    context: ClassVar[int] = 2
    times = "half"
    provides: ClassVar[frozenset[str]] = frozenset({"frames_coarse"})
    pad = Pad(128, "reflect", "after")
    casts: ClassVar[bool] = True
    idle: ClassVar[frozenset[str]] = frozenset(f"scale_synthesis.{name}" for name in IDLE)

    def __init__(
        self,
        features: Sequence[int] = (64, 128, 256, 512),
        kernels: int = 64,
        grid: Sequence[int] = (32, 64, 96),
        texture: Sequence[int] = (32, 64, 96, 128),
        fuse: int = 32,
        flow: bool = True,
        train_flow: bool = False,
        init: Init = "default",
    ) -> None:
        super().__init__()
        options = {"features": features, "grid": grid, "texture": texture}
        for (name, given), count in zip(options.items(), (4, 3, 4)):
            if len(given) != count:
                raise ValueError(f"{name} of ST-MFNet is {count} widths, not {list(given)}")
        if any(width < 2 or width % 2 for width in features):
            raise ValueError(f"features of ST-MFNet are even numbers, not {list(features)}")
        self._options: dict[str, int | Sequence[int]] = {
            **options,
            "kernels": kernels,
            "fuse": fuse,
        }
        self.gauss_kernel = nn.Parameter(gaussian(), requires_grad=False)
        self.feature_extractor = UMultiScaleResNext(features)
        self.get_kernel = KernelEstimation(features[0], kernels)
        self.upsampler = Upsampler()
        self.scale_synthesis = MIMOGridNet((6, 12 if flow else 6, 6), grid)
        self.flow_estimator: PWCNet | None = None
        self.metric: Metric | None = None
        if flow:
            self.flow_estimator = PWCNet("centers", "rgb").requires_grad_(train_flow)
            self.metric = Metric()
        self.dyntex_generator = TextureNetwork(texture, fuse)
        if wants_he("ST-MFNet", init):
            start_from_average(self)
        for name in self.idle:  # else distributed training would wait for their gradients
            self.get_parameter(name).requires_grad_(False)

    def widths(self) -> tuple[Width, ...]:
        """Return which options set which weights' channels."""
        return widths_of(self._options, self.named_parameters(), self.idle)

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        """Interpolate in the middle, whatever ``x.t``.

        Args:
            x: four frames whose height and width are multiples of 128.
            **hints: options of other models; ignored.

        Returns:
            Frame (not clamped), and as ``frames_coarse`` the one without texture, of the same size.

        Raises:
            ValueError: for sizes that do not fit.
        """
        self.check_size(x)
        coarse = self._synthesised(torch.cat(x.pair))
        first, second, third, fourth = x.frames.unbind(1)
        five = torch.stack((first, second, coarse, third, fourth), 2)
        frame = coarse + wide(self.dyntex_generator(five.to(self.dtype)))
        times = x.t.shape[1]
        coarse, frame = (y[:, None].expand(-1, times, -1, -1, -1) for y in (coarse, frame))
        return Prediction(frame, frames_coarse=(coarse,))

    def _synthesised(self, both: Tensor) -> Tensor:
        """Return the frame without texture (B, 3, H, W) from the middle two, (2 B, 3, H, W)."""
        mean = both.new_tensor(MEAN)[:, None, None]
        seen = side_by_side(both - mean)
        features = self.feature_extractor(seen.to(self.dtype))
        sizes = {"_us": self.upsampler(both), "": both, "_ds": halved(both, self.gauss_kernel)}
        rows = []
        for scale, frames in sizes.items():
            row = self._warped(features, frames, scale)
            rows.append([*row, *self._splatted(both)] if scale == "" else row)
        entering = [torch.cat(row, 1).to(self.dtype) for row in rows]
        return wide(self.scale_synthesis(entering))

    def _warped(self, features: Tensor, both: Tensor, scale: str) -> list[Tensor]:
        """Return both frames of a scale (2 B, 3, h, w) by their kernels, (B, 3, h, w) each."""
        # one frame after the other: the kernels of a large frame take hundreds of megabytes
        return [
            warp(frame, self.get_kernel(features, side, scale))
            for side, frame in enumerate(both.chunk(2), start=1)
        ]

    def _splatted(self, both: Tensor) -> tuple[Tensor, ...]:
        """Return both frames (2 B, 3, H, W) splatted to the middle, (B, 3, H, W) each, if any."""
        if self.flow_estimator is None or self.metric is None:
            return ()
        flow = self.flow_estimator.estimate_both(*both.chunk(2))
        return splat(both, 0.5 * flow, self.metric(both, flow), "soft", "zeroeps").chunk(2)
