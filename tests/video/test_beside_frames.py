"""What lies beside the frames of odd files: sound, subtitles, chapters and tags, and their gaps."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from conversions import clicks, convert
from films import Film, even, shoot

from midframe.video import sound, subtitles
from midframe.video.clip import open_clip
from midframe.video.tags import _mastering, tags_of
from midframe.video.target import Output, plan_output
from midframe.video.tracks import Tracks

FAST = Output("vp8", speed="fast")


def with_stream(path: Path, name: str, packets: list[tuple[int, int, bytes]]) -> Path:
    """Write a film of a second with a stream of data or text: (start, length) in ms, bytes."""
    slow = Film(even(5, 5), "mpeg4", base=Fraction(1, 5))
    film = shoot(path.with_name(f"plain_{path.name}"), slow)
    with av.open(str(film)) as source, av.open(str(path), "w") as out:
        copy = out.add_stream_from_template(source.streams.video[0], opaque=True)
        stream = out.add_data_stream() if name == "data" else out.add_stream(name)
        if name != "data":
            stream.codec_context.subtitle_header = b"[Script Info]\r\n"
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = copy
                out.mux(packet)
        for start, length, data in packets:
            line = av.Packet(data)
            line.pts = line.dts = start
            line.duration, line.time_base, line.stream = length, Fraction(1, 1000), stream
            out.mux(line)
    return path


ASS = [(100, 300, rb"0,0,Default,,0,0,0,,{\b1}Hello, you\Nthere"), (500, 400, b"1,0,,,0,0,0,,<i>")]


def test_words_of_ass_come_without_its_styles(tmp_path):
    """Its fields are divided by commas, of which words may have more; its lines by backslash N."""
    source = with_stream(tmp_path / "in.mkv", "ass", ASS)
    made = convert(source, tmp_path / "out.mp4")
    assert "subtitle ass becomes mov_text" in made.words
    with av.open(str(tmp_path / "out.mp4")) as container:
        found = [
            (float(p.pts * p.time_base), bytes(p)[2:].decode())
            for p in container.demux(subtitles=0)
            if p.size > 2
        ]
    assert found == [(0.1, "Hello, you\nthere")]
    made = convert(source, tmp_path / "out.avi")
    assert "subtitle ass is left out: this container takes no such subtitles" in made.words


def test_words_that_no_encoder_here_writes_are_left_out(monkeypatch):
    def refuses(name: str) -> Any:
        raise ValueError(name)

    context = SimpleNamespace(codec=SimpleNamespace(canonical_name="subrip"))
    stream = SimpleNamespace(codec_context=context)
    assert subtitles.add_stream(SimpleNamespace(add_stream=refuses), stream, "mp4") is None


def film_with_sound(path: Path, codec: str, rate: int = 48000) -> Path:
    """Write a film of a second with a click every half second of it."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=5)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = out.add_stream(codec, rate=rate)
        audio.layout = "mono"
        for number in range(5):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([100 + number]) * plane.buffer_size)
            frame.pts = number
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        wave = np.zeros(rate, np.float32)
        for at in range(0, rate, rate // 2):
            wave[at : at + rate // 100] = 0.5 * np.sin(np.arange(rate // 100) * 0.3)
        form = audio.codec_context.format.name
        for at in range(0, rate, 1024):
            part = wave[None, at : at + 1024]
            if form == "u8":
                part = np.rint(part * 127 + 128).astype(np.uint8)
            elif form.startswith("s16"):
                part = np.rint(part * 32767).astype(np.int16)
            block = av.AudioFrame.from_ndarray(part, form, "mono")
            block.sample_rate, block.time_base = rate, Fraction(1, rate)
            block.pts = at
            out.mux(audio.encode(block))
        out.mux(audio.encode(None))
    return path


def test_sound_of_eight_bits_is_stretched_and_heard_in_time(tmp_path):
    source = film_with_sound(tmp_path / "in.avi", "pcm_u8", 8000)
    convert(source, tmp_path / "out.mkv", stretch=2, audio="stretch")
    assert clicks(tmp_path / "out.mkv") == pytest.approx([0, 1], abs=0.02)


def test_sound_of_a_rate_that_an_encoder_lacks_gets_one_that_it_has(tmp_path):
    source = film_with_sound(tmp_path / "in.mkv", "pcm_s16le", 44100)
    convert(source, tmp_path / "out.webm", FAST)
    with av.open(str(tmp_path / "out.webm")) as container:
        assert container.streams.audio[0].codec_context.sample_rate == 48000
    assert clicks(tmp_path / "out.webm") == pytest.approx([0, 0.5], abs=0.02)


def test_sound_that_no_encoder_here_writes_is_left_out(tmp_path, monkeypatch):
    source = film_with_sound(tmp_path / "in.mkv", "pcm_s16le")
    monkeypatch.setitem(sound._ENCODERS, "webm", ("nothing", "libopus"))
    made = convert(source, tmp_path / "a.webm", FAST)
    assert [words for words in made.words if "audio" in words] == [
        "audio pcm_s16le becomes libopus, as this container takes no such"
    ]
    monkeypatch.setitem(sound._ENCODERS, "webm", ("nothing",))
    made = convert(source, tmp_path / "b.webm", FAST)
    assert any(
        "is left out: this container takes none that can be written" in w for w in made.words
    )
    with av.open(str(tmp_path / "b.webm")) as container:
        assert len(container.streams) == 1


def test_damaged_sound_is_silent_there_and_in_time_behind_it(tmp_path):
    source = film_with_sound(tmp_path / "in.mkv", "flac")
    with av.open(str(source)) as container:
        packets = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    data = source.read_bytes()
    for packet in packets[:3]:  # the first click is within
        assert data.count(packet) == 1 and packet[:1] == b"\xff"  # FLAC's sync code
        data = data.replace(packet, bytes(len(packet)))
    source.write_bytes(data)
    convert(source, tmp_path / "out.webm", FAST)
    assert clicks(tmp_path / "out.webm") == pytest.approx([0.5], abs=0.02)


def test_samples_that_say_no_time_are_passed_over():
    context = SimpleNamespace(sample_rate=8000)
    made = SimpleNamespace(codec_context=context)
    coder = sound.Recoder(SimpleNamespace(), made, Fraction(1), Fraction(0))
    for pts, samples in ((None, 80), (5, 0)):
        assert list(coder._take(SimpleNamespace(pts=pts, samples=samples))) == []


def test_sound_without_a_decoder_is_left_out_by_name(tmp_path):
    source = film_with_sound(tmp_path / "in.mkv", "flac")
    data = source.read_bytes()
    assert data.count(b"A_FLAC") == 1
    source.write_bytes(data.replace(b"A_FLAC", b"A_FLOC"))
    made = convert(source, tmp_path / "out.mkv")
    assert "audio of unknown kind is left out: there is no decoder of it" in made.words


def test_what_is_neither_sound_nor_text_is_left_out_by_name(tmp_path):
    source = with_stream(tmp_path / "in.ts", "data", [(40, 40, b"position 1")])
    made = convert(source, tmp_path / "out.mkv")
    assert any("is left out: it is no sound, subtitle or font" in words for words in made.words)


def test_of_two_videos_one_is_written_and_the_other_named(tmp_path):
    film = shoot(tmp_path / "in.mkv", Film(even(2, 5), "mpeg4", base=Fraction(1, 5)))
    with av.open(str(film)) as source, av.open(str(tmp_path / "two.mkv"), "w") as out:
        both = [out.add_stream_from_template(source.streams.video[0], opaque=True) for _ in "ab"]
        for packet in source.demux(video=0):
            for stream in both if packet.size else ():
                copy = av.Packet(bytes(packet))
                copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
                copy.is_keyframe, copy.stream = packet.is_keyframe, stream
                out.mux(copy)
    made = convert(tmp_path / "two.mkv", tmp_path / "out.mkv")
    assert "video mpeg4 is left out: one video is written" in made.words


def test_a_container_without_chapters_says_so(tmp_path):
    one = {"id": 1, "start": 0, "end": 900, "time_base": Fraction(1, 1000), "metadata": {}}
    film = Film(even(5, 5), "mpeg4", base=Fraction(1, 5), chapters=[one])
    source = shoot(tmp_path / "in.mkv", film)
    made = convert(source, tmp_path / "out.avi")
    assert "chapters are left out: this container has none" in made.words


def test_sound_behind_damage_of_the_file_is_left_out_in_words(tmp_path):
    source = film_with_sound(tmp_path / "in.mkv", "flac")
    clip = open_clip(source)
    target = plan_output(clip, tmp_path / "out.mkv", Fraction(5))
    with (
        Tracks(clip, target, Fraction(1), "copy", Fraction(0)) as tracks,
        av.open(str(tmp_path / "out.mkv"), "w") as out,
    ):
        tracks.add(out)
        container = tracks._input

        def breaks_off(*streams):
            yield from (packet for _, packet in zip(range(4), container.demux(*streams)))
            raise av.error.InvalidDataError(1, "cut")

        tracks._input = SimpleNamespace(demux=breaks_off, streams=container.streams)
        assert len(list(tracks.packets())) == 4
    assert tracks.words == ["sound and subtitles end where the file is damaged"]


def test_packets_that_say_one_time_only_keep_it(tmp_path):
    clip = open_clip(film_with_sound(tmp_path / "in.mkv", "flac"))
    target = plan_output(clip, tmp_path / "out.mkv", Fraction(5))
    tracks = Tracks(clip, target, Fraction(1), "copy", Fraction(0))

    def packet(**times: int) -> Any:
        given = {"pts": None, "dts": None, "duration": 4, **times}
        return SimpleNamespace(time_base=Fraction(1, 1000), stream=None, **given)

    for times, moved in (
        ({"pts": 40}, (80, 80)),
        ({"dts": 40}, (None, 80)),
        ({"pts": 60, "dts": 40}, (120, 80)),
    ):
        ((time, made),) = tracks._moved(packet(**times), "stream", 2)
        assert (made.pts, made.dts, made.duration) == (*moved, 8) and time == Fraction(80, 1000)
    assert list(tracks._moved(packet(), "stream", 2)) == []


def test_colours_that_models_do_not_know_are_told(tmp_path):
    film = Film(even(2), context={"colorspace": 7, "color_range": 1})  # SMPTE 240M
    clip = open_clip(shoot(tmp_path / "a.mkv", film))
    assert "the colour matrix is a rare one; models see colours that are slightly off" in clip.notes
    assert clip.tags.matrix == 7 and clip.colour.matrix == "bt709"


class Sides:
    """A picture with other data beside it."""

    def __init__(self, picture: Any, side_data: Any) -> None:
        self._picture, self._sides = picture, side_data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._picture, name)

    @property
    def side_data(self) -> Any:
        if isinstance(self._sides, Exception):
            raise self._sides
        return self._sides


class Side(bytes):
    def __new__(cls, name: str, data: bytes) -> Side:
        made = super().__new__(cls, data)
        made.type = SimpleNamespace(name=name)
        return made


def test_hdr_that_is_not_kept_is_told_and_what_is_broken_is_none(tmp_path):
    with av.open(str(shoot(tmp_path / "a.mkv", Film(even(1))))) as container:
        stream = container.streams.video[0]
        picture = next(container.decode(stream))
        light = Side("CONTENT_LIGHT_LEVEL", struct.pack("=2I", 1000, 400))
        for name in ("DYNAMIC_HDR_PLUS", "DOVI_METADATA"):
            shown = Sides(picture, [Side(name, b"x"), light])
            tags, notes = tags_of(container, stream, shown)
            assert any("dynamic HDR" in note for note in notes) and tags.light == (1000, 400)
        tags, notes = tags_of(container, stream, Sides(picture, ValueError("unknown kind")))
        assert tags.light is None and tags.mastering is None and notes == []
    numbers = [n for value in range(1, 11) for n in (value, 50)]
    display = _mastering(struct.pack("=22i", *numbers, 1, 1))
    assert display is not None and display.primaries[0] == (Fraction(1, 50), Fraction(1, 25))
    assert display.luminance == (Fraction(9, 50), Fraction(1, 5))
    assert _mastering(struct.pack("=22i", *numbers, 1, 0)) is None  # it does not say both
    assert _mastering(struct.pack("=22i", 1, 0, *numbers[2:], 1, 1)) is None
    assert _mastering(b"short") is None


def test_the_last_frame_of_uneven_times_lasts_as_the_one_before(tmp_path, monkeypatch):
    """Where neither its packet nor the file says for how long."""
    times = [Fraction(n, 1000) for n in (0, 40, 51, 131)]
    path = shoot(tmp_path / "a.mkv", Film(times, base=Fraction(1, 1000)))
    from midframe.video import clip_media

    real = clip_media.index_packets

    def silent(*given):
        index, told = real(*given)
        index.duration = 0
        return index, told

    monkeypatch.setattr(clip_media, "index_packets", silent)
    clip = open_clip(path)
    assert clip.rate is None and list(clip.times) == times
    assert clip.last == Fraction(80, 1000)
