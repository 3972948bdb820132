"""Writing H.264 video that plays everywhere."""

from __future__ import annotations

import uuid
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from midframe.errors import UserError
from midframe.files import aside_of

_QUALITY = 14  # constant rate factor: below what eyes tell from the original
_BT709, _LIMITED = 1, 1  # AVCOL_SPC_BT709 (and its primaries and transfer), AVCOL_RANGE_MPEG


class VideoWriter:
    """A video file that has its name when it is complete, and leaves nothing where it fails.

    Args:
        path: ends in .mp4; replaced where it exists.
        fps: frames a second, exactly.

    Raises:
        UserError: if it cannot be written; what was there before is still there.
    """

    def __init__(self, path: Path, fps: Fraction) -> None:
        self.path, self.fps = path, fps
        self._aside = aside_of(path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}"))
        self._container: Any = None
        self._stream: Any = None
        self._size: tuple[int, int] | None = None

    def __enter__(self) -> VideoWriter:
        import av

        self._container = av.open(str(self._aside), "w", format="mp4")  # made by the first frame
        return self

    def write(self, picture: np.ndarray) -> None:
        """Append a frame (h, w, 3) uint8 RGB; all have one size.

        Raises:
            UserError: if it cannot be written.
            ValueError: for another size than the first frame's.
        """
        import av

        if self._size is None:
            self._size = picture.shape[:2]
            self._start()
        if picture.shape[:2] != self._size:
            raise ValueError(f"a frame of {picture.shape[:2]} in a video of {self._size}")
        height, width = self._size
        even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED)
        frame.pts = None
        try:
            self._container.mux(self._stream.encode(frame))
        except (av.FFmpegError, OSError) as error:
            raise self._cannot(error) from error

    def _start(self) -> None:
        assert self._size is not None
        height, width = self._size
        stream = self._container.add_stream("libx264", rate=self.fps)
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(_QUALITY), "preset": "medium"}
        context = stream.codec_context
        context.color_range, context.colorspace = _LIMITED, _BT709
        context.color_primaries = context.color_trc = _BT709
        self._stream = stream

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        import av

        whole = kind is None and self._stream is not None
        try:
            try:
                if whole:
                    self._container.mux(self._stream.encode(None))
            finally:
                self._container.close()  # writes as well, and so may fail
            if whole:
                self._aside.replace(self.path)
        except (av.FFmpegError, OSError) as failed:
            if kind is None:  # else there is an error on its way that says more
                raise self._cannot(failed) from failed
        finally:
            self._aside.unlink(missing_ok=True)

    def _cannot(self, error: Exception) -> UserError:
        return UserError(f"cannot write {self.path}: {getattr(error, 'strerror', None) or error}")
