"""Subtitles that are text, from the form of one container to that of another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

_FORMS = {"mp4": "mov_text", "mov": "mov_text", "webm": "webvtt", "matroska": "subrip"}
_TEXT = ("subrip", "srt", "webvtt", "mov_text", "ass", "ssa", "text")
_TAG = re.compile(r"<[^>]*>|\{[^}]*\}")  # of SubRip, and of ASS
_ASS_FIELDS = 8  # commas before the text of an event of ASS
_LONGEST = 65_000  # bytes of a MOV text


def add_stream(out: Any, stream: Any, muxer: str) -> Any:
    """Add a stream for subtitles like those of another; None where there is no form for them."""
    form = _FORMS.get(muxer)
    context = stream.codec_context
    if form is None or context is None or context.codec.canonical_name not in _TEXT:
        return None
    try:
        made = out.add_stream("srt" if form == "subrip" else form)
    except ValueError:
        return None
    made.codec_context.subtitle_header = _HEADER
    return made


class Recoder:
    """Packets of subtitles to packets of another form; styles are left out.

    Args:
        stream: of the input.
        made: of the output.
        stretch: how many times longer the output lasts.
        start: time of the input that is 0 in the output, in seconds.
    """

    def __init__(self, stream: Any, made: Any, stretch: Fraction, start: Fraction) -> None:
        self._kind = stream.codec_context.codec.canonical_name
        self._made, self._stretch, self._start = made, stretch, start
        self._form = made.codec_context.codec.canonical_name

    def convert(self, packet: Any) -> Iterator[tuple[Fraction, Any]]:
        """Yield (time, packet) of the output for a packet; None: for the end."""
        if packet is None or packet.pts is None:
            return
        import av

        unit = Fraction(1, 1000)
        time = (packet.pts * packet.time_base - self._start) * self._stretch
        text = self._text(bytes(packet)).encode()[:_LONGEST]
        if self._form == "mov_text":
            text = len(text).to_bytes(2, "big") + text
        made = av.Packet(text)
        made.time_base, made.stream = unit, self._made
        made.pts = made.dts = round(time / unit)
        made.duration = round((packet.duration or 0) * packet.time_base * self._stretch / unit)
        made.is_keyframe = True
        yield time, made

    def _text(self, data: bytes) -> str:
        if self._kind == "mov_text":
            data = data[2 : 2 + int.from_bytes(data[:2], "big")]
        text = data.decode("utf-8", "replace")
        if self._kind in ("ass", "ssa"):
            text = text.split(",", _ASS_FIELDS)[-1].replace("\\N", "\n").replace("\\n", "\n")
        return _TAG.sub("", text)


_HEADER = (  # what FFmpeg's encoders of subtitles want to know of styles
    b"[Script Info]\r\nScriptType: v4.00+\r\nPlayResX: 384\r\nPlayResY: 288\r\n\r\n"
    b"[V4+ Styles]\r\nFormat: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, "
    b"OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, "
    b"Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding\r\n"
    b"Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1"
    b"\r\n\r\n[Events]\r\n"
    b"Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r\n"
)
