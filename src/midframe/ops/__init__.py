"""Operators of frame interpolation, each with the convention of the published networks."""

from midframe.ops.adacof import adacof
from midframe.ops.backend import use_backend
from midframe.ops.correlation import correlation
from midframe.ops.splat import splat
from midframe.ops.warp import backwarp, pixel_grid

__all__ = ["adacof", "backwarp", "correlation", "pixel_grid", "splat", "use_backend"]
