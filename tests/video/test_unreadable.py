"""What cannot be read or written: damage and gaps of every layer, and what is said of them."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from films import Film, even, shoot

from midframe.errors import UserError
from midframe.video import index, pictures, reader
from midframe.video.clip import Reading, open_clip
from midframe.video.encode import VideoWriter
from midframe.video.format import Format
from midframe.video.frame import Frame
from midframe.video.index import Index, agrees, times_of
from midframe.video.media import probe, read_video
from midframe.video.pictures import encode_picture, is_cut_off, read_picture
from midframe.video.target import plan_output
from midframe.video.writer import SegmentWriter
from midframe.video.yuv import YuvFormat, YuvFrame, YuvReader, YuvWriter

FINE = Fraction(1, 90_000)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let no file become larger, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def emptied(path: Path) -> Path:
    """Have nothing but zeros where the pictures of a file are; its head stays."""
    with av.open(str(path)) as source:
        packets = [bytes(packet) for packet in source.demux(video=0) if packet.size]
    data = path.read_bytes()
    for packet in packets:
        assert packet in data
        data = data.replace(packet, bytes(len(packet)))
    path.write_bytes(data)
    return path


def test_a_file_whose_pictures_are_all_broken_is_named(tmp_path):
    path = emptied(shoot(tmp_path / "a.mp4", Film(even(5))))
    with pytest.raises(UserError, match=r"a\.mp4: no frame could be decoded"):
        open_clip(path)
    with pytest.raises(UserError, match=r"a\.mp4: broken after 0 frames .*re-encode it"):
        list(read_video(path))


def test_a_file_in_which_nothing_is_a_picture_is_named(tmp_path):
    """This decoder passes over what it does not know, without an error."""
    film = Film(even(5), "mpeg2video", base=Fraction(1, 25))
    path = emptied(shoot(tmp_path / "a.mkv", film))
    for read in (open_clip, lambda p: list(read_video(p))):
        with pytest.raises(UserError, match=r"a\.mkv: no frame could be decoded"):
            read(path)
    with av.open(str(tmp_path / "b.mp4"), "w") as out:
        stream = out.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        out.start_encoding()
    for read in (open_clip, probe):
        with pytest.raises(UserError, match=r"b\.mp4: there is no video in this file"):
            read(tmp_path / "b.mp4")


def test_a_video_that_no_decoder_knows_is_named(tmp_path):
    path = shoot(tmp_path / "a.mkv", Film(even(3)))
    data = path.read_bytes()
    assert data.count(b"V_MPEG4/ISO/AVC") == 1
    path.write_bytes(data.replace(b"V_MPEG4/ISO/AVC", b"V_MPEG9/ISO/XYZ"))
    with pytest.raises(UserError, match=r"a\.mkv: there is no decoder of its video"):
        open_clip(path)


def test_a_build_that_lacks_the_decoder_of_transparency_says_so(tmp_path, monkeypatch):
    with (
        av.open(str(shoot(tmp_path / "plain.mkv", Film(even(2))))) as source,
        av.open(str(tmp_path / "a.mkv"), "w") as out,
    ):
        made = out.add_stream_from_template(source.streams.video[0], opaque=True)
        made.metadata["alpha_mode"] = "1"
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = made
                out.mux(packet)
    assert len(open_clip(tmp_path / "a.mkv")) == 2
    monkeypatch.setitem(reader._WITH_ALPHA, "h264", "libnothing")
    with pytest.raises(UserError, match=r"a\.mkv: the video cannot be decoded \(libnothing\)"):
        open_clip(tmp_path / "a.mkv")


def test_what_holds_neither_pictures_nor_sound_is_named(tmp_path):
    path = tmp_path / "words.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("srt")
        stream.codec_context.subtitle_header = b"[Script Info]\r\n"
        line = av.Packet(b"Hello")
        line.pts, line.dts, line.duration, line.time_base = 0, 0, 500, Fraction(1, 1000)
        line.stream = stream
        out.mux(line)
    with pytest.raises(UserError, match="there is no video in this file"):
        open_clip(path)
    with pytest.raises(UserError, match="is a folder, not a video"):
        probe(tmp_path)


def test_more_frames_than_an_index_holds_are_refused(tmp_path, monkeypatch):
    path = shoot(tmp_path / "a.mkv", Film(even(5)))
    monkeypatch.setattr(index, "_MOST_FRAMES", 5)
    assert len(open_clip(path)) == 5
    monkeypatch.setattr(index, "_MOST_FRAMES", 4)
    with pytest.raises(UserError, match="more than 4 frames; cut it into parts"):
        open_clip(path)


def an_index(*ticks: int, counted: bool = False) -> Index:
    return Index(FINE, np.array(ticks, np.int64), np.array(ticks[:1], np.int64), counted)


def test_an_index_is_believed_only_where_decoding_agrees():
    assert not agrees(an_index(0, 1, 2), [], complete=True)
    assert not agrees(an_index(0, 1, 2), [None, 1], complete=True)
    assert not agrees(an_index(0, 1, 2), [0, 5], complete=False)
    # of a damaged file some may lack, but not say nothing, go back, or come between
    assert agrees(an_index(0, 1, 2, 3), [0, 2, 3], complete=True, damaged=True)
    for told in ([0, None, 2], [0, 2, 1], [0, 1, 7]):
        assert not agrees(an_index(0, 1, 2, 3), told, complete=True, damaged=True)


def test_times_that_no_rate_explains_stay_as_they_are():
    """However far apart: whole numbers of 64 bits would overflow on the way."""
    for ticks in ((0, 2**41), (0, 1, 2**41 + 1), (0, 2**62, 2**62 + 2), (0, 2**61, 2**63 - 1)):
        times = times_of(an_index(*ticks), Fraction(0), [Fraction(25)])
        assert times.rate is None and list(times) == [tick * FINE for tick in ticks]
    # 4 (2**62 + 1) is 4 in 64 bits, as if the second frame came after one and not 2**62 steps
    assert not index._explains(np.array([0, 2**62 + 1]), Fraction(1), Fraction(4, 5))
    single = times_of(an_index(90_000), Fraction(1), [])
    assert single.rate is None and list(single) == [0]
    assert not times_of(an_index(), Fraction(0), [Fraction(25)])


def test_what_the_decoder_holds_still_comes_where_a_file_breaks_off(tmp_path):
    path = shoot(tmp_path / "a.mkv", Film(even(12), options={"bf": "3"}))
    for error in (OSError("gone"), av.error.InvalidDataError(1, "cut")):

        def broken(packets, error=error):
            yield from (packet for _, packet in zip(range(9), packets))
            raise error

        with reader.opened(path) as container:
            stream = reader.video_of(path, container)
            found = list(reader.decoded(stream, broken(container.demux(stream))))
            assert [frame.pts for frame in found] == sorted(frame.pts for frame in found)
            assert len(found) == 9
        with reader.opened(path) as container:
            stream = reader.video_of(path, container)
            made = SimpleNamespace(demux=lambda _, stream=stream: broken(container.demux(stream)))
            indexed, _ = index.index_packets(path, made, stream)
            assert indexed.cut and len(indexed.ticks) == 9


def test_a_file_that_cannot_be_sought_is_read_from_its_start(tmp_path, monkeypatch):
    path = shoot(tmp_path / "a.mkv", Film(even(12), options={"g": "4"}))
    clip = open_clip(path)
    whole = list(clip.read())

    def fails(container, stream, time, target):
        raise av.error.InvalidDataError(1, "no seeking")

    real, asked = reader._key, []

    def key(container, stream, time, target):
        asked.append(time)
        silent = SimpleNamespace(seek=lambda *_, **__: fails(container, stream, time, target))
        return real(silent, stream, time, target)

    monkeypatch.setattr(reader, "_key", key)
    assert [a.same_as(b) for a, b in zip(clip.read(9, 11), whole[9:11])] == [True, True]
    assert asked  # it was tried
    empty = SimpleNamespace(seek=lambda *_, **__: None, demux=lambda stream: iter(()))
    assert real(empty, None, 0, 0) is None


def test_the_end_is_no_damage_however_often_it_is_told(tmp_path):
    path, failed = shoot(tmp_path / "a.mkv", Film(even(3))), []
    with reader.opened(path) as container:
        stream = reader.video_of(path, container)
        packets = [*container.demux(stream), av.Packet(0)]
        assert [packet.size > 0 for packet in packets] == [True] * 3 + [False] * 2
        found = list(reader.decoded(stream, iter(packets), 0, lambda: failed.append(1)))
    assert len(found) == 3 and not failed


def test_what_does_not_fit_into_a_video_stops_it_at_once(tmp_path):
    with (
        pytest.raises(UserError, match=r"cannot write .*none/a\.mp4: No such file"),
        VideoWriter(tmp_path / "none" / "a.mp4", Fraction(25)) as video,
    ):
        video.write(np.zeros((16, 16, 3), np.uint8))
    with VideoWriter(tmp_path / "a.mp4", Fraction(25)) as video:
        video.write(np.zeros((16, 16, 3), np.uint8))
        with pytest.raises(ValueError, match=r"\(16, 18\) in a video of \(16, 16\)"):
            video.write(np.zeros((16, 18, 3), np.uint8))


FORM = YuvFormat(32, 24, 8, "420")


def raw_frame(level: int = 7) -> YuvFrame:
    return YuvFrame(FORM, tuple(np.full(shape, level, np.uint8) for shape in FORM.shapes))


@pytest.mark.parametrize(("size", "count"), [(0, 9), (100, 9), (5000, 9), (100, 1)])
def test_raw_video_on_a_full_disk_says_so_and_leaves_what_was_there(tmp_path, size, count):
    """Whether the disk is full at once, within a frame or only when the file is closed."""
    path = tmp_path / "a_32x24.yuv"
    path.write_bytes(b"before")
    with (
        files_of_at_most(size),
        pytest.raises(UserError, match=r"cannot write .*a_32x24\.yuv: File too large"),
        YuvWriter(path, FORM) as out,
    ):
        for _ in range(count):
            out.write(raw_frame())
    assert path.read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 1
    with (
        files_of_at_most(size),
        pytest.raises(ValueError, match="mine"),  # what was on its way says more
        YuvWriter(path, FORM) as out,
    ):
        try:
            out.write(raw_frame())
        finally:
            raise ValueError("mine")
    assert path.read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 1


def test_raw_video_that_fails_under_the_reader_is_named(tmp_path, monkeypatch):
    path = tmp_path / "a_32x24.yuv"
    path.write_bytes(raw_frame().tobytes() * 2)

    def fails(*_):
        raise OSError(5, "Input/output error")

    with YuvReader(path, FORM) as frames:
        monkeypatch.setattr(frames, "_file", SimpleNamespace(seek=fails, close=lambda: None))
        with pytest.raises(UserError, match=r"frame 1 cannot be read \(Input/output error\)"):
            frames.read(1)
    monkeypatch.setattr(Path, "open", fails)
    with pytest.raises(UserError, match=r"yuv: cannot be read \(Input/output error\)"):
        YuvReader(path, FORM)


def test_bytes_behind_the_last_frame_of_raw_video_are_told(tmp_path):
    path = tmp_path / "a_32x24.yuv"
    path.write_bytes(raw_frame().tobytes() * 2 + bytes(11))
    clip = open_clip(path, Reading(rate=Fraction(25)))
    assert len(clip) == 2 and "11 bytes behind the last whole frame" in " ".join(clip.notes)


def test_pictures_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.png: cannot be read \(No such file"):
        read_picture(tmp_path / "none.png")
    planes = tuple(np.full((7, 9), n, np.uint8) for n in (1, 90, 200))
    frame = Frame(Format(9, 7, 8, "444", "rgb"), planes)
    for suffix in (".png", ".jpg", ".bmp"):
        path = tmp_path / f"a{suffix}"
        data = encode_picture(frame, suffix)
        path.write_bytes(data)
        assert not is_cut_off(data) and read_picture(path).format == frame.format
        for size in (0, len(data) // 2):
            path.write_bytes(data[:size])
            if size and suffix == ".bmp":
                continue  # which no mark ends
            with pytest.raises(UserError, match=f"the picture is cut off after {size} bytes"):
                read_picture(path)
        path.write_bytes(b"BM, but nothing else of a picture" * 9)
        with pytest.raises(UserError, match="not a picture of 8 or 16 bits"):
            read_picture(path)
    data = encode_picture(frame, ".png")
    assert is_cut_off(data[:-4])  # whose last part begins, and does not end
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5\n1000000 1000000\n255\n" + bytes(99))  # more than OpenCV takes
    with pytest.raises(UserError, match="not a picture of 8 or 16 bits"):
        read_picture(path)


def test_pictures_as_each_kind_of_file_holds_them(tmp_path):
    """Gray with alpha, which OpenCV does not write, becomes colour; WebP loses nothing unasked."""
    grey, clear = np.arange(63, dtype=np.uint8).reshape(7, 9), np.full((7, 9), 9, np.uint8)
    both = Frame(Format(9, 7, 8, "444", "gray", True), (grey, clear))
    (tmp_path / "a.png").write_bytes(encode_picture(both, ".png"))
    back = read_picture(tmp_path / "a.png")
    assert back.format == Format(9, 7, 8, "444", "rgb", True)
    assert all(map(np.array_equal, back.planes, (grey, grey, grey, clear)))
    rng = np.random.default_rng(0)
    noise = Frame(
        Format(32, 32, 8, "444", "rgb"),
        tuple(rng.integers(0, 256, (32, 32)).astype(np.uint8) for _ in range(3)),
    )
    sizes = []
    for quality in (None, 90, 5):
        (tmp_path / "a.webp").write_bytes(encode_picture(noise, ".webp", quality))
        sizes.append((tmp_path / "a.webp").stat().st_size)
        assert read_picture(tmp_path / "a.webp").same_as(noise) == (quality is None)
    assert sizes[0] > sizes[1] > sizes[2]
    assert len(encode_picture(noise, ".jpg", 5)) < len(encode_picture(noise, ".jpg"))


def test_a_kind_of_file_that_lacks_a_form_is_named(monkeypatch):
    monkeypatch.setattr("cv2.imencode", lambda *_: (False, None))
    frame = Frame(Format(2, 2, 16, "444", "gray"), (np.zeros((2, 2), np.uint16),))
    with pytest.raises(UserError, match=r"16 bit, gray cannot be written as \.webp; use \.png"):
        encode_picture(frame, ".webp")


def test_a_part_that_the_disk_cannot_end_is_an_error_and_not_there(tmp_path):
    clip = open_clip(shoot(tmp_path / "in.mkv", Film(even(2))))
    target = plan_output(clip, tmp_path / "o.y4m", Fraction(25))
    size = 16 + 2 * target.form.frame_bytes
    with (
        files_of_at_most(size + 5),  # room for the frames, not for what ends the part
        pytest.raises(UserError, match=r"cannot write .*part: File too large"),
        SegmentWriter(tmp_path / "part", target) as part,
    ):
        for number, frame in enumerate(clip.read()):
            part.write(frame, Fraction(number, 25))
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_pictures_without_numbers_have_no_gaps(tmp_path):
    for name in ("first", "second", "third9"):
        (tmp_path / f"{name}.png").write_bytes(b"x")
    found, notes = pictures.find(tmp_path)
    assert len(found) == 3 and notes == []
