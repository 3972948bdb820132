"""Makes small videos for tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import av
import cv2
import numpy as np


def texture(seed: int, height: int, width: int) -> np.ndarray:
    """Return a picture (h, w, 3) uint8 with detail at several scales and colours of its own."""
    rng = np.random.default_rng(seed)
    out = np.zeros((height, width, 3), np.float32)
    for cells, weight in ((3, 70), (9, 40), (27, 20)):
        grid = rng.normal(0, weight, (cells, cells, 3)).astype(np.float32)
        out += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(out + rng.uniform(60, 200, 3), 0, 255).astype(np.uint8)


def pan(seed: int, positions: Iterable[int], height: int = 48, width: int = 96) -> list[np.ndarray]:
    """Return views of one texture, each shifted by its position in pixels."""
    positions = list(positions)
    wide = texture(seed, height, width + max(positions))
    return [np.ascontiguousarray(wide[:, p : p + width]) for p in positions]


def write_video(path: Path, frames: Iterable[np.ndarray], codec: str = "ffv1") -> Path:
    """Write frames (h, w, 3) uint8 as a video; the default codec keeps RGB exactly."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.pix_fmt = "bgr0" if codec == "ffv1" else "yuv420p"
        for number, image in enumerate(frames):
            if number == 0:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
