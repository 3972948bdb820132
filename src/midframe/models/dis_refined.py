"""Classical flow that a small network chooses from and mends: midframe's own for processors.

Classical flow gives each pixel some candidates (`midframe.models.dis_candidates`): several motions,
and what either frame has along each. `model=dis` mixes them by how well the two frames agree. Here
a U-Net at half the resolution corrects those weights, of every candidate in either frame, and adds
a residual. Untrained it says nothing, so that training starts at what `model=dis` gives.

The parts are the usual ones: a mixture of warped frames and a residual (Super SloMo, CVPR 2018;
RIFE, ECCV 2022), on top of flow that is given (SoftSplat, CVPR 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midframe.models.base import Interpolator, Pad
from midframe.models.blocks import conv, resize
from midframe.models.dis import check_estimates, dis_candidates
from midframe.models.dis_candidates import Candidates, choice, mixed, share
from midframe.types import Inputs, Prediction

# What the network says is small beside what it is added to: at full size the noise of its first
# steps would be as large as the error that is left to mend, and training would not begin.
OF_WEIGHTS = 0.5
OF_FRAME = 0.03
GAIN = 10.0  # of differences of values, which are far smaller than the values
LEAST = 1e-12  # of a weight, for its logarithm
STILL = 255.0  # exp(-STILL d) of the residual is kept back where the frames differ by d


def _block(inside: int, outside: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        conv(inside, outside, stride=stride),
        nn.PReLU(outside),
        conv(outside, outside),
        nn.PReLU(outside),
    )


class Mender(nn.Module):
    """U-Net at half the resolution; zeros untrained.

    Args:
        widths: channels at 1/2, 1/4, ... of the resolution.
        fine: channels that are seen at the full resolution.
        coarse: channels that are seen at half of it.
        weights: channels that are said at half of it, and resized.
        values: channels that are said at the full resolution.
    """

    def __init__(
        self, widths: Sequence[int], fine: int, coarse: int, weights: int, values: int
    ) -> None:
        super().__init__()
        inside = (4 * fine + coarse, *widths)
        strides = (1, *[2] * (len(widths) - 1))
        self.down = nn.ModuleList(map(_block, inside, widths, strides))
        small, large = widths[:0:-1], widths[-2::-1]
        self.narrow = nn.ModuleList(map(conv, small, large))
        self.up = nn.ModuleList(_block(2 * width, width) for width in large)
        self.weights = weights
        self.head = conv(widths[0], weights + 4 * values)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(self, fine: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, weights, H, W) and (N, values, H, W), float32.

        Args:
            fine: (N, fine, H, W); multiples of 2 to the power of the number of widths.
            coarse: (N, coarse, H / 2, W / 2).
        """
        x = torch.cat((F.pixel_unshuffle(fine, 2), coarse), 1).to(self.head.weight.dtype)
        kept = []
        for block in self.down:
            x = block(x)
            kept.append(x)
        for narrow, block, skipped in zip(self.narrow, self.up, kept[-2::-1]):
            x = block(torch.cat((resize(narrow(x), 2), skipped), 1))
        said = self.head(x).float()
        return resize(said[:, : self.weights], 2), F.pixel_shuffle(said[:, self.weights :], 2)


class DisRefined(Interpolator):
    """DIS flow, and a network that chooses from what it gives; see the module's page.

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
        check_estimates(estimates)
        self.options = (estimates, iterations, refine)
        count = 4 * estimates
        coarse = count + 2 * estimates + 2 * count  # choice, seen, motion
        self.mender = Mender(tuple(widths), 3 + 3 + 3 + 1, coarse, 2 * count, 3)

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        """Interpolate at every ``x.t``; flow is backward (t->0, t->1).

        Args:
            x: two frames; height and width must be multiples of 8.
            **hints: options of other models; ignored.

        Raises:
            ValueError: for sizes that do not fit.
        """
        self.check_size(x, **hints)
        parts = dis_candidates(*x.pair, x.t, *self.options)
        found = Candidates(*(part.flatten(0, 1) for part in parts))
        t = x.t.flatten().to(found.cost.dtype)
        said, added = self.mender(*_seen(found, t))
        start = _both(choice(found), share(found, t))
        weights = torch.softmax(start.clamp(min=LEAST).log() + OF_WEIGHTS * said, 1)
        t = t[:, None, None, None]
        of_left, of_right = weights.chunk(2, 1)
        motion = mixed(of_left + of_right, found.motion)
        # The ends of the gap are the frames themselves, and so is what stands still.
        added = 4 * t * (1 - t) * _moves(x, motion) * OF_FRAME * added
        frame = mixed(weights, torch.cat((found.left, found.right), 1)) + added
        shape = (-1, x.t.shape[1])
        return Prediction(
            frame.clamp(0, 1).unflatten(0, shape).to(x.frames.dtype),
            torch.stack((-t * motion, (1 - t) * motion), 1).unflatten(0, shape),
            "backward",
            of_left.sum(1, keepdim=True).unflatten(0, shape),
            added.unflatten(0, shape),
        )


@torch.no_grad()  # nothing is to be learnt by moving more, and hypot(0, 0) has no gradient
def _moves(x: Inputs, motion: Tensor) -> Tensor:
    """Return (N, 1, H, W): 0 where the frames are the same and nothing moves, else towards 1."""
    first, second = x.pair
    differs = F.avg_pool2d((second - first).abs().mean(1, keepdim=True), 5, 1, 2)
    differs = differs.float().repeat_interleave(x.t.shape[1], 0)
    pixels = torch.hypot(*motion.split(1, 1))
    return 1 - torch.exp(-STILL * differs - pixels)


def _both(chosen: Tensor, mask: Tensor) -> Tensor:
    """Return the classical weights (N, 2 K, H, W) of all candidates in frame 0, then in frame 1."""
    return torch.cat((mask * chosen, (1 - mask) * chosen), 1)


def _seen(found: Candidates, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the network sees, fine and coarse, all about 0 and in a range of a few."""
    chosen, mask = choice(found), share(found, t)
    left, right = mixed(chosen, found.left), mixed(chosen, found.right)
    base = (mask * left + (1 - mask) * right).clamp(0, 1)
    blurred = F.avg_pool2d(base, 5, 1, 2)
    differences = ((GAIN * d).clamp(-3, 3) for d in (left - right, base - blurred))
    apart = (found.motion - mixed(chosen, found.motion).unsqueeze(1)) / 4
    coarse = torch.cat(
        (
            chosen.clamp(min=LEAST).log().clamp(min=-8) / 4 + 0.5,
            (found.seen - 1).clamp(-1, 2),
            apart.clamp(-4, 4).flatten(1, 2),
        ),
        1,
    )
    fine = torch.cat((2 * base - 1, *differences, 2 * mask - 1), 1)
    return fine, F.avg_pool2d(coarse, 2)
