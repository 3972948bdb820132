"""Metrics against torchmetrics, an independent implementation, where the definitions agree."""

from __future__ import annotations

import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio
from torchmetrics.functional.image import structural_similarity_index_measure as reference_ssim

from midframe.metrics import psnr, ssim


def pictures(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    target = torch.rand(3, 3, height, width, dtype=torch.float64)
    return (target + 0.1 * torch.randn_like(target)).clamp(0, 1), target


def test_psnr_of_each_image() -> None:
    pred, target = pictures(40, 56)
    expected = peak_signal_noise_ratio(
        pred, target, data_range=1.0, reduction="none", dim=(1, 2, 3)
    )
    assert torch.allclose(psnr(pred, target), expected)


@pytest.mark.parametrize("size", [(40, 56), (33, 47)])
def test_ssim_inside_the_border(size: tuple[int, int]) -> None:
    # The two differ in how they continue a picture beyond its border. Where prediction and target
    # are equal near the border, the similarity there is 1 either way.
    pred, target = pictures(*size)
    inner = torch.zeros_like(target, dtype=torch.bool)
    inner[..., 12:-12, 12:-12] = True
    pred = torch.where(inner, pred, target)
    _, full = reference_ssim(pred, target, data_range=1.0, reduction="none", return_full_image=True)
    expected = full.flatten(1).mean(1)
    assert torch.allclose(ssim(pred, target, "gaussian_2d"), expected, atol=1e-6)
