"""How many weights are zero: over all, by layer and by channel; logged and drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn

from midframe.data.io import write_image
from midframe.engine.loggers import log_details, log_image
from midframe.files import write_json

FILE = "sparsity.json"
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True)
class Layer:
    """What is not zero in one weight.

    Attributes:
        name: the parameter's.
        nonzeros: so many entries are larger than the threshold, as magnitudes.
        size: of so many.
        channels: share of nonzeros by output channel; () of weights with one axis, such as those
            of a normalisation.
    """

    name: str
    nonzeros: int
    size: int
    channels: tuple[float, ...] = ()

    @property
    def density(self) -> float:
        """Share of nonzeros, from 0 to 1."""
        return self.nonzeros / self.size


def layers_of(model: nn.Module, threshold: float = 0.0) -> list[Layer]:
    """Return what is not zero in each weight of a model.

    Weights are the parameters whose names contain "weight", as the published density counts them:
    also those of normalisation and of PReLU, and frozen ones; no biases. Of a transposed
    convolution the output channels are the second axis.
    """
    return [
        _layer(name, weight, output_axis(module), threshold)
        for module, name, weight in _weights(model)
    ]


def density(layers: Sequence[Layer]) -> float:
    """Return the share of nonzeros over all of these layers' weights, each entry counting alike.

    With `layers_of` a whole model, this is the density that was published with ST-MFNet Mini.
    """
    return sum(layer.nonzeros for layer in layers) / max(sum(layer.size for layer in layers), 1)


def output_axis(module: nn.Module) -> int:
    """Return which axis of a layer's weight counts its output channels."""
    return 1 if isinstance(module, _TRANSPOSED) else 0


def _weights(model: nn.Module) -> Iterator[tuple[nn.Module, str, Tensor]]:
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix, recurse=False):
            if "weight" in name:
                yield module, name, parameter.detach()


def _layer(name: str, weight: Tensor, axis: int, threshold: float) -> Layer:
    there = weight.abs() > threshold
    channels: tuple[float, ...] = ()
    if weight.dim() > 1:
        shares = there.transpose(0, axis).flatten(1).double().mean(1)
        channels = tuple(round(share, 6) for share in shares.tolist())
    return Layer(name, int(there.sum()), weight.numel(), channels)


class Sparsity(Callback):
    """At each validation: log ``val/density``, draw a bar for each layer, write `FILE`.

    The density of each layer is a curve in TensorBoard and wandb (not in ``metrics.csv``). The
    picture goes to the loggers and to ``pictures/sparsity_STEP.png``. `FILE` in the run
    directory holds the newest state: step, density and, by layer, name, density, nonzeros, size
    and the density of each output channel. With averaged weights (EMA) it tells about the average,
    in which hardly anything is zero.
    """

    def __init__(self, directory: str, threshold: float = 0.0) -> None:
        self.directory = Path(directory)
        self.threshold = threshold
        self._layers: list[Layer] = []

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        with torch.no_grad():
            self._layers = layers_of(pl_module.model, self.threshold)
        pl_module.log("val/density", density(self._layers), batch_size=1)  # of all ranks the same

    @rank_zero_only
    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        layers, self._layers = self._layers, []
        step = trainer.global_step
        picture = bars(layers, f"step {step}: density {density(layers):.3f}")
        write_image(self.directory / "pictures" / f"sparsity_{step:07d}.png", picture)
        write_json(self.directory / FILE, as_dict(layers, step))
        for logger in trainer.loggers:
            log_image(logger, "sparsity", picture, step)
            log_details(logger, {f"density/{one.name}": one.density for one in layers}, step)


def as_dict(layers: Sequence[Layer], step: int) -> dict[str, Any]:
    """Return what `FILE` holds."""
    rows = [
        {
            "name": layer.name,
            "density": layer.density,
            "nonzeros": layer.nonzeros,
            "size": layer.size,
            "channels": list(layer.channels),
        }
        for layer in layers
    ]
    return {"step": step, "density": density(layers), "layers": rows}


_ROW, _NAME, _BAR, _ROWS = 14, 330, 160, 60  # pixels; layers under each other
_PAPER, _INK, _TRACK, _FULL = (24, 24, 24), (225, 225, 225), (60, 60, 60), (90, 170, 240)


def bars(layers: Sequence[Layer], title: str) -> np.ndarray:
    """Draw the density of each layer as a bar, in columns.

    Layers are the weights with more than one axis: normalisation and PReLU are left out.

    Returns:
        A picture (h, w, 3) uint8 RGB.
    """
    layers = [layer for layer in layers if layer.channels]
    columns = max(-(-len(layers) // _ROWS), 1)
    rows = -(-len(layers) // columns) if layers else 0
    shape = (_ROW * (rows + 2), columns * (_NAME + _BAR + 60), 3)
    picture = np.full(shape, _PAPER, np.uint8)
    _text(picture, title, (6, _ROW - 2))
    for number, layer in enumerate(layers):
        left = number // rows * (_NAME + _BAR + 60)
        top = _ROW * (number % rows + 1) + 4
        name = layer.name if len(layer.name) <= 46 else f"...{layer.name[-43:]}"
        _text(picture, name, (left + 6, top + _ROW - 4))
        bar = picture[top + 3 : top + _ROW - 1, left + _NAME : left + _NAME + _BAR]
        bar[:] = _TRACK
        bar[:, : round(layer.density * _BAR)] = _FULL
        _text(picture, f"{layer.density:.3f}", (left + _NAME + _BAR + 6, top + _ROW - 4))
    return picture


def _text(picture: np.ndarray, text: str, at: tuple[int, int]) -> None:
    import cv2

    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.36, _INK, 1, cv2.LINE_AA)
