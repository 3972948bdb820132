"""Classical baseline: DIS optical flow (OpenCV) in both directions, then warping or splatting.

Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016, arXiv 1603.03590, for the
flow. The rest is the usual classical recipe: the two flows are projected to the target time, every
pixel weighs the candidates by how well the two frames agree there, and what one frame does not see
is taken from the other.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from midframe.models.base import Interpolator, Pad
from midframe.models.dis_candidates import (
    Candidates,
    Move,
    candidates,
    choice,
    landed,
    mixed,
    moves_of,
    share,
)
from midframe.types import Inputs, Prediction


class Dis(Interpolator):
    """DIS flow and bicubic warping; not differentiable, runs on the CPU.

    Args:
        method: "warp" samples the frames backward along the projected flow, "splat" moves their
            pixels forward along it.
        estimates: 2 runs the flow with and without mean normalisation of the patches and lets each
            pixel choose: large motion of little texture gains much. 1 takes half the time.
        iterations: gradient descent steps of each patch.
        refine: steps of the variational refinement of the first estimate.
    """

    provides: ClassVar[frozenset[str]] = frozenset({"flow", "mask"})
    trainable: ClassVar[bool] = False
    pad = Pad(1)

    def __init__(
        self,
        method: Literal["warp", "splat"] = "warp",
        estimates: Literal[1, 2] = 2,
        iterations: int = 25,
        refine: int = 5,
    ) -> None:
        super().__init__()
        if method not in ("warp", "splat"):
            raise ValueError(f"method is warp or splat, not {method!r}")
        check_estimates(estimates)
        self.method, self.estimates = method, estimates
        self.iterations, self.refine = iterations, refine

    @torch.no_grad()
    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        """Interpolate at every ``x.t``; flow is backward (t->0, t->1)."""
        device = x.frames.device
        made: list[list[tuple[Tensor, Tensor, Tensor]]] = []  # frame, flow, mask
        with torch.autocast(device.type, enabled=False):
            for first, second, times in zip(*_on_cpu(x.pair), x.t.tolist()):
                moves = moves_of(first, second, self.estimates, self.iterations, self.refine)
                made.append([self._at(first, second, moves, t) for t in times])
        frame, flow, mask = (
            torch.stack([torch.stack([at[part] for at in row]) for row in made]).to(device)
            for part in range(3)
        )
        return Prediction(frame.to(x.frames.dtype), flow, "backward", mask)

    def _at(
        self, first: Tensor, second: Tensor, moves: list[Move], t: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return frame (3, H, W), flow (2, 2, H, W) and mask (1, H, W) at one time."""
        found = candidates(first, second, moves, t)
        weights, mask = choice(found), share(found, torch.tensor(t))
        motion = mixed(weights, found.motion)
        left, right = mixed(weights, found.left), mixed(weights, found.right)
        if self.method == "splat":
            forth, back, trust0, trust1 = moves[0]
            left, _ = landed(first, t * forth, trust0, left)
            right, _ = landed(second, (1 - t) * back, trust1, right)
        frame = (mask * left + (1 - mask) * right).clamp(0, 1)
        return frame, torch.stack((-t * motion, (1 - t) * motion)), mask


def check_estimates(estimates: int) -> None:
    """Raise `ValueError` for another number than there are estimates."""
    if estimates not in (1, 2):
        raise ValueError(f"estimates is 1 or 2, not {estimates!r}")


# one operator for PyTorch, so that a network around it compiles as one graph
@torch.library.custom_op("midframe::dis_candidates", mutates_args=())
def dis_candidates(
    first: Tensor, second: Tensor, t: Tensor, estimates: int, iterations: int, refine: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the parts of `Candidates` of frames (B, 3, H, W) at times (B, T), float32.

    Their leading axes are (B, T); they are on the frames' device. See `moves_of` for the options.
    """
    device = first.device
    made: list[list[Candidates]] = []
    with torch.autocast(device.type, enabled=False):
        for one, other, times in zip(*_on_cpu((first, second)), t.tolist()):
            moves = moves_of(one, other, estimates, iterations, refine)
            made.append([candidates(one, other, moves, time) for time in times])
    parts = [torch.stack([torch.stack([at[i] for at in row]) for row in made]) for i in range(5)]
    motion, left, right, cost, seen = (part.to(device) for part in parts)
    return motion, left, right, cost, seen


@dis_candidates.register_fake
def _(
    first: Tensor, second: Tensor, t: Tensor, estimates: int, *options: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    count, size = 4 * estimates, first.shape[-2:]
    shapes = ((count, 2), (count, 3), (count, 3), (count,), (2 * estimates,))
    made = [first.new_empty((*t.shape, *shape, *size), dtype=torch.float32) for shape in shapes]
    return made[0], made[1], made[2], made[3], made[4]


def _on_cpu(pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    first, second = (frames.detach().cpu().float() for frames in pair)
    return first, second
