"""Everything of a file but its frames, on the way into another: sound, subtitles, chapters, fonts.

Packets are copied as they are wherever the new container takes them. Times are counted from the
start of the input and, where the output lasts longer, stretched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from types import TracebackType
from typing import Any

from midframe.errors import UserError
from midframe.video import channels, sound, subtitles, timecode
from midframe.video.clip import Clip, Other
from midframe.video.reader import opened, reason
from midframe.video.target import Target

_ATTACHES = ("matroska",)
_COVERS = ("mp4",)
_TIMECODES = ("mp4", "mov", "matroska")
_SAYS_DEFAULT = ("mov", "matroska")  # containers that tell which streams are to be shown
_WANTS_LAYOUT = ("mp4", "mov")  # of PCM; it is missed when the file ends
_CHAPTERS = ("mp4", "mov", "matroska", "webm")
# Languages that QuickTime knows by their older names.
_QUICKTIME = {"deu": "ger", "nld": "dut", "ell": "gre", "isl": "ice", "zho": "chi", "ces": "cze"}
_SOON = Fraction(1, 50)  # seconds that sound may start late without a word

Timed = tuple[Fraction, Any]  # time of decoding in seconds, packet


@dataclass
class _Track:
    """A stream on its way.

    Attributes:
        name: for people.
        convert: gives the packets of the output for one of the input, or for None at the end.
        coder: of text, which tells at the end what it left out.
    """

    name: str
    convert: Callable[[Any], Iterator[Timed]]
    coder: subtitles.Recoder | None = None


class Tracks:
    """All other streams of a clip's file; a context manager around the writing of the output.

    Args:
        clip: the input.
        target: the output.
        stretch: how many times longer it lasts.
        audio: "copy", "stretch" or "drop", see `join.join`.
        late: time of the output, before anything is moved, that becomes 0, in seconds.

    Attributes:
        words: what could not be kept, or not as it was.
        sounds: names of those that are written.
    """

    def __init__(
        self, clip: Clip, target: Target, stretch: Fraction, audio: str, late: Fraction
    ) -> None:
        self.clip, self.target, self.stretch, self.audio = clip, target, stretch, audio
        self._start = clip.start + late / stretch  # of the input, which is 0 in the output
        self.words: list[str] = []
        self.sounds: list[str] = []
        self._stack = ExitStack()
        self._input: Any = None
        self._tracks: dict[int, _Track] = {}

    def __enter__(self) -> Tracks:
        if self.clip.kind == "media":
            self._input = self._stack.enter_context(opened(self.clip.path))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def add(self, out: Any) -> None:
        """Add their streams to the output, behind that of the video."""
        if self._input is None:
            return
        for other in self.clip.others:
            stream = self._input.streams[other.index]
            name = _name(other, stream)
            if other.kind == "audio":
                self._add_audio(out, stream, name)
            elif other.kind == "subtitle":
                self._add_subtitle(out, stream, name)
            elif other.kind == "attachment":
                self._add_attachment(out, stream, name)
            elif other.kind == "cover":
                self._add_cover(out, stream, name)
            elif other.kind == "video":
                self._leave(name, "one video is written")
            elif not self._is_told_otherwise(stream):
                self._leave(name, "it is no sound, subtitle or font")

    def describe_video(self, made: Any) -> None:
        """Say of the video's stream whether it is to be shown, and the timecode it begins at."""
        from av.stream import Disposition

        made.disposition = Disposition.default
        if self._input is None:
            return None
        beside = {other.index for other in self.clip.others}
        film = next(s for s in self._input.streams.video if s.index not in beside)
        if any(name in self.clip.tags.container for name in _SAYS_DEFAULT):
            made.disposition = film.disposition
        label = timecode.label_of(
            film.metadata, self._input.metadata, *(s.metadata for s in self._input.streams)
        )
        if not label:
            return None
        if self.stretch != 1:
            return self._leave(f"timecode {label}", "it would run slower than the clock")
        if self.target.muxer not in _TIMECODES:
            return self._leave(f"timecode {label}", "this container has none")
        carried = timecode.carried(label, self.clip.rate, self.target.rate)
        if carried is None:
            why = "the output's rate has none for that frame"
            return self._leave(f"timecode {label}", why)
        made.metadata["timecode"] = carried
        return None

    def _is_told_otherwise(self, stream: Any) -> bool:
        """Whether a stream of data holds titles of chapters, or a timecode."""
        from av.stream import Discard

        # FFmpeg reads chapters of MOV from a track of text, which it then passes over
        titles = self.clip.chapters and stream.name == "bin_data" and stream.discard == Discard.all
        return bool(titles or timecode.label_of(stream.metadata))

    def add_chapters(self, out: Any) -> None:
        """Give the output the input's chapters, at the same places."""
        if self._input is None or not self.clip.chapters:
            return
        if self.target.muxer not in _CHAPTERS:
            self.words.append("chapters are left out: this container has none")
            return
        moved = []
        for chapter in self._input.chapters():
            base = chapter["time_base"] or Fraction(1, 1000)
            start, end = (self._time(chapter[side] * base) for side in ("start", "end"))
            unit = Fraction(1, 1_000_000)
            moved.append(
                {
                    **chapter,
                    "time_base": unit,
                    "start": round(max(start, Fraction(0)) / unit),
                    "end": round(end / unit),
                }
            )
        out.set_chapters(moved)

    def packets(self) -> Iterator[Timed]:
        """Yield (time of decoding, packet) of all streams, as they come in the input."""
        if not self._tracks:
            return
        import av

        streams = [self._input.streams[index] for index in self._tracks]
        packets = self._input.demux(*streams)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                self.words.append("sound and subtitles end where the file is damaged")
                break
            if packet is None:
                break
            if packet.size:
                yield from self._converted(self._tracks[packet.stream.index], packet)
        for track in self._tracks.values():
            yield from self._converted(track, None)
            if track.coder is not None and track.coder.plainer:
                self.words.append(f"{track.name} is without styles that it has in the input")

    def _converted(self, track: _Track, packet: Any) -> Iterator[Timed]:
        import av

        try:
            for time, made in track.convert(packet):
                if time >= 0 or self.target.muxer != "avi":
                    yield time, made  # AVI cannot say so, and would move everything
        except av.FFmpegError as error:
            raise UserError(
                f"cannot write {self.target.path}: {track.name} cannot be encoded "
                f"({reason(error)}); --audio drop leaves sound out"
            ) from error

    def _add_audio(self, out: Any, stream: Any, name: str) -> None:
        if self.audio == "drop":
            return self._leave(name, "as --audio drop has it")
        stretch = self.stretch if self.audio == "stretch" else Fraction(1)
        begin = (stream.start_time or 0) * stream.time_base - self._start
        avi = self.target.muxer == "avi"
        late = avi and begin > _SOON  # it holds no such offset: silence
        if avi and begin < -_SOON:
            lost = f"{float(-begin):.2f} s of {name} are left out"
            self.words.append(f"{lost}: AVI begins with its first frame, and they come before")
        if stretch == 1 and not late:
            made = self._copied(out, stream)
            if made is not None:
                self.sounds.append(name)
                self._tracks[stream.index] = _Track(
                    name, lambda packet: self._moved(packet, made, 1)
                )
                if self.stretch != 1:
                    self.words.append(f"{name} is copied: it ends before the picture does")
                return None
        if stream.codec_context is None:
            return self._leave(name, "there is no decoder of it")
        made = sound.add_stream(out, stream, self.target.muxer)
        if made is None:
            return self._leave(name, "this container takes none that can be written")
        self.sounds.append(name)
        self._describe(made, stream)
        end = self.clip.start + self.clip.times[-1] + self.clip.last
        coder = sound.Recoder(stream, made, stretch, self._start, from_start=late, end=end)
        self._tracks[stream.index] = _Track(name, coder.convert)
        how = "as this container takes no such"
        if late:
            how = "with silence before it, as it starts later than the picture"
        if stretch != 1:
            how = f"stretched {stretch} times"
        moved = channels.said(stream.codec_context.layout, made.codec_context.layout)
        how += f"; {moved}" if moved else ""
        self.words.append(f"{name} becomes {made.codec_context.name}, {how}")
        return None

    def _add_subtitle(self, out: Any, stream: Any, name: str) -> None:
        made = self._copied(out, stream)
        if made is not None:
            self._tracks[stream.index] = _Track(
                name, lambda packet: self._moved(packet, made, self.stretch)
            )
            return
        made = subtitles.add_stream(out, stream, self.target.muxer)
        if made is None:
            self._leave(name, "this container takes no such subtitles")
            return
        self._describe(made, stream)
        recoder = subtitles.Recoder(stream, made, self.stretch, self._start)
        self._tracks[stream.index] = _Track(name, recoder.convert, recoder)
        self.words.append(f"{name} becomes {made.name}")

    def _add_attachment(self, out: Any, stream: Any, name: str) -> None:
        if self.target.muxer not in _ATTACHES:
            self._leave(name, "only Matroska (.mkv) takes attachments")
            return
        title = stream.metadata.get("filename", "attachment")
        kind = stream.mimetype or "application/octet-stream"
        made = out.add_attachment(title, kind, stream.data)
        made.metadata.update(stream.metadata)

    def _add_cover(self, out: Any, stream: Any, name: str) -> None:
        data, codec = _first_packet(self.clip, stream.index), stream.codec_context.name
        if self.target.muxer in _ATTACHES:
            suffix = "jpg" if codec == "mjpeg" else "png"
            kind = "image/jpeg" if codec == "mjpeg" else "image/png"
            out.add_attachment(f"cover.{suffix}", kind, data)
        elif self.target.muxer in _COVERS and codec in ("mjpeg", "png"):
            made = out.add_stream_from_template(stream, opaque=True)
            made.disposition = stream.disposition
            self._tracks[stream.index] = _Track(name, lambda packet: _still(packet, data, made))
        else:
            self._leave(name, "this container takes none")

    def _copied(self, out: Any, stream: Any) -> Any:
        """Return a stream of the output for packets as they are, None if it takes none such."""
        if stream.codec_context is None or not _takes(self.target.muxer, stream):
            return None
        layout = None
        if stream.type == "audio" and self.target.muxer in _WANTS_LAYOUT:
            layout = channels.layout_of(stream.codec_context.layout)
            if layout is None and self.target.muxer == "mp4":
                return None
        made = out.add_stream_from_template(stream, opaque=True)
        if layout is not None and layout != made.codec_context.layout.name:
            made.codec_context.layout = layout
        self._describe(made, stream)
        return made

    def _describe(self, made: Any, stream: Any) -> None:
        made.metadata.update(
            {
                key: value
                for key, value in stream.metadata.items()
                if key.lower() in ("language", "title", "comment")
            }
        )
        language = made.metadata.get("language")
        if self.target.muxer == "mov" and language in _QUICKTIME:
            made.metadata["language"] = _QUICKTIME[language]
        made.disposition = stream.disposition

    def _moved(self, packet: Any, made: Any, stretch: Fraction | int) -> Iterator[Timed]:
        if packet is None or (packet.pts is None and packet.dts is None):
            return
        base, shift = packet.time_base, round(self._start / packet.time_base)
        if packet.pts is not None:
            packet.pts = round((packet.pts - shift) * stretch)
        if packet.dts is not None:
            packet.dts = round((packet.dts - shift) * stretch)
        else:
            packet.dts = packet.pts
        if stretch != 1:
            packet.duration = round((packet.duration or 0) * stretch)
        packet.stream = made
        yield packet.dts * base, packet

    def _time(self, seconds: Fraction) -> Fraction:
        return (seconds - self._start) * self.stretch

    def _leave(self, name: str, why: str) -> None:
        self.words.append(f"{name} is left out: {why}")


def _name(other: Other, stream: Any) -> str:
    """Return what a stream is called, for people."""
    codec = other.codec or (other.kind == "data" and stream.name) or "of unknown kind"
    return f"{other.kind} {codec}" + (f" ({other.language})" if other.language else "")


def _first_packet(clip: Clip, index: int) -> bytes:
    with opened(clip.path) as container:
        packets = container.demux(container.streams[index])
        return next((bytes(packet) for packet in packets if packet.size), b"")


def _still(packet: Any, data: bytes, stream: Any) -> Iterator[Timed]:
    """Give the picture once, with the input's packet of it."""
    import av

    if packet is not None:
        made = av.Packet(data)
        made.pts = made.dts = 0
        made.time_base, made.stream, made.is_keyframe = Fraction(1, 1000), stream, True
        yield Fraction(0), made


def _takes(muxer: str, stream: Any) -> bool:
    """Whether a container takes a stream as it is: its head is written to see."""
    import io

    import av

    try:
        with av.open(io.BytesIO(), "w", format=muxer) as out:
            if stream.type == "subtitle":  # some containers start with a video only
                out.add_stream("libx264" if muxer != "webm" else "libvpx-vp9", rate=25)
            out.add_stream_from_template(stream, opaque=True)
            out.start_encoding()
    except (av.FFmpegError, ValueError, OSError):
        return False
    return True
