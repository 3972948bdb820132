"""Interleaved pictures to planes: the one copy between a source and a batch, made fast."""

from __future__ import annotations

import cv2
import numpy as np


def to_planes(picture: np.ndarray, out: np.ndarray) -> None:
    """Copy a picture (H, W, C), a view of any strides, into the planes ``out`` (C, H, W).

    NumPy copies bytes one at a time where a picture is interleaved, mirrored or transposed. Here
    such a view of uint8 RGB is first undone (free, it is a view), split, and done again plane by
    plane with OpenCV's vector code; everything else goes through NumPy. Both give the same values.
    """
    if not _is_fast(picture, out):
        out[...] = np.moveaxis(picture, -1, 0)
        return
    laid = abs(picture.strides[0]) < abs(picture.strides[1])
    plain = picture.swapaxes(0, 1) if laid else picture
    down, across, colour = (stride < 0 for stride in plain.strides)
    if down:
        plain = plain[::-1]
    if across:
        plain = plain[:, ::-1]
    if colour:
        plain = plain[:, :, ::-1]
    planes = cv2.split(plain)
    # what is mirrored when it is split is mirrored back on the way into its plane
    code = -1 if down and across else int(across)
    for target, plane in zip(out, reversed(planes) if colour else planes):
        if laid:
            turned = cv2.flip(plane, code) if down or across else plane
            cv2.transpose(turned, target)
        elif across:
            cv2.flip(plane, code, target)
        else:
            target[:: -1 if down else 1] = plane


def _is_fast(picture: np.ndarray, out: np.ndarray) -> bool:
    strides = [abs(stride) for stride in picture.strides]
    return (
        picture.dtype == np.uint8 == out.dtype
        and picture.ndim == 3
        and picture.shape[2] == 3
        and min(picture.shape) > 1
        and strides[2] == 1
        and min(strides[:2]) == 3
        and max(strides[:2]) >= 3 * picture.shape[int(strides[0] > strides[1])]
        and out.flags.c_contiguous
        and out.shape == (3, *picture.shape[:2])
    )
