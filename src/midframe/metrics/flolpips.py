"""FloLPIPS: LPIPS that looks where the motion is wrong."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from midframe.metrics.lpips import check, features_of, heads_file
from midframe.metrics.weight_files import (
    Identity,
    Name,
    identity,
    local_file,
    reads_files,
    verified,
)

if TYPE_CHECKING:
    from midframe.models.pwcnet import PWCNet

FLOW = "PWC-Net's weights: links in the README of https://github.com/sniklaus/pytorch-pwc"
EVEN = 1e-6  # pixels that every weight has beyond its flow error: equal flows weigh all alike


@reads_files("weights", "flow", heads=heads_file)
@torch.no_grad()
def flolpips(
    pred: Tensor,
    target: Tensor,
    *,
    ends: Tensor | None = None,
    weights: Name | None = None,
    heads: Name | None = None,
    flow: Name | None = None,
    sha256: str | None = None,
    heads_sha256: str | None = None,
    flow_sha256: str | None = None,
) -> Tensor:
    """LPIPS whose layers are averaged with weights from the error of the motion.

    Written from the paper, for one image between two frames: with F the flow that PWC-Net finds
    from an image to the frame at one end, the error of the motion is E = F(pred) - F(target), a
    field on the image's own pixels. For each layer E is resized (bilinear) to the layer's size, and
    the layer's differences are averaged with weights |E| / sum |E| in place of equal ones. This is
    done with the frame at 0 and with the frame at 1, and the mean of both is the value. The
    paper's videos have flow from every frame to the next; here nothing but the image differs, so
    both neighbours are used alike, and the result is the same when time runs backwards.

    Args:
        pred: (N, 3, H, W) RGB in [0, 1]; at least 31 pixels a side.
        target: the same shape.
        ends: (2, 3, H, W), the frames at times 0 and 1.
        weights: see `midframe.metrics.lpips`, as the next one.
        heads: see there.
        flow: file of PWC-Net's weights, as `midframe.create_model("pwcnet")` takes it.
        sha256: digest of ``weights``; None leaves it unchecked, and so on.
        heads_sha256: that of ``heads``.
        flow_sha256: that of ``flow``.

    Returns:
        (N,) from 0 on; lower is better.

    Raises:
        UserError: where a file is missing or is not the expected one.
        ValueError: without ``ends``, or for images that are too small.

    Source: Danier et al., "FloLPIPS: A Bespoke Video Quality Metric for Frame Interpolation", PCS
    2022, arXiv 2207.08119.
    """
    network = features_of("flolpips", weights, heads, sha256, heads_sha256, pred.device)
    file = local_file(flow, "flolpips", "flow", FLOW)
    estimator = _estimator(identity(verified(file, flow_sha256, "flow_sha256")), pred.device)
    pred, target = check(pred, target)
    if ends is None or ends.shape != (2, *pred.shape[1:]):
        raise ValueError("FloLPIPS needs ends (2, 3, H, W), the frames at times 0 and 1")
    values = []
    for pair in zip(pred.split(1), target.split(1)):
        maps, both = network(*pair), torch.cat(pair)
        value = pred.new_zeros(1)
        for end in ends.to(both):
            found = estimator.estimate(both, end.expand_as(both))
            value = value + sum(_weighted(layer, found[:1] - found[1:]) for layer in maps) / 2
        values.append(value)
    return torch.cat(values) if values else pred.new_zeros(0)


def _weighted(layer: Tensor, error: Tensor) -> Tensor:
    """Average (N, h, w) by the length of the flow's error (N, 2, H, W)."""
    error = F.interpolate(error, layer.shape[-2:], mode="bilinear", align_corners=False)
    weight = torch.linalg.vector_norm(error, dim=1) + EVEN
    return (layer * weight).sum((1, 2)) / weight.sum((1, 2))


@functools.lru_cache(maxsize=2)
def _estimator(file: Identity, device: torch.device) -> PWCNet:
    from midframe.models.pwcnet import PWCNet
    from midframe.models.weights import load_weights

    network = PWCNet()
    load_weights(network, file[0])
    return network.eval().requires_grad_(False).to(device)
