"""Operators of frame interpolation, each with the convention of the published networks."""

from midframe.ops.warp import backwarp, pixel_grid

__all__ = ["backwarp", "pixel_grid"]
