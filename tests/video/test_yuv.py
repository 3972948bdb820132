"""Raw YUV files: what a name says, where frames lie, and what is refused."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midframe.errors import UserError
from midframe.video.yuv import (
    CHROMAS,
    DEPTHS,
    YuvFormat,
    YuvFrame,
    YuvReader,
    YuvWriter,
    check_name,
    facts_of_name,
    format_of,
)

GOLDEN = ("8bit_420", "10bit_420", "16bit_420", "8bit_444", "10bit_444")


def random_frame(form, seed=0):
    rng = np.random.default_rng(seed)
    kind = np.uint8 if form.depth == 8 else np.uint16
    y, u, v = (rng.integers(0, form.peak + 1, shape).astype(kind) for shape in form.shapes)
    return YuvFrame(form, (y, u, v))


@pytest.mark.parametrize(
    ("name", "size", "depth", "chroma", "fps"),
    [
        ("Park-1920x1080_50fps_10bit_420.yuv", (1920, 1080), 10, "420", 50),
        ("BasketballDrill_832x480_50.yuv", (832, 480), None, None, 50),
        ("Nebuta_2560x1600_60_10bit_crop.yuv", (2560, 1600), 10, None, 60),
        ("Beauty_3840x2160_120fps_420_8bit_YUV.yuv", (3840, 2160), 8, "420", 120),
        ("x_16bit_444_10bit.yuv", None, 16, "444", None),
        ("a_64X48_yuv422p12le_29.97fps.yuv", (64, 48), 12, "422", Fraction(30000, 1001)),
        ("sixteen_16bits_of_1444x720_420.yuv", (1444, 720), 16, "420", None),
        ("shot_420x444.yuv", (420, 444), None, None, None),
        ("plain.yuv", None, None, None, None),
    ],
)
def test_what_a_name_says(name, size, depth, chroma, fps):
    facts = facts_of_name(f"/some/444/1x1/{name}")
    assert (facts.size, facts.depth, facts.fps) == (size, depth, fps)
    assert facts.chroma == chroma
    assert facts.sequence == name.removesuffix(".yuv").split("-")[0]


def test_options_win_over_the_name_and_the_name_over_defaults():
    name = "a_64x48_10bit_444.yuv"
    assert format_of(name) == YuvFormat(64, 48, 10, "444")
    assert format_of(name, (6, 4), 8, "420") == YuvFormat(6, 4, 8, "420")
    assert format_of("a_64x48.yuv") == YuvFormat(64, 48, 8, "420")
    with pytest.raises(UserError, match="--size WxH"):
        format_of("a_10bit.yuv")


def test_a_name_must_not_lie():
    form = YuvFormat(64, 48, 10)
    check_name("out.yuv", form)
    check_name("out_64x48_10bit_420.yuv", form)
    for name, said in (("o_8bit.yuv", "depth"), ("o_64x64.yuv", "size"), ("o_444.yuv", "chroma")):
        with pytest.raises(UserError, match=f"the {said} in this name"):
            check_name(name, form)


def test_impossible_formats():
    for args, said in (
        ((0, 4), "sides"),
        ((4, 70_000), "sides"),
        ((4, 4, 17), "depth 17"),
        ((4, 4, 8, "413"), "chroma 413"),
    ):
        with pytest.raises(UserError, match=said):
            YuvFormat(*args)


def test_frame_sizes():
    assert YuvFormat(1920, 1080).frame_bytes == 1920 * 1080 * 3 // 2
    assert YuvFormat(1920, 1080, 10).frame_bytes == 1920 * 1080 * 3
    assert YuvFormat(16, 8, 8, "422").frame_bytes == 16 * 8 * 2
    assert YuvFormat(16, 8, 16, "444").frame_bytes == 16 * 8 * 6
    assert YuvFormat(5, 3).shapes == ((3, 5), (2, 3), (2, 3))  # as ffmpeg has odd sizes


@pytest.mark.parametrize("case", GOLDEN)
def test_published_files_are_read_sample_by_sample(golden, tmp_path, case):
    raw = np.load(golden("stmfnet/yuv.npz"))[f"{case}/raw"]
    path = tmp_path / f"{case}.yuv"
    path.write_bytes(raw.tobytes())
    form = format_of(path, (16, 8))
    with YuvReader(path, form) as reader:
        assert (len(reader), reader.left_over) == (3, 0)
        read = np.concatenate([p.reshape(-1) for frame in reader for p in frame.planes])
    assert np.array_equal(read, raw)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from(DEPTHS),
    st.sampled_from(CHROMAS),
    st.integers(1, 4),
    st.integers(0, 3),
)
def test_what_is_written_is_read(tmp_path_factory, width, height, depth, chroma, count, extra):
    path = tmp_path_factory.mktemp("yuv") / "a.yuv"
    form = YuvFormat(width, height, depth, chroma)
    frames = [random_frame(form, seed) for seed in range(count)]
    with YuvWriter(path, form) as writer:
        for frame in frames:
            writer.write(frame)
    assert path.stat().st_size == count * form.frame_bytes
    extra = min(extra, form.frame_bytes - 1)
    with path.open("ab") as file:
        file.write(bytes(extra))
    with YuvReader(path, form) as reader:
        assert (reader.frames, reader.left_over) == (count, extra)
        for number in reversed(range(count)):  # in any order
            for read, written in zip(reader.read(number).planes, frames[number].planes):
                assert read.dtype == written.dtype and np.array_equal(read, written)
        with pytest.raises(IndexError):
            reader.read(count)


def test_samples_are_little_endian(tmp_path):
    path = tmp_path / "a.yuv"
    planes = (np.array([[0x0102]], np.uint16), *[np.array([[3]], np.uint16)] * 2)
    form = YuvFormat(1, 1, 10, "444")
    with YuvWriter(path, form) as writer:
        writer.write(YuvFrame(form, planes))
    assert path.read_bytes() == bytes([2, 1, 3, 0, 3, 0])


def test_files_that_do_not_fit_their_format(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        YuvReader(tmp_path / "nix.yuv", YuvFormat(4, 4))
    path = tmp_path / "a.yuv"
    path.write_bytes(bytes(20))
    with pytest.raises(UserError, match=r"20 bytes are less than one frame .*\(24 bytes\)"):
        YuvReader(path, YuvFormat(4, 4))
    path.write_bytes(b"\xff\x3f" * 24)
    with YuvReader(path, YuvFormat(4, 4, 14)) as reader:
        reader.read(0)
    with (
        YuvReader(path, YuvFormat(4, 4, 10)) as reader,
        pytest.raises(UserError, match="sample of 16383, which takes more than 10 bits"),
    ):
        reader.read(0)
    with YuvReader(path, YuvFormat(4, 4)) as reader:
        path.write_bytes(bytes(30))
        reader.read(0)
        with pytest.raises(UserError, match="ends within frame 1"):
            reader.read(1)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path, form = tmp_path / "a.yuv", YuvFormat(4, 4)
    with YuvWriter(path, form) as writer:
        writer.write(random_frame(form))
        assert not path.exists()
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt), YuvWriter(path, form) as writer:
        writer.write(random_frame(form, 1))
        raise KeyboardInterrupt
    assert path.read_bytes() == before == random_frame(form).tobytes()
    with (
        pytest.raises(ValueError, match="4x4, 8 bit, 420"),
        YuvWriter(path, form) as writer,
    ):
        writer.write(random_frame(YuvFormat(4, 4, 10)))
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(UserError, match="cannot write"), YuvWriter(path / "b.yuv", form):
        pass
