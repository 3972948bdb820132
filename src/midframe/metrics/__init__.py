"""Metrics, one value per image: ``metric(pred, target) -> (N,)``; means come later."""

from midframe.metrics.flolpips import flolpips
from midframe.metrics.flow import epe, fl_all
from midframe.metrics.lpips import lpips
from midframe.metrics.per_image import PerImage
from midframe.metrics.pixel import interpolation_error, normalised_interpolation_error, psnr
from midframe.metrics.ssim import ssim
from midframe.metrics.vfips import vfips
from midframe.metrics.vmaf import vmaf
from midframe.metrics.weight_files import digests as digests
from midframe.types import known_flow

__all__ = [
    "PerImage",
    "epe",
    "fl_all",
    "flolpips",
    "interpolation_error",
    "known_flow",
    "lpips",
    "normalised_interpolation_error",
    "psnr",
    "ssim",
    "vfips",
    "vmaf",
]
