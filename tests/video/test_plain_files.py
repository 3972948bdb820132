"""Pictures, raw video, Y4M and GIF: read and written as what they are, in bits, order and time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from conversions import convert, planes_of, same
from films import Film, even, luma, number_of, numbers, shoot

from midframe.errors import UserError
from midframe.video.clip import PUBLISHED, Reading, open_clip
from midframe.video.target import Output, plan_output
from midframe.video.yuv import YuvFormat, YuvFrame, YuvReader, YuvWriter


def pictures(folder: Path, count: int, channels: int, depth: int, names: str = "{:04d}.png",
             first: int = 0) -> Path:  # fmt: skip
    folder.mkdir(exist_ok=True)
    for number in range(count):
        grey = luma(number, 40, 24, depth)
        image = np.stack([grey] * channels, -1)
        if channels == 4:
            image[..., 3] = (number + 1) << (depth - 8)
        if channels >= 3:
            image[..., 0] = 7 << (depth - 8)  # blue, as OpenCV has it
        assert cv2.imwrite(str(folder / names.format(number + first)), image)
    return folder


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_to_pictures_keep_every_sample(tmp_path, channels, depth):
    folder = pictures(tmp_path / "in", 3, channels, depth)
    made = convert(folder, tmp_path / "out")
    clip = made.clip
    assert (clip.format.depth, clip.format.alpha) == (depth, channels == 4)
    assert clip.format.family == ("gray" if channels == 1 else "rgb")
    written = sorted((tmp_path / "out").iterdir())
    assert [p.name for p in written] == [f"{n:06d}.png" for n in range(5)]
    for number, path in enumerate(written):
        sent = cv2.imread(str(folder / f"{number // 2:04d}.png"), cv2.IMREAD_UNCHANGED)
        got = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert got.dtype == sent.dtype and np.array_equal(got, sent)
    blue = next(iter(clip.read())).planes[-1 - clip.format.alpha]
    assert channels == 1 or (blue == 7 << (depth - 8)).all()


def test_patterns_and_folders_are_in_order_of_numbers(tmp_path):
    folder = pictures(tmp_path / "in", 12, 3, 8, "frame{}.png", first=3)
    for path in (folder, folder / "frame%d.png", folder / "frame*.png"):
        clip = open_clip(path)
        assert [number_of(f.planes[0]) for f in clip.read()] == list(range(12))
        assert [number_of(f.planes[0]) for f in clip.read(9, 11)] == [9, 10]
    assert clip.rate == 25 and "25 a second are assumed" in clip.notes[0]
    assert open_clip(folder, Reading(rate=Fraction(24000, 1001))).times[1] == Fraction(1001, 24000)
    padded = pictures(tmp_path / "padded", 3, 1, 8, "a{:03d}_8bit.png")
    assert len(open_clip(padded / "a%03d_8bit.png")) == 3
    (folder / "frame7.png").unlink()
    assert "numbers are missing between pictures: 6 to 8" in open_clip(folder).notes[0]


def test_pictures_are_written_by_a_pattern(tmp_path):
    folder = pictures(tmp_path / "in", 2, 3, 8)
    convert(folder, tmp_path / "out" / "x_%03d.tif")
    assert [p.name for p in sorted((tmp_path / "out").iterdir()) if p.is_file()] == [
        f"x_{n:03d}.tif" for n in range(3)
    ]


def test_a_video_from_pictures_and_back(tmp_path):
    folder = pictures(tmp_path / "in", 4, 3, 16)
    clip = open_clip(folder)
    target = plan_output(clip, tmp_path / "o.mkv", Fraction(50))
    assert target.encoder is not None and target.encoder.codec == "hevc"
    assert "RGB becomes YUV 420" in " ".join(target.words) and target.form.depth == 12
    assert "16 bits become 12, rounded" in " ".join(target.words)
    lossless = convert(folder, tmp_path / "o.mkv", Output(lossless=True))
    assert same(lossless.frames, planes_of(tmp_path / "o.mkv", "gbrp16le"))
    convert(tmp_path / "o.mkv", tmp_path / "back")
    first = cv2.imread(str(tmp_path / "back" / "000006.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(first, cv2.imread(str(folder / "0001.png"), cv2.IMREAD_UNCHANGED)) or (
        np.array_equal(first, cv2.imread(str(folder / "0002.png"), cv2.IMREAD_UNCHANGED))
    )


def test_pictures_that_do_not_fit_are_named(tmp_path):
    folder = pictures(tmp_path / "in", 3, 3, 8)
    cv2.imwrite(str(folder / "0001.png"), np.zeros((24, 44, 3), np.uint8))
    with pytest.raises(UserError, match=r"0001.png: 44x24 pixels, the first picture has 40x24"):
        list(open_clip(folder).read())
    data = (folder / "0002.png").read_bytes()
    (folder / "0001.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"0001.png: the picture is cut off"):
        list(open_clip(folder).read())
    cv2.imwrite(str(folder / "0001.png"), np.zeros((24, 40, 3), np.uint16))
    with pytest.raises(UserError, match="16 bit, rgb, the first picture is 40x24, 8 bit, rgb"):
        list(open_clip(folder).read())
    (folder / "0001.jpg").write_bytes(b"x")
    with pytest.raises(UserError, match="several kinds"):
        open_clip(folder)
    with pytest.raises(UserError, match="no pictures in this folder"):
        (tmp_path / "none").mkdir()
        open_clip(tmp_path / "none")
    with pytest.raises(UserError, match="no picture has such a name"):
        open_clip(tmp_path / "none" / "%04d.png")
    with pytest.raises(UserError, match="no such folder"):
        open_clip(tmp_path / "nowhere" / "*.png")


def test_gray_among_colour_is_taken_for_colour(tmp_path):
    folder = pictures(tmp_path / "in", 2, 3, 8)
    cv2.imwrite(str(folder / "0001.png"), np.full((24, 40), 9, np.uint8))
    frames = list(open_clip(folder).read())
    assert [int(p[0, 0]) for p in frames[1].planes] == [9, 9, 9]


def raw(path: Path, form: YuvFormat, count: int) -> Path:
    rng = np.random.default_rng(1)
    with YuvWriter(path, form) as writer:
        for _ in range(count):
            y, u, v = (rng.integers(0, form.peak + 1, s).astype(form.sample) for s in form.shapes)
            writer.write(YuvFrame(form, (y, u, v)))
    return path


@pytest.mark.parametrize(
    "form", [YuvFormat(18, 10), YuvFormat(17, 9, 10), YuvFormat(16, 8, 16, "444")]
)
def test_raw_video_comes_back_byte_by_byte(tmp_path, form):
    name = f"{form.width}x{form.height}_{form.depth}bit_{form.chroma}_24fps.yuv"
    source = raw(tmp_path / f"in_{name}", form, 3)
    out = tmp_path / f"out_{name}"
    made = convert(source, out)
    assert made.clip.rate == 24 and made.clip.kind == "raw"
    frames = [source.read_bytes()[n * form.frame_bytes :][: form.frame_bytes] for n in range(3)]
    assert out.read_bytes() == b"".join(frames[n] for n in (0, 0, 1, 1, 2))
    with YuvReader(out, form) as reader:
        assert reader.frames == 5


def test_raw_video_by_options_and_as_published(tmp_path):
    form = YuvFormat(16, 8, 10)
    source = raw(tmp_path / "clip.yuv", form, 2)
    reading = Reading((16, 8), 10, "420", PUBLISHED, rate=Fraction(50))
    clip = open_clip(source, reading)
    assert clip.colour.published and clip.times[1] == Fraction(1, 50)
    first = next(iter(clip.read()))
    assert first.like(first.rgb(), None, (first, first)).same_as(first)
    with pytest.raises(UserError, match="--size WxH"):
        open_clip(source)
    with source.open("ab") as file:
        file.write(b"12345")
    assert "5 bytes behind the last whole frame" in open_clip(source, reading).notes[0]


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv444p10le", "yuv420p12le"])
def test_y4m_keeps_every_sample(tmp_path, pixels):
    wide = {"sample_aspect_ratio": Fraction(4, 3), "color_range": 2}
    film = Film(even(4, 24), "libx265", pixels, rate=Fraction(24), context=wide)
    film.options = {"x265-params": "log-level=none:lossless=1"}
    source = shoot(tmp_path / "in.mkv", film)
    made = convert(source, tmp_path / "out.y4m")
    assert same(made.frames, planes_of(tmp_path / "out.y4m", pixels))
    clip = open_clip(tmp_path / "out.y4m")
    assert clip.rate == 48 and clip.tags.aspect == Fraction(4, 3) and clip.tags.range == 2


def test_gif_times_and_transparency(tmp_path):
    source = shoot(tmp_path / "in.mkv", Film(even(10, 30), "ffv1", "yuva420p", rate=Fraction(30)))
    made = convert(source, tmp_path / "out.gif", factor=1)
    got = numbers(tmp_path / "out.gif")
    assert [n for _, n in got] == list(range(10))
    assert max(abs(a - b) for (a, _), b in zip(got, made.times)) <= Fraction(1, 200)
    with av.open(str(tmp_path / "out.gif")) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="rgba")
    assert (frame[..., 3] == 255).all()  # alpha of 130 and more is opaque
    image = pytest.importorskip("PIL.Image")
    clear = [image.new("RGBA", (32, 24), (200, 10, 10, 255)) for _ in range(3)]
    for number, one in enumerate(clear):
        one.paste((0, 0, 0, 0), (number * 4, 0, number * 4 + 8, 24))
    path = tmp_path / "clear.gif"
    clear[0].save(path, save_all=True, append_images=clear[1:], duration=100, disposal=2)
    convert(path, tmp_path / "more.gif")
    clip = open_clip(tmp_path / "more.gif")
    assert clip.format.alpha and clip.rate == 20 and len(clip) == 5
    assert [int(f.planes[3][0].argmin()) for f in clip.read()] == [0, 0, 4, 4, 8]
    assert "256 colours" in " ".join(made.target.words)


def test_what_holds_constant_rates_refuses_others(tmp_path):
    times = [Fraction(n, 1000) for n in (0, 40, 55, 120, 131)]
    clip = open_clip(shoot(tmp_path / "in.mkv", Film(times, base=Fraction(1, 1000))))
    assert clip.rate is None
    for name in ("o.y4m", "o.yuv", "o.avi"):
        with pytest.raises(UserError, match="constant rates only; give --fps, or write .mkv"):
            plan_output(clip, tmp_path / name, None)
    made = convert(tmp_path / "in.mkv", tmp_path / "o.gif", factor=1)
    got = [time for time, _ in numbers(tmp_path / "o.gif")]
    assert max(abs(a - b) for a, b in zip(got, made.times)) <= Fraction(1, 50)
