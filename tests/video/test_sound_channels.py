"""Sound of any layout is written: each channel where it was, or a note says what it became."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from conversions import convert, lengths
from films import even, picture

from midframe.errors import UserError
from midframe.video import channels, sound
from midframe.video.clip import open_clip
from midframe.video.join import planned
from midframe.video.target import Output, plan_output

RATE = 48000
FAST = Output(speed="fast")


def blocks(stream: Any, layout: str, loud: int, seconds: float, start: float) -> Iterator[Any]:
    """Yield frames of a tone in one channel of a layout."""
    count = av.AudioLayout(layout).nb_channels
    total = round(seconds * stream.codec_context.sample_rate)
    wave = np.zeros((count, total), np.float32)
    wave[loud] = 0.5 * np.sin(np.arange(total) * 0.05)
    form = stream.codec_context.format
    size = stream.codec_context.frame_size or 1024
    for at in range(0, total - size + 1, size):
        part = wave[:, at : at + size]
        part = np.ascontiguousarray(part if form.is_planar else part.T.reshape(1, -1))
        kind = form.name.rstrip("p")
        if kind == "u8":
            part = np.round(part * 127 + 128).astype(np.uint8)
        elif kind != "flt":
            part = (part * np.iinfo(f"i{form.bytes}").max).astype(f"i{form.bytes}")
        block = av.AudioFrame.from_ndarray(part, format=form.name, layout=layout)
        block.sample_rate = stream.codec_context.sample_rate
        block.time_base = Fraction(1, block.sample_rate)
        block.pts = at + round(start * block.sample_rate)
        yield block


def film(path: Path, codec: str, layouts: tuple[str, ...], loud: int = 0, rate: int = RATE) -> Path:
    """Write a second of a video, with a sound that goes through some layouts, a second each."""
    seconds = len(layouts)
    with av.open(str(path), "w") as out:
        video = out.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = out.add_stream(codec, rate=rate)
        audio.layout = layouts[0]
        if not codec.startswith(("pcm", "flac", "adpcm")):
            audio.bit_rate = 64_000 * audio.codec_context.layout.nb_channels
        out.start_encoding()
        for number in range(len(even(25 * seconds))):
            frame = picture(number)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for number, layout in enumerate(layouts):
            coder: Any = audio
            if number:  # packets of another encoder in the same stream, as broadcasts have it
                coder = av.CodecContext.create(codec, "w")
                coder.sample_rate, coder.layout = rate, layout
                coder.format, coder.bit_rate = audio.codec_context.format, 128_000
            for block in blocks(audio, layout, loud, 1.0, number):
                for packet in coder.encode(block):
                    packet.stream = audio
                    out.mux(packet)
            for packet in coder.encode(None):
                packet.stream = audio
                out.mux(packet)
    return path


def heard(path: Path) -> dict[str, float]:
    """Return how loud each channel of a file is, by its name."""
    power: dict[str, float] = {}
    with av.open(str(path)) as container:
        layout = container.streams.audio[0].codec_context.layout
        packed = av.AudioResampler("flt", layout, RATE)  # PyAV cannot read all that is planar
        for frame in container.decode(audio=0):
            for piece in packed.resample(frame):
                samples = piece.to_ndarray().reshape(-1, layout.nb_channels).T
                for channel, row in zip(layout.channels, samples.astype(np.float64)):
                    power[channel.name] = power.get(channel.name, 0.0) + float(np.square(row).sum())
    return power


@pytest.mark.parametrize("into", ["mp4", "mkv", "webm", "mov"])
@pytest.mark.parametrize(
    ("name", "codec", "layout"),
    [
        ("in.avi", "pcm_u8", "mono"),
        ("in.avi", "pcm_mulaw", "stereo"),
        ("in.avi", "adpcm_ms", "stereo"),
        ("in.wmv", "wmav2", "stereo"),
    ],
)
def test_sound_that_does_not_say_where_its_channels_are(tmp_path, name, codec, layout, into):
    source = film(tmp_path / name, codec, (layout,), rate=44100)
    with av.open(str(source)) as container:
        said = container.streams.audio[0].codec_context.layout.name
    assert said.endswith("channels")
    convert(source, tmp_path / f"out.{into}", FAST)
    power = heard(tmp_path / f"out.{into}")
    assert len(power) == (1 if layout == "mono" else 2)
    assert max(power.values()) > 1000  # of 44100 samples of a sine half as loud as can be: 5500
    if layout == "stereo":
        assert min(power.values()) < 0.01 * max(power.values())
    assert lengths(tmp_path / f"out.{into}")["audio"] == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize(("name", "codec"), [("in.avi", "pcm_u8"), ("in.wmv", "wmav2")])
@pytest.mark.parametrize("into", ["mkv", "mp4"])
def test_such_sound_in_slow_motion(tmp_path, name, codec, into):
    source = film(tmp_path / name, codec, ("stereo",), loud=1, rate=44100)
    out = tmp_path / f"out.{into}"
    made = convert(source, out, FAST, stretch=2, factor=1, audio="stretch")
    assert any("stretched 2 times" in words for words in made.words)
    assert lengths(out)["audio"] == pytest.approx(2.0, abs=0.1)
    left, right = heard(out).values()
    assert right > 1000 and left < 0.01 * right


@pytest.mark.parametrize("stretch", [1, 2])
@pytest.mark.parametrize(
    ("codec", "layout", "loud", "into", "wanted", "where"),
    [
        ("ac3", "5.1(side)", 4, "webm", "5.1", "BL"),
        ("flac", "quad", 2, "webm", "quad", "BL"),
        ("flac", "4.0", 2, "webm", "5.1", "FC"),
        ("flac", "5.0", 2, "webm", "5.1", "FC"),
        ("flac", "6.1", 6, "webm", "7.1", "SR"),
        ("flac", "7.1", 7, "webm", "7.1", "SR"),
        ("libopus", "7.1", 7, "webm", "7.1", "SR"),
        ("flac", "2.1", 2, "webm", "5.1", "LFE"),
        ("pcm_s16le", "5.1", 4, "mp4", "5.1", "BL"),
        ("pcm_s16le", "hexadecagonal", 0, "webm", "5.1", "FL"),
    ],
)
def test_channels_are_heard_where_they_were(
    tmp_path, codec, layout, loud, into, wanted, where, stretch
):
    source, out = tmp_path / "in.mkv", tmp_path / f"out.{into}"
    film(source, codec, (layout,), loud)
    made = convert(source, out, FAST, factor=1, stretch=stretch, audio="stretch")
    power = heard(out)
    assert max(power, key=power.__getitem__) == where
    assert power[where] > 0.8 * sum(power.values())
    with av.open(str(out)) as container:
        assert container.streams.audio[0].codec_context.layout.name == wanted
    said = " | ".join(made.words)
    assert ("mixed down to 5.1" in said) == (layout == "hexadecagonal")
    assert ("channels 4.0 as 5.1" in said) == (layout == "4.0")


def test_a_broadcast_that_changes_its_channels(tmp_path):
    source = film(tmp_path / "in.mkv", "ac3", ("stereo", "5.1(side)", "stereo"))
    with av.open(str(source)) as container:
        assert len({frame.layout.name for frame in container.decode(audio=0)}) == 2
    made = convert(source, tmp_path / "out.webm", FAST, factor=1)
    assert "libopus" in " ".join(made.words)
    assert lengths(tmp_path / "out.webm")["audio"] == pytest.approx(3.0, abs=0.1)
    power = heard(tmp_path / "out.webm")
    assert power["FL"] > 3 * 4000 and power["FR"] < 0.01 * power["FL"]


def test_what_no_encoder_takes_is_known_before_a_frame_is_made(tmp_path):
    source = film(tmp_path / "in.mkv", "pcm_s16le", ("10 channels",))
    clip = open_clip(source)
    target = plan_output(clip, tmp_path / "out.webm", Fraction(50), FAST)
    (words,) = planned(clip, target)
    assert words == "audio pcm_s16le is left out: this container takes none that can be written"
    assert not (tmp_path / "out.webm").exists()
    made = convert(source, tmp_path / "out.webm", FAST)
    assert made.words == [words] and len(lengths(tmp_path / "out.webm")) == 1


def test_an_encoder_that_fails_is_named_with_the_way_out(tmp_path, monkeypatch):
    def fails(*_: object) -> Iterator[Any]:
        raise av.error.ArgumentError(22, "Invalid argument")

    source = film(tmp_path / "in.avi", "pcm_u8", ("mono",))
    monkeypatch.setattr(sound.Recoder, "_encoded", fails)
    with pytest.raises(UserError, match=r"out.mp4: audio pcm_u8 .*Invalid.*--audio drop"):
        convert(source, tmp_path / "out.mp4", FAST)
    assert not (tmp_path / "out.mp4").exists()


def test_a_container_that_refuses_is_told_before_a_frame_is_made(tmp_path, monkeypatch):
    source = film(tmp_path / "in.avi", "pcm_u8", ("mono",))
    clip = open_clip(source)
    target = plan_output(clip, tmp_path / "out.mp4", Fraction(50), FAST)
    assert planned(clip, target) == [
        "audio pcm_u8 becomes aac, as this container takes no such"
    ]  # fmt: skip
    # an encoder that nobody tried before
    monkeypatch.setattr(sound, "_encodes", lambda *_: True)
    monkeypatch.setattr(channels, "layout_of", lambda layout: layout.name)
    monkeypatch.setattr(channels, "holding", lambda *_: ["1 channels"])
    with pytest.raises(UserError, match=r"out.mp4: Invalid.*audio pcm_u8, --audio drop"):
        planned(clip, target)
