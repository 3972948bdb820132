"""Frames of a video file from any frame on, exactly: PyAV, sought by key frames, told by times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from midframe.errors import UserError
from midframe.video.colour import Colour
from midframe.video.format import Format
from midframe.video.frame import Frame
from midframe.video.index import Index
from midframe.video.native import to_planes

# What files are opened as: no playlists, scripts or network, which would open other files.
_DEMUXERS = (
    "mov,matroska,avi,mpegts,mpeg,mpegvideo,m4v,gif,yuv4mpegpipe,h264,hevc,vvc,obu,ivf,av1,flv,asf,"
    "ogg,nut,mxf,dv,rm,apng,webp_pipe,webp_anim,dirac,vc1,rawvideo,mjpeg,aac,mp3,wav,flac,ac3,w64"
)
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": _DEMUXERS}
_WITH_ALPHA = {"vp9": "libvpx-vp9", "vp8": "libvpx"}  # FFmpeg's own decoders leave alpha out
_STEPS_BACK = (0, 1, 4)  # key frames to seek to before the file is read from its start


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a file that may be a video; what cannot be opened is a `UserError`."""
    import av

    if path.is_dir():
        raise UserError(f"{path}: is a folder, not a video")
    if not path.is_file():
        raise UserError(f"{path}: no such video file")
    if path.stat().st_size == 0:
        raise UserError(f"{path}: the file is empty; copy it again or remove it")
    try:
        container = av.open(str(path), options=_OPTIONS, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable video ({reason(error)})") from error
    try:
        yield container
    finally:
        container.close()


def video_of(path: Path, container: Any) -> Any:
    """Return the video stream to read; `UserError` where there is none, or no decoder."""
    from av.stream import Discard, Disposition

    films = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not films:
        if container.streams.video:
            raise UserError(f"{path}: has a cover picture and no video")
        if container.streams.audio:
            raise UserError(f"{path}: has sound and no video")
        raise UserError(f"{path}: there is no video in this file")
    stream = max(films, key=lambda s: bool(s.disposition & Disposition.default))
    if stream.codec_context is None:
        raise UserError(f"{path}: there is no decoder of its video; re-encode it, to H.264 say")
    for other in container.streams:
        if other is not stream:
            other.discard = Discard.all
    return stream


def decoder_of(stream: Any) -> Any:
    """Return the context that decodes a stream; all of it, alpha too."""
    import av

    name = _WITH_ALPHA.get(stream.codec_context.name)
    said = {key.lower(): value for key, value in stream.metadata.items()}
    if name is not None and said.get("alpha_mode") == "1":
        context = av.CodecContext.create(name, "r")
        context.extradata = stream.codec_context.extradata
        return context
    return stream.codec_context


def decoded(
    stream: Any,
    packets: Iterator[Any],
    threads: int = 0,
    failed: Callable[[], object] = lambda: None,
) -> Iterator[Any]:
    """Yield what is decoded from packets, in order; what is broken is left out.

    Args:
        stream: to decode, of a file that was just opened.
        packets: of it.
        threads: of the decoder, 0: as many as there are processors.
        failed: called for every packet that is broken.
    """
    import av

    context = decoder_of(stream)
    context.thread_type = "AUTO"
    context.thread_count = threads
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.FFmpegError, OSError):  # cut off; what the decoder holds still comes
            packet = None
        try:
            yield from context.decode(packet if packet is not None and packet.size else None)
        except EOFError:
            return
        except av.FFmpegError:
            failed()  # its frame will be missed by its time
        if packet is None:
            return


def reason(error: Exception) -> str:
    """Return what went wrong, in FFmpeg's words."""
    return getattr(error, "strerror", None) or str(error)


@dataclass(frozen=True)
class Media:
    """The frames of a video file.

    Attributes:
        path: the file.
        form: of its frames.
        colour: of its frames.
        index: where they are.
        threads: of the decoder.
    """

    path: Path
    form: Format
    colour: Colour
    index: Index
    threads: int = 0

    def read(self, first: int = 0, last: int | None = None) -> Iterator[Frame]:
        """Yield frames from number ``first`` on, before ``last``; one in memory at a time.

        Raises:
            UserError: naming the first frame that cannot be decoded.
        """
        ticks = self.index.ticks
        last = len(ticks) if last is None else min(last, len(ticks))
        if first >= last:
            return
        number = first
        for back in (*_STEPS_BACK, None):
            for picture in self._from(number, back):
                if not self.index.counted:
                    if picture.pts is None or picture.pts < ticks[number]:
                        continue  # before the first that is asked for
                    if picture.pts != ticks[number]:
                        break  # damage, or a container that tells other times where it is sought
                yield Frame(self.form, self._planes(picture), self.colour, picture.is_corrupt)
                number += 1
                if number == last:
                    return
        raise self._missing(number)

    def _planes(self, picture: Any) -> tuple[np.ndarray, ...]:
        try:
            return to_planes(picture, self.form)
        except UserError as error:
            raise UserError(f"{self.path}: {error}") from error

    def _missing(self, number: int) -> UserError:
        seconds = float((int(self.index.ticks[number] - self.index.ticks[0])) * self.index.unit)
        return UserError(
            f"{self.path}: frame {number} ({seconds:.2f} s from the first) cannot be decoded, the "
            "file is damaged there; copy it again, or cut that part out"
        )

    def _from(self, first: int, back: int | None) -> Iterator[Any]:
        """Yield pictures from so many key frames before frame ``first`` on; None: from the start.

        Nothing comes from key frames that are not there, or that cannot be sought.
        """
        at = 0
        if back is not None:
            if first == 0 or self.index.counted:
                return
            target = int(self.index.ticks[first])
            at = int(np.searchsorted(self.index.keys, target, side="right")) - 1 - back
            if at < 0:
                return
        with opened(self.path) as container:
            stream = video_of(self.path, container)
            packets = container.demux(stream)
            if back is not None:
                key = _key(container, stream, int(self.index.keys[at]), target)
                if key is None:
                    return
                packets = chain([key], packets)
            pictures = decoded(stream, packets, self.threads)
            yield from islice(pictures, first if self.index.counted else 0, None)


def _key(container: Any, stream: Any, time: int, target: int) -> Any:
    """Seek to a key frame's time and return the packet that decoding of ``target`` can start at.

    None stands for a file that cannot be sought, or not as exactly as that.
    """
    import av

    try:
        container.seek(time, stream=stream)
        for packet in container.demux(stream):
            # frames behind a key frame may need earlier ones only if they are shown before it
            if packet.is_keyframe or packet.pts is None or packet.pts > target:
                found = packet.is_keyframe and packet.pts is not None and packet.pts <= target
                return packet if found else None
    except (av.FFmpegError, OSError):
        pass
    return None
