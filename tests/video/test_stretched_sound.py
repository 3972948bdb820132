"""Sound that lasts longer is heard when the picture shows it, and ends with it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from conversions import convert, lengths
from films import even, picture
from hypothesis import given, settings
from hypothesis import strategies as st

from midframe.video import sound
from midframe.video.stretch import Stretcher
from midframe.video.target import Output

IN_TIME = 0.02  # seconds, over the whole clip
BEEP = 0.08  # seconds that one lasts
LOUD = 0.1  # a fifth of a beep


def beeps(rate: int, seconds: float, times: Sequence[float], tone: float = 1000) -> np.ndarray:
    """Return (n,) float32 with a beep at each of some times."""
    wave = np.zeros(round(rate * seconds), np.float32)
    for time in times:
        at = round(time * rate)
        part = wave[at : at + round(BEEP * rate)]
        part += 0.5 * np.sin(2 * np.pi * tone / rate * np.arange(len(part)), dtype=np.float32)
    return wave


def heard(loudness: np.ndarray, rate: int, stretch: float) -> np.ndarray:
    """Return when a sound becomes loud after it was not for as long as a beep, in seconds."""
    loud = np.nonzero(loudness > LOUD)[0] / rate
    return loud[np.diff(loud, prepend=-np.inf) > BEEP * stretch]


def longer(wave: np.ndarray, rate: int, stretch: Fraction, block: int) -> np.ndarray:
    """Return (channels, n) samples made longer, given in blocks."""
    made = Stretcher(len(wave), rate, stretch)
    blocks = [
        piece
        for at in range(0, wave.shape[1], block)
        for piece in made.push(wave[:, at : at + block])
    ]
    return np.concatenate([*blocks, *made.finish()], axis=1)


@settings(max_examples=40, deadline=None)
@given(
    gaps=st.lists(st.floats(0.25, 0.9), min_size=1, max_size=5),
    first=st.floats(0, 0.4) | st.floats(0, 0.005),
    stretch=st.sampled_from([*map(Fraction, ("1/2", "3/2", "2", "3", "7.3", "8", "16"))]),
    rate=st.sampled_from([8000, 22050, 44100, 48000]),
    channels=st.sampled_from([1, 2, 6]),
    block=st.sampled_from([100, 1024, 30_000]),
    tone=st.floats(150, 3000),
    noise=st.sampled_from([0.0, 0.003]),
)
def test_beeps_begin_in_time(gaps, first, stretch, rate, channels, block, tone, noise):
    """Whenever they come, how high they are, and however they are divided among channels."""
    times = first + np.cumsum([0.0, *gaps])
    wave = beeps(rate, times[-1] + 0.3, times, tone)
    sides = np.linspace(1, 0.2, channels, dtype=np.float32)[:, None] * wave
    sides += noise * np.random.default_rng(0).uniform(-1, 1, sides.shape).astype(np.float32)
    made = longer(sides, rate, stretch, block)
    assert made.shape[1] == round(len(wave) * stretch)
    found = heard(np.abs(made).max(0), rate, float(stretch))
    assert len(found) == len(times)
    assert np.abs(found - times * float(stretch)).max() < IN_TIME


@pytest.mark.parametrize("stretch", [2, 3, 16])
def test_the_pitch_stays_and_the_level(stretch):
    rate, tone = 44100, 440.0
    wave = 0.3 * np.sin(2 * np.pi * tone / rate * np.arange(rate), dtype=np.float32)
    made = longer(wave[None], rate, Fraction(stretch), 1024)[0]
    middle = made[len(made) // 4 : len(made) * 3 // 4]
    power = np.abs(np.fft.rfft(middle * np.hanning(len(middle)))) ** 2
    near = np.abs(np.fft.rfftfreq(len(middle), 1 / rate) - tone) < 5
    assert power[near].sum() > 1000 * power[~near].sum()
    assert middle.std() == pytest.approx(wave.std(), rel=0.02)


@given(
    count=st.integers(0, 3000), stretch=st.fractions(Fraction(1, 4), 20, max_denominator=9),
    said=st.integers(-40, 40), block=st.integers(1, 700),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_lengths_are_exact(count, stretch, said, block):
    rng = np.random.default_rng(count)
    made = Stretcher(2, 8000, stretch)
    wave = rng.normal(size=(2, count)).astype(np.float32)
    got = sum(
        p.shape[1] for at in range(0, count, block) for p in made.push(wave[:, at:][:, :block])
    )
    total = max(0, count + said)
    assert got + sum(p.shape[1] for p in made.finish(total)) == round(total * stretch)


def film(path: Path, wave: np.ndarray, rate: int, codec: str, start: float = 0.0) -> Path:
    """Write two seconds of a video with a sound (channels, n) that begins at a time."""
    with av.open(str(path), "w") as out:
        webm = path.suffix == ".webm"
        video = out.add_stream("libvpx-vp9" if webm else "libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = out.add_stream(codec, rate=rate)
        audio.layout = "stereo" if len(wave) == 2 else "mono"
        for number in range(len(even(50))):
            frame = picture(number)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        form = audio.codec_context.format
        for at in range(0, wave.shape[1], 960):
            part = wave[:, at : at + 960]
            if form.name.startswith("s16"):
                part = (part * 32767).astype(np.int16)
            part = np.ascontiguousarray(part if form.is_planar else part.T.reshape(1, -1))
            block = av.AudioFrame.from_ndarray(part, format=form.name, layout=audio.layout.name)
            block.sample_rate, block.time_base = rate, Fraction(1, rate)
            block.pts = at + round(start * rate)
            out.mux(audio.encode(block))
        out.mux(audio.encode(None))
    return path


def loudness(path: Path) -> tuple[np.ndarray, int, float]:
    """Return the louder channel of a file, its rate, and when it begins, as PyAV decodes it."""
    parts, rate, start = [], 0, None
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray()
            if not frame.format.is_planar:
                samples = samples.reshape(-1, frame.layout.nb_channels).T
            full = 1.0 if samples.dtype.kind == "f" else -float(np.iinfo(samples.dtype).min)
            parts.append(np.abs(samples / full).max(0))
            if start is None:
                rate, start = frame.sample_rate, float(frame.pts * frame.time_base)
    assert start is not None
    return np.concatenate(parts), rate, start


FILMS = [
    ("in.mp4", "aac", 48000, 1, 0.0),
    ("in.mkv", "flac", 44100, 2, 0.0),
    ("in.webm", "libopus", 48000, 2, 0.0),
    ("in.mov", "pcm_s16le", 44100, 2, 0.0),
    ("in.mkv", "pcm_s16le", 22050, 1, 0.15),
]


@pytest.mark.parametrize(
    ("number", "stretch"),
    [(0, 2), (0, 16), (1, 3), (1, 8), (2, 2), (2, 16), (3, 3), (3, 8), (4, 2), (4, 16)],
)
def test_a_film_in_slow_motion(tmp_path, number, stretch):
    name, codec, rate, channels, start = FILMS[number]
    times = [0.13, 1.13]
    wave = np.linspace(1, 0.3, channels, dtype=np.float32)[:, None] * beeps(rate, 2 - start, times)
    source = film(tmp_path / name, wave, rate, codec, start)
    out = tmp_path / f"out{source.suffix}"
    convert(source, out, Output(speed="fast"), factor=1, stretch=stretch, audio="stretch", every=50)
    found, rate, begin = loudness(out)
    assert begin == pytest.approx(start * stretch, abs=IN_TIME)
    wanted = (np.array(times) + start) * stretch
    assert heard(found, rate, stretch) + begin == pytest.approx(wanted, abs=IN_TIME)
    ends = lengths(out)
    assert ends["video"] == pytest.approx(2 * stretch, abs=0.01)
    assert ends["audio"] == pytest.approx(ends["video"], abs=0.025)  # a block of a codec


@pytest.mark.parametrize("seconds", [1.5, 2.6])
def test_sound_that_ends_elsewhere_keeps_doing_so(tmp_path, seconds):
    source = film(tmp_path / "in.mkv", beeps(48000, seconds, [1.1])[None], 48000, "pcm_s16le")
    out = tmp_path / "out.mkv"
    convert(source, out, Output(speed="fast"), factor=1, stretch=4, audio="stretch", every=50)
    assert lengths(out)["audio"] == pytest.approx(4 * seconds, abs=0.01)


def memory() -> float:
    """Return what this process has in memory, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc")
@pytest.mark.parametrize("stretch", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_long_gap_takes_no_memory(tmp_path, stretch):
    """An hour's silence of six channels would be five gigabytes; seven minutes already show."""
    rate, gap = 48000, 400
    with av.open(str(tmp_path / "in.mkv"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=rate)
        stream.layout = "mono"
        for start in (0, gap):
            block = av.AudioFrame.from_ndarray(np.full((1, rate), 9, np.int16), "s16", "mono")
            block.sample_rate, block.time_base, block.pts = rate, Fraction(1, rate), start * rate
            out.mux(stream.encode(block))
    written, most, before = Fraction(0), 0.0, memory()
    with av.open(str(tmp_path / "in.mkv")) as source, av.open(str(tmp_path / "o.mkv"), "w") as out:
        stream = source.streams.audio[0]
        made = sound.add_stream(out, stream, "matroska")
        coder = sound.Recoder(stream, made, Fraction(stretch), Fraction(0))
        for packet in [*source.demux(stream)][:-1] + [None]:
            for number, (_, done) in enumerate(coder.convert(packet)):
                written += done.duration * done.time_base
                most = max(most, memory() if number % 64 == 0 else 0)
    assert float(written) == pytest.approx((gap + 1) * stretch, abs=0.1)
    assert most - before < 60


@pytest.mark.parametrize("stretch", [1, 2])
def test_a_decoder_that_is_at_its_end_leaves_nothing_unwritten(tmp_path, stretch):
    source = film(tmp_path / "in.mkv", beeps(48000, 2, [0.5])[None], 48000, "flac")
    written = Fraction(0)
    with av.open(str(source)) as file, av.open(str(tmp_path / "o.mkv"), "w") as out:
        stream = file.streams.audio[0]

        def decode(packet):
            if packet is None:
                raise av.error.EOFError(-541478725, "End of file")
            return stream.codec_context.decode(packet)

        made = sound.add_stream(out, stream, "matroska")
        context = SimpleNamespace(decode=decode)
        coder = sound.Recoder(
            SimpleNamespace(codec_context=context), made, Fraction(stretch), Fraction(0)
        )
        for packet in [*file.demux(stream)][:-1] + [None]:
            written += sum(done.duration * done.time_base for _, done in coder.convert(packet))
        assert float(written) == pytest.approx(2 * stretch, abs=0.001)


@pytest.mark.parametrize("stretch", [1, 16])
def test_gaps_that_nobody_hears_do_not_add_up(tmp_path, stretch):
    """Every packet comes 8 ms later than its samples say; the sound stays within 10 of its time."""
    rate, block, late = 48000, 960, 400
    wave = beeps(rate, 2, [0.1, 1.8])
    source, out = tmp_path / "in.mkv", tmp_path / "out.mkv"
    film(source, wave[None], rate, "pcm_s16le")
    with av.open(str(out), "w") as made, av.open(str(source)) as file:
        stream = file.streams.audio[0]
        longer_one = sound.add_stream(made, stream, "matroska")
        coder = sound.Recoder(stream, longer_one, Fraction(stretch), Fraction(0))
        for number, packet in enumerate([*file.demux(stream)][:-1]):
            packet.pts = packet.dts = number * (block + late)
            packet.time_base = Fraction(1, rate)
            for _, done in coder.convert(packet):
                made.mux(done)
        for _, done in coder.convert(None):
            made.mux(done)
    found, rate, begin = loudness(out)
    wanted = np.array([0.1, 1.8]) * (block + late) / block * stretch
    assert heard(found, rate, stretch) + begin == pytest.approx(wanted, abs=0.011 * stretch)
