"""Metrics, one value per image: ``metric(pred, target) -> (N,)``; means come later."""

from midframe.metrics.per_image import PerImage
from midframe.metrics.pixel import interpolation_error, psnr
from midframe.metrics.ssim import ssim

__all__ = ["PerImage", "interpolation_error", "psnr", "ssim"]
