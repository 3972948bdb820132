"""Metrics, one value per image: ``metric(pred, target) -> (N,)``; means come later."""

from midframe.metrics.flow import epe, fl_all, known_flow
from midframe.metrics.per_image import PerImage
from midframe.metrics.pixel import interpolation_error, psnr
from midframe.metrics.ssim import ssim

__all__ = ["PerImage", "epe", "fl_all", "interpolation_error", "known_flow", "psnr", "ssim"]
