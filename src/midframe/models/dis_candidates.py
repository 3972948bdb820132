"""What each pixel between two frames may be, by classical flow: `Candidates`.

DIS flow in both directions, by one or two estimates, each projected to the target time and as it
stands: four motions an estimate. Every one of them says what either frame has for the pixel, and
how well the two agree. `choice`, `share` and `mixed` are the classical way to make one frame of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from midframe.models.dis_flow import create_dis, estimate, grey
from midframe.ops import backwarp, splat

AGREEMENT = 20.0  # weight exp(-20 e) of a pixel whose grey values differ by e between the frames
CHOICE = 30.0  # the same between candidates
UNSEEN = 0.1  # weight of a frame where it does not see the pixel, so that one of two is left


class Move(NamedTuple):
    """One estimate: flow 0->1 and 1->0 (2, H, W), and how far each is to be trusted (H, W)."""

    forth: Tensor
    back: Tensor
    trust0: Tensor
    trust1: Tensor


class Candidates(NamedTuple):
    """K motions of each pixel at the target time, of E estimates: K = 4 E.

    Attributes:
        motion: (..., K, 2, H, W) flow 0->1 in pixels of what is seen at the target time.
        left: (..., K, 3, H, W) what frame 0 has there, RGB, about [0, 1].
        right: the same of frame 1.
        cost: (..., K, H, W) mean absolute difference of the two around the pixel.
        seen: (..., 2 E, H, W) how many pixels of frame 0 and of frame 1 land there, by estimate; 1
            where the motion neither opens nor closes.
    """

    motion: Tensor
    left: Tensor
    right: Tensor
    cost: Tensor
    seen: Tensor


def choice(found: Candidates) -> Tensor:
    """Return the weights (..., K, H, W) of the candidates, by how well the frames agree."""
    return torch.softmax(-CHOICE * found.cost, -3)


def share(found: Candidates, t: Tensor) -> Tensor:
    """Return the weight (..., 1, H, W) of frame 0: by time, and by what each frame sees.

    Args:
        found: of the leading axes of ``t``.
        t: (...) in [0, 1].
    """
    seen = found.seen[..., -2:, :, :].clamp(max=1) + UNSEEN
    t = t[..., None, None, None].to(seen.dtype)
    first, second = (1 - t) * seen[..., :1, :, :], t * seen[..., 1:, :, :]
    return first / (first + second)


def mixed(weights: Tensor, values: Tensor) -> Tensor:
    """Return the sum (..., C, H, W) of ``values`` (..., K, C, H, W) by weights (..., K, H, W)."""
    parts = (w.unsqueeze(-3) * v for w, v in zip(weights.unbind(-3), values.unbind(-4)))
    return sum(parts, torch.zeros((), dtype=values.dtype, device=values.device))


def moves_of(
    first: Tensor, second: Tensor, estimates: int, iterations: int, refine: int
) -> list[Move]:
    """Return what each estimate says of two frames (3, H, W) on the CPU.

    Args:
        first: RGB in [0, 1], float32.
        second: the same.
        estimates: 2 runs the flow without mean normalisation of the patches as well.
        iterations: gradient descent steps of each patch.
        refine: steps of the variational refinement of the first estimate.
    """
    levels = [grey(frame) for frame in (first, second)]
    moves = []
    for index in range(estimates):
        # Without mean normalisation brightness is a clue; refinement would undo the gain.
        plain = index > 0
        dis = create_dis("medium")
        dis.setFinestScale(0)
        dis.setGradientDescentIterations(iterations)
        dis.setVariationalRefinementIterations(0 if plain else refine)
        dis.setUseMeanNormalization(not plain)
        forth, back = (_channels_first(estimate(dis, *way)) for way in (levels, levels[::-1]))
        trust0 = _trust(first - _sample(second, forth))
        moves.append(Move(forth, back, trust0, _trust(second - _sample(first, back))))
    return moves


def candidates(first: Tensor, second: Tensor, moves: list[Move], t: float) -> Candidates:
    """Return the candidates of two frames (3, H, W) at one time, without leading axes."""
    motions, seen = [], []
    for forth, back, trust0, trust1 in moves:
        between = (forth - back) / 2  # where nothing lands
        from0, seen0 = landed(forth, t * forth, trust0, between)
        from1, seen1 = landed(-back, (1 - t) * back, trust1, between)
        motions += [from0, from1, forth, -back]
        seen += [seen0, seen1]
    left = [_sample(first, -t * motion) for motion in motions]
    right = [_sample(second, (1 - t) * motion) for motion in motions]
    cost = [_smooth((a - b).abs().mean(0), 1.5) for a, b in zip(left, right)]
    return Candidates(*map(torch.stack, (motions, left, right, cost, seen)))


def landed(values: Tensor, flow: Tensor, weight: Tensor, fill: Tensor) -> tuple[Tensor, Tensor]:
    """Move ``values`` (C, H, W) along ``flow`` and average what lands in a pixel.

    Returns:
        The average by bilinear share times ``weight`` (H, W), with ``fill`` where next to nothing
        lands; and how many pixels land, (H, W), 1 where the motion neither opens nor closes.
    """
    carried = torch.cat((values * weight, weight[None], torch.ones_like(weight)[None]))
    total = splat(carried[None], flow[None], mode="sum")[0]
    mean = total[:-2] / total[-2].clamp(min=1e-9)
    return torch.where(total[-2] > 1e-3, mean, fill), total[-1]


def _channels_first(flow: np.ndarray) -> Tensor:
    return torch.from_numpy(flow).permute(2, 0, 1).contiguous()


def _sample(image: Tensor, flow: Tensor) -> Tensor:
    return backwarp(image[None], flow[None], kernel="bicubic")[0]


def _smooth(x: Tensor, sigma: float) -> Tensor:
    """Blur (H, W) by a Gaussian of ``sigma`` pixels."""
    import cv2

    return torch.from_numpy(cv2.GaussianBlur(x.contiguous().numpy(), (0, 0), sigma))


def _trust(difference: Tensor) -> Tensor:
    """Return weights (H, W) from the difference (3, H, W) between a frame and its match."""
    return torch.exp(-AGREEMENT * _smooth(difference.abs().mean(0), 1.0)) + 1e-6
