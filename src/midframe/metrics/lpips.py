"""LPIPS: distance of deep features, with weights from local files."""

from __future__ import annotations

import functools
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from midframe.errors import UserError
from midframe.metrics.pixel import prepare
from midframe.metrics.weight_files import (
    Identity,
    Name,
    identity,
    local_file,
    read_state,
    reads_files,
    verified,
)

BACKBONE = (
    "torchvision's AlexNet, https://download.pytorch.org/models/alexnet-owt-7be5be79.pth (sha256 "
    "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02)"
)
HEADS = (
    "the linear layers of LPIPS v0.1, lpips/weights/v0.1/alex.pth of "
    "https://github.com/richzhang/PerceptualSimilarity (sha256 "
    "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0)"
)
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of RGB in [-1, 1]
EPSILON = 1e-10  # of a feature vector's length
SMALLEST = 31  # pixels a side that reach the last layer
# AlexNet's convolutions by their place in torchvision's list: channels, kernel, stride, padding
LAYERS = {
    0: (3, 64, 11, 4, 2),
    3: (64, 192, 5, 1, 2),
    6: (192, 384, 3, 1, 1),
    8: (384, 256, 3, 1, 1),
    10: (256, 256, 3, 1, 1),
}
POOLED = (3, 6)  # places before which the maximum of 3x3 is taken, with a stride of 2


class Features(nn.Module):
    """AlexNet's five layers of features, and the weights by which LPIPS adds their differences.

    Source: Krizhevsky, "One weird trick for parallelizing convolutional neural networks",
    arXiv 1404.5997; as torchvision has it.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict(
            {str(place): nn.Conv2d(*layer) for place, layer in LAYERS.items()}
        )
        self.heads = nn.ParameterList(
            [nn.Parameter(torch.empty(width, 1, 1)) for _, width, *_ in LAYERS.values()]
        )
        for name, values in (("shift", SHIFT), ("scale", SCALE)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def layers(self, images: Tensor) -> list[Tensor]:
        """Return the features (N, C, h, w) of each layer, of unit length at each place.

        Args:
            images: (N, 3, H, W) RGB in [0, 1].
        """
        x = (2 * images - 1 - self.shift) / self.scale
        found = []
        for place, convolution in self.features.items():
            if int(place) in POOLED:
                x = torch.max_pool2d(x, 3, 2)
            x = torch.relu(convolution(x))
            found.append(x / (x.square().sum(1, keepdim=True).sqrt() + EPSILON))
        return found

    def forward(self, pred: Tensor, target: Tensor) -> list[Tensor]:
        """Return the weighted squared differences of each layer, (N, h, w), finest first."""
        pairs = zip(self.layers(pred), self.layers(target))
        return [(w * (a - b).square()).sum(1) for w, (a, b) in zip(self.heads, pairs)]


@reads_files("weights", heads=lambda: heads_file())
@torch.no_grad()
def lpips(
    pred: Tensor,
    target: Tensor,
    *,
    weights: Name | None = None,
    heads: Name | None = None,
    sha256: str | None = None,
    heads_sha256: str | None = None,
) -> Tensor:
    """Learned perceptual image patch similarity, v0.1 with AlexNet: 0 for equal images.

    Written from the paper: features of five layers are scaled to unit length at every place, their
    squared differences weighted by channel, averaged over the image and added over the layers.
    Every image is measured by itself, so values don't depend on the batch, in float32.

    Args:
        pred: (N, 3, H, W) RGB in [0, 1]; at least 31 pixels a side.
        target: the same shape.
        weights: file of AlexNet's features, as torchvision publishes it (``features.0.weight``
            and so on); what it holds of the classifier is not read.
        heads: file of the linear layers, as the LPIPS repository publishes it
            (``lin0.model.1.weight`` and so on); None takes the copy that torchmetrics ships.
        sha256: digest of ``weights`` or its first digits (at least 8); None leaves it unchecked.
        heads_sha256: that of ``heads``.

    Returns:
        (N,) from 0 on, mostly below 1; lower is better.

    Raises:
        UserError: where a file is missing or is not the expected one.
        ValueError: for images that are too small.

    Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
    CVPR 2018, equation 1.
    """
    network = features_of("lpips", weights, heads, sha256, heads_sha256, pred.device)
    pred, target = check(pred, target)
    values = [_distance(network(pred[i : i + 1], target[i : i + 1])) for i in range(len(pred))]
    return torch.cat(values) if values else pred.new_zeros(0)


def check(pred: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in float32; ValueError for what AlexNet cannot read."""
    pred, target = prepare(pred, target)
    if pred.shape[1] != 3 or min(pred.shape[-2:]) < SMALLEST:
        raise ValueError(
            f"LPIPS needs RGB of at least {SMALLEST}x{SMALLEST} pixels, got {tuple(pred.shape)}"
        )
    return pred.float(), target.float()


def features_of(
    metric: str,
    weights: Name | None,
    heads: Name | None,
    sha256: str | None,
    heads_sha256: str | None,
    device: torch.device,
) -> Features:
    """Return the network with the weights of two files, read once for each device.

    Args:
        metric: its name, for messages; the others are those of `lpips`.
        weights: see there.
        heads: see there.
        sha256: see there.
        heads_sha256: see there.
        device: where the network is to be.
    """
    backbone = local_file(weights, metric, "weights", BACKBONE)
    linear = heads_file() if heads is None else local_file(heads, metric, "heads", HEADS)
    verified(backbone, sha256, "sha256")
    verified(linear, heads_sha256, "heads_sha256")
    return _network(identity(backbone), identity(linear), device)


def heads_file() -> Path:
    """Return the linear layers that torchmetrics ships, without importing it."""
    spec = find_spec("torchmetrics")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "functional" / "image" / "lpips_models" / "alex.pth"
        if path.is_file():
            return path
    raise UserError(f"torchmetrics here has no linear layers of LPIPS: get {HEADS}, give heads")


@functools.lru_cache(maxsize=4)
def _network(backbone: Identity, linear: Identity, device: torch.device) -> Features:
    shapes: dict[str, tuple[int, ...]] = {}
    for place, (inside, width, kernel, *_) in LAYERS.items():
        shapes[f"features.{place}.weight"] = (width, inside, kernel, kernel)
        shapes[f"features.{place}.bias"] = (width,)
    network = Features()
    network.load_state_dict(
        {
            **read_state(backbone[0], shapes, BACKBONE, unread="classifier."),
            **_heads(linear[0]),
        }
    )
    return network.eval().requires_grad_(False).to(device)


def _heads(path: str) -> dict[str, Tensor]:
    widths = [width for _, width, *_ in LAYERS.values()]
    names = [f"lin{i}.model.1.weight" for i in range(len(widths))]
    shapes = {name: (1, width, 1, 1) for name, width in zip(names, widths)}
    state = read_state(path, shapes, HEADS)
    return {f"heads.{i}": state[name][0] for i, name in enumerate(names)}


def _distance(maps: list[Tensor]) -> Tensor:
    return torch.stack([layer.mean((1, 2)) for layer in maps]).sum(0)
