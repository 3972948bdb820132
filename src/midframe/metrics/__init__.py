"""Metrics, one value per image: ``metric(pred, target) -> (N,)``; means come later."""

from midframe.metrics.flow import epe, fl_all
from midframe.metrics.per_image import PerImage
from midframe.metrics.pixel import interpolation_error, psnr
from midframe.metrics.ssim import ssim
from midframe.types import known_flow

__all__ = ["PerImage", "epe", "fl_all", "interpolation_error", "known_flow", "psnr", "ssim"]
