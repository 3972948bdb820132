"""Containers, codecs, rates, depths and sound: duration and offset within a frame, times exact."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import av
import pytest
from conversions import clicks, convert, lengths
from films import Film, even, number_of, numbers, shoot

from midframe.video.target import Output

RATES = {"film": Fraction(24000, 1001), "pal": Fraction(25), "ntsc": Fraction(30000, 1001),
         "30": Fraction(30), "vfr": None}  # fmt: skip
UNIT = Fraction(1, 90000)
# container, codec, depth that it keeps
WRITERS = [
    *[("mp4", c, d) for c, d in (("h264", 10), ("hevc", 10), ("av1", 10), ("mpeg4", 8))],
    ("m4v", "h264", 8),
    *[("mov", c, d) for c, d in (("h264", 8), ("hevc", 10), ("prores", 10), ("mjpeg", 8))],
    *[("mkv", c, d) for c, d in (("h264", 8), ("hevc", 10), ("av1", 10), ("vp9", 8), ("ffv1", 10))],
    *[("webm", c, d) for c, d in (("vp9", 8), ("av1", 10), ("vp8", 8))],
    *[("avi", c, d) for c, d in (("mpeg4", 8), ("h264", 8), ("ffv1", 10), ("mjpeg", 8))],
]
SOUNDS = {"mp4": "aac", "mkv": "flac", "webm": "libopus", "mov": "pcm_s16le", "avi": "libmp3lame"}
# a few that stand for all; the whole matrix is slow
FAST = {
    *(("mp4", "h264", "film"), ("mp4", "hevc", "vfr"), ("mp4", "av1", "ntsc")),
    *(("mkv", "h264", "vfr"), ("webm", "vp9", "film"), ("mov", "prores", "pal")),
    *(("avi", "mpeg4", "30"), ("avi", "ffv1", "film")),
}
STEP = {"mkv": Fraction(1, 1000), "webm": Fraction(1, 1000)}


def times_of(rate: Fraction | None, count: int) -> list[Fraction]:
    if rate is not None:
        return even(count, rate)
    gaps = [Fraction(g, 90000) for g in (3000, 3003, 4500, 2250, 9000)]
    return list(itertools.accumulate(itertools.islice(itertools.cycle(gaps), count - 1),
                                     initial=Fraction(0)))  # fmt: skip


CASES = [
    pytest.param(
        *writer, name, id=f"{writer[0]}-{writer[1]}-{name}",
        marks=() if (*writer[:2], name) in FAST else pytest.mark.slow,
    )
    for writer in WRITERS
    for name in RATES
    if not (writer[0] == "avi" and name == "vfr")
]  # fmt: skip


@pytest.mark.parametrize(("suffix", "codec", "depth", "name"), CASES)
def test_matrix(tmp_path: Path, suffix: str, codec: str, depth: int, name: str) -> None:
    rate = RATES[name]
    times = times_of(rate, 34)
    pixels = "yuv420p10le" if depth == 10 else "yuv420p"
    source = shoot(
        tmp_path / "in.mov",
        Film(times, "libx264", pixels, base=UNIT if rate is None else 1 / rate,
             rate=rate or Fraction(25), audio="aac", last=Fraction(1, 25)),
    )  # fmt: skip
    out = tmp_path / f"out.{suffix}"
    made = convert(source, out, Output(codec, speed="fast"), every=30)
    assert made.clip.rate == rate

    got = numbers(out)
    shift = got[0][0] - made.times[0] if suffix in STEP else 0  # where sound begins before 0
    assert 0 <= shift < Fraction(1, 40)
    depth_out = made.clip.format.depth
    assert [n for _, n in got] == [number_of(f.planes[0], depth_out) for f in made.frames]
    if not (suffix == "avi" and codec == "h264"):  # where AVI tells times of decoding
        step = STEP.get(suffix, made.target.base if codec == "mpeg4" and rate is None else 0)
        assert max(abs(a - b - shift) for (a, _), b in zip(got, made.times)) <= step
    end = times[-1] + made.clip.last
    with av.open(str(out)) as container:
        video = container.streams.video[0]
        if suffix in ("mp4", "m4v", "mov"):  # whose packets tell gaps of decoding
            assert float(video.duration * video.time_base) == pytest.approx(float(end), abs=0.001)
        assert video.format.components[0].bits >= depth
        assert video.codec_context.codec.canonical_name == codec
        if rate is not None and suffix != "webm" and suffix != "mkv":
            assert video.guessed_rate == pytest.approx(float(2 * rate), rel=0.03)

    frame = float(1 / (2 * (rate or 25)))
    before, after = lengths(source), lengths(out)
    assert after["video"] == pytest.approx(float(end + shift), abs=1.01 * frame)
    assert after["audio"] == pytest.approx(before["audio"], abs=frame + 0.05)
    heard, wanted = clicks(out), clicks(source)
    assert len(heard) == len(wanted) >= 2
    assert max(abs(a - b - float(shift)) for a, b in zip(heard, wanted)) < frame
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".part"]


@pytest.mark.parametrize("first", ["video", "audio"])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov", "webm", "avi"])
def test_a_stream_that_starts_later_still_does(tmp_path, suffix, first):
    late = Fraction(2, 5)
    source = shoot(
        tmp_path / "in.mkv",
        Film(
            even(30, 25, late if first == "audio" else 0), audio="flac",
            audio_start=late if first == "video" else Fraction(0),
        ),
    )  # fmt: skip
    out = tmp_path / f"out.{suffix}"
    made = convert(source, out, Output("h264" if suffix != "webm" else None, speed="fast"))
    offset_in = numbers(source)[0][0] - Fraction(clicks(source)[-1])
    offset_out = numbers(out)[0][0] - Fraction(clicks(out)[-1])
    assert abs(offset_in - offset_out) <= Fraction(1, 50)
    assert len(numbers(out)) == len(made.times)


def test_a_file_that_starts_late_starts_at_once(tmp_path):
    source = shoot(tmp_path / "in.ts", Film(even(30, 25, 3), audio="aac", audio_start=Fraction(3)))
    out = tmp_path / "out.mp4"
    convert(source, out, Output(speed="fast"))
    assert numbers(out)[0][0] < Fraction(1, 10)
    shift = numbers(source)[0][0] - numbers(out)[0][0]
    assert max(abs(a - b - float(shift)) for a, b in zip(clicks(source), clicks(out))) < 0.02
