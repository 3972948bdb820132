"""Writing: choices with reasons, whole files or none, errors that say what to do."""

from __future__ import annotations

import errno
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from conversions import convert
from films import Film, even, number_of, numbers, shoot

from midframe.errors import UserError
from midframe.video import codecs, writer
from midframe.video.clip import Clip, open_clip
from midframe.video.format import Format
from midframe.video.frame import Frame
from midframe.video.join import join
from midframe.video.target import Output, plan_output
from midframe.video.writer import Part, SegmentWriter

PAL = Fraction(50)


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    return open_clip(shoot(tmp_path / "in.mkv", Film(even(6))))


OWN = [
    ("libx264", "yuv420p", "o.mp4", "h264", "yuv420p"),
    ("libx264", "yuv420p", "o.webm", "vp9", "yuv420p"),
    ("libx264", "yuv422p10le", "o.mov", "h264", "yuv422p10le"),
    ("libx265", "yuv420p10le", "o.mkv", "hevc", "yuv420p10le"),
    ("libx265", "yuv420p10le", "o.mp4", "hevc", "yuv420p10le"),
    ("libx265", "yuv420p10le", "o.webm", "av1", "yuv420p10le"),
    ("libx265", "yuv420p10le", "o.avi", "h264", "yuv420p10le"),
    ("libsvtav1", "yuv420p10le", "o.mp4", "av1", "yuv420p10le"),
    ("libsvtav1", "yuv420p", "o.mov", "h264", "yuv420p"),
    ("libvpx-vp9", "yuv420p", "o.mkv", "vp9", "yuv420p"),
    ("libvpx-vp9", "yuv444p", "o.webm", "vp9", "yuv444p"),
    ("libvpx", "yuv420p", "o.webm", "vp8", "yuv420p"),
    ("prores_ks", "yuv422p10le", "o.mov", "prores", "yuv422p10le"),
    ("prores_ks", "yuv422p10le", "o.mp4", "h264", "yuv422p10le"),
    ("ffv1", "yuv422p10le", "o.mkv", "ffv1", "yuv422p10le"),
    ("ffv1", "yuv422p10le", "o.mp4", "h264", "yuv422p10le"),
    ("utvideo", "gbrp", "o.mkv", "ffv1", "bgr0"),
    ("utvideo", "gbrp", "o.mov", "qtrle", "rgb24"),
    ("mpeg4", "yuv420p", "o.avi", "mpeg4", "yuv420p"),
    ("mpeg2video", "yuv420p", "o.mkv", "h264", "yuv420p"),
    ("mjpeg", "yuvj422p", "o.mov", "mjpeg", "yuv422p"),
]


@pytest.mark.parametrize(("encoder", "pixels", "name", "codec", "chosen"), OWN)
def test_the_codec_of_the_input_where_it_can_be(tmp_path, encoder, pixels, name, codec, chosen):
    suffix = {"prores_ks": "mov", "mjpeg": "mov", "utvideo": "avi"}.get(encoder, "mkv")
    options = {"x265-params": "log-level=none"} if encoder == "libx265" else {}
    context = {"color_range": 2} if encoder == "mjpeg" else {}
    film = Film(even(2), encoder, pixels, base=Fraction(1, 25), options=options, context=context)
    target = plan_output(open_clip(shoot(tmp_path / f"in.{suffix}", film)), tmp_path / name, PAL)
    assert target.encoder is not None
    assert (target.encoder.codec, target.pixels) == (codec, chosen), target.words
    assert target.words[0].startswith(codec)


def test_units_hold_times_exactly(tmp_path, clip):
    assert plan_output(clip, tmp_path / "o.mp4", Fraction(60000, 1001)).base == Fraction(1, 60000)
    assert plan_output(clip, tmp_path / "o.mp4", PAL).base == Fraction(1, 50)
    varying = open_clip(
        shoot(tmp_path / "v.mkv", Film([Fraction(n, 1000) for n in (0, 40, 51)],
                                       base=Fraction(1, 1000)))
    )  # fmt: skip
    base = plan_output(varying, tmp_path / "o.mp4", None).base
    assert all((Fraction(n, 1000 * k) / base).denominator == 1 for n in (0, 40, 51) for k in (2, 5))
    third = plan_output(varying, tmp_path / "o.mp4", None, stretch=Fraction(5, 3)).base
    assert (Fraction(51, 1000) * Fraction(5, 3) / third).denominator == 1


def test_options_that_do_not_fit_say_what_does(tmp_path, clip):
    def refused(name: str, **options: Any) -> str:
        with pytest.raises(UserError) as caught:
            plan_output(clip, tmp_path / name, PAL, Output(**options))
        return str(caught.value)

    assert "not a kind of video that is written" in refused("o.mpg")
    assert ".mp4" in refused("o.mp5")
    assert "is one picture" in refused("o.png")
    assert "with a number" in refused("o*.png")
    assert ".webm takes vp9, av1, vp8" in refused("o.webm", codec="h264")
    assert "did you mean hevc" in refused("o.mp4", codec="hvec")
    assert "h264 takes 0 (best) to 51 (worst)" in refused("o.mp4", quality=60)
    assert "prores knows none" in refused("o.mov", codec="prores", quality=3)
    assert "speed slwo: did you mean slow" in refused("o.mp4", speed="slwo")
    assert "chroma 411: give one of" in refused("o.mp4", chroma="411")
    assert "prores cannot be lossless; these can: h264" in refused(
        "o.mov", codec="prores", lossless=True
    )
    assert "leave it out" in refused("o.y4m", codec="h264")
    assert "is not lossless; use .png" in refused("o%d.jpg", lossless=True)
    assert "the depth in this name would not be true" in refused("o_10bit.yuv")


def test_a_missing_encoder_is_told_by_name(tmp_path, clip, monkeypatch):
    known = codecs._formats
    monkeypatch.setattr(codecs, "_formats", lambda name: () if name == "libx265" else known(name))
    with pytest.raises(UserError, match="lacks its encoder libx265; choose one of h264"):
        plan_output(clip, tmp_path / "o.mp4", PAL, Output("h265"))


def test_quality_and_speed_reach_the_encoder(tmp_path):
    noise = np.random.default_rng(0)
    form = Format(64, 48)
    frames = [
        Frame(form, tuple(noise.integers(0, 256, s).astype(np.uint8) for s in form.shapes))
        for _ in range(4)
    ]
    clip = open_clip(shoot(tmp_path / "in.mkv", Film(even(2))))
    sizes = []
    for codec, good, bad in (("h264", 5, 45), ("vp9", 5, 60), ("mpeg4", 1, 31), ("mjpeg", 1, 31)):
        for quality in (good, bad):
            out = Output(codec, quality, "fast")
            target = plan_output(clip, tmp_path / "o.mkv", PAL, out)
            with SegmentWriter(tmp_path / "part", target) as part:
                for number, frame in enumerate(frames):
                    part.write(frame, Fraction(number, 50))
            sizes.append((tmp_path / "part").stat().st_size)
    assert all(large > 1.5 * small for large, small in zip(sizes[::2], sizes[1::2])), sizes
    for speed, preset in (("fast", "veryfast"), ("slow", "slow")):
        target = plan_output(clip, tmp_path / "o.mkv", PAL, Output("h264", None, speed))
        assert target.options["preset"] == preset


def test_a_part_is_whole_or_not_there(tmp_path, clip):
    target = plan_output(clip, tmp_path / "o.mp4", PAL)
    frame = next(iter(clip.read()))
    path = tmp_path / "parts" / "0"
    with pytest.raises(RuntimeError, match="stop"), SegmentWriter(path, target) as part:
        part.write(frame, Fraction(0))
        raise RuntimeError("stop")
    assert not list(path.parent.iterdir())
    with SegmentWriter(path, target) as part:
        for number in range(5):
            part.write(frame, Fraction(number, 50))
    whole = Part(path)
    assert sorted(p.time for p in whole.packets) == list(range(5)) and whole.packets[0].key
    data = path.read_bytes()
    for cut in (0, 10, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(UserError, match="not a whole part"):
            Part(path)


class _Full:
    """A file on a disk that has room for some bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: Any) -> int:
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data)

    def close(self) -> None:
        self.file.close()


def test_a_full_disk_leaves_nothing_half_written(tmp_path, clip):
    target = plan_output(clip, tmp_path / "o.mkv", PAL, Output("ffv1"))
    path = tmp_path / "parts" / "0"
    frames = list(clip.read())
    said = "cannot write .*: No space left on device"
    with pytest.raises(UserError, match=said), SegmentWriter(path, target) as part:
        part._file = _Full(part._file, 600)  # type: ignore[assignment]
        for number, frame in enumerate(frames):
            part.write(frame, Fraction(number, 50))
    assert not list(path.parent.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_while_joining_keeps_what_was_there(tmp_path, clip, monkeypatch):
    for name in ("o.mp4", "o.mkv", "o.y4m", "o.gif"):
        out = tmp_path / name
        out.write_bytes(b"before")
        target = plan_output(clip, out, PAL)
        part = tmp_path / "part"
        with SegmentWriter(part, target) as segment:
            for number, frame in enumerate(clip.read()):
                segment.write(frame, Fraction(number, 50))
        full = tmp_path / "aside.part"
        full.unlink(missing_ok=True)
        full.symlink_to("/dev/full")
        for module in ("join", "plain"):
            monkeypatch.setattr(f"midframe.video.{module}.aside_of", lambda path, full=full: full)
        with pytest.raises(UserError, match=rf"cannot write .*{name}: No space left on device"):
            join([part], clip, target)
        monkeypatch.undo()
        assert out.read_bytes() == b"before" and not full.is_symlink()


@pytest.mark.parametrize("name", ["o.mp4", "o.mkv", "o.y4m", "o.gif", "out"])
def test_a_join_that_is_stopped_leaves_what_was_there(tmp_path, clip, monkeypatch, name):
    out = tmp_path / name
    if name == "out":
        out.mkdir()
        (out / "mine.txt").write_text("before")
    else:
        out.write_text("before")
    target = plan_output(clip, out, PAL)
    with SegmentWriter(tmp_path / "part", target) as part:
        for number, frame in enumerate(clip.read()):
            part.write(frame, Fraction(number, 50))
    payloads = Part.payloads

    def stopped(self: Part) -> Any:
        yield next(payloads(self))
        raise KeyboardInterrupt

    monkeypatch.setattr(Part, "payloads", stopped)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        join([tmp_path / "part"], clip, target)
    assert sorted(tmp_path.iterdir()) == before
    kept = out / "mine.txt" if name == "out" else out
    assert kept.read_text() == "before"


def test_a_folder_that_cannot_be_written_is_named(tmp_path, clip):
    blocked = tmp_path / "file"
    blocked.write_text("x")
    target = plan_output(clip, blocked / "o.mp4", PAL)
    with pytest.raises(UserError, match="cannot write"):
        SegmentWriter(blocked / "part", target).__enter__()
    with SegmentWriter(tmp_path / "part", target) as part:
        part.write(next(iter(clip.read())), Fraction(0))
    with pytest.raises(UserError, match=r"cannot write .*o.mp4: (Not a directory|File exists)"):
        join([tmp_path / "part"], clip, target)


@pytest.mark.parametrize("size", [(63, 47), (17, 33), (2, 2), (1, 1), (130, 5)])
@pytest.mark.parametrize(
    "name", ["a.mp4", "h.mp4", "a.webm", "a.mov", "v.mp4", "a.avi", "a.mkv", "a.gif", "a.y4m"]
)
def test_odd_and_small_sizes(tmp_path, name, size):
    width, height = size
    codec = {"h.mp4": "hevc", "v.mp4": "av1", "a.mov": "prores", "a.mkv": "ffv1"}.get(name)
    source = tmp_path / "in.mkv"
    if not source.exists():
        shoot(source, Film(even(3), "ffv1", width=width, height=height))
    try:
        made = convert(source, tmp_path / name, Output(codec, speed="fast"))
    except UserError as error:
        said = {"av1": "takes sides of 48 pixels and more", "hevc": "libx265 refuses"}
        assert min(size) < 48 and said[str(codec)] in str(error)
        return
    with av.open(str(tmp_path / name)) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 5
    shown = frames[0].width, frames[0].height
    padded = (width + width % 2, height + height % 2)
    assert shown in ((width, height), padded)
    assert shown == (width, height) or any("an edge is repeated" in w for w in made.target.words)


def test_clips_of_one_frame(tmp_path):
    source = shoot(tmp_path / "in.mkv", Film(even(1)))
    for name in ("o.mp4", "o.webm", "o.gif", "o.y4m", "out"):
        made = convert(source, tmp_path / name, Output(speed="fast"))
        assert len(made.times) == 1
    assert len(numbers(tmp_path / "o.mp4")) == 1 and len(list((tmp_path / "out").iterdir())) == 1


def test_parts_of_any_length_give_the_same_times(tmp_path):
    source = shoot(tmp_path / "in.mkv", Film(even(20, 25)))
    wanted = None
    for every in (1, 3, 40):
        out = tmp_path / f"o{every}.mp4"
        convert(source, out, Output(speed="fast"), every=every)
        with av.open(str(out)) as container:
            stamps = [(p.pts, p.dts) for p in container.demux(video=0) if p.size]
        assert all(dts <= pts for pts, dts in stamps)
        assert all(a < b for (_, a), (_, b) in zip(stamps, stamps[1:]))
        got = numbers(out)
        wanted = wanted or got
        assert got == wanted


def test_frames_closer_than_the_unit_are_kept_apart(tmp_path, clip):
    target = plan_output(clip, tmp_path / "o.mkv", PAL)
    with SegmentWriter(tmp_path / "part", target) as part:
        for number, frame in enumerate(clip.read()):
            part.write(frame, Fraction(number, 10_000))
    assert sorted(p.time for p in Part(tmp_path / "part").packets) == list(range(6))


def test_nothing_to_join_is_an_error(tmp_path, clip):
    target = plan_output(clip, tmp_path / "o.mp4", PAL)
    with pytest.raises(UserError, match="there is no frame to write"):
        join([], clip, target)
    with pytest.raises(UserError, match="audio loud: known: copy, stretch, drop"):
        join([], clip, target, audio="loud")  # type: ignore[arg-type]


def test_files_of_others_are_left_alone(tmp_path, clip):
    (tmp_path / "mine.part").write_text("not ours")
    made = convert(tmp_path / "in.mkv", tmp_path / "o.mkv")
    assert [number_of(f.planes[0]) for f in open_clip(tmp_path / "o.mkv").read()] == [
        number_of(f.planes[0]) for f in made.frames
    ]
    assert (tmp_path / "mine.part").read_text() == "not ours"
    assert writer.Part  # parts are the caller's to delete
