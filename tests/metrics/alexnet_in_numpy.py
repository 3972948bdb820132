"""LPIPS's layers by their formula in NumPy: the truth that the network is held against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch


def convolved(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int, padding: int):
    x = np.pad(x, ((0, 0), (padding,) * 2, (padding,) * 2))
    kernel = weight.shape[-1]
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (1, 2))
    found = np.einsum("chwij,ocij->ohw", windows[:, ::stride, ::stride], weight)
    return np.maximum(found + bias[:, None, None], 0)


def pooled(x: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (1, 2))
    return windows[:, ::2, ::2].max((-2, -1))


def layers(image: torch.Tensor, state: dict[str, torch.Tensor]) -> list[np.ndarray]:
    """AlexNet's five layers of one image (3, H, W) in [0, 1], in float64."""
    x = 2 * image.double().numpy() - 1
    x = (x - np.array([-0.030, -0.088, -0.188])[:, None, None]) / np.array(
        [0.458, 0.448, 0.450]
    ).reshape(3, 1, 1)
    w = {name: value.double().numpy() for name, value in state.items()}
    found = []
    for place, stride, padding in ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)):
        x = pooled(x) if place in (3, 6) else x
        x = convolved(
            x, w[f"features.{place}.weight"], w[f"features.{place}.bias"], stride, padding
        )
        found.append(x)
    return found


def layer_maps(pred: torch.Tensor, target: torch.Tensor, files: dict[str, Path]):
    """The weighted differences (h, w) of each layer, of one pair of images."""
    state, lins = (torch.load(files[name], weights_only=True) for name in ("weights", "heads"))
    maps = []
    for i, (a, b) in enumerate(zip(layers(pred, state), layers(target, state))):
        a, b = (x / np.sqrt((x**2).sum(0, keepdims=True)) for x in (a, b))
        head = lins[f"lin{i}.model.1.weight"].double().numpy()[0]
        maps.append((head * (a - b) ** 2).sum(0))
    return maps
