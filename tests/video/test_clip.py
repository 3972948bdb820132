"""Clips of video files: every frame, at its exact time, from anywhere, and what is said of them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from films import Film, even, number_of, numbers, picture, shoot

from midframe.errors import UserError
from midframe.video.clip import Clip, Reading, open_clip
from midframe.video.reader import Media

FILM, PAL = Fraction(24000, 1001), Fraction(25)
OPEN_GOP = {"x264-params": "keyint=12:open-gop=1:bframes=3"}
CODECS = {
    "libx264.mp4": Film((), "libx264", options=OPEN_GOP),
    "libx264.mkv": Film((), "libx264", options=OPEN_GOP),
    "libx264.ts": Film((), "libx264", options=OPEN_GOP),
    "libx264.avi": Film((), "libx264", options=OPEN_GOP),
    "libx264.h264": Film((), "libx264", options=OPEN_GOP),
    "libx265.mkv": Film(
        (), "libx265", options={"x265-params": "keyint=12:open-gop=1:log-level=none"}
    ),
    "mpeg4.avi": Film((), "mpeg4", context={"max_b_frames": 2, "gop_size": 12}),
    "mpeg2video.mpg": Film((), "mpeg2video", context={"max_b_frames": 2, "gop_size": 12}),
    "prores.mov": Film((), "prores_ks", "yuv422p10le"),
    "ffv1.mkv": Film((), "ffv1", "yuv444p16le"),
    "vp8.webm": Film((), "libvpx", options={"auto-alt-ref": "1", "lag-in-frames": "16"}),
    "vp9.webm": Film(
        (), "libvpx-vp9", options={"cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "16"}
    ),
    "gif.gif": Film((), "gif", "gray"),
    "raw.y4m": Film((), "wrapped_avframe"),
}


def film(tmp_path: Path, name: str, times: list[Fraction], rate: Fraction) -> Path:
    made = CODECS[name]
    return shoot(tmp_path / name, Film(**{**vars(made), "times": times, "rate": rate,
                                          "base": 1 / rate}))  # fmt: skip


def shown(clip: Clip, first: int = 0, last: int | None = None) -> list[int]:
    depth = clip.format.depth
    return [number_of(frame.planes[0], depth) for frame in clip.read(first, last)]


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("rate", [FILM, PAL], ids=["film", "pal"])
def test_every_frame_at_its_time_from_anywhere(tmp_path, name, rate):
    path = film(tmp_path, name, even(45, rate), rate)
    clip = open_clip(path)
    assert len(clip) == 45 and shown(clip) == list(range(45))
    for first in (1, 11, 12, 13, 26, 44):
        assert shown(clip, first, first + 3) == list(range(first, min(45, first + 3)))
    if not name.endswith(".mpg"):  # its first frames have no time of their own
        assert clip.rate == rate and clip.last == 1 / rate
        assert all(b - a == 1 / rate for a, b in zip(clip.times, clip.times[1:]))
    assert clip.times[0] in (0, 1 / rate)  # AVI of frames that are decoded before they are shown
    assert clip.duration == clip.times[-1] - clip.times[0] + clip.last


def uneven(count: int, unit: Fraction) -> list[Fraction]:
    rng = np.random.default_rng(3)
    steps = np.cumsum(rng.integers(20, 90, count)) * unit * int(1 / unit / 1000 or 1)
    return [Fraction(0), *steps[:-1]]


@pytest.mark.parametrize(
    ("name", "unit"), [("a.mp4", Fraction(1, 90000)), ("a.mkv", Fraction(1, 1000))]
)
def test_variable_rates_keep_every_time(tmp_path, name, unit):
    times = [t.limit_denominator(int(1 / unit)) for t in map(Fraction, uneven(30, unit))]
    path = shoot(tmp_path / name, Film(times, base=unit, last=Fraction(1, 10)))
    clip = open_clip(path)
    assert clip.rate is None and list(clip.times) == times
    assert shown(clip, 17, 20) == [17, 18, 19]
    assert clip.last == Fraction(1, 10) or name == "a.mp4"  # which PyAV writes otherwise
    assert all((t * clip.times.grid).denominator == 1 for t in clip.times)


def test_times_count_from_the_start_of_the_file(tmp_path):
    start = Fraction(2, 5)
    path = shoot(tmp_path / "late.mkv", Film(even(9, 25, start), audio="flac"))
    clip = open_clip(path)
    assert clip.times[0] == start and clip.start == 0  # sound comes first
    alone = shoot(tmp_path / "alone.ts", Film(even(9, 25, start)))
    clip = open_clip(alone)
    assert clip.times[0] == 0 and clip.start >= start  # as the container has it
    assert shown(clip, 4, 6) == [4, 5]


def test_a_cut_by_an_edit_list(tmp_path):
    """The first frames of a trimmed phone video are in the file, but not shown."""
    path = shoot(tmp_path / "trim.mp4", Film(even(30), base=Fraction(1, 25), options={"g": "10"}))
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 4 + 4 + 4  # version and flags, count
    duration, media = (int.from_bytes(data[at + i : at + i + 4], "big") for i in (0, 4))
    data[at + 4 : at + 8] = (media + 7 * int(data_scale(path) / 25)).to_bytes(4, "big")
    data[at : at + 4] = (duration * 23 // 30).to_bytes(4, "big")
    path.write_bytes(data)
    plain = numbers(path)
    assert [n for _, n in plain] == list(range(7, 30))
    clip = open_clip(path)
    assert shown(clip) == list(range(7, 30)) and clip.times[0] == 0 and clip.rate == 25
    assert shown(clip, 10, 12) == [17, 18]


def data_scale(path: Path) -> int:
    with av.open(str(path)) as container:
        return int(1 / container.streams.video[0].time_base)


def test_frames_that_cannot_be_shown_at_the_start_are_not_counted(tmp_path):
    """A broadcast starts in the midst of a group of pictures."""
    path = shoot(tmp_path / "a.ts", Film(even(40), options=OPEN_GOP))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        at = [p.pos for p in container.demux(stream) if p.size][5]
    cut = tmp_path / "cut.ts"
    cut.write_bytes(path.read_bytes()[at // 188 * 188 :])
    clip = open_clip(cut)
    plain = numbers(cut, options={})
    assert shown(clip) == [n for _, n in plain] and len(clip) == len(plain) < 40
    assert shown(clip, 9, 12) == [n for _, n in plain][9:12]


def test_a_file_that_was_cut_off_is_read_to_there(tmp_path):
    for name in ("a.mkv", "a.ts", "a.mp4"):
        muxer = {"movflags": "+faststart"} if name.endswith("mp4") else {}
        codec = "ffv1" if name == "a.mkv" else "libx264"
        made = Film(even(60), codec, options={"g": "10", "bf": "0"}, muxer=muxer)
        path = shoot(tmp_path / name, made)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 2 // 3])
        clip = open_clip(path)
        assert 10 < len(clip) < 60
        got = shown(clip)
        assert got == list(range(len(clip)))
        if name != "a.ts":  # which has no header that would tell
            assert any("cut short" in note for note in clip.notes)


def test_damage_in_the_middle_names_the_frame(tmp_path):
    path = shoot(tmp_path / "a.mkv", Film(even(30), "ffv1", options={"slicecrc": "1", "g": "1"}))
    with av.open(str(path)) as container:
        packet = [p for p in container.demux(video=0) if p.size][20]
        at, size = packet.pos, packet.size
    data = bytearray(path.read_bytes())
    data[at + 20 : at + 20 + size - 30] = bytes(size - 30)
    path.write_bytes(data)
    clip = open_clip(path)
    assert shown(clip, 0, 20) == list(range(20)) and shown(clip, 21) == list(range(21, 30))
    with pytest.raises(UserError, match=r"frame 20 \(0.80 s from the first\) cannot be decoded"):
        shown(clip)


def test_files_without_times_get_the_rate_that_is_given(tmp_path):
    path = film(tmp_path, "libx264.h264", even(9, PAL), PAL)
    clip = open_clip(path, Reading(rate=Fraction(30000, 1001)))
    assert clip.rate == Fraction(30000, 1001) and clip.times[3] == 3 / clip.rate


def test_ten_bits_and_planes_arrive_as_they_were(tmp_path):
    for pixels in ("yuv420p10le", "yuv422p12le", "yuva444p10le", "gbrp16le", "gray16le"):
        path = shoot(tmp_path / f"{pixels}.mkv", Film(even(3), "ffv1", pixels))
        clip = open_clip(path)
        assert clip.format.pixel_format == pixels
        for number, frame in enumerate(clip.read()):
            sent = picture(number, pixels)
            order = (2, 0, 1) if pixels.startswith("gb") else range(len(sent.planes))
            for index, plane in zip(order, frame.planes):
                view = np.frombuffer(sent.planes[index], plane.dtype)
                row = sent.planes[index].line_size // plane.itemsize
                view = view.reshape(-1, row)[: plane.shape[0], : plane.shape[1]]
                assert np.array_equal(view, plane)


def test_transparency_of_vp9_is_read(tmp_path):
    path = shoot(
        tmp_path / "a.webm", Film(even(4), "libvpx-vp9", "yuva420p", options={"lossless": "1"})
    )
    with av.open(str(path)) as container:
        assert container.streams.video[0].metadata["alpha_mode"] == "1"
    clip = open_clip(path)
    assert clip.format.alpha
    assert [int(f.planes[3][0, 0]) for f in clip.read()] == [130, 131, 132, 133]
    assert [int(f.planes[3][0, 0]) for f in clip.read(2)] == [132, 133]


def test_opaque_gifs_have_no_alpha_and_clear_ones_do(tmp_path):
    clip = open_clip(shoot(tmp_path / "a.gif", Film(even(4, 20), "gif", "gray")))
    assert not clip.format.alpha and clip.format.family == "rgb" and len(clip) == 4
    image = pytest.importorskip("PIL.Image")
    frames = [image.new("RGBA", (32, 24), (200, 10, 10, 255)) for _ in range(3)]
    for number, frame in enumerate(frames):
        frame.paste((0, 0, 0, 0), (number * 4, 0, number * 4 + 8, 24))
    path = tmp_path / "clear.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100, disposal=2)
    clip = open_clip(path)
    assert clip.format.alpha and clip.rate == 10
    assert [int((f.planes[3] == 0).sum()) for f in clip.read()] == [192, 192, 192]


def test_what_a_file_says_of_itself(tmp_path):
    path = shoot(
        tmp_path / "a.mov",
        Film(
            even(5),
            "prores_ks",
            "yuv422p10le",
            audio="pcm_s16le",
            rotation=90,
            metadata={"title": "Harbour"},
            context={
                "sample_aspect_ratio": Fraction(4, 3), "color_range": 1, "colorspace": 9,
                "color_primaries": 9, "color_trc": 16,
            },
        ),
    )  # fmt: skip
    clip = open_clip(path)
    tags = clip.tags
    assert (tags.codec, tags.aspect, tags.rotation) == ("prores", Fraction(4, 3), 90)
    assert (tags.range, tags.matrix, tags.primaries, tags.transfer) == (1, 9, 9, 16)
    assert clip.colour.matrix == "bt2020" and tags.metadata["title"] == "Harbour"
    assert [(o.kind, o.codec) for o in clip.others] == [("audio", "pcm_s16le")]
    told = open_clip(path, Reading(matrix="bt601", range="full"))
    assert (told.colour.matrix, told.colour.range) == ("bt601", "full")
    assert (told.tags.matrix, told.tags.range) == (6, 2)
    with pytest.raises(UserError, match="matrix bt600"):
        open_clip(path, Reading(matrix="bt600"))


def test_what_is_no_video_says_what_it_is(tmp_path):
    def refused(path: Path) -> str:
        with pytest.raises(UserError) as caught:
            open_clip(path)
        return str(caught.value)

    assert "no such video" in refused(tmp_path / "none.mp4")
    empty = tmp_path / "empty.mp4"
    empty.touch()
    assert "the file is empty" in refused(empty)
    text = tmp_path / "text.mp4"
    text.write_text("hello " * 100)
    assert "not a readable video" in refused(text)
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n#EXTINF:10,\n/etc/passwd\n")
    assert "not a readable video" in refused(playlist)
    script = tmp_path / "list.mp4"
    script.write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    assert "not a readable video" in refused(script)
    sound = tmp_path / "sound.mkv"
    with av.open(str(sound), "w") as out:
        stream = out.add_stream("flac", rate=8000)
        block = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), "s16", "mono")
        block.sample_rate, block.pts = 8000, 0
        out.mux(stream.encode(block))
        out.mux(stream.encode(None))
    assert "has sound and no video" in refused(sound)


def test_a_cover_picture_is_no_video(tmp_path):
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as out:
        cover = out.add_stream("png", rate=1)
        cover.width = cover.height = 16
        cover.pix_fmt = "rgb24"
        cover.disposition = 1 << 10
        stream = out.add_stream("aac", rate=48000)
        block = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        block.sample_rate, block.pts = 48000, 0
        frame = av.VideoFrame(16, 16, "rgb24")
        frame.pts = 0
        out.mux(cover.encode(frame))
        out.mux(cover.encode(None))
        out.mux(stream.encode(block))
        out.mux(stream.encode(None))
    with pytest.raises(UserError, match="has a cover picture and no video"):
        open_clip(path)


def test_encrypted_video_is_named(tmp_path):
    path = shoot(
        tmp_path / "a.mp4",
        Film(
            even(9),
            muxer={
                "encryption_scheme": "cenc-aes-ctr",
                "encryption_key": "76a6c65c5ea762046bd749a2e632ccbb",
                "encryption_kid": "a7e61c373e219033c21091fa607bf3b8",
            },
        ),
    )
    with pytest.raises(UserError, match="the video is encrypted; decrypt it first"):
        open_clip(path)


def test_frames_too_large_are_refused(tmp_path, monkeypatch):
    path = shoot(tmp_path / "a.mkv", Film(even(2)))
    for module in ("clip", "clip_media"):
        monkeypatch.setattr(f"midframe.video.{module}.LARGEST", 3000)
    with pytest.raises(UserError, match="frames of 64x48 are too large; reduce the video"):
        open_clip(path)


@pytest.mark.slow
def test_files_with_random_damage_never_crash(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("libx264.mp4", "libx264.mkv", "vp9.webm", "libx264.ts", "gif.gif", "libx264.avi"):
        data = film(tmp_path, name, even(25, PAL), PAL).read_bytes()
        for trial in range(12):
            broken = bytearray(data)
            for at in rng.integers(0, len(data), 8):
                broken[at] = rng.integers(256)
            path = tmp_path / f"broken{trial}{Path(name).suffix}"
            path.write_bytes(broken)
            try:
                clip = open_clip(path)
                for count, _ in enumerate(clip.read()):
                    assert count < 10_000
            except UserError:
                pass


def test_a_frame_of_another_size_is_named(tmp_path):
    first = shoot(tmp_path / "a.ts", Film(even(6), options={"g": "3"}))
    second = shoot(tmp_path / "b.ts", Film(even(6), width=80, options={"g": "3"}))
    both = tmp_path / "both.ts"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    with pytest.raises(UserError, match="80x48 pixels in a video of 64x48"):
        list(open_clip(both).read())


def test_readers_are_closed_when_they_are_left(tmp_path):
    clip = open_clip(shoot(tmp_path / "a.mkv", Film(even(20))))
    assert isinstance(clip.source, Media)
    reading = clip.read(3)
    assert number_of(next(reading).planes[0]) == 3
    reading.close()  # type: ignore[attr-defined]
    assert list(clip.read(20)) == []


@pytest.mark.parametrize(("name", "shows"), [("vp9.webm", 0x02), ("vp8.webm", 0x10)])
def test_hidden_frames_in_packets_of_their_own_are_not_counted(tmp_path, name, shows):
    """Frames that are decoded for others to refer to, but never shown."""
    path = film(tmp_path, name, even(60), PAL)
    hidden = {50, 53, 54, 57}  # beyond the frames that are looked at
    with av.open(str(path)) as source, av.open(str(tmp_path / "hidden.mkv"), "w") as out:
        stream = source.streams.video[0]
        made = out.add_stream_from_template(stream, opaque=True)
        for number, packet in enumerate(p for p in source.demux(stream) if p.size):
            data = bytearray(bytes(packet))
            if number in hidden:
                data[0] &= ~shows
            copy = av.Packet(bytes(data))
            copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
            copy.is_keyframe, copy.stream = packet.is_keyframe, made
            out.mux(copy)
    wanted = [n for _, n in numbers(tmp_path / "hidden.mkv")]  # VP9 predicts otherwise behind them
    assert len(wanted) == 56 and (name == "vp9.webm" or not hidden & set(wanted))
    clip = open_clip(tmp_path / "hidden.mkv")
    assert shown(clip) == wanted and len(clip) == 56
    assert list(clip.times)[49:51] == [Fraction(n, 25) for n in (49, 51)]
    assert shown(clip, 50, 52) == wanted[50:52]


def test_interlaced_video_and_further_streams_are_told(tmp_path):
    path = shoot(tmp_path / "a.mkv", Film(even(4), options={"flags": "+ildct+ilme"}))
    assert any("interlaced" in note for note in open_clip(path).notes)
    with av.open(str(path)) as source, av.open(str(tmp_path / "two.mkv"), "w") as out:
        stream = source.streams.video[0]
        both = [out.add_stream_from_template(stream, opaque=True) for _ in range(2)]
        for packet in source.demux(stream):
            if packet.size:
                for one in both:
                    copy = av.Packet(bytes(packet))
                    copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
                    copy.is_keyframe, copy.stream = packet.is_keyframe, one
                    out.mux(copy)
    clip = open_clip(tmp_path / "two.mkv")
    assert shown(clip) == [0, 1, 2, 3] and [other.kind for other in clip.others] == ["video"]
