"""Classical flow that a small network mends: midframe's own model for processors.

`Dis` gives flow to both frames, how the frames are mixed, and the frame that follows from them. A
U-Net at half the resolution sees all of it and says how far the flow is off, how the frames should
be mixed, and what is to be added. Untrained it says nothing, so that training starts at what
classical flow gives.

The parts are the usual ones: flow and mask that are refined beside a residual (IFRNet, CVPR 2022;
RIFE, ECCV 2022), on top of flow that is given (SoftSplat, CVPR 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midframe.models.base import Interpolator, Pad
from midframe.models.blocks import conv, per_time, resize
from midframe.models.dis import Dis, dis_interpolated
from midframe.ops import backwarp
from midframe.types import Inputs, Prediction

SEEN = 3 * 4 + 4 + 1  # two warped frames, two differences, flow, mask: channels at full resolution
SAID = 2 * 2 + 1 + 3  # two flows, the mask's logit, what is added
FLOW = 1 / 16  # pixels of flow to values of about 1


def _block(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        conv(inside, outside, stride=stride),
        nn.PReLU(outside),
        conv(outside, outside),
        nn.PReLU(outside),
    )


class Mender(nn.Module):
    """U-Net at half the resolution: (N, `SEEN`, H, W) -> (N, `SAID`, H, W); zeros untrained.

    Args:
        widths: channels at 1/2, 1/4, ... of the resolution.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        inside = (4 * SEEN, *widths)
        strides = (1, *[2] * (len(widths) - 1))
        self.down = nn.ModuleList(map(_block, inside, widths, strides))
        coarse, fine = widths[:0:-1], widths[-2::-1]
        self.narrow = nn.ModuleList(map(conv, coarse, fine))
        self.up = nn.ModuleList(_block(2 * width, width) for width in fine)
        self.head = conv(widths[0], 4 * SAID)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Height and width must be multiples of 2 to the power of the number of widths."""
        x = F.pixel_unshuffle(x, 2)
        kept = []
        for block in self.down:
            x = block(x)
            kept.append(x)
        for narrow, block, fine in zip(self.narrow, self.up, kept[-2::-1]):
            x = block(torch.cat((resize(narrow(x), 2), fine), 1))
        return F.pixel_shuffle(self.head(x), 2)


class DisRefined(Interpolator):
    """DIS flow, warping, and a network that mends both; see the module's page.

    Args:
        widths: channels of the network at 1/2, 1/4 and 1/8 of the resolution.
        estimates: see `midframe.models.dis.Dis`, as the others.
        iterations: the same.
        refine: the same.
    """

    provides: ClassVar[frozenset[str]] = frozenset({"flow", "mask", "residual"})
    casts: ClassVar[bool] = True
    pad = Pad(8, "replicate", "after")

    def __init__(
        self,
        widths: Sequence[int] = (32, 48, 64),
        estimates: int = 2,
        iterations: int = 25,
        refine: int = 5,
    ) -> None:
        super().__init__()
        if len(widths) != 3 or min(widths) < 1:
            raise ValueError(f"widths are three numbers of channels, not {list(widths)}")
        Dis("warp", estimates, iterations, refine)  # type: ignore[arg-type]  # checks them
        self.estimates, self.iterations, self.refine = estimates, iterations, refine
        self.mender = Mender(tuple(widths))

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        """Interpolate at every ``x.t``; flow is backward (t->0, t->1).

        Args:
            x: two frames; height and width must be multiples of 8.
            **hints: options of other models; ignored.

        Raises:
            ValueError: for sizes that do not fit.
        """
        self.check_size(x, **hints)
        options = ("warp", self.estimates, self.iterations, self.refine)
        start = dis_interpolated(*x.pair, x.t, *options)
        base, flow, mask = (made.flatten(0, 1) for made in start)
        times = x.t.shape[1]
        frames = torch.cat([per_time(frame, times) for frame in x.pair])
        flows = torch.cat(flow.unbind(1))
        seen = backwarp(frames, flows)
        said = self.mender(_together(seen, base, flows, mask).to(self.mender.head.weight.dtype))
        said = said.float()
        moved = flows + torch.cat(said[:, :4].chunk(2, 1))
        logit = torch.logit(mask, 1e-3) + said[:, 4:5]
        # without a correction both mixtures are the same, and the frame is the classical one
        change = _mixed(backwarp(frames, moved), logit) - _mixed(seen, torch.logit(mask, 1e-3))
        added = said[:, 5:]
        frame = (base + change + added).clamp(0, 1)
        shape = (-1, times)
        return Prediction(
            frame.unflatten(0, shape).to(x.frames.dtype),
            torch.stack(moved.chunk(2), 1).unflatten(0, shape),
            "backward",
            logit.sigmoid().unflatten(0, shape),
            added.unflatten(0, shape),
        )


def _together(seen: Tensor, base: Tensor, flows: Tensor, mask: Tensor) -> Tensor:
    """Return what the network sees (N, `SEEN`, H, W), all about 0 and in a range of about 1."""
    first, second = seen.chunk(2)
    return torch.cat(
        (first - 0.5, second - 0.5, first - base, second - base)
        + tuple(FLOW * flow for flow in flows.chunk(2))
        + (mask - 0.5,),
        1,
    )


def _mixed(pair: Tensor, logit: Tensor) -> Tensor:
    first, second = pair.chunk(2)
    mask = logit.sigmoid()
    return mask * first + (1 - mask) * second
