"""Parts of a video, encoded: each a file that is whole or not there, and starts at a key frame.

A part holds packets as the encoder gave them, or frames of files without a codec, behind each
other, and at its end a list of them in JSON.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from midframe.errors import UserError
from midframe.files import aside_of
from midframe.video.fit import fit
from midframe.video.frame import Frame
from midframe.video.native import repacked, to_picture
from midframe.video.pictures import encode_picture
from midframe.video.tags import UNSPECIFIED
from midframe.video.target import Target

_MAGIC = b"midframe part 1\n"
_GLOBAL_HEADER = 1 << 22  # AV_CODEC_FLAG_GLOBAL_HEADER: parameters apart from packets
_HEADERS_APART = ("mp4", "mov", "matroska", "webm")
_RANGES = {0: 0, 1: 1, 2: 2}
_KEPT_SIDES = ("matroska_block_additional", "new_extradata", "palette")
_SIDE_NUMBERS = {"palette": 0, "new_extradata": 1, "matroska_block_additional": 15}


@dataclass
class Packet:
    """What is known of a packet without its bytes.

    Attributes:
        time: when it is shown, in units of the part.
        key: whether decoding can start here.
        size: in bytes.
        sides: kind and size of data that follow.
    """

    time: int
    key: bool
    size: int
    sides: list[tuple[str, int]] = field(default_factory=list)


class SegmentWriter:
    """A part of the output; has its name when it is complete, and leaves nothing where it fails.

    Args:
        path: of the part.
        target: how frames are written.

    Raises:
        UserError: if it cannot be written, or the encoder refuses.
    """

    def __init__(self, path: Path, target: Target) -> None:
        self.path, self.target = path, target
        self._aside = aside_of(path.with_name(f".{path.name}"))
        self._file: IO[bytes] | None = None
        self._context: Any = None
        self._packets: list[Packet] = []
        self._last: int | None = None

    def __enter__(self) -> SegmentWriter:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._aside.open("wb")
            self._file.write(_MAGIC)
        except OSError as error:
            raise self._failed(error) from error
        if self.target.encoder is not None:
            try:
                self._context = open_encoder(self.target)
            except UserError:
                self._drop()
                raise
        return self

    def write(self, frame: Frame, pts: Fraction) -> None:
        """Append a frame.

        Args:
            frame: of the clip's format; it is fitted to the target's.
            pts: when it is shown, in seconds; later than the one before.
        """
        assert self._file is not None, "use it as a context manager"
        fitted = fit(frame, self.target.form, self.target.colour)
        time = round(pts / self.target.base)
        if self._last is not None and time <= self._last:
            time = self._last + 1  # only where frames follow each other closer than the unit
        self._last = time
        try:
            if self._context is None:
                data = self._bytes(fitted)
                self._file.write(data)
                self._packets.append(Packet(time, True, len(data)))
            else:
                self._encode(fitted, time)
        except OSError as error:
            raise self._failed(error) from error

    def _encode(self, frame: Frame, time: int) -> None:
        tags = self.target.tags
        picture = repacked(to_picture(frame.planes, frame.format), self.target.pixels)
        picture.pts, picture.time_base = time, self.target.base
        picture.color_range = _RANGES.get(tags.range, 0)
        picture.colorspace = tags.matrix
        picture.color_primaries, picture.color_trc = tags.primaries, tags.transfer
        self._keep(self._context.encode(picture))

    def _keep(self, packets: list[Any]) -> None:
        assert self._file is not None
        for packet in packets:
            sides = [(s.data_type, bytes(s)) for s in packet.iter_sidedata()]
            sides = [(kind, data) for kind, data in sides if kind in _KEPT_SIDES]
            self._file.write(memoryview(packet))
            for _, data in sides:
                self._file.write(data)
            listed = [(kind, len(data)) for kind, data in sides]
            self._packets.append(Packet(packet.pts, packet.is_keyframe, packet.size, listed))

    def _bytes(self, frame: Frame) -> bytes:
        if self.target.kind == "pictures":
            return encode_picture(frame, self.target.muxer, self.target.quality)
        data = b"".join(p.astype(frame.format.dtype).tobytes() for p in frame.planes)
        return zlib.compress(data, 1) if self.target.kind == "gif" else data

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._drop()
            return
        try:
            assert self._file is not None
            if self._context is not None:
                self._keep(self._context.encode(None))
            listed = [[p.time, int(p.key), p.size, p.sides] for p in self._packets]
            base = self.target.base
            tail = json.dumps({"base": [base.numerator, base.denominator], "packets": listed})
            self._file.write(tail.encode() + len(tail).to_bytes(8, "little") + _MAGIC)
            self._file.close()
            self._aside.replace(self.path)
        except OSError as failure:
            raise self._failed(failure) from failure
        finally:
            self._drop()

    def _drop(self) -> None:
        assert self._file is not None
        self._context = None
        with suppress(OSError):  # what was not yet written has no room either
            self._file.close()
        self._aside.unlink(missing_ok=True)

    def _failed(self, error: OSError) -> UserError:
        return UserError(f"cannot write {self.path}: {error.strerror or error}")


class Part:
    """A part that was written.

    Args:
        path: of it.

    Attributes:
        base: unit of its times, in seconds.
        packets: in order of decoding.

    Raises:
        UserError: if it is not one, or not whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                file.seek(-len(_MAGIC) - 8, 2)
                tail = file.read()
                if tail[8:] != _MAGIC:
                    raise ValueError("no end")
                size = int.from_bytes(tail[:8], "little")
                file.seek(-len(_MAGIC) - 8 - size, 2)
                content = json.loads(file.read(size))
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: not a whole part of a video; remove it") from error
        self.base = Fraction(*content["base"])
        self.packets = [
            Packet(time, bool(key), size, [(kind, n) for kind, n in sides])
            for time, key, size, sides in content["packets"]
        ]

    def payloads(self) -> Iterator[tuple[Packet, bytes, list[tuple[str, bytes]]]]:
        """Yield every packet, its bytes and its other data, in order."""
        with self.path.open("rb") as file:
            file.seek(len(_MAGIC))
            for packet in self.packets:
                data = file.read(packet.size)
                yield packet, data, [(kind, file.read(size)) for kind, size in packet.sides]


def open_encoder(target: Target) -> Any:
    """Return an encoder that is ready to take frames.

    Raises:
        UserError: if it refuses, for the size of frames for example.
    """
    import av

    assert target.encoder is not None
    os.environ.setdefault("SVT_LOG", "1")  # or libsvtav1 says on standard error what it does
    context = av.CodecContext.create(target.encoder.name, "w")
    configure(context, target)
    try:
        context.open()
    except (av.FFmpegError, ValueError, OSError) as error:
        raise UserError(
            f"{target.path}: the encoder {target.encoder.name} refuses {target.form} "
            f"({getattr(error, 'strerror', None) or error}); choose another codec"
        ) from error
    return context


def configure(context: Any, target: Target) -> None:
    """Tell an encoder what it will be given, and what to say of it."""
    tags, form = target.tags, target.form
    context.width, context.height, context.pix_fmt = form.width, form.height, target.pixels
    context.time_base = target.base
    context.framerate = target.pace
    context.options = dict(target.options)
    context.thread_count = target.threads
    if target.muxer in _HEADERS_APART:
        context.flags |= _GLOBAL_HEADER
    context.color_range = _RANGES.get(tags.range, 0)
    context.colorspace = tags.matrix
    if tags.primaries != UNSPECIFIED:
        context.color_primaries = tags.primaries
    if tags.transfer != UNSPECIFIED:
        context.color_trc = tags.transfer
    if tags.aspect is not None:
        context.sample_aspect_ratio = tags.aspect
    if target.muxer == "mp4" and target.encoder is not None and target.encoder.codec == "hevc":
        context.codec_tag = "hvc1"  # what Apple's players ask for


def side_data(kind: str, data: bytes) -> Any:
    """Return PyAV's form of data beside a packet."""
    from av.packet import PacketSideData

    make: Any = PacketSideData  # its hints leave out how it is made
    side = make(_SIDE_NUMBERS[kind], len(data))
    side.update(data)
    return side
