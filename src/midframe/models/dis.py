"""Classical baseline: DIS optical flow (OpenCV) in both directions, then warping or splatting.

Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016, arXiv 1603.03590, for the
flow. The rest is the usual classical recipe: the two flows are projected to the target time, every
pixel weighs the candidates by how well the two frames agree there, and what one frame does not see
is taken from the other.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from midframe.errors import UserError
from midframe.models.base import Interpolator, Pad
from midframe.ops import backwarp, pixel_grid
from midframe.types import Inputs, Prediction

AGREEMENT = 20.0  # weight exp(-20 e) of a pixel whose grey values differ by e between the frames
CHOICE = 30.0  # the same between candidates
UNSEEN = 0.1  # weight of a frame where it does not see the pixel, so that one of two is left
LEAST = 32  # pixels on a side; OpenCV fails below a few patches
LUMA = (0.299, 0.587, 0.114)
FINE = "fine"  # "medium", down to single pixels: better flow in three times the time
PRESETS = ("ultrafast", "fast", "medium", FINE)

# of one estimate: flow 0->1, flow 1->0, how far each is to be trusted
Move = tuple[Tensor, Tensor, Tensor, Tensor]


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
        if estimates not in (1, 2):
            raise ValueError(f"estimates is 1 or 2, not {estimates!r}")
        self.method, self.estimates = method, estimates
        self.iterations, self.refine = iterations, refine

    @torch.no_grad()
    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        """Interpolate at every ``x.t``; flow is backward (t->0, t->1)."""
        options = (self.method, self.estimates, self.iterations, self.refine)
        frame, flow, mask = dis_interpolated(*x.pair, x.t, *options)
        return Prediction(frame.to(x.frames.dtype), flow, "backward", mask)

    def made(self, pair: tuple[Tensor, Tensor], t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return float32 frames (B, T, 3, H, W), flow and mask of frames (B, 3, H, W)."""
        device = pair[0].device
        firsts, seconds = (frame.detach().cpu().float() for frame in pair)
        made: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])  # frame, flow, mask
        with torch.autocast(device.type, enabled=False):
            for first, second, times in zip(firsts, seconds, t.tolist()):
                moves = self._estimate(first, second)
                parts = [self._at(first, second, moves, t) for t in times]
                for into, values in zip(made, zip(*parts)):
                    into.append(torch.stack(values))
        frame, flow, mask = (torch.stack(y).to(device) for y in made)
        return frame, flow, mask

    def _estimate(self, first: Tensor, second: Tensor) -> list[Move]:
        """Return what each estimate says."""
        levels = [grey(frame) for frame in (first, second)]
        moves: list[Move] = []
        for index in range(self.estimates):
            # Without mean normalisation brightness is a clue; refinement would undo the gain.
            plain = index > 0
            forth = self._flow(levels[0], levels[1], plain)
            back = self._flow(levels[1], levels[0], plain)
            trusts = (
                _trust(first - _sample(second, forth)),
                _trust(second - _sample(first, back)),
            )
            moves.append((forth, back, *trusts))
        return moves

    def _flow(self, start: np.ndarray, end: np.ndarray, plain: bool) -> Tensor:
        dis = create_dis("medium")
        dis.setFinestScale(0)
        dis.setGradientDescentIterations(self.iterations)
        dis.setVariationalRefinementIterations(0 if plain else self.refine)
        dis.setUseMeanNormalization(not plain)
        return torch.from_numpy(estimate(dis, start, end)).permute(2, 0, 1).contiguous()

    def _at(
        self, first: Tensor, second: Tensor, moves: list[Move], t: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return frame (3, H, W), flow (2, 2, H, W) and mask (1, H, W) at one time."""
        candidates = []  # of the motion 0->1 of what is seen at t
        for forth, back, trust0, trust1 in moves:
            between = (forth - back) / 2  # where nothing lands
            from0, seen0 = _splat(forth, t * forth, trust0, between)
            from1, seen1 = _splat(-back, (1 - t) * back, trust1, between)
            candidates += [from0, from1, forth, -back]
        views = [(_sample(first, -t * v), _sample(second, (1 - t) * v)) for v in candidates]
        cost = torch.stack([_smooth((a - b).abs().mean(0), 1.5) for a, b in views])
        choice = torch.softmax(-CHOICE * cost, 0)[:, None]
        motion = (choice * torch.stack(candidates)).sum(0)

        share0 = (1 - t) * (seen0.clamp(max=1) + UNSEEN)
        share1 = t * (seen1.clamp(max=1) + UNSEEN)
        mask = (share0 / (share0 + share1))[None]
        left, right = ((choice * torch.stack(view)).sum(0) for view in zip(*views))
        if self.method == "splat":
            forth, back, trust0, trust1 = moves[0]
            left, _ = _splat(first, t * forth, trust0, left)
            right, _ = _splat(second, (1 - t) * back, trust1, right)
        frame = (mask * left + (1 - mask) * right).clamp(0, 1)
        return frame, torch.stack((-t * motion, (1 - t) * motion)), mask


# one operator for PyTorch, so that a network around it compiles and exports as one graph
@torch.library.custom_op("midframe::dis_interpolated", mutates_args=())
def dis_interpolated(
    first: Tensor,
    second: Tensor,
    t: Tensor,
    method: str,
    estimates: int,
    iterations: int,
    refine: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what `Dis` with these options makes, see `Dis.made`."""
    dis = Dis(method, estimates, iterations, refine)  # type: ignore[arg-type]
    return dis.made((first, second), t)


@dis_interpolated.register_fake
def _(first: Tensor, second: Tensor, t: Tensor, *options: Any) -> tuple[Tensor, Tensor, Tensor]:
    size = first.shape[-2:]
    float32 = first.new_empty(0, dtype=torch.float32)
    return (
        float32.new_empty(*t.shape, 3, *size),
        float32.new_empty(*t.shape, 2, 2, *size),
        float32.new_empty(*t.shape, 1, *size),
    )


def create_dis(preset: str = "medium") -> Any:
    """Return OpenCV's estimator with the settings of a preset, one of `PRESETS`."""
    import cv2

    if preset not in PRESETS:
        raise UserError(f"DIS flow has no preset {preset!r}; choose {', '.join(PRESETS)}")
    named = "medium" if preset == FINE else preset
    dis = cv2.DISOpticalFlow.create(getattr(cv2, f"DISOPTICAL_FLOW_PRESET_{named.upper()}"))
    if preset == FINE:
        dis.setFinestScale(0)
    return dis


def grey(frames: Tensor) -> np.ndarray:
    """Return (..., 3, H, W) frames in [0, 1] as (..., H, W) uint8 luma, on the CPU."""
    luma = (frames * frames.new_tensor(LUMA)[:, None, None]).sum(-3)
    return np.ascontiguousarray(luma.mul(255).round().clamp(0, 255).byte().cpu().numpy())


def estimate(dis: Any, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the flow (H, W, 2) in pixels between two (H, W) uint8 pictures of any size."""
    height, width = start.shape
    if min(height, width) >= LEAST:
        return dis.calc(start, end, None)
    missing = ((0, max(0, LEAST - height)), (0, max(0, LEAST - width)))
    start, end = (np.pad(picture, missing, mode="edge") for picture in (start, end))
    return dis.calc(start, end, None)[:height, :width]


def _sample(image: Tensor, flow: Tensor) -> Tensor:
    return backwarp(image[None], flow[None], kernel="bicubic")[0]


def _smooth(x: Tensor, sigma: float) -> Tensor:
    """Blur (H, W) by a Gaussian of ``sigma`` pixels."""
    import cv2

    return torch.from_numpy(cv2.GaussianBlur(x.contiguous().numpy(), (0, 0), sigma))


def _trust(difference: Tensor) -> Tensor:
    """Return weights (H, W) from the difference (3, H, W) between a frame and its match."""
    return torch.exp(-AGREEMENT * _smooth(difference.abs().mean(0), 1.0)) + 1e-6


def _splat(values: Tensor, flow: Tensor, weight: Tensor, fill: Tensor) -> tuple[Tensor, Tensor]:
    """Move ``values`` (C, H, W) along ``flow`` and average what lands in a pixel.

    Returns:
        The average by bilinear share times ``weight`` (H, W), with ``fill`` where next to nothing
        lands; and how many pixels land, (H, W), 1 where the motion neither opens nor closes.
    """
    height, width = weight.shape
    x, y = pixel_grid(height, width, flow) + flow
    left, top = x.floor(), y.floor()
    carried = torch.cat((values * weight, weight[None], torch.ones_like(weight)[None])).flatten(1)
    total = torch.zeros_like(carried)
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        share = (1 - (x - column).abs()) * (1 - (y - row).abs())
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        index = (row * width + column).long()[inside]
        total.index_add_(1, index, carried[:, inside.flatten()] * share[inside])
    total = total.reshape(-1, height, width)
    landed = total[-2]
    mean = total[:-2] / landed.clamp(min=1e-9)
    return torch.where(landed > 1e-3, mean, fill), total[-1]
