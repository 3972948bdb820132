"""Subtitles say in another container what they said: text, and styles as far as it knows them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import pytest
from conversions import convert
from films import Film, even, numbers, shoot
from hypothesis import given
from hypothesis import strategies as st

from midframe.video.subtitles import parsed, written
from midframe.video.target import Output

MS = Fraction(1, 1000)
CODECS = {"mkv": "srt", "webm": "webvtt", "mp4": "mov_text", "mov": "mov_text"}
HEADER = (
    b"[Script Info]\r\nScriptType: v4.00+\r\n\r\n[V4+ Styles]\r\n"
    b"Format: Name, Fontname, Fontsize\r\nStyle: Default,Arial,16\r\n\r\n[Events]\r\n"
    b"Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\r\n"
)


def boxed(text: str, faces: Sequence[tuple[int, int, int]] = ()) -> bytes:
    """Return a sample of MOV text; faces are (first character, behind the last, bits)."""
    data = text.encode()
    sample = struct.pack(">H", len(data)) + data
    if faces:
        entries = b"".join(struct.pack(">HHHBBI", a, b, 1, face, 16, ~0 & 0xFFFFFFFF)
                           for a, b, face in faces)  # fmt: skip
        sample += struct.pack(">I4sH", 10 + len(entries), b"styl", len(faces)) + entries
    return sample


def captioned(path: Path, cues: Sequence[str | bytes], codec: str = "") -> Path:
    """Write a second of a film with a cue at 0.1 s and 0.5 s, each of 0.2 s."""
    webm = path.suffix == ".webm"
    plain = shoot(path.parent / f"plain{path.suffix}", Film(even(25), "libvpx-vp9" if webm else
                                                           "libx264"))  # fmt: skip
    with av.open(str(plain)) as source, av.open(str(path), "w") as out:
        video = out.add_stream_from_template(source.streams.video[0], opaque=True)
        text = out.add_stream(codec or CODECS[path.suffix[1:]])
        text.codec_context.subtitle_header = HEADER
        lines = []
        for number, cue in enumerate(cues):
            if isinstance(cue, str):
                cue = boxed(cue) if text.codec_context.name == "mov_text" else cue.encode()
            line = av.Packet(cue)
            line.pts = line.dts = 100 + 400 * number
            line.duration, line.time_base, line.stream = 200, MS, text
            lines.append(line)
        for packet in source.demux(video=0):
            while lines and packet.dts is not None and lines[0].pts * MS <= packet.dts * (
                packet.time_base
            ):  # fmt: skip
                out.mux(lines.pop(0))
            if packet.size:
                packet.stream = video
                out.mux(packet)
    return path


def cues_of(path: Path) -> list[tuple[float, float, bytes]]:
    """Return begin, length and bytes of the cues of a file; empty ones too."""
    with av.open(str(path)) as container:
        return [
            (float(p.pts * p.time_base), float((p.duration or 0) * p.time_base), bytes(p))
            for p in container.demux(container.streams.subtitles[0])
            if p.pts is not None
        ]


def shown(path: Path) -> list[str]:
    """Return what FFmpeg's own decoder makes of the cues, as text of ASS."""
    with av.open(str(path)) as container:
        return [
            side.ass.decode().split(",", 8)[-1].replace("{\\rDefault}", "")
            for packet in container.demux(container.streams.subtitles[0])
            if packet.size
            for side in packet.decode()
            if side.ass and side.ass.decode().split(",", 8)[-1]
        ]


def test_webm_of_mov_text_can_be_read(tmp_path):
    """MOV text fills the time between cues with empty ones, which WebM cannot hold."""
    source = captioned(tmp_path / "in.mp4", ["Hello", "World"])
    assert sum(len(data) == 2 for *_, data in cues_of(source)) >= 2
    made = convert(source, tmp_path / "out.webm", Output(speed="fast"))
    assert len(numbers(tmp_path / "out.webm")) == len(made.times) == 49
    found = cues_of(tmp_path / "out.webm")
    assert [data for *_, data in found] == [b"Hello", b"World"]
    assert [begin for begin, *_ in found] == pytest.approx([0.1, 0.5], abs=0.001)
    assert [length for _, length, _ in found] == pytest.approx([0.2, 0.2], abs=0.001)


@pytest.mark.parametrize("into", ["mp4", "mov", "mkv", "webm"])
@pytest.mark.parametrize("name", ["in.mkv", "in.mp4", "in.webm"])
def test_what_is_no_tag_stays(tmp_path, name, into):
    says = "5 < 7 but 9 > 3 {sic}, Q & A, <3"
    given = says.replace("&", "&amp;").replace("<", "&lt;") if name == "in.webm" else says
    source = captioned(tmp_path / name, [given, "second"])
    made = convert(source, tmp_path / f"out.{into}", Output(speed="fast"))
    found = [data for *_, data in cues_of(tmp_path / f"out.{into}") if data.strip(b"\0")]
    if into in ("mp4", "mov"):
        assert found == [boxed(says), boxed("second")]
    elif into == "mkv" and name != "in.webm":
        assert found == [says.encode(), b"second"]
    else:
        assert b"{sic}" in found[0] and b"&amp;" in found[0] and b"&lt; 7" in found[0]
    plain = shown(tmp_path / f"out.{into}")[0]
    assert plain.replace("\\{{}", "{").replace("\\{", "{").replace("\\}", "}") == says
    assert not any("styles" in words for words in made.words)


@pytest.mark.parametrize(("into", "bold"), [("webm", b"<b>not</b>"), ("mp4", b"not")])
def test_styles_stay_or_a_note_says_so(tmp_path, into, bold):
    source = captioned(tmp_path / "in.mkv", ["I did <b>not</b> say", "that"])
    made = convert(source, tmp_path / f"out.{into}", Output(speed="fast"))
    found = [data for *_, data in cues_of(tmp_path / f"out.{into}")]
    assert any(b"I did " + bold + b" say" in data for data in found)
    assert any("without styles" in words for words in made.words) == (into == "mp4")
    coloured = captioned(tmp_path / "colour.mkv", ["<font color=red>Red</font>", "{\\an8}up"])
    made = convert(coloured, tmp_path / f"out.{into}", Output(speed="fast"))
    assert any("without styles" in words for words in made.words)
    assert any(data.endswith(b"Red") for *_, data in cues_of(tmp_path / f"out.{into}"))


def test_styles_of_mov_text_become_tags(tmp_path):
    cue = boxed("\u00fcber all", [(0, 4, 2), (5, 8, 1 | 4)])
    source = captioned(tmp_path / "in.mp4", [cue])
    assert "\\i1" in shown(source)[0]  # FFmpeg sees them as well
    convert(source, tmp_path / "out.mkv", Output(speed="fast"))
    wanted = "<i>\u00fcber</i> <b><u>all</u></b>".encode()
    assert [data for *_, data in cues_of(tmp_path / "out.mkv")] == [wanted]


def test_ass_into_others(tmp_path):
    cue = "0,0,Default,,0,0,0,,{\\i1}Lean{\\i0} on\\Nme {aside}"
    source = captioned(tmp_path / "in.mkv", [cue], "ass")
    made = convert(source, tmp_path / "out.webm", Output(speed="fast"))
    assert [data for *_, data in cues_of(tmp_path / "out.webm")] == [b"<i>Lean</i> on\nme "]
    assert not any("styles" in words for words in made.words)


@pytest.mark.parametrize(
    ("kind", "data", "says", "styled"),
    [
        ("subrip", "<I>a</I> <u>b</u> <s>c</s> <b and c>", "a b c <b and c>", True),
        ("subrip", "{\\an8}up {down} <3", "up {down} <3", True),
        ("webvtt", "<v Fred>Hi <c.red>all</c> <00:00.500>&gt;&nbsp;1", "Hi all >\u00a01", True),
        ("webvtt", "<ruby>a<rt>b</rt></ruby> 1 < 2", "ab 1 < 2", True),
        ("mov_text", boxed("<i>old</i> {\\b}"), "old {\\b}", True),  # of careless programs
        ("mov_text", boxed("<i>new</i>", [(0, 3, 1)]), "<i>new</i>", True),
        ("mov_text", boxed("")[:2], "", False),
        ("mov_text", b"\x00\x06\xfe\xff\x00H\x00i", "Hi", False),
        ("text", "<i>plain</i>", "<i>plain</i>", False),
        ("ass", "0,0,Top,,0,0,0,,a, b\\h{\\pos(1,2)}c", "a, b\u00a0c", True),
    ],
)
def test_cues_of_every_form(kind, data, says, styled):
    text = parsed(data if isinstance(data, bytes) else data.encode(), kind)
    assert written(text, "mov_text") == (says, styled)


@given(st.text(alphabet="<>/&;{}\\ biuc1.:\u00e9"))
def test_any_text_comes_back_from_webvtt(says):
    """Nothing that is written is taken for a tag, or for the name of a character."""
    text = parsed(says.encode(), "text")
    words, lost = written(text, "webvtt")
    assert "<" not in words and not lost
    assert written(parsed(words.encode(), "webvtt"), "mov_text")[0] == says
