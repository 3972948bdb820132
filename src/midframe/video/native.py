"""Frames as PyAV has them, to planes and back: no sample changes on the way."""

from __future__ import annotations

from typing import Any

import numpy as np

from midframe.errors import UserError
from midframe.video.format import Format

# Places of Y, U, V, A in a pixel, where FFmpeg's repacking gives wrong samples now and then.
_BY_HAND = {"ayuv64le": (1, 2, 3, 0)}


def to_planes(picture: Any, form: Format) -> tuple[np.ndarray, ...]:
    """Return the planes of a PyAV frame, which is repacked but never scaled or recoloured.

    Args:
        picture: of any layout of the samples of ``form``.
        form: see `format_of_pixels`.

    Raises:
        UserError: if the frame has another size, as after a change within a broadcast.
    """
    if (picture.width, picture.height) != (form.width, form.height):
        raise UserError(
            f"a frame of {picture.width}x{picture.height} pixels in a video of "
            f"{form.width}x{form.height}; cut the file where the size changes"
        )
    name = form.pixel_format
    if picture.format.name in _BY_HAND:
        channels = _BY_HAND[picture.format.name]
        samples = _view(picture.planes[0], form.height, form.width * len(channels), form)
        return tuple(np.array(samples[:, place :: len(channels)]) for place in channels)
    if picture.format.name.replace("yuvj", "yuv") != name:
        picture = _repacked(picture, name)
    planes = _views(picture, form)
    return tuple(np.array(plane) for plane in planes)  # copies: decoders use their memory again


def to_picture(planes: tuple[np.ndarray, ...], form: Format) -> Any:
    """Return a PyAV frame with these planes, in the pixel format ``form.pixel_format``."""
    import av

    picture = av.VideoFrame(form.width, form.height, form.pixel_format)
    for view, plane in zip(_views(picture, form), planes):
        view[...] = plane
    return picture


def repacked(picture: Any, name: str) -> Any:
    """Return a PyAV frame in another pixel format of the same samples, such as bgra for gbrap."""
    return picture if picture.format.name == name else _repacked(picture, name)


def _repacked(picture: Any, name: str) -> Any:
    # the same matrix and range on both sides: nothing but the places of samples may change
    return picture.reformat(
        format=name,
        src_colorspace=1,
        dst_colorspace=1,
        src_color_range=picture.color_range or 1,
        dst_color_range=picture.color_range or 1,
        interpolation="POINT",
    )


def _views(picture: Any, form: Format) -> list[np.ndarray]:
    """Return the planes of ``form`` as views of a frame's memory, without padding."""
    if form.family == "gray" and form.alpha:  # packed: the two take turns
        both = _view(picture.planes[0], form.height, 2 * form.width, form)
        return [both[:, 0::2], both[:, 1::2]]
    order: tuple[int, ...] = tuple(range(len(form.shapes)))
    if form.family == "rgb":
        inverse = (2, 0, 1)  # where R, G and B are
        order = (*inverse, 3) if form.alpha else inverse
    return [
        _view(picture.planes[number], height, width, form)
        for number, (height, width) in zip(order, form.shapes)
    ]


def _view(plane: Any, height: int, width: int, form: Format) -> np.ndarray:
    row = plane.line_size // form.sample.itemsize
    samples = np.frombuffer(plane, form.sample, count=height * row)
    return samples.reshape(height, row)[:, :width]
