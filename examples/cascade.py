"""Coarse-to-fine flow and mask: one small decoder, shared by three levels."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from midframe.models.base import Interpolator, Pad
from midframe.models.blocks import conv_prelu, join, per_time, resize, wide
from midframe.ops import backwarp
from midframe.types import Inputs, Prediction

LEVELS = 3


class Encoder(nn.Module):
    """Feature pyramid of one frame, equally wide at every level so that a decoder can be shared.

    Args:
        width: channels of every level.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(conv_prelu(inside, width, stride=2), conv_prelu(width, width))
            for inside in (3, *[width] * (LEVELS - 1))
        )

    def forward(self, frame: Tensor) -> list[Tensor]:
        """Return features (N, width, h, w) at 1/2, 1/4, 1/8 of the size of (N, 3, H, W)."""
        frame = frame.to(self.levels[0][0][0].weight.dtype)
        features = []
        for level in self.levels:
            frame = level(frame)
            features.append(frame)
        return features


class Decoder(nn.Module):
    """Corrects motion and mask of one level; begins at a correction of almost zero.

    Args:
        width: channels of a frame's features.
        depth: hidden layers.
    """

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        inside = 2 * width + 4 + 1 + 1  # both frames' features, motion, mask, time
        self.body = nn.Sequential(
            conv_prelu(inside, 2 * width),
            *(conv_prelu(2 * width, 2 * width) for _ in range(depth - 1)),
        )
        self.head = nn.Conv2d(2 * width, 5, 3, padding=1)
        nn.init.normal_(self.head.weight, std=1e-4)  # near zero: every layer learns from step 1
        nn.init.zeros_(self.head.bias)

    def forward(self, *parts: Tensor) -> Tensor:
        """Return corrections (N, 5, h, w): motion to frame 0 and to 1, the mask's logit."""
        return wide(self.head(self.body(join(*parts))))


class Cascade(Interpolator):
    """Estimates motion from coarse to fine, warps both frames and blends them.

    The decoder speaks of motion over the whole gap; flow t->0 is t times it, t->1 is 1 - t times,
    and the mask weighs frame 0 by 1 - t before anything is learnt. So any t is one network, an
    untrained one returns nearly the average by time, and at t = 0 and 1 the frame is the input.

    Args:
        width: channels of a frame's features.
        depth: hidden layers of the decoder.
    """

    provides: ClassVar[frozenset[str]] = frozenset({"flow", "mask", "flows_coarse"})
    pad = Pad(2**LEVELS)
    casts: ClassVar[bool] = True

    def __init__(self, width: int = 32, depth: int = 3) -> None:
        super().__init__()
        self.encoder = Encoder(width)
        self.decoder = Decoder(width, depth)

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        """Interpolate at every ``x.t``.

        Args:
            x: two frames; height and width are multiples of 8.
            **hints: options of other models; ignored.

        Returns:
            Frame, flow t->0 and t->1, mask, and the flows at 1/4 and 1/8 of the size.
        """
        self.check_size(x)
        times = x.t.shape[1]
        t = x.t.reshape(-1, 1, 1, 1)  # (B * T, 1, 1, 1)
        share = torch.cat([t, t, 1 - t, 1 - t], 1)  # of the motion, (B * T, 4, 1, 1)
        levels = [
            [per_time(features, times) for features in self.encoder(frame)] for frame in x.pair
        ]
        state: Tensor | None = None  # motion and the mask's logit
        flows: list[Tensor] = []
        for first, second in zip(*(reversed(features) for features in levels)):
            if state is None:
                state = wide(first.new_zeros(len(first), 5, *first.shape[-2:]))
            else:
                state = _enlarge(state)
            flow = share * state[:, :4]
            state = state + self.decoder(
                backwarp(first, flow[:, :2]),
                backwarp(second, flow[:, 2:]),
                state.to(first.dtype),
                t.to(first.dtype).expand(-1, -1, *first.shape[-2:]),
            )
            flows.append(share * state[:, :4])
        state = _enlarge(state)
        flow = share * state[:, :4]
        mask = _mask(state[:, 4:], t)
        first, second = (wide(per_time(frame, times)) for frame in x.pair)
        frame = mask * backwarp(first, flow[:, :2]) + (1 - mask) * backwarp(second, flow[:, 2:])

        def shaped(value: Tensor, *middle: int) -> Tensor:  # (B * T, ...) -> (B, T, ...)
            return value.reshape(*x.t.shape, *middle, *value.shape[-2:])

        return Prediction(
            frame=shaped(frame, 3),
            flow=shaped(flow, 2, 2),
            flow_kind="backward",
            mask=shaped(mask, 1),
            flows_coarse=tuple(shaped(f, 2, 2) for f in reversed(flows[:-1])),
        )


def _enlarge(state: Tensor) -> Tensor:
    """Bring motion and logit (N, 5, h, w) to twice the size; motion is in pixels."""
    state = resize(state, 2)
    return torch.cat([2 * state[:, :4], state[:, 4:]], 1)


def _mask(logit: Tensor, t: Tensor) -> Tensor:
    """Return the weight of frame 0: 1 - t where the logit is 0, exact at t = 0 and 1."""
    first, second = (1 - t) * logit.sigmoid(), t * (-logit).sigmoid()
    return first / (first + second)
