"""Subtitles that are text, from the form of one container to that of another."""

from __future__ import annotations

import html
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

_FORMS = {"mp4": "mov_text", "mov": "mov_text", "webm": "webvtt", "matroska": "subrip"}
_TEXT = ("subrip", "webvtt", "mov_text", "ass", "ssa", "text")
_ASS = ("ass", "ssa")
# What is a tag: any other "<" or "{" is text, as in "5 < 7" and "{sic}".
_TAG = (
    r"<(?P<end>/?)(?P<style>b|i|u|s|strike)(?P<kind>\.[^\s<>]+)?\s*>"
    r"|</?(?:c|v|lang|ruby|rt|font)(?:[.\s][^<>]*)?>"
    r"|<\d+:[\d:.]+>"  # of WebVTT: when the words behind it are shown
)
_TAGS = {
    "webvtt": re.compile(_TAG + "|(?P<block>(?!))", re.IGNORECASE),
    "subrip": re.compile(_TAG + r"|\{(?P<block>\\[^}]*)\}", re.IGNORECASE),
    # one without a backslash is a comment
    **dict.fromkeys(_ASS, re.compile(_TAG + r"|\{(?P<block>[^}]*)\}", re.IGNORECASE)),
}
_ASS_SWITCH = re.compile(r"\\([bius])(\d*)(?=\\|$|\s)")
_ASS_FIELDS = 8  # commas before the text of an event of ASS
_STYLES = {"subrip": "bius", "webvtt": "biu", "mov_text": ""}  # that a form has tags for
_FACES = {1: "b", 2: "i", 4: "u"}  # bits of MOV text
_LONGEST = 65_000  # bytes of a MOV text

Run = tuple[str, frozenset[str]]  # text, and which of b, i, u, s it is


@dataclass(frozen=True)
class Text:
    """What a cue says, apart from how a form writes it.

    Attributes:
        runs: pieces of text with their styles.
        more: whether there are styles besides: colours, fonts, places, voices.
    """

    runs: tuple[Run, ...]
    more: bool = False


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
    """Packets of subtitles to packets of another form.

    Bold, italic, underlined and struck text stays so where the other form knows it; colours, fonts
    and places are left out.

    Args:
        stream: of the input.
        made: of the output.
        stretch: how many times longer the output lasts.
        start: time of the input that is 0 in the output, in seconds.

    Attributes:
        plainer: whether styles were left out so far.
    """

    def __init__(self, stream: Any, made: Any, stretch: Fraction, start: Fraction) -> None:
        self._kind = stream.codec_context.codec.canonical_name
        self._made, self._stretch, self._start = made, stretch, start
        self._form = made.codec_context.codec.canonical_name
        self.plainer = False

    def convert(self, packet: Any) -> Iterator[tuple[Fraction, Any]]:
        """Yield (time, packet) of the output for a packet; None: for the end."""
        if packet is None or packet.pts is None:
            return
        import av

        unit = Fraction(1, 1000)
        time = (packet.pts * packet.time_base - self._start) * self._stretch
        text = parsed(bytes(packet), self._kind)
        words, plainer = written(text, self._form)
        if not words.strip():
            return  # as between two cues of MOV text; WebM with empty ones cannot be read
        self.plainer |= plainer
        data = words.encode()[:_LONGEST].decode(errors="ignore").encode()  # whole characters
        if self._form == "mov_text":
            data = len(data).to_bytes(2, "big") + data
        made = av.Packet(data)
        made.time_base, made.stream = unit, self._made
        made.pts = made.dts = round(time / unit)
        made.duration = round((packet.duration or 0) * packet.time_base * self._stretch / unit)
        made.is_keyframe = True
        yield time, made


def parsed(data: bytes, kind: str) -> Text:
    """Read a cue.

    Args:
        data: of a packet.
        kind: FFmpeg's name of the codec.
    """
    if kind == "mov_text":
        size = int.from_bytes(data[:2], "big")
        words, boxes = data[2 : 2 + size], data[2 + size :]
        wide = words.startswith((b"\xfe\xff", b"\xff\xfe"))
        plain = words.decode("utf-16" if wide else "utf-8", "replace")
        runs = tuple(_boxed(plain, boxes))
        # it has no tags, but where it has no styles either, some programs leave those of SubRip
        return Text(runs) if len(runs) > 1 else _styled(plain, _TAGS["webvtt"])
    text = data.decode("utf-8", "replace")
    if kind in _ASS:
        fields = text.split(",", _ASS_FIELDS)
        text = fields[-1].replace("\\N", "\n").replace("\\n", "\n").replace("\\h", "\u00a0")
        made = _styled(text, _TAGS[kind])
        style = fields[2].strip().lstrip("*") if len(fields) > _ASS_FIELDS else ""
        return Text(made.runs, made.more or style not in ("", "Default"))
    if kind not in _TAGS:
        return Text(((text, frozenset()),))
    made = _styled(text, _TAGS[kind])
    if kind == "webvtt":
        made = Text(tuple((html.unescape(words), styles) for words, styles in made.runs), made.more)
    return made


def _boxed(text: str, boxes: bytes) -> Iterator[Run]:
    """Divide a MOV text at the places that its box of styles names, by number of character."""
    at = 0
    while len(boxes) >= 10:
        size, kind, count = struct.unpack_from(">I4sH", boxes)
        if kind == b"styl":
            for number in range(min(count, (len(boxes) - 10) // 12)):
                start, end, _, face = struct.unpack_from(">HHHB", boxes, 10 + 12 * number)
                start, end = max(at, start), min(end, len(text))
                if start < end:
                    if start > at:
                        yield text[at:start], frozenset()
                    yield text[start:end], frozenset(n for b, n in _FACES.items() if face & b)
                    at = end
        boxes = boxes[max(size, 8) :]
    yield text[at:], frozenset()  # at least this, if empty


def _styled(text: str, tags: re.Pattern[str]) -> Text:
    """Divide a text at its tags."""
    runs: list[Run] = []
    styles: set[str] = set()
    more, at = False, 0
    for tag in tags.finditer(text):
        runs.append((text[at : tag.start()], frozenset(styles)))
        at = tag.end()
        found = tag.groupdict()
        if found["block"] is not None:
            for name, on in _ASS_SWITCH.findall(found["block"]):
                (styles.discard if on in ("", "0") else styles.add)(name)
            more |= "\\" in _ASS_SWITCH.sub("", found["block"])
        elif found["style"]:
            name = found["style"].lower()[0]  # of strike as well
            (styles.discard if found["end"] else styles.add)(name)
            more |= bool(found["kind"])
        else:
            more = True
    runs.append((text[at:], frozenset(styles)))
    return Text(tuple(run for run in runs if run[0]), more)


def written(text: Text, form: str) -> tuple[str, bool]:
    """Return a cue in a form, "subrip", "webvtt" or "mov_text", and whether styles are lost."""
    known, lost, parts = _STYLES[form], text.more, []
    for words, styles in text.runs:
        if form == "webvtt":
            words = html.escape(words, quote=False)
        lost |= bool(styles - set(known)) and bool(words.strip())
        names = [name for name in known if name in styles]
        opening = "".join(f"<{name}>" for name in names)
        parts.append(opening + words + "".join(f"</{name}>" for name in reversed(names)))
    joined = "".join(parts)
    if form == "webvtt":  # where an empty line would end the cue
        joined = re.sub(r"\n(?:[ \t\r]*\n)+", "\n", joined.replace("\r\n", "\n")).strip("\n")
    return joined, lost


_HEADER = (  # what FFmpeg's encoders of subtitles want to know of styles
    b"[Script Info]\r\nScriptType: v4.00+\r\nPlayResX: 384\r\nPlayResY: 288\r\n\r\n"
    b"[V4+ Styles]\r\nFormat: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, "
    b"OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, "
    b"Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding\r\n"
    b"Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1"
    b"\r\n\r\n[Events]\r\n"
    b"Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r\n"
)
