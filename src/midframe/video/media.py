"""Reading video files, through PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from midframe.errors import UserError
from midframe.video.colour import HD_HEIGHT
from midframe.video.reader import opened, reason, video_of

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".ogv", ".y4m")
_UNSPECIFIED, _BT709, _BT601 = 2, 1, 5  # AVCOL_SPC_*


@dataclass(frozen=True)
class VideoInfo:
    """What the container says about a video.

    Attributes:
        height: in pixels, as decoded.
        width: in pixels, as decoded.
        fps: mean frames a second, 0 if unknown.
        frames: how many there should be, 0 if the container does not say.
        seconds: duration, 0 if unknown.
    """

    height: int
    width: int
    fps: float
    frames: int
    seconds: float


@dataclass(frozen=True)
class VideoFrame:
    """One decoded frame: ``image`` (h, w, 3) uint8 RGB, and its time in seconds or None."""

    image: np.ndarray
    time: float | None


def probe(path: str | Path) -> VideoInfo:
    """Return size, rate and length of a video; `UserError` if it is not one."""
    path = Path(path)
    with opened(path) as container:
        stream = video_of(path, container)
        seconds = float(stream.duration * stream.time_base) if stream.duration else 0.0
        if not seconds and container.duration:
            seconds = container.duration / 1e6
        fps = float(stream.average_rate or 0)
        frames = stream.frames or round(seconds * fps)
        return VideoInfo(stream.height, stream.width, fps, frames, seconds)


def read_video(
    path: str | Path, *, max_side: int | None = None, threads: int = 0
) -> Iterator[VideoFrame]:
    """Decode a video frame by frame, upright and in RGB.

    Colours follow the matrix and range that the file states; an untagged file is BT.709 from 720
    lines on, else BT.601.

    Args:
        path: a video file.
        max_side: frames whose longer side exceeds this are reduced to it (area average).
        threads: of the decoder; 0 leaves it to the codec.

    Raises:
        UserError: no such file, not a video, no frame in it, or broken half-way.
    """
    path = Path(path)
    count = 0
    with opened(path) as container:
        import av

        stream = video_of(path, container)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        expected = stream.frames
        try:
            for frame in container.decode(stream):
                count += 1
                image = upright(_to_rgb(frame), getattr(frame, "rotation", 0))
                yield VideoFrame(reduce_to(image, max_side), frame.time)
        except av.FFmpegError as error:
            raise UserError(
                f"{path}: broken after {count} frames ({reason(error)}); re-encode it or remove it"
            ) from error
    if not count:
        raise UserError(f"{path}: no frame could be decoded; remove it or export it again")
    if count < 0.9 * expected:  # a few frames short is usual with edit lists
        raise UserError(
            f"{path}: only {count} of {expected} frames could be decoded, the file is cut short; "
            "copy it again or remove it"
        )


def upright(image: np.ndarray, rotation: float) -> np.ndarray:
    """Turn a decoded picture by the display rotation of its file (degrees counter-clockwise)."""
    turns = round(rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def reduce_to(image: np.ndarray, max_side: int | None) -> np.ndarray:
    """Reduce a picture (h, w, 3) so that its longer side is at most ``max_side``, by area average.

    Sizes stay even; smaller pictures are returned as they are.
    """
    height, width = image.shape[:2]
    if max_side is None or max(height, width) <= max_side:
        return image
    import cv2

    scale = max_side / max(height, width)
    size = (max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _to_rgb(frame: Any) -> np.ndarray:
    if frame.colorspace == _UNSPECIFIED and not frame.format.name.startswith(("rgb", "bgr", "gbr")):
        frame.colorspace = _BT709 if frame.height >= HD_HEIGHT else _BT601
    return frame.to_ndarray(format="rgb24")
