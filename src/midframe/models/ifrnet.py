"""IFRNet: intermediate feature refine network, sizes S, base and L.

Kong et al., "IFRNet: Intermediate Feature Refine Network for Efficient Frame Interpolation",
CVPR 2022, arXiv 2205.14620. One encoder pyramid for both frames; four decoders refine, from coarse
to fine, the features of the middle frame together with its two flows. Parameter names are those of
the official checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from midframe.models.base import Interpolator, Pad
from midframe.models.blocks import conv_prelu, join, per_time, resize, wide
from midframe.models.widths import Width
from midframe.ops import backwarp
from midframe.types import Inputs, Prediction


@dataclass(frozen=True)
class Widths:
    """Channels of the pyramid levels, of the residual blocks' side path, and the first kernel.

    A decoder has two (the coarsest) or three times the channels of its level; its side path has
    at most as many as it.
    """

    pyramid: tuple[int, int, int, int]
    side: int
    first_kernel: int = 3

    def __post_init__(self) -> None:
        numbers = [*self.pyramid, self.side, self.first_kernel]
        if len(self.pyramid) != 4 or not all(type(n) is int and n > 0 for n in numbers):
            raise ValueError(
                f"widths={asdict(self)}: give four numbers of channels for pyramid, and one for "
                "side and first_kernel, all from 1 on"
            )
        if self.first_kernel % 2 == 0:
            raise ValueError(f"widths: first_kernel={self.first_kernel} must be odd")


SIZES = {
    "S": Widths((24, 36, 54, 72), side=24),
    "base": Widths((32, 48, 72, 96), side=32),
    "L": Widths((64, 96, 144, 192), side=64, first_kernel=7),
}


LEAST_SCALE, GREATEST_SCALE = 0.01, 4.0  # of the frames that the flow is estimated on
_PARTS = 100  # greatest denominator of a scale: two decimals
_ROUNDING = 1e-12  # by which a number may miss what it stands for


class Encoder(nn.Module):
    """Feature pyramid of one frame: (N, 3, H, W) -> features at H/2, H/4, H/8, H/16."""

    pyramid1: nn.Sequential
    pyramid2: nn.Sequential
    pyramid3: nn.Sequential
    pyramid4: nn.Sequential

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        inside, kernel = 3, widths.first_kernel
        for level, outside in enumerate(widths.pyramid, start=1):
            down = conv_prelu(inside, outside, kernel, stride=2)
            setattr(self, f"pyramid{level}", nn.Sequential(down, conv_prelu(outside, outside)))
            inside, kernel = outside, 3

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the four levels, finest first."""
        levels = []
        for pyramid in (self.pyramid1, self.pyramid2, self.pyramid3, self.pyramid4):
            x = pyramid(x)
            levels.append(x)
        return tuple(levels)


class SideResBlock(nn.Module):
    """Residual block whose second and fourth convolution work on the last ``side`` channels."""

    def __init__(self, width: int, side: int) -> None:
        super().__init__()
        side = min(side, width)
        self.split = (width - side, side)
        self.conv1 = conv_prelu(width, width)
        self.conv2 = conv_prelu(side, side)
        self.conv3 = conv_prelu(width, width)
        self.conv4 = conv_prelu(side, side)
        self.conv5 = nn.Conv2d(width, width, 3, padding=1)
        self.prelu = nn.PReLU(width)

    def forward(self, x: Tensor) -> Tensor:
        """Refine (N, width, h, w)."""
        rest, side = self.conv1(x).split(self.split, dim=1)
        rest, side = self.conv3(torch.cat((rest, self.conv2(side)), 1)).split(self.split, dim=1)
        return self.prelu(x + self.conv5(torch.cat((rest, self.conv4(side)), 1)))


class Decoder(nn.Module):
    """One refinement step; the output has twice the input's resolution."""

    def __init__(self, inside: int, width: int, side: int, outside: int) -> None:
        super().__init__()
        self.convblock = nn.Sequential(
            conv_prelu(inside, width),
            SideResBlock(width, side),
            nn.ConvTranspose2d(width, outside, 4, 2, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, outside, 2h, 2w)."""
        return self.convblock(x)


class IFRNet(Interpolator):
    """The network; see the module's page for the paper.

    Args:
        size: "S", "base" or "L".
        init: "default" is PyTorch's, as published. "he" draws the convolutions from He et al.'s
            normal distribution (ICCV 2015) and zeroes what the decoders say about flow, mask and
            residual: an untrained network returns the average of the two frames, and learns
            motion from scratch many times sooner, since PyTorch's default shrinks the features
            from layer to layer until both frames look alike to the decoders.
        widths: what differs from the size's `Widths`, all or some: ``{pyramid: [24, 36, 54, 72],
            side: 24, first_kernel: 3}`` is size S.

    Raises:
        ValueError: for options that are not known or not possible.
    """

    provides: ClassVar[frozenset[str]] = frozenset(
        {"flow", "mask", "residual", "flows_coarse", "features"}
    )
    pad = Pad(16, "replicate", "both")
    casts: ClassVar[bool] = True

    def __init__(
        self,
        size: Literal["S", "base", "L"] = "base",
        init: Literal["default", "he"] = "default",
        widths: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if size not in SIZES:
            raise ValueError(f"IFRNet has sizes {', '.join(SIZES)}, not {size!r}")
        unknown = set(widths or {}) - set(asdict(SIZES[size]))
        if unknown:
            raise ValueError(f"IFRNet's widths have no {', '.join(sorted(unknown))}")
        changed: dict[str, Any] = {
            k: tuple(v) if k == "pyramid" else v for k, v in (widths or {}).items()
        }
        self._widths = chosen = replace(SIZES[size], **changed)
        c1, c2, c3, c4 = chosen.pyramid
        self.encoder = Encoder(chosen)
        self.decoder4 = Decoder(2 * c4 + 1, 2 * c4, chosen.side, 4 + c3)
        self.decoder3 = Decoder(3 * c3 + 4, 3 * c3, chosen.side, 4 + c2)
        self.decoder2 = Decoder(3 * c2 + 4, 3 * c2, chosen.side, 4 + c1)
        self.decoder1 = Decoder(3 * c1 + 4, 3 * c1, chosen.side, 8)
        if init == "he":
            self.start_from_average()
        elif init != "default":
            raise ValueError(f"IFRNet has init default and he, not {init!r}")

    @torch.no_grad()
    def start_from_average(self) -> None:
        """Draw the convolutions anew (He, for PReLU) and let the decoders say nothing."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, a=0.25)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        for decoder in (self.decoder4, self.decoder3, self.decoder2, self.decoder1):
            head = decoder.convblock[2]
            assert isinstance(head, nn.ConvTranspose2d) and head.bias is not None
            spoken = 8 if decoder is self.decoder1 else 4
            head.weight[:, :spoken].zero_()
            head.bias[:spoken].zero_()

    def widths(self) -> tuple[Width, ...]:
        """Return one for each pyramid level, with its decoder, and one for the side path."""
        found = []
        for level, channels in enumerate(self._widths.pyramid, start=1):
            names = [f"encoder.pyramid{level}.{i}.0.weight" for i in (0, 1)]
            block = f"decoder{level}.convblock"
            inside = ("0.0", "1.conv1.0", "1.conv3.0", "1.conv5")
            names += [f"{block}.{layer}.weight" for layer in inside]
            if level < 4:  # where the coarser decoder hands on this level's features
                names.append(f"decoder{level + 1}.convblock.2.weight")
            found.append(Width(f"widths.pyramid.{level - 1}", channels, tuple(names)))
        side = [
            f"decoder{level}.convblock.1.{layer}.0.weight"
            for level in (4, 3, 2, 1)
            for layer in ("conv2", "conv4")
        ]
        return (*found, Width("widths.side", self._widths.side, tuple(side)))

    def hints(self, height: int, width: int, benchmark: str | None = None) -> dict[str, Any]:
        """Return the published choice: flow at 0.8 of the size for SNU-FILM, every subset."""
        return {"scale_factor": 0.8} if (benchmark or "").startswith("snufilm") else {}

    def reduced_hints(self, height: int, width: int) -> dict[str, Any]:
        """Return flow at half the size: a third of the memory."""
        return {"scale_factor": 0.5}

    def padding(self, scale_factor: float = 1.0, **hints: Any) -> Pad:
        """Sizes times ``scale_factor`` must be multiples of 16: 20 for the published 0.8.

        ValueError for a factor of no sense, and for one that leaves no whole sizes: 0.333, but not
        1/3 or 0.33.
        """
        number = isinstance(scale_factor, (int, float)) and not isinstance(scale_factor, bool)
        if not number or not LEAST_SCALE <= scale_factor <= GREATEST_SCALE:
            raise ValueError(
                f"IFRNet takes a scale_factor above 0, not {scale_factor}: a number from "
                f"{LEAST_SCALE} to {GREATEST_SCALE}"
            )
        scale = Fraction(scale_factor).limit_denominator(_PARTS)
        if abs(scale.numerator / scale.denominator - scale_factor) > _ROUNDING:
            raise ValueError(
                f"IFRNet takes a scale_factor of two decimals, or another fraction of whole "
                f"numbers up to {_PARTS}, not {scale_factor}"
            )
        return replace(self.pad, multiple=(16 / scale).numerator)

    def forward(self, x: Inputs, scale_factor: float = 1.0, **hints: Any) -> Prediction:
        """Interpolate at every ``x.t``.

        Args:
            x: two frames; height and width times ``scale_factor`` must be multiples of 16.
            scale_factor: the flow is estimated on frames resized by this (0.8 in the published
                SNU-FILM protocol); warping and blending stay at full size.
            **hints: options of other models; ignored.

        Returns:
            Frame (clamped to [0, 1]), flow t->0 and t->1, mask, residual, the three coarser flows
            and the decoders' features at H/2, H/4, H/8.

        Raises:
            ValueError: for sizes that do not fit; it names the multiple.
        """
        self.check_size(x, scale_factor=scale_factor)
        batch, times = x.t.shape
        flows, mask, residual, features = self._decode(x, scale_factor)
        back = 1.0 / scale_factor
        flow = _resized(flows[0], back) * back
        mask, residual = _resized(mask, back), _resized(residual, back)

        mean = self._mean(x)
        first, second = ((f - mean).repeat_interleave(times, 0) for f in x.pair)
        blend = mask * backwarp(first, flow[:, :2]) + (1 - mask) * backwarp(second, flow[:, 2:])
        frame = (blend + mean.repeat_interleave(times, 0) + residual).clamp(0, 1)

        def shaped(y: Tensor, *middle: int) -> Tensor:
            return y.reshape(batch, times, *middle, *y.shape[-2:])

        return Prediction(
            frame=shaped(frame, 3),
            flow=shaped(flow, 2, 2),
            flow_kind="backward",
            mask=shaped(mask, 1),
            residual=shaped(residual, 3),
            flows_coarse=tuple(shaped(f, 2, 2) for f in flows[1:]),
            features=features,
        )

    def target_features(self, x: Inputs, target: Tensor) -> tuple[Tensor, ...]:
        """Encoder features (B*T, C, h, w) of the true frames at H/2, H/4, H/8; with gradient.

        With a ``scale_factor`` in `fixed_hints`, of frames resized by it, as the decoder's are.
        """
        times = target.shape[1]
        centred = target.flatten(0, 1) - per_time(self._mean(x), times)
        return self.encoder(_resized(centred, self.fixed_hints.get("scale_factor", 1.0)))[:3]

    @staticmethod
    def _mean(x: Inputs) -> Tensor:
        """One mean (B, 1, 1, 1) over both frames, all channels and pixels."""
        return torch.stack(x.pair, 1).mean(dim=(1, 2, 3, 4))[:, None, None, None]

    def _decode(
        self, x: Inputs, scale: float
    ) -> tuple[list[Tensor], Tensor, Tensor, tuple[Tensor, ...]]:
        """Return flows finest first (N, 4, h, w), mask, residual, features; N = B*T."""
        times = x.t.shape[1]
        mean = self._mean(x)
        both = _resized(torch.cat(x.pair) - mean.repeat(2, 1, 1, 1), scale)
        both = both.to(self.dtype)
        levels = [level.chunk(2) for level in self.encoder(both)]
        levels = [tuple(per_time(f, times) for f in pair) for pair in levels]

        first, second = levels[3]
        t = x.t.reshape(-1, 1, 1, 1).to(first.dtype).expand(-1, 1, *first.shape[-2:])
        out = self.decoder4(torch.cat((first, second, t), 1))
        flow, feature = wide(out[:, :4]), out[:, 4:]
        flows, features = [flow], [feature]
        for decoder, (first, second) in zip(
            (self.decoder3, self.decoder2, self.decoder1), reversed(levels[:3])
        ):
            warped = (backwarp(first, flow[:, :2]), backwarp(second, flow[:, 2:]))
            out = decoder(join(feature, *warped, flow.to(feature.dtype)))
            flow = wide(out[:, :4]) + 2.0 * resize(flow, 2.0)
            feature = out[:, 4:]
            flows.insert(0, flow)
            features.insert(0, feature)
        last = wide(features.pop(0))
        return flows, torch.sigmoid(last[:, :1]), last[:, 1:], tuple(features)


def _resized(x: Tensor, factor: float) -> Tensor:
    """Resize (N, C, H, W) by a factor that gives whole sizes, whatever its product is rounded to.

    1440 * 0.7 is 1007.99..., of which PyTorch would take 1007.
    """
    return resize(x, factor if factor == 1 else factor * (1 + _ROUNDING))
