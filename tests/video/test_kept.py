"""What is kept: samples up to the encoder, colour, HDR, rotation, alpha, all other streams."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from conversions import clicks, convert, planes_of, same
from films import Film, even, numbers, shoot

from midframe.video.clip import Reading, open_clip
from midframe.video.tags import Mastering
from midframe.video.target import Output, plan_output

LOSSLESS = [
    ("mkv", "ffv1", "yuv420p"),
    ("mkv", "ffv1", "yuv422p10le"),
    ("mkv", "ffv1", "yuva444p16le"),
    ("mkv", "ffv1", "gbrap16le"),
    ("mkv", "ffv1", "gray16le"),
    ("mkv", "ffv1", "yuv411p"),
    ("avi", "ffv1", "yuv420p10le"),
    ("mp4", "h264", "yuv420p"),
    ("mp4", "h264", "yuv444p10le"),
    ("mp4", "hevc", "yuv420p12le"),
    ("mkv", "hevc", "gbrp10le"),
    ("webm", "vp9", "yuv420p"),
    ("webm", "vp9", "yuva420p"),
    ("mov", "qtrle", "gbrap"),
    ("mov", "png", "gbrp16le"),
    ("mov", "png", "gray"),
]


@pytest.mark.parametrize(("suffix", "codec", "pixels"), LOSSLESS)
def test_frames_come_back_sample_for_sample(tmp_path, suffix, codec, pixels):
    """Real frames and copies of them between: so a static clip has no difference, either."""
    made_as = "bgra" if codec == "qtrle" else pixels  # as FFV1 has RGB of 8 bits
    source = shoot(tmp_path / "in.mkv", Film(even(5), "ffv1", made_as))
    out = tmp_path / f"out.{suffix}"
    made = convert(source, out, Output(codec, lossless=True, speed="fast"), every=4)
    assert made.target.form == made.clip.format, made.target.words
    if pixels == "yuva420p":  # FFmpeg's own decoder leaves alpha out
        assert all(a.same_as(b) for a, b in zip(made.frames, open_clip(out).read(), strict=True))
    else:
        assert same(made.frames, planes_of(out, made.clip.format.pixel_format))
    assert open_clip(out).format == made.clip.format


def test_rgb_of_eight_bits_survives_ffv1(tmp_path):
    source = shoot(tmp_path / "in.mkv", Film(even(4), "ffv1", "bgra"))
    made = convert(source, tmp_path / "out.mkv")
    assert made.target.encoder is not None and made.target.encoder.codec == "ffv1"
    assert same(made.frames, planes_of(tmp_path / "out.mkv", "gbrap"))


HDR = {"color_range": 1, "colorspace": 9, "color_primaries": 9, "color_trc": 16}


def at(x: int, y: int) -> tuple[Fraction, Fraction]:
    return Fraction(x, 50000), Fraction(y, 50000)


DISPLAY = Mastering(
    (at(34000, 16000), at(13250, 34500), at(7500, 3000)),
    at(15635, 16450),
    (Fraction(1, 10000), Fraction(1000)),
)
X265 = (
    "log-level=none:frame-threads=1:bframes=0:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)"
    "L(10000000,1):max-cll=1000,400"
)


def side_data(path: Path) -> tuple[Any, dict[str, bytes]]:
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        return frame, {side.type.name: bytes(side) for side in frame.side_data}


@pytest.mark.parametrize(
    ("suffix", "codec"), [("mp4", "hevc"), ("mkv", "hevc"), ("mp4", "av1"), ("mp4", "h264")]
)
def test_hdr_is_kept(tmp_path, suffix, codec):
    source = shoot(
        tmp_path / "in.mkv",
        Film(even(4), "libx265", "yuv420p10le", options={"x265-params": X265}, context=HDR),
    )
    clip = open_clip(source)
    assert clip.tags.mastering == DISPLAY and clip.tags.light == (1000, 400)
    out = tmp_path / f"out.{suffix}"
    convert(source, out, Output(codec, speed="fast"))
    frame, sides = side_data(out)
    assert frame.format.name == "yuv420p10le"
    assert (frame.colorspace, frame.color_primaries, frame.color_trc) == (9, 9, 16)
    assert frame.color_range == 1
    back = open_clip(out).tags
    assert back.light == (1000, 400) and back.mastering is not None
    pairs = zip(
        (*DISPLAY.primaries, DISPLAY.white), (*back.mastering.primaries, back.mastering.white)
    )
    for wanted, got in pairs:
        assert all(abs(a - b) <= Fraction(1, 30000) for a, b in zip(wanted, got))
    assert abs(back.mastering.luminance[1] - 1000) <= Fraction(1, 100)
    assert "MASTERING_DISPLAY_METADATA" in sides


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "webm"])
@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (2, 5, 5, 6), (1, 6, 6, 13), (2, 1, 1, 1)])
def test_colour_tags_are_kept(tmp_path, suffix, tags):
    span, matrix, primaries, transfer = tags
    context = {"color_range": span, "colorspace": matrix, "color_primaries": primaries,
               "color_trc": transfer}  # fmt: skip
    source = shoot(tmp_path / "in.mkv", Film(even(3), "libx264", context=context))
    out = tmp_path / f"out.{suffix}"
    made = convert(source, out, Output(speed="fast"))
    assert made.clip.colour.matrix == ("bt709" if matrix == 1 else "bt601")
    frame, _ = side_data(out)
    assert int(frame.color_range) == span
    if suffix != "webm":  # VP9's stream has the matrix alone, WebM the rest
        assert (frame.colorspace, frame.color_primaries, frame.color_trc) == tags[1:]
    else:
        assert open_clip(out).colour == made.clip.colour


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_rotation_and_shape_of_pixels(tmp_path, suffix, degrees):
    source = shoot(
        tmp_path / "in.mp4",
        Film(even(3), rotation=degrees, context={"sample_aspect_ratio": Fraction(16, 11)}),
    )
    out = tmp_path / f"out.{suffix}"
    convert(source, out, Output(speed="fast"))
    with av.open(str(out)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(16, 11)
        frame = next(container.decode(video=0))
        assert (frame.rotation - degrees) % 360 == 0 and (frame.width, frame.height) == (64, 48)


@pytest.mark.parametrize(
    ("suffix", "codec", "bits"), [("webm", "vp9", 8), ("mov", "prores", 16), ("mkv", "ffv1", 8)]
)
def test_transparency_goes_where_it_can(tmp_path, suffix, codec, bits):
    source = shoot(tmp_path / "in.mkv", Film(even(3), "ffv1", "yuva420p"))
    out = tmp_path / f"out.{suffix}"
    made = convert(source, out, Output(speed="fast", lossless=suffix == "mkv"))
    assert made.target.encoder is not None and made.target.encoder.codec == codec
    clip = open_clip(out)
    assert clip.format.alpha
    for sent, got in zip(made.frames, clip.read(), strict=True):
        wanted, found = (f.alpha() for f in (sent, got))
        assert wanted is not None and found is not None
        assert np.abs(wanted - found).max() < 3 / 255


def test_what_has_no_place_is_said(tmp_path):
    deep = open_clip(shoot(tmp_path / "a.mkv", Film(even(2), "ffv1", "yuva444p10le")))
    words = " | ".join(plan_output(deep, tmp_path / "o.mp4", Fraction(50)).words)
    assert "transparency is not kept" in words and "10 bits" not in words
    words = " | ".join(plan_output(deep, tmp_path / "o.avi", Fraction(50), Output("mpeg4")).words)
    assert "10 bits become 8, rounded" in words and "chroma 444 becomes 420" in words
    ten = open_clip(shoot(tmp_path / "b.webm", Film(even(2), "libvpx-vp9")))
    assert "vp9" in plan_output(ten, tmp_path / "o.webm", Fraction(50)).words[0]
    hdr = open_clip(shoot(tmp_path / "c.mkv", Film(even(2), "libx265", "yuv420p10le",
                          options={"x265-params": X265}, context=HDR)))  # fmt: skip
    assert plan_output(hdr, tmp_path / "o.webm", Fraction(50)).encoder.codec == "av1"
    words = " | ".join(plan_output(hdr, tmp_path / "o.mov", Fraction(50), Output("prores")).words)
    assert "HDR mastering data are not kept" in words


FONT = bytes(range(256)) * 9


def chapters(container: Any) -> list[tuple[float, float, str]]:
    return [
        (float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"]),
         c["metadata"].get("title", ""))
        for c in container.chapters()
    ]  # fmt: skip


def rich(tmp_path: Path, name: str = "in.mkv") -> Path:
    """A film with two languages of sound, subtitles, chapters, a font and a title."""
    base = Fraction(1, 1000)
    path = shoot(
        tmp_path / f"plain_{name}",
        Film(
            even(50), audio="aac" if not name.endswith("webm") else "libopus",
            metadata={"title": "Harbour", "artist": "nobody"},
        ),
    )  # fmt: skip
    out_path = tmp_path / name
    with av.open(str(path)) as source, av.open(str(out_path), "w") as out:
        out.metadata.update({"title": "Harbour", "artist": "nobody"})
        made = {s.index: out.add_stream_from_template(s, opaque=True) for s in source.streams}
        second = out.add_stream_from_template(source.streams.audio[0], opaque=True)
        second.metadata["language"] = "fra"
        second.disposition = 0
        for stream in made.values():
            if stream.type == "audio":
                stream.metadata.update({"language": "eng", "title": "Speech"})
        text = out.add_stream("srt" if name.endswith("mkv") else "mov_text")
        text.metadata["language"] = "deu"
        text.codec_context.subtitle_header = b"[Script Info]\r\n"
        if name.endswith("mkv"):
            out.add_attachment("font.ttf", "font/ttf", FONT)
        out.set_chapters(
            [
                {"id": 1, "start": 0, "end": 800, "time_base": base, "metadata": {"title": "One"}},
                {
                    "id": 2,
                    "start": 800,
                    "end": 2000,
                    "time_base": base,
                    "metadata": {"title": "Two"},
                },
            ]
        )
        lines = [(200, 500, "Hello"), (1000, 600, "<i>World</i>")]
        for packet in source.demux():
            if not packet.size:
                continue
            if packet.stream.type == "audio":
                copy = av.Packet(bytes(packet))
                copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
                copy.time_base, copy.is_keyframe, copy.stream = packet.time_base, True, second
                out.mux(copy)
            packet.stream = made[packet.stream.index]
            out.mux(packet)
        for start, duration, words in lines:
            data = words.encode()
            data = data if name.endswith("mkv") else len(data).to_bytes(2, "big") + data
            line = av.Packet(data)
            line.pts = line.dts = start
            line.duration, line.time_base, line.stream = duration, base, text
            out.mux(line)
    return out_path


def texts(path: Path) -> list[tuple[float, float, str]]:
    found = []
    with av.open(str(path)) as container:
        for packet in container.demux(container.streams.subtitles[0]):
            if packet.size and packet.pts is not None:
                data = bytes(packet)
                if packet.stream.codec_context.name == "mov_text":
                    data = data[2:]
                if data.strip(b"\0"):
                    base = packet.time_base
                    found.append((float(packet.pts * base), float((packet.duration or 0) * base),
                                  data.decode()))  # fmt: skip
    return found


@pytest.mark.parametrize("into", ["mkv", "mp4", "mov", "webm"])
@pytest.mark.parametrize("name", ["in.mkv", "in.mp4"])
def test_all_other_streams_come_along(tmp_path, name, into):
    source = rich(tmp_path, name)
    out = tmp_path / f"out.{into}"
    made = convert(source, out, Output(speed="fast"))
    said = " | ".join(made.words)
    with av.open(str(out)) as container:
        sounds = container.streams.audio
        assert [s.language for s in sounds] == ["eng", "fra"]
        assert sounds[0].codec_context.codec.canonical_name == ("opus" if into == "webm" else "aac")
        assert [s.language for s in container.streams.subtitles] == [
            "ger" if into == "mov" else "deu"
        ]
        got = [c for c in chapters(container) if c[2]]
        assert [c[2] for c in got] == ["One", "Two"]
        assert got[1][:2] == pytest.approx((0.8, 2.0), abs=0.03)
        assert container.metadata.get("title", container.metadata.get("TITLE")) == "Harbour"
        fonts = [s for s in container.streams if s.type == "attachment"]
        if name == "in.mkv" and into == "mkv":
            assert [(f.name, bytes(f.data)) for f in fonts] == [("font.ttf", FONT)]
        elif name == "in.mkv":
            assert not fonts and "attachment" in said and "only Matroska" in said
    lines = texts(out)
    wanted = ["Hello", "<i>World</i>"]
    assert [text for *_, text in lines] in (wanted, ["Hello", "World"])
    shift = 0.022 if into in ("mkv", "webm") else 0.001  # where sound begins before 0
    for (start, length, _), (at, long) in zip(lines, ((0.2, 0.5), (1.0, 0.6))):
        assert start == pytest.approx(at, abs=shift) and length == pytest.approx(long, abs=0.002)
    if into == "webm":
        assert "becomes libopus" in said and "webvtt" in said


def test_slow_motion_stretches_sound_at_its_pitch(tmp_path):
    source = rich(tmp_path)
    out = tmp_path / "out.mkv"
    made = convert(source, out, Output(speed="fast"), factor=2, stretch=2, audio="stretch")
    assert "stretched 2 times" in " ".join(made.words)
    heard, wanted = clicks(out, 0.05), clicks(source)
    assert len(heard) == len(wanted)
    assert max(abs(a - 2 * b) for a, b in zip(heard, wanted)) < 0.02
    got = numbers(out)
    assert len(got) == 99 and got[-1][0] == pytest.approx(3.92, abs=0.03)
    assert texts(out)[1][:2] == pytest.approx((2.0, 1.2), abs=0.03)
    with av.open(str(out)) as container:
        assert chapters(container)[1][:2] == pytest.approx((1.6, 4.0), abs=0.03)
        end = max(float(p.pts * p.time_base) for p in container.demux(container.streams.audio[0])
                  if p.size)  # fmt: skip
        assert end == pytest.approx(4.0, abs=0.1)


def test_slow_motion_drops_or_copies_sound(tmp_path):
    source = shoot(tmp_path / "in.mp4", Film(even(50), audio="aac"))
    made = convert(source, tmp_path / "a.mp4", Output(speed="fast"), stretch=2, audio="drop")
    assert "left out: as --audio drop has it" in made.words[0]
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert not container.streams.audio
    made = convert(source, tmp_path / "b.mp4", Output(speed="fast"), stretch=2, audio="copy")
    assert "it ends before the picture does" in made.words[0]
    assert clicks(tmp_path / "b.mp4") == pytest.approx(clicks(source), abs=0.001)
    made = convert(source, tmp_path / "c.mp4", Output(speed="fast"), audio="drop")
    assert "left out: as --audio drop has it" in made.words[0]  # also where nothing lasts longer
    with av.open(str(tmp_path / "c.mp4")) as container:
        assert not container.streams.audio


def test_a_matrix_that_is_told_is_written(tmp_path):
    source = shoot(tmp_path / "in.mkv", Film(even(3), "libx264"))
    made = convert(source, tmp_path / "o.mp4", Output(speed="fast"),
                   reading=Reading(matrix="bt709", range="full"))  # fmt: skip
    frame, _ = side_data(tmp_path / "o.mp4")
    assert (int(frame.color_range), frame.colorspace) == (2, 1)
    assert made.target.colour.range == "full"


@pytest.mark.parametrize("into", ["mp4", "mov", "mkv", "webm"])
def test_a_cover_picture_comes_along(tmp_path, into):
    plain = shoot(tmp_path / "plain.mp4", Film(even(10), audio="aac"))
    picture = b""
    with av.open(str(plain)) as source, av.open(str(tmp_path / "in.mp4"), "w") as out:
        made = {s.index: out.add_stream_from_template(s, opaque=True) for s in source.streams}
        cover = out.add_stream("png", rate=1)
        cover.width = cover.height = 16
        cover.pix_fmt = "rgb24"
        cover.disposition = 1 << 10
        frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 77, np.uint8), "rgb24")
        frame.pts = 0
        packets = [*cover.encode(frame), *cover.encode(None)]
        picture = b"".join(bytes(p) for p in packets)
        for packet in packets:
            out.mux(packet)
        for packet in source.demux():
            if packet.size:
                packet.stream = made[packet.stream.index]
                out.mux(packet)
    made = convert(tmp_path / "in.mp4", tmp_path / f"out.{into}", Output(speed="fast"))
    with av.open(str(tmp_path / f"out.{into}")) as container:
        covers = [s for s in container.streams.video if s.disposition & 1 << 10]
        if into in ("webm", "mov"):
            assert not covers and any("cover png is left out" in word for word in made.words)
        else:
            assert len(covers) == 1
            found = [bytes(p) for p in container.demux(covers[0]) if p.size]
            assert found[0] == picture
    assert len(numbers(tmp_path / f"out.{into}")) == 19
