"""What is chosen for an output, and what of a format, a cut or a schedule is rarely asked for."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from films import Film, even, numbers, shoot
from moving import FORM, RATE, Levels, Store, maker_of

from midframe.errors import UserError
from midframe.models.average import Average
from midframe.video import codecs, gif
from midframe.video.beginning import beginning
from midframe.video.belt import Belt
from midframe.video.clip import Clip, Other
from midframe.video.codecs import ENCODERS, encoder_for
from midframe.video.colour import Colour
from midframe.video.cuts import begins_shot, look_at, unexplained
from midframe.video.fit import fit
from midframe.video.format import Format, format_of_pixels
from midframe.video.frame import Frame
from midframe.video.halved import Halved
from midframe.video.inbetween import shown
from midframe.video.index import Times, even_times
from midframe.video.pictures import Pictures, encode_picture, read_picture
from midframe.video.pipeline import convert
from midframe.video.tags import Tags
from midframe.video.target import Output, Target, plan_output
from midframe.video.timing import Moment, Request, Schedule, parts


def a_clip(form: Format = FORM, times: Times | None = None, **said: Any) -> Clip:
    """Return a clip that nothing is read of."""
    tags = Tags(**{"codec": "h264", **said.pop("tags", {})})
    times = even_times(9, Fraction(25)) if times is None else times
    colour = Colour("bt709", "full" if form.family == "rgb" else "limited")
    return Clip(
        Path("in.mp4"), "media", form, colour, times, Fraction(1, 25), times.rate,
        source=None, tags=tags, **said,
    )  # fmt: skip


def planned(name: str, clip: Clip, rate: Fraction | None = RATE, **asked: Any) -> Target:
    return plan_output(clip, name, rate, Output(**asked))


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Take encoders away, as other builds of FFmpeg have fewer."""
    less = [replace(e, name="libnothing") if e.codec in names else e for e in ENCODERS]
    monkeypatch.setattr(codecs, "ENCODERS", tuple(less))


YUV = Format(64, 48)


def test_without_an_encoder_that_nobody_asked_for_another_is_taken(monkeypatch):
    without(monkeypatch, "av1", "hevc")
    target = planned("o.mp4", a_clip(YUV))
    assert target.encoder is not None and target.encoder.codec == "h264"
    deep = planned("o.mkv", a_clip(replace(YUV, depth=10), tags={"codec": "hevc"}))
    assert deep.encoder is not None and deep.form.depth == 10
    assert "hevc cannot be written to .mkv here" in deep.words
    with pytest.raises(UserError, match="lacks its encoder libnothing; choose one of h264, vp9"):
        encoder_for("av1")
    without(monkeypatch, *codecs.CONTAINERS[".webm"][1])
    with pytest.raises(UserError, match=r"o\.webm: this build of PyAV has no encoder for \.webm"):
        planned("o.webm", a_clip(YUV))
    without(monkeypatch, "vp9")
    with pytest.raises(UserError, match="has no lossless encoder for .webm"):
        planned("o.webm", a_clip(YUV), lossless=True)


def test_what_was_never_compressed_is_no_wish_for_a_lossless_file():
    for own in ("", "gif", "rawvideo"):
        target = planned("o.mkv", a_clip(YUV, tags={"codec": own}))
        assert target.encoder is not None and target.encoder.codec == "h264"
    kept = planned("o.mkv", a_clip(YUV, tags={"codec": "utvideo"})).encoder
    assert kept is not None and kept.codec == "ffv1"


def test_what_a_file_has_no_place_for_is_said():
    wide = a_clip(YUV, tags={"aspect": Fraction(4, 3)})
    words = " | ".join(planned("o.mkv", wide, codec="ffv1").words)
    assert "the shape of pixels, 4/3, is not kept: ffv1 has none" in words
    assert not any("shape" in w for w in planned("o.mkv", wide, codec="h264").words)
    loud = a_clip(YUV, others=[Other(1, "audio", "aac")])
    assert "pictures hold no sound and the like: these are left out" in planned("out", loud).words
    assert any("nothing but frames: sound" in w for w in planned("o.gif", loud).words)
    quick = planned("o.gif", a_clip(YUV), Fraction(60))
    assert any("slow GIFs of more than 50 down" in w for w in quick.words)
    assert not any("50" in w for w in planned("o.gif", a_clip(YUV), Fraction(50)).words)
    with pytest.raises(UserError, match="--codec h264 is for videos; the suffix says"):
        planned("out/%04d.png", a_clip(YUV), codec="h264")


def test_chroma_is_the_one_that_is_asked_for():
    for chroma in ("420", "422", "444"):
        assert planned("o.mp4", a_clip(YUV), chroma=chroma).form.chroma == chroma
        rgb = planned("o.mp4", a_clip(Format(64, 48, 8, "444", "rgb")), chroma=chroma)
        assert (rgb.form.family, rgb.form.chroma) == ("yuv", chroma)


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (Format(64, 48, 8, "411"), Format(64, 48, 8, "444")),
        (Format(64, 48, 9, "422"), Format(64, 48, 10, "422")),
        (Format(64, 48, 12, "444", "rgb", True), Format(64, 48, 12, "420")),
        (Format(64, 48, 8, "444", "gray"), Format(64, 48, 8, "420")),
    ],
)
def test_y4m_holds_the_nearest_that_its_readers_know(given, written):
    assert planned("o.y4m", a_clip(given)).form == written


def test_numbers_of_wide_and_of_grey_pictures_say_what_they_are():
    """ITU-T H.273: 9 is BT.2020, 6 BT.601, 0 the matrix of RGB, 2 nothing said."""
    rgb = Format(64, 48, 10, "444", "rgb")
    for primaries, matrix, name in ((9, 9, "bt2020"), (1, 6, "bt601")):
        target = planned("o.mp4", a_clip(rgb, tags={"primaries": primaries, "matrix": 0}))
        assert (target.tags.matrix, target.colour.matrix, target.tags.range) == (matrix, name, 1)
    grey = Format(64, 48, 8, "444", "gray")
    for said, kept in ((0, 1), (6, 6), (2, 2)):
        target = planned("o.mp4", a_clip(grey, tags={"matrix": said}), chroma="420")
        assert target.form.family == "yuv" and target.tags.matrix == kept


def test_a_unit_too_fine_for_a_container_gives_way_to_one_that_fits():
    odd = Times(np.arange(9), Fraction(1, 25), rate=Fraction(25), first=Fraction(1, 1_000_003))
    assert planned("o.mp4", a_clip(YUV, odd), Fraction(25)).base == Fraction(1, 25)
    fast = Fraction(1_000_003, 2)
    assert planned("o.mp4", a_clip(YUV, odd), fast).base == Fraction(1, 1_000_000)


def test_rgb_of_more_bits_is_the_same_share_of_white():
    low = Format(4, 2, 8, "444", "rgb")
    planes = tuple(np.array([[0, 1, 128, 255]] * 2, np.uint8) + 0 * n for n in range(3))
    wide = fit(Frame(low, planes), Format(4, 2, 16, "444", "rgb", True), Colour())
    for plane in wide.planes[:3]:
        assert plane.tolist() == [[0, 257, 128 * 257, 65535]] * 2
    assert (wide.planes[3] == 65535).all()  # opaque, as it was


def test_pixels_of_cameras_are_colours():
    assert format_of_pixels("bayer_rggb8", 8, 6) == Format(8, 6, 8, "444", "rgb")
    assert format_of_pixels("bayer_gbrg16le", 8, 6) == Format(8, 6, 16, "444", "rgb")


def test_a_picture_of_another_size_begins_a_shot():
    small, large = (np.full((40 * k, 60 * k, 3), 90, np.uint8) for k in (1, 2))
    looks = [look_at(image) for image in [small] * 4 + [large] * 4]
    assert [at for at in range(8) if begins_shot(looks, at)] == [4]
    assert unexplained(looks[3], looks[4]) == 1 and unexplained(looks[0], looks[1]) == 0


def codes(data: bytes) -> tuple[bytes, int]:
    """Decode GIF's codes by its specification (GIF89a, appendix F); returns unread bits, too."""
    bits, at = int.from_bytes(data, "little"), 0
    out, table, before, size = b"", [], b"", 9
    while True:
        code = bits >> at & (1 << size) - 1
        at += size
        if code == 257:
            return out, 8 * len(data) - at
        if code == 256:
            table, before, size = [bytes([n]) for n in range(256)] + [b"", b""], b"", 9
            continue
        here = table[code] if code < len(table) else before + before[:1]
        if before:
            table.append(before + here[:1])
            size += len(table) == 1 << size < 4096
        out, before = out + here, here


def pixels_of_new_pairs(count: int) -> bytes:
    """Return pixels of which no two in a row come twice, so that each adds a code."""
    steps = np.repeat(np.arange(1, 256, 2), 256)[: count - 1]
    return (np.concatenate([[0], np.cumsum(steps)]) % 256).astype(np.uint8).tobytes()


@pytest.mark.parametrize("length", [254, 255, 256, 767, 8444, 8445, 8446])
def test_codes_of_a_gif_end_where_the_specification_says(length):
    """After 8445 codes the last one would end with a byte, were it not of a greater width."""
    pixels = pixels_of_new_pairs(length)
    found, rest = codes(gif._lzw(pixels))
    assert found == pixels and 0 <= rest < 8


def test_opaque_pictures_among_clear_ones_are_opaque(tmp_path):
    rng = np.random.default_rng(0)
    kinds = (("rgb", True), ("rgb", False), ("gray", False))
    sent = []
    for number, (family, alpha) in enumerate(kinds):
        form = Format(8, 6, 8, "444", family, alpha)
        planes = tuple(rng.integers(0, 256, s).astype(np.uint8) for s in form.shapes)
        sent.append(Frame(form, planes))
        (tmp_path / f"{number}.png").write_bytes(encode_picture(sent[-1], ".png"))
    paths = sorted(tmp_path.iterdir())
    clear, colour, grey = Pictures(paths, read_picture(paths[0]).format).read()
    assert clear.same_as(sent[0]) and colour.format == grey.format == clear.format
    assert all(map(np.array_equal, colour.planes[:3], sent[1].planes))
    assert all(np.array_equal(plane, sent[2].planes[0]) for plane in grey.planes[:3])
    assert (colour.planes[3] == 255).all() and (grey.planes[3] == 255).all()
    deep = Format(8, 6, 16, "444", "rgb", True)
    with pytest.raises(UserError, match="is 8x6, 8 bit, rgb, the first picture is 8x6, 16 bit"):
        list(Pictures(paths[1:2], deep).read())


def test_every_second_frame_to_the_end_or_from_one_on():
    clip = Levels([10 * n for n in range(7)])
    for first in (0, 1, 3):
        found = [int(f.planes[0][0, 0]) for f in Halved(clip, FORM, 7, None).read(first)]
        assert found == [0, 20, 40, 60][first:]
    assert len(Halved(clip, FORM, 7, None)) == 4


def test_no_picture_where_one_is_asked_for():
    schedule = Schedule([Fraction(n, 25) for n in range(3)], Fraction(0), Request(Fraction(2)))
    maker = maker_of(Average())
    with pytest.raises(UserError, match="the video ends before frame 1; it was cut off"):
        list(shown([], [Moment(Fraction(3, 2), Fraction(3, 50))], schedule, maker))
    assert list(shown([], [], schedule, maker)) == []


def test_a_model_that_asks_for_a_picture_behind_the_last_is_stopped():
    clip, store = Levels([0, 100, 200]), Store()
    schedule = Schedule(clip.times, 1 / RATE, Request(Fraction(2)))
    reads = SimpleNamespace(forget=lambda gap: None, fill=lambda wanted: None)

    def predictor(load, has):
        reads.at = lambda place: load(3)
        return reads

    maker = replace(maker_of(Average()), predictor=predictor)
    with pytest.raises(IndexError, match="picture 3 of 3"):
        convert(clip, FORM, schedule, iter(parts(schedule, 8)), maker, store.writer)


def test_frames_between_two_parts_are_read_over():
    """Of parts that are done: a few frames are quicker decoded than sought; no model sees them."""
    clip, store, seen = Levels([100 * n for n in range(30)]), Store(), []
    schedule = Schedule(clip.times, 1 / RATE, Request(Fraction(2)))
    first, _, third, *_ = parts(schedule, 8)
    maker = maker_of(Average())

    def place(rgb):
        seen.append(round(float(rgb.max()) * FORM.peak / 100))
        return maker.place(rgb)

    todo = iter([first, third])
    convert(clip, FORM, schedule, todo, replace(maker, place=place), store.writer)
    assert clip.begun == [0] and clip.read_numbers == list(range(third.stop + 1))
    assert seen == [*range(first.stop + 1), *range(third.first, third.stop + 1)]
    want = [50 * n for part in (first, third) for n in range(part.start, part.end)]
    assert store.levels == want


def test_a_schedule_ends():
    schedule = Schedule([Fraction(n, 25) for n in range(3)], Fraction(0), Request(Fraction(2)))
    assert schedule[-1] == schedule[4] == Moment(Fraction(2), Fraction(2, 25))
    for number in (5, -6):
        with pytest.raises(IndexError, match=f"frame {number} of 5"):
            schedule[number]


def test_no_part_is_empty_where_many_frames_come_at_once():
    """Of ten frames within a tenth of a second none is shown, at one a second."""
    times = [Fraction(n) for n in range(10)]
    times += [Fraction(9) + Fraction(n, 100) for n in range(1, 41)]
    schedule = Schedule(times, Fraction(1), Request(fps=Fraction(1)))
    found = parts(schedule, 2)
    assert [part.number for part in found] == list(range(len(found)))
    assert all(len(part) > 0 for part in found)
    assert [part.start for part in found] == [0, *(part.end for part in found[:-1])]
    assert found[-1].end == len(schedule)


def test_the_first_reason_to_take_nothing_more_counts():
    belt = Belt(1)
    belt.abandon(KeyError("first"))
    belt.abandon(ValueError("second"))
    with pytest.raises(KeyError, match="first"):
        belt.put(1)


@pytest.mark.parametrize("asked", [1, 5, 6, 7, 100])
def test_the_beginning_of_a_video_is_its_first_frames_as_they_are_encoded(tmp_path, asked):
    """Frames come out of order: it is as long as what is stored first is what is shown first."""
    path = shoot(tmp_path / "a.mp4", Film(even(20), options={"bf": "3", "b-adapt": "0"}))
    with av.open(str(path)) as source:
        packets = [packet for packet in source.demux(video=0) if packet.size]
    times, shown = [packet.pts for packet in packets], sorted(packet.pts for packet in packets)
    assert times != shown
    fits = [n for n in range(1, min(asked, 20) + 1) if sorted(times[:n]) == shown[:n]]
    short = beginning(path, asked, tmp_path)
    assert [number for _, number in numbers(short)] == list(range(max(fits)))
    with av.open(str(short)) as made:
        kept = [bytes(packet) for packet in made.demux(video=0) if packet.size]
    assert kept == [bytes(packet) for packet in packets[: max(fits)]]


@pytest.mark.parametrize("alpha", [False, True])
def test_what_films_are_edited_in_stays_it(alpha):
    clip = a_clip(Format(64, 48, 12, "444", "yuv", alpha), tags={"codec": "prores"})
    for name in ("o.mov", "o.mkv"):
        target = planned(name, clip)
        assert target.encoder.codec == "prores" and target.options["profile"] == "4444"
        assert target.form == Format(64, 48, 10, "444", "yuv", alpha)
        assert any("12 bits become 10" in words for words in target.words)
    assert planned("o.mp4", clip).encoder.codec == "hevc"
