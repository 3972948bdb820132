"""`midframe interpolate INPUT OUTPUT` of video files: times, sound, plans, resuming, processes."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from midframe import cli
from midframe.errors import UserError
from midframe.launch import convert_work, interpolate
from midframe.models.average import Average
from midframe.types import Prediction

FILM = Fraction(24000, 1001)
SIDE = 32
EXACT = ("--codec", "ffv1", "--model", "average")


def run(*args):
    parser = argparse.ArgumentParser()
    interpolate.add_arguments(parser)
    return interpolate.run(parser.parse_args([str(a) for a in args]))


def level(number: int, count: int) -> int:
    return round(40 + 170 * number / max(count - 1, 1))


def film(
    path: Path, count: int = 12, rate: Fraction = FILM, times=None, sound: bool = False, levels=None
):
    """Write gray frames that become lighter, without loss; every pixel of frame k is the same."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=rate)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        unit = Fraction(1, 90_000) if times else 1 / rate
        stream.codec_context.time_base = unit
        tone = out.add_stream("pcm_s16le", rate=8000) if sound else None
        for k in range(count):
            shade = level(k, count) if levels is None else levels[k]
            planes = np.full((SIDE * 3 // 2, SIDE), 128, np.uint8)
            planes[:SIDE] = shade
            frame = av.VideoFrame.from_ndarray(planes, "yuv420p")
            frame.pts, frame.time_base = (times[k] if times else k), unit
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if tone is not None:
            length = round(8000 * count / rate)
            waves = (8000 * np.sin(np.arange(length) / 8)).astype(np.int16)
            block = av.AudioFrame.from_ndarray(waves[None], "s16", "mono")
            block.sample_rate, block.pts = 8000, 0
            out.mux(tone.encode(block))
            out.mux(tone.encode(None))
    return path


def shades(path: Path) -> list[tuple[Fraction, float]]:
    """Read times and mean luma with nothing but PyAV."""
    with av.open(str(path)) as container:
        return [
            (frame.pts * frame.time_base, float(frame.to_ndarray(format="gray").mean()))
            for frame in container.decode(video=0)
        ]


def lumas(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [
            float(np.frombuffer(frame.planes[0], np.uint8)[:SIDE].mean())
            for frame in container.decode(video=0)
        ]


def length(path: Path, kind: str = "video") -> float:
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        ends = [
            (p.pts + (p.duration or 0)) * p.time_base for p in container.demux(stream) if p.size
        ]
        return float(max(ends))


def packets(path: Path) -> list[tuple[str, int | None, bytes]]:
    """All that a file holds, but for what names it."""
    with av.open(str(path)) as container:
        return [(p.stream.type, p.pts, bytes(p)) for p in container.demux()]


@pytest.mark.parametrize("factor", ["2", "5/2", "4"])
def test_frames_are_where_and_what_they_should_be(tmp_path, factor, capsys):
    source, out = film(tmp_path / "in.mkv"), tmp_path / "out.mov"
    assert run(source, out, "--factor", factor, "--model", "average", "--codec", "png") == 0
    f = Fraction(factor)
    found = shades(out)
    assert len(found) == 12 * f
    assert [time for time, _ in found] == [k / (FILM * f) for k in range(len(found))]
    assert length(out) == pytest.approx(12 / FILM, abs=1e-9)
    shown = capsys.readouterr().out
    assert "23.976 (24000/1001) frames a second" in shown
    assert f"{12 * f} frames, " in shown and not list(tmp_path.glob(".*"))


def test_levels_between_are_those_between_and_frames_of_the_input_stay(tmp_path):
    source, out = film(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    run(source, out, "--factor", 4, *EXACT)
    found = lumas(out)
    for k, value in enumerate(found[:45]):
        exact = np.interp(k / 4, range(12), [level(j, 12) for j in range(12)])
        assert abs(value - exact) <= (0 if k % 4 == 0 else 0.51)
    assert set(found[44:]) == {float(level(11, 12))}


def test_another_rate_and_uneven_times(tmp_path):
    times = [0, 3000, 12_000, 13_500, 30_000, 36_000]  # of 90,000 a second
    source = film(tmp_path / "in.mkv", 6, times=times)
    run(source, tmp_path / "out.mkv", "--fps", "60", *EXACT)
    found = shades(tmp_path / "out.mkv")
    assert [round(t, 3) for t, _ in found[:25]] == [round(Fraction(k, 60), 3) for k in range(25)]
    seconds = [t / 90_000 for t in times]
    for (_, _), (k, value) in zip(found, enumerate(lumas(tmp_path / "out.mkv")[:25])):
        assert abs(value - np.interp(k / 60, seconds, [level(j, 6) for j in range(6)])) <= 1.1
    run(source, tmp_path / "double.mkv", *EXACT)  # keeps the uneven timing
    got = [float(t) for t, _ in shades(tmp_path / "double.mkv")]
    exact = [s for a, b in zip(seconds, seconds[1:]) for s in (a, (a + b) / 2)]
    assert got[:10] == pytest.approx(exact, abs=1e-3)


@pytest.mark.parametrize("audio", [None, "stretch"])
def test_slow_motion(tmp_path, audio, capsys):
    source, out = film(tmp_path / "in.mkv", 24, sound=True), tmp_path / "out.mkv"
    run(source, out, "--slow-motion", 2, *EXACT, *(("--audio", audio) if audio else ()))
    found = shades(out)
    assert len(found) == 48 and length(out) == pytest.approx(48 / FILM, abs=0.002)
    with av.open(str(out)) as container:
        assert bool(container.streams.audio) == bool(audio)
        assert container.streams.video[0].guessed_rate == FILM
    if audio:
        assert length(out, "audio") == pytest.approx(48 / FILM, abs=1 / 24)
    run(source, tmp_path / "b.mkv", "--slow-motion", "4", "--fps", "60", *EXACT)
    assert len(shades(tmp_path / "b.mkv")) == pytest.approx(96 / FILM * 60, abs=1)
    with pytest.raises(UserError, match="--audio copy would not be in time"):
        run(source, tmp_path / "c.mkv", "--slow-motion", "4", "--audio", "copy", *EXACT)


def test_sound_stays_as_it_is(tmp_path):
    source, out = film(tmp_path / "in.mkv", 24, sound=True), tmp_path / "out.mkv"
    run(source, out, *EXACT)

    def sound(path):
        return b"".join(data for kind, _, data in packets(path) if kind == "audio")

    assert sound(source) == sound(out)
    assert length(out) == pytest.approx(24 / FILM, abs=0.002)


def test_pictures_in_and_out(tmp_path):
    source = film(tmp_path / "in.mkv", 5)
    run(source, tmp_path / "frames", "--factor", 3, "--model", "average")
    names = sorted(p.name for p in (tmp_path / "frames").iterdir())
    assert len(names) == 15
    run(tmp_path / "frames", tmp_path / "back.mkv", "--input-fps", "30", *EXACT)
    found = shades(tmp_path / "back.mkv")
    assert len(found) == 29  # pictures end with the last one
    assert [round(t, 3) for t, _ in found] == [round(Fraction(k, 60), 3) for k in range(29)]
    with pytest.raises(UserError, match="not empty; .*--overwrite"):
        run(source, tmp_path / "frames", "--model", "average")
    run(
        tmp_path / "frames" / "*.png",
        tmp_path / "few" / "%03d.jpg",
        "--fps",
        "5",
        "--model",
        "average",
    )
    assert len(list((tmp_path / "few").iterdir())) == 3


def test_nothing_is_blended_across_a_cut(tmp_path, capsys):
    levels = [50, 52, 54, 200, 202, 204]
    source = film(tmp_path / "in.mkv", 6, levels=levels)
    (tmp_path / "cuts.txt").write_text("3\n")
    (tmp_path / "seconds.txt").write_text("0.125 # the cut\n")
    run(source, tmp_path / "none.mkv", *EXACT, "--scene-cuts", "off")
    assert 125 < lumas(tmp_path / "none.mkv")[5] < 129
    for name in ("cuts.txt", "seconds.txt"):
        run(source, tmp_path / f"{name}.mkv", *EXACT, "--scene-cuts", tmp_path / name)
        assert lumas(tmp_path / f"{name}.mkv")[4:8] == [54, 54, 200, 201]
    with pytest.raises(UserError, match="--scene-cuts .*no such file"):
        run(source, tmp_path / "a.mkv", *EXACT, "--scene-cuts", tmp_path / "nix")


def test_a_plan_writes_nothing_and_loads_no_weights(tmp_path, capsys):
    source = film(tmp_path / "in.mkv", 24, sound=True)
    before = sorted(tmp_path.rglob("*"))
    args = (source, tmp_path / "new" / "out.mp4", "--dry-run", "--model", "ifrnet_s")
    assert run(*args, "--factor", "5/2") == 0
    shown = capsys.readouterr().out
    for said in (
        "24 frames of 32x32, 8 bit, 420",
        "60 frames at 59.94 (60000/1001) a second, 1.00 s",
        "14 as they are in the input (1 of them the last one, once more), 46 new",
        "beside its video the input has: audio pcm_s16le",
        "MB for pictures",
        "nothing was written",
    ):
        assert said in shown
    assert run(*args, "--progress", "json") == 0
    (plan,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert plan["event"] == "plan" and plan["frames"] == 48 and plan["fps"] == "48000/1001"
    assert sorted(tmp_path.rglob("*")) == before


def test_lines_for_programs(tmp_path, capsys):
    source = film(tmp_path / "in.mkv")
    run(source, tmp_path / "out.mkv", *EXACT, "--progress", "json")
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[0]["event"] == "plan" and events[-1]["event"] == "done"
    progress = [e for e in events if e["event"] == "progress"]
    assert progress[0]["done"] == 0 and progress[-1]["done"] == progress[-1]["total"] == 24
    assert progress[-1]["seconds_left"] == 0 and progress[-1]["fps"] > 0
    with pytest.raises(UserError):
        run(source, tmp_path / "out.mkv", *EXACT, "--progress", "json")
    (error,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert error["event"] == "error" and "--overwrite" in error["message"]
    assert run(source, tmp_path / "b.mkv", *EXACT, "--progress", "none") == 0
    assert "interpolating" not in capsys.readouterr().out


def test_wrong_options_are_told(tmp_path):
    source, out = film(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    before = sorted(tmp_path.rglob("*"))
    for args, said in (
        ((source, out, "--factor", "x"), "--factor x: give"),
        ((source, out, "--factor", "2", "--fps", "60"), "--factor and --fps say how many"),
        ((source, out, "--slow-motion", "1/2"), "--slow-motion 1/2: give"),
        ((source, out, "--times", "2,1"), "must lie between"),
        ((source, out, "--batch", "x", *EXACT), "--batch x: give a whole number"),
        ((source, out, "--devices", "0", *EXACT), "--devices 0: give a whole number"),
        ((source, out, "--size", "8x8"), "--size is for raw video"),
        ((source, source, "--overwrite"), "is the input"),
        ((tmp_path / "nix.mkv", out), "no such file"),
        ((source, out, "--dry-run", "--model", "nix"), "no model 'nix'"),
        ((source,), "alone: give the video to write"),
        ((source, tmp_path / "out.png"), "is one picture"),
        ((source, tmp_path / "o", "--out", tmp_path / "p"), "--out is for pictures"),
        (("a.png", "b.png", "--out", out, "--audio", "drop"), "--audio is for videos"),
        (("a.png", "b.png", "--out", out, "--factor", "5/2"), "a whole number"),
    ):
        with pytest.raises(UserError, match=said):
            run(*args)
        assert sorted(tmp_path.rglob("*")) == before


class Half(Average):
    times = "half"

    def forward(self, x, **hints):
        assert (x.t == 0.5).all()
        return Prediction(super().forward(x).frame)


def test_a_model_of_the_middle_says_what_it_does_to_times(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(interpolate, "_load", lambda args, frames=2: (Half(), torch.device("cpu")))
    source = film(tmp_path / "in.mkv")
    run(source, tmp_path / "two.mkv", *EXACT)
    assert "note: this model knows" not in capsys.readouterr().out
    run(source, tmp_path / "four.mkv", "--factor", "4", *EXACT)
    shown = capsys.readouterr().out
    assert "by bisection" in shown and "64th" not in shown
    run(source, tmp_path / "three.mkv", "--factor", "3", *EXACT)
    assert "taken at the nearest 64th" in capsys.readouterr().out
    for k, value in enumerate(lumas(tmp_path / "three.mkv")[:33]):
        exact = np.interp(k / 3, range(12), [level(j, 12) for j in range(12)])
        assert abs(value - exact) <= 1.1


def test_batches_over_pairs_give_the_same(tmp_path):
    source = film(tmp_path / "in.mkv")
    for batch in ("1", "5"):
        run(source, tmp_path / f"{batch}.mkv", "--factor", "3", "--batch", batch, *EXACT)
    assert lumas(tmp_path / "1.mkv") == lumas(tmp_path / "5.mkv")


def test_an_output_is_replaced_only_when_asked(tmp_path):
    source, out = film(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    run(source, out, *EXACT)
    with pytest.raises(UserError, match="add --overwrite"):
        run(source, out, *EXACT)
    run(source, out, *EXACT, "--factor", "3", "--overwrite")
    assert len(shades(out)) == 36


# ------------------------------------------------------------------ stopped and continued

PARTS = """
import os, signal, sys, torch
from midframe import cli
from midframe.launch import convert_plan, convert_work
convert_plan.part_frames = lambda width, height: 8
stop, kind = int(sys.argv[1]), sys.argv[2]
finished = convert_work.Work.path
from midframe.models.average import Average
calls, forward = 0, Average.forward
def counted(self, x, **hints):
    global calls
    calls += 1
    if calls == stop:
        os.kill(os.getpid(), getattr(signal, kind))
    return forward(self, x, **hints)
Average.forward = counted
code = cli.main(["interpolate", *sys.argv[3:]])
print("calls", calls)
sys.exit(code)
"""


def started(stop, kind, *args):
    command = [sys.executable, "-c", PARTS, str(stop), kind, *map(str, args)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=env)


def calls(result) -> int:
    return int(result.stdout.split("calls ")[1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["SIGKILL", "SIGINT"])
def test_the_same_command_goes_on_and_gives_the_same_file(tmp_path, kind):
    source, out = film(tmp_path / "in.mkv", 40, sound=True), tmp_path / "out.mkv"
    options = ("--factor", "2", *EXACT)
    whole = started(0, "SIGKILL", source, tmp_path / "whole.mkv", *options)
    assert whole.returncode == 0 and calls(whole) == 39
    stopped = started(25, kind, source, out, *options)
    assert stopped.returncode == (-9 if kind == "SIGKILL" else 130)
    folder = convert_work.folder_of(out)
    assert not out.exists() and folder.is_dir()
    done = len(list(folder.glob("*.segment")))
    assert done >= 3
    if kind == "SIGINT":
        assert "same command goes on from there" in stopped.stderr
    again = started(0, kind, source, out, *options)
    assert again.returncode == 0, again.stderr
    assert f"{8 * done} of 80 frames are there" in again.stdout
    assert calls(again) < 39 - 4 * (done - 1)
    assert packets(out) == packets(tmp_path / "whole.mkv")
    assert {p.name for p in tmp_path.iterdir()} == {"in.mkv", "out.mkv", "whole.mkv"}


@pytest.mark.slow
def test_parts_of_other_options_are_set_aside_and_found_again(tmp_path):
    source, out = film(tmp_path / "in.mkv", 40), tmp_path / "out.mkv"
    stopped = started(25, "SIGKILL", source, out, *EXACT)
    assert stopped.returncode == -9
    other = started(0, "SIGKILL", source, out, "--factor", "3", *EXACT)
    assert other.returncode == 0 and "was set aside" in other.stdout and "times" in other.stdout
    assert len(shades(out)) == 120
    aside = list(tmp_path.glob(".out.mkv.midframe-*"))
    assert len(aside) == 1
    first = started(0, "SIGKILL", source, out, *EXACT, "--overwrite")
    assert first.returncode == 0 and "are there from before" in first.stdout
    assert len(shades(out)) == 80 and not list(tmp_path.glob(".*"))
    started(25, "SIGKILL", source, out, *EXACT, "--overwrite")
    assert len(shades(out)) == 80  # until the new one is complete
    anew = started(0, "SIGKILL", source, out, *EXACT, "--overwrite", "--restart")
    assert "from before" not in anew.stdout and calls(anew) == 39
    film(source, 41)  # another input of that name
    started(25, "SIGKILL", source, out, *EXACT, "--overwrite")
    film(source, 42)
    changed = started(0, "SIGKILL", source, out, *EXACT, "--overwrite")
    assert "set aside" in changed.stdout and len(shades(out)) == 84


@pytest.mark.slow
def test_several_processes_give_the_file_of_one(tmp_path, monkeypatch):
    source = film(tmp_path / "in.mkv", 600)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for count in ("1", "2"):
        words = ["interpolate", source, tmp_path / f"{count}.mkv", *EXACT, "--devices", count]
        assert cli.main([str(word) for word in (*words, "--device", "cpu")]) == 0
    assert packets(tmp_path / "1.mkv") == packets(tmp_path / "2.mkv")
    assert {p.name for p in tmp_path.iterdir()} == {"in.mkv", "1.mkv", "2.mkv"}


def test_two_processes_do_not_write_one_output(tmp_path):
    from midframe.launch import locks

    source, out = film(tmp_path / "in.mkv"), tmp_path / "out.mkv"
    folder = convert_work.folder_of(out)
    with locks.take(folder):
        with pytest.raises(UserError, match="being written by another process"):
            run(source, out, *EXACT)
        with pytest.raises(UserError, match="being written by another process"):
            run(source, out, *EXACT, "--restart")
    run(source, out, *EXACT)


MEMORY = """
import resource, sys
from midframe import cli
import threading, time
most, going = 0, True
def watch():
    global most
    page = resource.getpagesize()
    while going:
        pages = int(open("/proc/self/statm").read().split()[1])
        most = max(most, pages * page)
        time.sleep(0.01)
thread = threading.Thread(target=watch)
thread.start()
code = cli.main(["interpolate", *sys.argv[1:]])
going = False
thread.join()
print("peak", most)
sys.exit(code)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(tmp_path):
    peaks = []
    for count in (300, 2000):
        source = film(tmp_path / f"{count}.mkv", count)
        command = [sys.executable, "-c", MEMORY, str(source), str(tmp_path / f"out{count}.mkv")]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [*command, *EXACT], capture_output=True, text=True, timeout=300, env=env
        )
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout.split("peak ")[1]) / 2**20)
    assert len(lumas(tmp_path / "out2000.mkv")) == 4000
    assert peaks[1] < peaks[0] + 40, peaks
