"""What a conversion says and refuses before it starts, and what it says of damage on its way."""

from __future__ import annotations

import argparse
import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from midframe.errors import UserError
from midframe.launch import interpolate

SIZE = (96, 64)  # width, height


def run(*args: object) -> int:
    parser = argparse.ArgumentParser()
    interpolate.add_arguments(parser)
    words = [*map(str, args), "--model", "average", "--overwrite"]
    return interpolate.run(parser.parse_args(words))


def film(path: Path, count: int = 9, rotation: int = 0, codec: str = "libx264") -> Path:
    """Write a bright square that moves to the right over noise that stays."""
    rng = np.random.default_rng(0)
    ground = rng.integers(60, 120, (SIZE[1], SIZE[0], 3), np.uint8)
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(count):
            picture = ground.copy()
            picture[8:24, 2 * number : 2 * number + 16] = 240
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        out.mux(stream.encode(None))
    return path


def sizes(path: Path) -> tuple[int, int]:
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        return frame.width, frame.height


def test_portrait_films_stand_upright_where_players_cannot_turn_them(tmp_path, capsys):
    source = film(tmp_path / "in.mp4", 3, rotation=90)
    for name in ("o.y4m", "o.gif", "o.avi", "p/%03d.png"):
        run(source, tmp_path / name)
        said = capsys.readouterr().out
        assert "turned upright" in said and "64x96" in said
    for name in ("o.y4m", "o.gif", "o.avi", "p/000.png"):
        assert sizes(tmp_path / name) == SIZE[::-1], name
    with av.open(str(source)) as container:
        first = next(container.decode(video=0))
        wanted = np.rot90(first.to_ndarray(format="gray"), round(first.rotation / 90))
    with av.open(str(tmp_path / "o.y4m")) as container:
        found = next(container.decode(video=0)).to_ndarray(format="gray")
    np.testing.assert_array_equal(found, wanted)
    run(source, tmp_path / "o.mkv")
    assert "turned upright" not in capsys.readouterr().out
    assert sizes(tmp_path / "o.mkv") == SIZE


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_uneven_times_declare_the_rate_that_the_output_has(tmp_path, suffix):
    out = tmp_path / f"o.{suffix}"
    run(film(tmp_path / "in.mp4", 25), out, "--times", "0.2,0.5")
    with av.open(str(out)) as container:
        assert container.streams.video[0].average_rate == 75


def test_a_frame_that_was_mended_is_told(tmp_path, capsys):
    source = film(tmp_path / "in.mp4", 60)
    with av.open(str(source)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(source.read_bytes())
    position, size = places[30]
    chance = random.Random(0)
    for at in range(position + size // 2, position + size - 8):
        data[at] = chance.randrange(256)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(data)
    run(damaged, tmp_path / "o.mp4")
    told = [line for line in capsys.readouterr().out.splitlines() if "is damaged" in line]
    with av.open(str(damaged)) as container:
        corrupt = [n for n, frame in enumerate(container.decode(video=0)) if frame.is_corrupt]
    assert corrupt and len(told) == len(corrupt)
    for number, line in zip(corrupt, told):
        assert f"frame {number} ({number / 25:.2f} s)" in line
    run(source, tmp_path / "o.mp4")
    assert "damaged" not in capsys.readouterr().out


def test_a_plan_counts_the_last_frame_that_is_shown_again(tmp_path, capsys):
    run(film(tmp_path / "in.mp4", 9), tmp_path / "o.mp4", "--factor", "4", "--dry-run")
    said = capsys.readouterr().out
    assert "12 as they are in the input (3 of them the last one, once more), 24 new" in said


@pytest.mark.parametrize(
    ("cuts", "said"),
    [("-3", "line 1: -3 .*not in the video"), ("9.5", "ends at 0.36 s"), ("9", "frame 9 is not")],
)
def test_a_cut_beside_the_film_is_told(tmp_path, cuts, said):
    (tmp_path / "cuts.txt").write_text(cuts)
    source = film(tmp_path / "in.mp4")
    with pytest.raises(UserError, match=said):
        run(source, tmp_path / "o.mp4", "--scene-cuts", tmp_path / "cuts.txt")


def test_options_that_nothing_would_follow_are_refused(tmp_path):
    source, out = film(tmp_path / "in.mp4"), tmp_path / "o.mp4"
    for words, said in (
        (("--input-fps", "30"), "--input-fps 30: .*says 25 frames a second; leave it out"),
        (("--lossless", "--quality", "20"), "give one of them"),
        (("--device", "cuda:77"), "device=cuda:77"),
    ):
        with pytest.raises(UserError, match=said):
            run(source, out, *words)
    with pytest.raises(UserError, match="standard output"):
        run(source, "-")
    assert not out.exists() and not Path("-").exists()
    assert run(source, out, "--input-fps", "25") == 0


def test_a_rate_of_pictures_is_followed(tmp_path):
    run(film(tmp_path / "in.mp4", 3), tmp_path / "p")
    run(tmp_path / "p", tmp_path / "o.mkv", "--input-fps", "12", "--factor", "2")
    with av.open(str(tmp_path / "o.mkv")) as container:
        times = [frame.time for frame in container.decode(video=0)]
    wanted = [float(Fraction(n, 24)) for n in range(11)]
    np.testing.assert_allclose(times, wanted, atol=1e-3)


def test_without_a_name_the_usual_model_is_taken_untrained_as_well(tmp_path, capsys):
    parser = argparse.ArgumentParser()
    interpolate.add_arguments(parser)
    words = [str(film(tmp_path / "in.mp4", 3)), str(tmp_path / "o.mp4"), "--weights", "none"]
    assert interpolate.run(parser.parse_args(words)) == 0
    assert "model dis_refined" in (said := capsys.readouterr().out) and "untrained" in said
    words[1:] = [str(tmp_path / "p.mp4"), "--weights", "other.pth"]
    with pytest.raises(UserError, match="--model NAME"):
        interpolate.run(parser.parse_args(words))


def test_a_plan_looks_at_the_engine(tmp_path):
    (tmp_path / "text.onnx").write_text("no graph")
    parser = argparse.ArgumentParser()
    interpolate.add_arguments(parser)
    words = [str(film(tmp_path / "in.mp4", 3)), str(tmp_path / "o.mp4"), "--dry-run"]
    with pytest.raises(UserError, match="text.onnx"):
        interpolate.run(parser.parse_args([*words, "--engine", str(tmp_path / "text.onnx")]))


def test_a_plan_says_what_cannot_be_kept(tmp_path, capsys):
    source = film(tmp_path / "in.mp4", 3)
    titled = tmp_path / "in.mkv"
    with av.open(str(source)) as container, av.open(str(titled), "w") as out:
        stream = out.add_stream_from_template(container.streams.video[0])
        out.add_attachment("font.ttf", "font/ttf", b"glyphs")
        for packet in container.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    for name, there in (("o.mp4", True), ("o.mkv", False)):
        run(titled, tmp_path / name, "--dry-run")
        said = capsys.readouterr().out
        assert ("attachment" in said.partition("beside its video")[2].partition("\n")[2]) == there
        assert said.splitlines()[-1] == "nothing was written: --dry-run"
        assert not (tmp_path / name).exists()
