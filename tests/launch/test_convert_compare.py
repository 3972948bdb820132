"""Comparing on one's own footage, the preview, the profile: what they say and write."""

from __future__ import annotations

import argparse
import csv
import json
import xml.etree.ElementTree as xml
from fractions import Fraction

import numpy as np
import pytest
import torch
from footage import pan, texture, write_video
from reels import RATE, Reel

from midframe import cli
from midframe.errors import UserError
from midframe.launch import interpolate
from midframe.launch.convert import maker_of
from midframe.launch.convert_compare import CAP, Comparison, compared, summary
from midframe.launch.convert_report import Report, _Silent
from midframe.launch.curves import Panel, svg, ticks
from midframe.metrics import psnr, ssim
from midframe.models.average import Average
from midframe.models.base import Interpolator
from midframe.types import Prediction
from midframe.video.beside import beside, wide
from midframe.video.clip import open_clip
from midframe.video.cuts import FindCuts
from midframe.video.format import Format
from midframe.video.frame import Frame
from midframe.video.halved import Halved, OddFrames
from midframe.video.pipeline import Cuts
from midframe.video.profile import Profile


def run(*args):
    parser = argparse.ArgumentParser()
    interpolate.add_arguments(parser)
    return interpolate.run(parser.parse_args([str(a) for a in args]))


def judged(reel, model: Interpolator | None = None, cuts=None):
    schedule = OddFrames(list(reel.times))
    halved = Halved(reel, reel.format, len(reel.frames), cuts)
    task = Comparison(halved, schedule, "interpolate")
    maker = maker_of(model or Average(), torch.device("cpu"), task, None, Report("none"))
    return compared(reel, task, maker, _Silent())


class Shifted(Average):
    """Moves the first frame by as many pixels as are asked for: the truth of a pan."""

    step = 2

    def forward(self, x, **hints):
        frames = [torch.roll(x.pair[0], -round(self.step * 2 * float(t)), -1) for t in x.t[0]]
        return Prediction(torch.stack(frames, 1))


def test_every_second_frame_is_held_against_what_is_made_of_its_neighbours():
    images = pan(3, range(0, 18, 2))
    judge = judged(Reel(images))
    assert [row.frame for row in judge.rows] == [1, 3, 5, 7] and judge.skipped == 0
    for row in judge.rows:
        a, b, c = (
            torch.from_numpy(images[row.frame + d].copy()).permute(2, 0, 1)[None]
            for d in (-1, 0, 1)
        )
        mixed = ((a.int() + c.int()) / 2).round() / 255  # to the even one of two, as frames are
        assert row.psnr == pytest.approx(float(psnr(mixed, b / 255)), abs=0.05)
        assert row.ssim == pytest.approx(float(ssim(mixed, b / 255)), abs=1e-3)
        assert (row.psnr, row.ssim) == (row.average_psnr, row.average_ssim)
        assert row.seconds == pytest.approx(row.frame / RATE) and row.t == 0.5


def test_a_better_model_is_said_to_be_better_and_an_exact_one_counts_as_much_as_can_be():
    images = [np.tile(texture(1, 48, 48), (1, 2, 1))]
    images = [np.roll(images[0], -2 * k, 1) for k in range(9)]
    found = summary(judged(Reel(images), Shifted()))
    assert found["psnr"] == CAP and found["ssim"] == 1 and found["better"] == found["frames"] == 4
    assert found["average_psnr"] < 40


def test_the_times_of_frames_count():
    """Of a fade whose frames come at uneven times, the average by time is exact."""
    times = [Fraction(k, 100) for k in (0, 1, 5, 9, 10, 12, 20)]
    images = [np.full((16, 16, 3), 10 + 1000 * t, np.uint8) for t in times]
    reel = Reel(images)
    reel.times = times
    judge = judged(reel)
    assert [row.t for row in judge.rows] == pytest.approx([0.2, 0.8, 0.2])
    assert all(row.psnr == row.average_psnr == CAP for row in judge.rows)


@pytest.mark.parametrize("at", [5, 6])
@pytest.mark.parametrize("given", [True, False])
def test_frames_beside_a_cut_are_left_out(at, given):
    images = [*pan(0, range(0, 2 * at, 2), 96, 160), *pan(5, range(0, 2 * (13 - at), 2), 96, 160)]
    judge = judged(Reel(images), cuts=Cuts([at]) if given else FindCuts())
    assert [row.frame for row in judge.rows] == [1, 3, 7, 9, 11]
    assert judge.skipped == 1
    assert min(row.psnr for row in judge.rows) > 15


def test_the_command_writes_numbers_and_a_plot(tmp_path, capsys):
    video, out = write_video(tmp_path / "in.mkv", pan(2, range(0, 22, 2))), tmp_path / "found"
    assert run(video, out, "--compare", "--model", "average") == 0
    said = capsys.readouterr().out
    assert "5 of 11 frames are left out and predicted" in said
    assert "Average beats the average by 0.00 dB, in 0 of 5 frames" in said
    rows = list(csv.DictReader((out / "compare.csv").open()))
    assert [row["frame"] for row in rows] == ["1", "3", "5", "7", "9"]
    found = json.loads((out / "compare.json").read_text())
    assert found["psnr"] == pytest.approx(np.mean([float(r["psnr"]) for r in rows]), abs=1e-3)
    assert found["worst"][0]["psnr"] == pytest.approx(min(float(r["psnr"]) for r in rows), abs=0.01)
    picture = xml.fromstring((out / "compare.svg").read_text())
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"in.mkv, Average", "PSNR, dB", "SSIM", "model", "average", "seconds"} <= set(texts)
    with pytest.raises(UserError, match="exists; give another folder"):
        run(video, out, "--compare", "--model", "average")
    assert run(video, "--compare", "--model", "average", "--progress", "json") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1]["event"] == "compared" and events[-1]["frames"] == 5


def test_what_cannot_be_compared_is_said(tmp_path, capsys):
    short = write_video(tmp_path / "short.mkv", pan(2, [0, 2]))
    for words, message in (
        ((short, "--compare"), "needs three or more"),
        ((short, "--compare", "--factor", "4"), "--factor has no meaning with --compare"),
        ((short, "--compare", "--preview"), "--preview has no meaning"),
        ((short, tmp_path / "out.mp4", "--compare"), "makes no video"),
        ((tmp_path / "none.mp4", "--compare"), "no such file"),
    ):
        with pytest.raises(UserError, match=message):
            run(*words, "--model", "average")
    video = write_video(tmp_path / "in.mkv", pan(2, range(0, 10, 2)))
    (tmp_path / "list.txt").write_text("1\n2\n3\n4\n")
    with pytest.raises(UserError, match="cuts are beside each"):
        run(video, "--compare", "--model", "average", "--scene-cuts", tmp_path / "list.txt")
    assert cli.main(["interpolate", str(short), "--compare", "--model", "average"]) == 2
    assert "three or more" in capsys.readouterr().err


def test_curves_are_where_their_values_are():
    panel = Panel("a < b", {"one": [1.0, None, 3.0], "two": [2.0, 2.0, 2.0]})
    picture = xml.fromstring(svg("title & more", [0, 1, 2], [panel, panel], "s", [1.0]))
    paths = [e.get("d") for e in picture.iter("{http://www.w3.org/2000/svg}path")]
    assert sum("h0.01" in d for d in paths) == 4
    one = next(d for d in paths if d.count("h0.01") == 2)  # which has a gap
    assert one.startswith("M64.0 ") and "M944.0 " in one
    low, high = (float(part.split()[1].split("h")[0]) for part in one.split("M")[1:])
    assert low > high  # 1 is below 3
    assert ticks(0, 10) == [0, 2, 4, 6, 8, 10] and ticks(0.93, 1.0)[0] == pytest.approx(0.94)
    assert ticks(3, 3) == [3]
    assert "nan" not in svg("", [0.0], [Panel("", {"x": [5.0]})], "")


@pytest.mark.parametrize("chroma", ["420", "422", "444", "410", "411"])
@pytest.mark.parametrize("width", [16, 17, 18])
def test_two_frames_beside_each_other_are_both_there(chroma, width):
    form = Format(width, 10, 8, chroma)
    rng = np.random.default_rng(0)
    left, right = (
        Frame(form, tuple(rng.integers(0, 256, s).astype(np.uint8) for s in form.shapes))
        for _ in range(2)
    )
    both = beside(left, right)
    assert both.format == wide(form)
    for plane, shape, one, other in zip(both.planes, both.format.shapes, left.planes, right.planes):
        assert plane.shape == shape
        half = shape[1] // 2
        assert np.array_equal(plane[:, :half], one[:, :half])
        assert np.array_equal(plane[:, half:], other[:, :half])


def test_a_preview_shows_the_input_held_beside_the_result(tmp_path):
    images = [np.full((16, 20, 3), 40 + 20 * k, np.uint8) for k in range(5)]
    video, out = write_video(tmp_path / "in.mkv", images), tmp_path / "out.mkv"
    run(video, out, "--preview", "--model", "average", "--codec", "ffv1", "--lossless")
    clip = open_clip(out)
    assert (clip.format.width, clip.format.height, len(clip)) == (40, 16, 10)
    shown = [frame.rgb() * 255 for frame in clip.read()]
    left = [float(x[:, :, :20].mean()) for x in shown]
    right = [float(x[:, :, 20:].mean()) for x in shown]
    assert left == pytest.approx([40 + 20 * (k // 2) for k in range(10)], abs=0.6)
    assert right == pytest.approx([40 + 10 * min(k, 8) for k in range(10)], abs=0.6)


def test_a_profile_says_where_the_time_went(tmp_path, capsys):
    video = write_video(tmp_path / "in.mkv", pan(2, range(0, 12, 2)))
    run(video, tmp_path / "out.mkv", "--profile", "--model", "average", "--progress", "json")
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = next(e for e in events if e["event"] == "profile")
    stages = found["stages"]
    assert {name: s["frames"] for name, s in stages.items()} == {
        **{"decode": 6, "model": 12, "round": 5, "encode": 12, "join": 12}
    }
    assert all(0 <= s["seconds"] <= found["seconds"] for s in stages.values())
    for name in ("decode", "model", "encode"):  # a thread works or waits
        assert stages[name]["seconds"] + stages[name]["waited"] <= found["seconds"] + 0.05
    assert found["peak_bytes"] > 2**26
    run(video, tmp_path / "again.mkv", "--profile", "--model", "average")
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("encoding ") for line in lines)
    assert any("s in all, most of it" in line and "peak memory" in line for line in lines)


def test_a_profile_knows_what_is_slow():
    profile = Profile()
    profile.add("model", 2.0, 0.5, 10)
    profile.add("decode", 0.5, 2.0, 10)
    assert profile.slowest == "model" and profile.stages["model"].rate == 5.0
    assert profile.stages["encode"].rate == 0.0


def test_options_about_cuts_and_repeats_reach_the_conversion(tmp_path, capsys):
    shots = [*pan(0, range(0, 12, 2), 96, 160), *pan(5, range(0, 12, 2), 96, 160)]
    video = write_video(tmp_path / "in.mkv", [image for image in shots for _ in range(2)])
    exact = ("--model", "average", "--codec", "ffv1", "--lossless")

    def new(*words):
        """Return the frames that are none of the input."""
        out = tmp_path / "out.mkv"
        run(video, out, *exact, *words, "--overwrite")
        given = {frame.rgb().tobytes() for frame in open_clip(video).read()}
        return [k for k, f in enumerate(open_clip(out).read()) if f.rgb().tobytes() not in given]

    held = [k for k in range(46) if k % 4 == 3]
    assert new("--scene-cuts", "off") == held
    assert new() == [k for k in held if k != 23]
    assert new("--cut-threshold", "250") == held
    even = [k for k in range(44) if k % 4 and not 20 <= k < 24]
    assert new("--duplicates", "replace") == [*even]
    run(video, tmp_path / "x.mkv", *exact, "--duplicates", "replace", "--dry-run")
    said = capsys.readouterr().out
    assert "repeated frames are replaced" in said and "shots: found on the way" in said
    for words, message in (
        (("--scene-cuts", "off", "--cut-threshold", "3"), "is for --scene-cuts auto"),
        (("--cut-threshold", "0"), "above 0"),
        (("--scene-cuts", "nowhere.txt"), "no such file; give a list of cuts, auto or off"),
        (("--memory", "lots"), "--memory lots"),
        (("--memory", "2", "--block", "64"), "leave out --memory or --block"),
    ):
        with pytest.raises(UserError, match=message):
            run(video, tmp_path / "y.mkv", *exact, *words)
    assert not (tmp_path / "y.mkv").exists()


def test_little_memory_gives_blocks_and_the_same_frames(tmp_path, capsys, monkeypatch):
    from midframe.launch import memory_need
    from midframe.launch.memory_ways import Need

    monkeypatch.setattr(memory_need, "measured", lambda *_, **__: Need(0, 1e6))
    video = write_video(tmp_path / "in.mkv", pan(2, range(0, 8, 2), 300, 400))
    exact = (video, tmp_path / "out.mkv", "--model", "average", "--codec", "ffv1", "--overwrite")
    run(*exact, "--memory", "100")
    whole = [f.rgb() for f in open_clip(tmp_path / "out.mkv").read()]
    assert "blocks" not in capsys.readouterr().out
    run(*exact, "--memory", "0.3")
    assert "Average works in overlapping blocks of 256 pixels" in capsys.readouterr().out
    blocks = [f.rgb() for f in open_clip(tmp_path / "out.mkv").read()]
    assert all(np.abs(a - b).max() <= 1 / 255 + 1e-6 for a, b in zip(whole, blocks))
