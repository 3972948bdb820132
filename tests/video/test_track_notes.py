"""Timecode, data, chapters, which video is shown first; and notes of what is left out."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from av.stream import Disposition
from conversions import clicks, convert
from films import Film, even, numbers, picture, shoot

from midframe.video.clip import open_clip
from midframe.video.join import planned
from midframe.video.target import Output, plan_output
from midframe.video.timecode import carried

FAST = Output(speed="fast")
NTSC = Fraction(30000, 1001)
CHAPTERS = [
    {"id": 1, "start": 0, "end": 200, "time_base": Fraction(1, 1000), "metadata": {"title": "One"}},
    {"id": 2, "start": 200, "end": 400, "time_base": Fraction(1, 1000), "metadata": {"title": "B"}},
]


def remade(
    path: Path,
    *,
    timecode: str = "",
    chapters: bool = False,
    data: str = "",
    rate: Fraction = Fraction(25),
    default: bool = True,
) -> Path:
    """Write ten frames with what `films.shoot` does not know."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=rate)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.disposition = Disposition.default if default else Disposition(0)
        if timecode:
            video.metadata["timecode"] = timecode
        more = out.add_data_stream(data) if data else None
        if chapters:
            out.set_chapters(CHAPTERS)
        for number in range(10):
            frame = picture(number)
            frame.pts, frame.time_base = number, 1 / rate
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if more is not None:
            packet = av.Packet(b"0123456789")
            packet.pts = packet.dts = 0
            packet.time_base, packet.stream, packet.is_keyframe = Fraction(1, 1000), more, True
            out.mux(packet)
    return path


def timecodes(path: Path) -> dict[str, str]:
    """Return the timecode of each kind of stream."""
    with av.open(str(path)) as container:
        return {
            stream.type: value
            for stream in container.streams
            for key, value in stream.metadata.items()
            if key.lower() == "timecode"
        }


@pytest.mark.parametrize("into", ["mov", "mp4", "mkv", "webm", "avi"])
@pytest.mark.parametrize("name", ["in.mov", "in.mkv"])
@pytest.mark.parametrize("chapters", [False, True])
def test_the_timecode_names_the_same_frame(tmp_path, name, into, chapters):
    source = remade(tmp_path / name, timecode="01:02:03:12", chapters=chapters)
    made = convert(source, tmp_path / f"out.{into}", FAST)
    said = " | ".join(made.words)
    found = timecodes(tmp_path / f"out.{into}")
    if into in ("mov", "mp4"):
        assert found == {"video": "01:02:03:24", "data": "01:02:03:24"}
    elif into == "mkv":
        assert found == {"video": "01:02:03:24"}
    else:
        assert not found and "timecode 01:02:03:12 is left out: this container has none" in said
    assert ("timecode" in said) == (into in ("webm", "avi"))
    assert ("data" in said) is False  # tracks of chapters and timecode are told as what they are
    with av.open(str(tmp_path / f"out.{into}")) as container:
        assert len(container.chapters()) == (2 if chapters and into != "avi" else 0)
    assert len(numbers(tmp_path / f"out.{into}")) == 19


def test_drop_frames_stay_so(tmp_path):
    source = remade(tmp_path / "in.mov", timecode="00:59:59;29", rate=NTSC)
    assert timecodes(source)["video"] == "00:59:59;29"
    convert(source, tmp_path / "out.mov", FAST)
    assert timecodes(tmp_path / "out.mov")["video"] == "00:59:59;58"


def test_a_timecode_that_would_not_be_true_is_left_out(tmp_path):
    source = remade(tmp_path / "in.mov", timecode="01:00:00:12")
    made = convert(source, tmp_path / "slow.mov", FAST, factor=2, stretch=2)
    assert not timecodes(tmp_path / "slow.mov")
    assert made.words == ["timecode 01:00:00:12 is left out: it would run slower than the clock"]
    clip = open_clip(source)
    target = plan_output(clip, tmp_path / "out.mov", Fraction(24), FAST)
    assert planned(clip, target) == [
        "timecode 01:00:00:12 is left out: the output's rate has none for that frame"
    ]


@pytest.mark.parametrize(
    ("label", "before", "after", "wanted"),
    [
        ("10:00:00:23", Fraction(24000, 1001), Fraction(120000, 1001), "10:00:00:115"),
        ("01:00:00:12", Fraction(50), Fraction(25), "01:00:00:06"),
        ("01:00:00:13", Fraction(50), Fraction(25), None),
        ("01:00:00:12", Fraction(25), Fraction(24), None),
        ("01:00:00:00", Fraction(25), Fraction(24), "01:00:00:00"),  # it begins at a second
        ("01:00:00:00", None, Fraction(24), "01:00:00:00"),
        ("01:00:00:01", None, Fraction(24), None),
        ("01:00:00:00", Fraction(25), None, None),  # uneven times
        ("01:00:00:00", Fraction(25), Fraction(125, 2), None),  # no whole number a second
        ("01:00:00:00", Fraction(25), Fraction(400), None),
        ("01:00:00;02", NTSC, 2 * NTSC, "01:00:00;04"),
        ("01:00:00;02", NTSC, Fraction(60), None),
        ("01:00:00:25", Fraction(25), Fraction(50), None),  # there is no such frame
        ("25:00:00:00", Fraction(25), Fraction(50), None),
        ("noon", Fraction(25), Fraction(50), None),
    ],
)
def test_timecodes_at_other_rates(label, before, after, wanted):
    assert carried(label, before, after) == wanted


def test_data_are_told_though_there_are_chapters(tmp_path):
    clip = open_clip(remade(tmp_path / "in.ts", data="klv"))
    target = plan_output(clip, tmp_path / "out.mp4", Fraction(50), FAST)
    for here in (clip, replace(clip, chapters=2)):
        assert any(
            words == "data klv is left out: it is no sound, subtitle or font"
            for words in planned(here, target)
        )


def test_sound_before_the_first_frame_of_an_avi(tmp_path):
    source = shoot(tmp_path / "in.mkv", Film(even(25, start=Fraction(6, 5)), audio="aac"))
    made = convert(source, tmp_path / "out.avi", FAST)
    (words,) = [words for words in made.words if "left out" in words]
    lost = float(words.split()[0])
    assert "s of audio aac" in words and "AVI begins with its first frame" in words
    assert lost == pytest.approx(1.2, abs=0.05)  # the sound starts at 0
    kept = [time - 1.2 for time in clicks(source) if time > 1.2]
    assert clicks(tmp_path / "out.avi") == pytest.approx(kept, abs=0.05)


@pytest.mark.parametrize("into", ["mkv", "mp4"])
@pytest.mark.parametrize("default", [True, False])
def test_the_video_that_is_shown_first_still_is(tmp_path, into, default):
    source = remade(tmp_path / "in.mkv", default=default)
    assert _shown(source) == default
    convert(source, tmp_path / f"out.{into}", FAST)
    assert _shown(tmp_path / f"out.{into}") == (default or into == "mp4")  # its only one always is


def test_a_video_of_what_knows_no_default_is_one(tmp_path):
    source = shoot(tmp_path / "in.avi", Film(even(5), "mpeg4", base=Fraction(1, 25)))
    assert not _shown(source)
    convert(source, tmp_path / "out.mkv", FAST)
    assert _shown(tmp_path / "out.mkv")
    convert(source, tmp_path / "frames" / "%03d.png")
    convert(tmp_path / "frames" / "%03d.png", tmp_path / "pictures.mkv", FAST)
    assert _shown(tmp_path / "pictures.mkv")


def _shown(path: Path) -> bool:
    with av.open(str(path)) as container:
        streams: Any = container.streams.video
        return bool(streams[0].disposition & Disposition.default)
