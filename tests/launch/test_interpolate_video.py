"""`midframe interpolate IN.yuv OUT.yuv`: what it writes, keeps and refuses."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from midframe import cli
from midframe.errors import UserError
from midframe.launch import convert_out, interpolate, interpolate_video
from midframe.models.average import Average
from midframe.models.tiles import BLENDS
from midframe.models.timeline import ENDS
from midframe.types import Prediction
from midframe.video.writer import SegmentWriter
from midframe.video.yuv import YuvFormat, YuvFrame, YuvReader, YuvWriter

FORMS = [
    YuvFormat(18, 10),
    YuvFormat(18, 10, 10),
    YuvFormat(17, 9, 16, "420"),
    YuvFormat(18, 10, 8, "444"),
    YuvFormat(17, 9, 12, "422"),
]


class Four(Average):
    """Four frames, the middle only; says which it saw by their mean."""

    context = 2
    times = "half"

    def forward(self, x, **hints):
        return Prediction(x.frames.mean(1, keepdim=True))


@pytest.fixture
def four(monkeypatch):
    given = Four(), torch.device("cpu")
    monkeypatch.setattr(interpolate, "_load", lambda args, frames=2: given)


def _run(*args):
    parser = argparse.ArgumentParser()
    interpolate.add_arguments(parser)
    return interpolate.run(parser.parse_args([str(a) for a in args]))


def _video(path, form, count=5, span=0.1, still=False):
    """Write frames of random colours around grey, which RGB holds."""
    rng = np.random.default_rng(0)
    frames = []
    with YuvWriter(path, form) as writer:
        for _ in range(count):
            if not (still and frames):
                planes = (0.5 + rng.uniform(-span, span, shape) for shape in form.shapes)
                kind = form.dtype.newbyteorder("=")
                y, u, v = (np.rint(plane * form.peak).astype(kind) for plane in planes)
                frames.append(YuvFrame(form, (y, u, v)))
            else:
                frames.append(frames[0])
            writer.write(frames[-1])
    return frames


def _read(path, form):
    with YuvReader(path, form) as reader:
        assert not reader.left_over
        return list(reader)


def _levels(frame):
    return np.concatenate([p.ravel() for p in frame.planes]).astype(float)


def _options(form):
    size = f"{form.width}x{form.height}"
    return ("--size", size, "--depth", form.depth, "--chroma", form.chroma, "--model", "average")


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("times", [("--factor", 3), ("--times", "0.25,1/2")])
def test_frames_of_the_input_stay_and_new_ones_are_rounded(tmp_path, form, times):
    given = _video(tmp_path / "in.yuv", form)
    assert _run(tmp_path / "in.yuv", tmp_path / "out.yuv", *times, *_options(form)) == 0
    found = _read(tmp_path / "out.yuv", form)
    assert len(found) == 13
    assert [f.tobytes() for f in found[::3]] == [f.tobytes() for f in given]
    at = (1 / 3, 2 / 3) if times[0] == "--factor" else (0.25, 0.5)
    for number, (first, second) in enumerate(zip(given, given[1:])):
        for k, t in enumerate(at):
            exact = (1 - t) * _levels(first) + t * _levels(second)
            assert np.abs(_levels(found[3 * number + k + 1]) - exact).max() <= 0.51


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("more", [(), ("--matrix", "bt2020", "--range", "full"), ("--block", 8)])
def test_a_still_video_stays_still_to_the_bit(tmp_path, form, more):
    (first, *_) = _video(tmp_path / "in.yuv", form, 3, span=0.5, still=True)  # beyond RGB as well
    _run(tmp_path / "in.yuv", tmp_path / "out.yuv", *_options(form), *more)
    found = _read(tmp_path / "out.yuv", form)
    assert len(found) == 5 and {f.tobytes() for f in found} == {first.tobytes()}


@pytest.mark.parametrize("matrix", ["bt709", "published"])
def test_what_is_still_stays_beside_what_moves(tmp_path, matrix):
    form = YuvFormat(16, 8, 10)
    with YuvWriter(tmp_path / "in.yuv", form) as writer:
        rng = np.random.default_rng(0)
        y, u, v = (rng.integers(0, 1024, s).astype(np.uint16) for s in form.shapes)
        for shift in range(3):
            y = y.copy()
            y[:, 8:] = 300 + 50 * shift
            writer.write(YuvFrame(form, (y, u, v)))
    _run(tmp_path / "in.yuv", tmp_path / "out.yuv", *_options(form), "--matrix", matrix)
    found = _read(tmp_path / "out.yuv", form)
    for frame in found:  # whiter than white, and bits beyond 8, included
        assert np.array_equal(frame.planes[0][:, :8], y[:, :8])
        assert np.array_equal(frame.planes[1][:, :4], u[:, :4])


def test_a_model_of_four_frames(tmp_path, four, capsys):
    form = FORMS[1]
    source, out = tmp_path / "in_18x10_30fps_10bit.yuv", tmp_path / "out.yuv"
    given = [_levels(f) for f in _video(source, form)]
    _run(source, out)
    found = [_levels(f) for f in _read(out, form)]
    assert len(found) == 9
    for gap in range(4):
        around = [given[min(max(gap + i, 0), 4)] for i in (-1, 0, 1, 2)]
        assert np.abs(found[2 * gap + 1] - np.mean(around, 0)).max() <= 0.51
    shown = capsys.readouterr().out
    assert "5 frames of 18x10, 10 bit, 420, bt601 limited, 30 frames a second" in shown
    assert "9 frames, 4 of them at times between" in shown
    assert f"-pixel_format yuv420p10le -video_size 18x10 -framerate 60 {out}" in shown

    _run(source, out, "--ends", "repeat", "--overwrite")
    published = [_levels(f) for f in _read(out, form)]
    assert np.array_equal(published[3], found[3]) and np.array_equal(published[5], found[5])

    _run(source, out, "--factor", 4, "--overwrite")
    assert len(_read(out, form)) == 17
    assert "by bisection" in capsys.readouterr().out
    _run(source, tmp_path / "third.yuv", "--factor", 3)
    assert "taken at the nearest 64th" in capsys.readouterr().out
    assert len(_read(tmp_path / "third.yuv", form)) == 13


def test_repeated_frames_are_those_of_the_input_to_the_bit(tmp_path, four):
    form = FORMS[1]
    given = _video(tmp_path / "in_18x10_10bit.yuv", form, span=0.5)  # beyond RGB as well
    _run(tmp_path / "in_18x10_10bit.yuv", tmp_path / "out.yuv", "--ends", "repeat")
    found = _read(tmp_path / "out.yuv", form)
    places = (0, 0, 1, None, 2, None, 3, 4, 4)  # as published
    for frame, number in zip(found, places):
        assert number is None or frame.tobytes() == given[number].tobytes()


def test_few_frames(tmp_path, four, capsys):
    form = YuvFormat(8, 8)
    path, out = tmp_path / "in_8x8.yuv", tmp_path / "out.yuv"
    _video(path, form, 3)
    _run(path, out)
    assert "3 frames for a model that reads 4: the outer ones" in capsys.readouterr().out
    assert len(_read(out, form)) == 5
    with pytest.raises(UserError, match="3 frames; with its ends repeated"):
        _run(path, tmp_path / "b.yuv", "--ends", "repeat")
    assert {p.name for p in tmp_path.iterdir()} == {"in_8x8.yuv", "out.yuv"}
    (one,) = _video(path, form, 1)
    _run(path, tmp_path / "b.yuv")
    assert "one frame" in capsys.readouterr().out
    assert [f.tobytes() for f in _read(tmp_path / "b.yuv", form)] == [one.tobytes()]


def test_bytes_behind_the_last_frame_are_told(tmp_path, capsys):
    path = tmp_path / "in_8x8.yuv"
    _video(path, YuvFormat(8, 8), 2)
    path.write_bytes(path.read_bytes() + bytes(7))
    _run(path, tmp_path / "out.yuv", "--model", "average")
    shown = capsys.readouterr().out
    assert "note: 7 bytes behind the last whole frame" in shown and "-framerate" not in shown
    assert len(_read(tmp_path / "out.yuv", YuvFormat(8, 8))) == 3


def test_blocks_give_what_the_whole_frame_gives(tmp_path):
    form = YuvFormat(40, 30)
    _video(tmp_path / "in.yuv", form, 3)
    options = _options(form)
    _run(tmp_path / "in.yuv", tmp_path / "a.yuv", *options)
    _run(tmp_path / "in.yuv", tmp_path / "b.yuv", *options, "--block", 16, "--overlap", 4)
    _run(tmp_path / "in.yuv", tmp_path / "c.yuv", *options, "--block", 16, "--blend", "published")
    for name in ("b.yuv", "c.yuv"):
        pairs = zip(_read(tmp_path / "a.yuv", form), _read(tmp_path / name, form))
        assert max(np.abs(_levels(a) - _levels(b)).max() for a, b in pairs) <= 1


def test_bad_input_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    path = tmp_path / "in_8x8.yuv"
    _video(path, YuvFormat(8, 8), 2)
    (tmp_path / "in.yuv").write_bytes(path.read_bytes())
    (tmp_path / "folder.yuv").mkdir()
    before = sorted(tmp_path.rglob("*"))
    out = tmp_path / "o.yuv"
    for args, said in (
        ((tmp_path / "nix.yuv", out), "no such file"),
        ((tmp_path / "in.yuv", out), "--size WxH"),
        ((path, out, "--size", "8"), "--size 8: give WIDTHxHEIGHT"),
        ((path, out, "--size", "800x800"), "less than one frame of 800x800"),
        ((path, tmp_path / "o.xyz"), "not a kind of video that is written"),
        ((path, tmp_path / "o_10bit.yuv"), "the depth in this name"),
        ((path, path, "--overwrite"), "is the input"),
        ((path, tmp_path / "in.yuv"), "add --overwrite"),
        ((path, tmp_path / "folder.yuv"), "is a folder"),
        ((path, out, "--out", tmp_path / "d"), "--out is for pictures"),
        ((path, out, "--overlap", 4), "--overlap is of blocks: give --block"),
        ((path, out, "--blend", "mean"), "--blend is of blocks: give --block"),
        ((path, out, "--block", 8, "--overlap", 5, "--model", "average"), "from 0 to 4"),
        ((path, out, "--matrix", "published", "--range", "full"), "leave out --range"),
        ((path, out, "--factor", 1), "factor 1: give"),
        ((path, out, "--model", "nix"), "no model 'nix'"),
        ((tmp_path / "a.mp4", out), "no such"),
        ((tmp_path / "a.png", tmp_path / "b.png"), "--out DIR"),
        ((tmp_path / "a.png", tmp_path / "b.png", "--out", out, "--depth", 8), "--depth is for"),
    ):
        with pytest.raises(UserError, match=said):
            _run(*args)
        assert sorted(tmp_path.rglob("*")) == before
    free = argparse.Namespace(free=2 * 3 * 96 - 1)  # its parts are there beside it at the end
    monkeypatch.setattr(convert_out.shutil, "disk_usage", lambda path: free)
    with pytest.raises(UserError, match="GB free in"):
        _run(path, out, "--model", "average")
    free.free += 1
    assert _run(path, out, "--model", "average") == 0


SLOW = """
import signal, sys, torch
from midframe import cli
from midframe.launch import interpolate
from midframe.models.average import Average

class Stops(Average):
    calls = 0
    def forward(self, x, **hints):
        Stops.calls += 1
        if Stops.calls == 3:
            print("here", flush=True)
            signal.pause()
        return super().forward(x)

interpolate._load = lambda args, frames=2: (Stops(), torch.device("cpu"))
sys.exit(cli.main(["interpolate", *sys.argv[1:]]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_leaves_what_was_there(tmp_path, monkeypatch, capsys):
    class Stopped(Average):
        calls = 0

        def forward(self, x, **hints):
            Stopped.calls += 1
            if Stopped.calls == 3:
                signal.raise_signal(signal.SIGINT)
            return super().forward(x)

    given = Stopped(), torch.device("cpu")
    monkeypatch.setattr(interpolate, "_load", lambda args, frames=2: given)
    path, out = tmp_path / "in_8x8.yuv", tmp_path / "out.yuv"
    _video(path, YuvFormat(8, 8))
    out.write_bytes(b"as it was")
    assert cli.main(["interpolate", str(path), str(out), "--overwrite"]) == 130
    assert f"interrupted; {out} was not written" in capsys.readouterr().err
    assert out.read_bytes() == b"as it was" and Stopped.calls == 3
    assert {p.name for p in tmp_path.iterdir()} == {"in_8x8.yuv", "out.yuv"}


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGKILL])
def test_nothing_half_written_has_the_final_name(tmp_path, kind):
    form, path, out = YuvFormat(8, 8), tmp_path / "in_8x8.yuv", tmp_path / "out.yuv"
    _video(path, form)
    out.write_bytes(b"as it was")
    command = [sys.executable, "-c", SLOW, str(path), str(out), "--overwrite"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        lines = iter(process.stdout.readline, "")
        assert any(line == "here\n" for line in lines)
        process.send_signal(kind)
        _, error = process.communicate(timeout=60)
    assert out.read_bytes() == b"as it was"
    left = {p.name for p in tmp_path.iterdir()} - {"in_8x8.yuv", "out.yuv"}
    if kind == signal.SIGINT:
        assert process.returncode == 130 and f"interrupted; {out} was not written" in error
        assert not left
    assert left <= {".out.yuv.midframe"}
    words = ["interpolate", str(path), str(out), "--overwrite", "--model", "average"]
    assert cli.main(words) == 0
    assert {p.name for p in tmp_path.iterdir()} == {"in_8x8.yuv", "out.yuv"}
    assert len(_read(out, form)) == 9


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    path, out = tmp_path / "in_8x8.yuv", tmp_path / "out.yuv"
    _video(path, YuvFormat(8, 8), 2)

    def full(self, frame, pts):
        raise self._failed(OSError(28, "No space left on device"))

    monkeypatch.setattr(SegmentWriter, "write", full)
    with pytest.raises(UserError, match="cannot write .*out.yuv.*: No space left"):
        _run(path, out, "--model", "average")
    assert [p.name for p in tmp_path.iterdir()] == ["in_8x8.yuv"]


def test_choices_of_options_are_those_of_the_classes():
    assert interpolate_video._ENDS == ENDS
    assert interpolate._BLENDS == BLENDS
