"""What a conversion says where something rare happens: memory, cuts off, chapters, odd places."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from footage import pan, write_video
from reels import Reel

from midframe.errors import UserError
from midframe.launch import convert, convert_team, interpolate
from midframe.launch.convert_compare import Comparison, Judge
from midframe.launch.convert_memory import settle
from midframe.launch.convert_report import Report
from midframe.launch.convert_team import Helpers
from midframe.launch.convert_work import Work
from midframe.launch.memory_ways import Fitting, ladder
from midframe.models.average import Average
from midframe.video.clip import open_clip
from midframe.video.halved import Halved, OddFrames
from midframe.video.timing import Part
from midframe.video.yuv import YuvFormat, YuvFrame, YuvWriter

FORM = YuvFormat(8, 6)
RAW = ("--size", "8x6", "--model", "average")


def run(*args: object) -> int:
    parser = argparse.ArgumentParser()
    interpolate.add_arguments(parser)
    return interpolate.run(parser.parse_args([str(a) for a in args]))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Five frames of raw video."""
    with YuvWriter(tmp_path / "in.yuv", FORM) as out:
        for level in range(0, 250, 50):
            planes = tuple(np.full(shape, level, np.uint8) for shape in FORM.shapes)
            out.write(YuvFrame(FORM, planes))
    return tmp_path / "in.yuv"


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory.")])
def test_too_little_memory_says_what_helps(raw, tmp_path, monkeypatch, error):
    def fails(*args, **options):
        raise error

    monkeypatch.setattr(convert, "convert", fails)
    with pytest.raises(UserError, match="memory of cpu does not suffice for frames of 8x6; give"):
        run(raw, tmp_path / "out.yuv", *RAW)
    assert list(tmp_path.iterdir()) == [raw]
    error = RuntimeError("something else")
    with pytest.raises(RuntimeError, match="something else"):
        run(raw, tmp_path / "out.yuv", *RAW)


def test_parts_that_somebody_took_away_are_missed_and_not_left_out(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(convert, "convert", lambda *args, **options: None)
    with pytest.raises(UserError, match="parts of it are missing; start the command again"):
        run(raw, tmp_path / "out.yuv", *RAW)
    assert not (tmp_path / "out.yuv").exists()


class Heavy(Average):
    """Has no room for more than 100 000 pixels."""

    def forward(self, x, **hints):
        if x.frames.shape[-1] * x.frames.shape[-2] > 100_000:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().forward(x, **hints)


def test_a_model_whose_memory_runs_out_goes_on_in_blocks_and_remembers_it(
    tmp_path, monkeypatch, capsys
):
    video = write_video(tmp_path / "in.mkv", pan(2, (0, 2), 300, 400))
    monkeypatch.setattr(interpolate, "_load", lambda *_, **__: (Heavy(), torch.device("cpu")))
    run(video, tmp_path / "out.mkv", "--codec", "ffv1", "--model", "average")
    assert "note: memory did not suffice: Heavy goes on in overlap" in capsys.readouterr().out
    first, between, second = (f.rgb() for f in open_clip(tmp_path / "out.mkv").read(0, 3))
    assert np.abs(between - (first + second) / 2).max() <= 1 / 255 + 1e-6


def test_parts_are_made_as_those_before_them_were(tmp_path):
    """Only of the same choices, and never with less memory spared."""

    def fitting() -> Fitting:
        model = Average()
        return Fitting(model, ladder(model, 2000, 3000), changed=lambda one: None)

    before = fitting()
    before.at = 1
    settle(before, tmp_path)
    assert len(before.ways) > 2
    after = fitting()
    settle(after, tmp_path)
    assert after.at == 1
    after.at = 2
    after.changed(after)  # as when its memory runs out
    again = fitting()
    settle(again, tmp_path)
    assert again.at == 2
    found = json.loads((tmp_path / "way.json").read_text())
    for broken in ({**found, "ways": ["another"]}, {"at": 1}, [], {**found, "at": "many"}):
        (tmp_path / "way.json").write_text(json.dumps(broken))
        other = fitting()
        settle(other, tmp_path)
        assert other.at == 0
    settle(Average(), tmp_path)  # one that works in blocks anyway


def test_parts_by_other_weights_are_not_gone_on_with():
    """What a model holds beside its weights is no number that could differ by a bit."""

    class Layer(Average):
        def __init__(self, value: float) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.full((3,), value))

        def get_extra_state(self):
            return {"note": "as built"}

        def set_extra_state(self, state):
            pass

    job = argparse.Namespace(identity=lambda: {"input": "a"})
    keys = ("engine", "precision", "block", "overlap", "blend", "memory")
    args = argparse.Namespace(**dict.fromkeys(keys))
    one, same, other = (
        convert._identity(job, Layer(value), {}, args) for value in (1.0, 1.0, 1.0 + 2**-23)
    )
    assert one == same and one["weights"] != other["weights"]
    assert {**one, "weights": 0} == {**other, "weights": 0}


def test_frames_of_other_processes_count_by_whole_parts():
    parts = [Part(n, n, n + 1, 10 * n, 10 * n + 10) for n in range(4)]
    done, counted = [parts[0]], []
    work = argparse.Namespace(done=lambda: done)
    answers = iter((None, 0))

    def poll():
        done.append(parts[3])  # by the other one
        return next(answers)

    helpers = Helpers([argparse.Namespace(poll=poll)])
    counter = argparse.Namespace(advance=lambda count=1: counted.append(count))
    count = convert._Count(work, counter, helpers)
    for part in count.own(iter(parts[1:3])):
        count.written()
        done.append(part)
    count.rest()
    assert counted == [1, 1, 10]  # those from before are known, its own were counted one by one
    helpers = Helpers([argparse.Namespace(poll=lambda: 0), argparse.Namespace(poll=lambda: 3)])
    with pytest.raises(UserError, match="process 2 has ended with code 3, see above; the same com"):
        helpers.check()


@pytest.mark.parametrize("told", [None, "7"])
def test_processes_share_the_cores_unless_somebody_said_how_many_threads(
    tmp_path, monkeypatch, told
):
    started, ended = [], []

    def start(command, env, **options):
        started.append((command[-2:], env["OMP_NUM_THREADS"]))
        return len(started)

    monkeypatch.setattr("subprocess.Popen", start)
    monkeypatch.setattr("midframe.launch.tied.end", ended.append)
    monkeypatch.setattr(convert_team, "usable_cores", lambda: 9)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if told:
        monkeypatch.setenv("OMP_NUM_THREADS", told)
    before = torch.get_num_threads()
    with (
        pytest.raises(RuntimeError, match="stop"),
        convert_team.helped(3, tmp_path, argparse.Namespace(input=Path("a.mkv"))) as helpers,
    ):
        assert list(helpers.children) == [1, 2]
        assert torch.get_num_threads() == (before if told else 3)
        raise RuntimeError("stop")
    assert ended == [1, 2] and torch.get_num_threads() == before
    assert started == [([str(tmp_path), str(rank)], told or "3") for rank in (1, 2)]
    assert json.loads((tmp_path / "arguments.json").read_text()) == {"input": "a.mkv"}


def test_an_engine_that_is_not_there_is_told_by_a_plan_as_well(tmp_path, raw):
    for words in (("--engine", tmp_path / "none.onnx"), ("--memory", "auto", "--engine", "x.pt2")):
        with pytest.raises(UserError, match="there is no engine .*; `midframe export` makes one"):
            run(raw, tmp_path / "out.yuv", "--size", "8x6", "--dry-run", *words)


def test_a_clip_that_ends_too_soon_is_not_compared(tmp_path):
    reel = Reel(pan(0, range(5), 16, 16))
    times = [Fraction(n, 25) for n in range(9)]
    halved = Halved(reel, reel.format, 9, None)
    judge = Judge(reel, halved, OddFrames(times))
    for number in (1, 3):
        judge.write(reel.frames[number], times[number])
    with pytest.raises(UserError, match="the video ends before frame 6; it was cut off"):
        judge.write(reel.frames[4], times[5])
    assert [row.psnr for row in judge.rows] == [100, 100]
    assert Comparison(halved, OddFrames(times), "interpolate").spacings == {2}


def test_what_stands_in_the_way_of_a_comparison_is_told(raw, tmp_path, capsys):
    with pytest.raises(UserError, match="frames of 8x6 are too small to be compared"):
        run(raw, "--compare", *RAW)
    reel = pan(0, range(0, 10, 2), 16, 16)
    video = write_video(tmp_path / "in.mkv", reel)
    (tmp_path / "file").touch()
    for out, said in (
        ("file", "file is a file; with --compare, give a folder"),
        ("file/deeper", "cannot write into .*file/deeper: Not a directory"),
    ):
        with pytest.raises(UserError, match=said):
            run(video, tmp_path / out, "--compare", "--model", "average")
    data = write_video(tmp_path / "in.avi", reel).read_bytes()
    (tmp_path / "cut.avi").write_bytes(data[: len(data) * 9 // 10])
    capsys.readouterr()
    run(tmp_path / "cut.avi", "--compare", "--model", "average")
    assert "note: the file is cut short" in capsys.readouterr().out


def test_nothing_is_written_below_a_file(raw, tmp_path):
    (tmp_path / "file").touch(0o700)
    for out in ("file/out.yuv", "file/deeper/out.yuv"):
        with pytest.raises(UserError, match=f"nothing can be written in {tmp_path}/file"):
            run(raw, tmp_path / out, *RAW)
    with pytest.raises(UserError, match="cannot write beside .*: Not a directory"):
        Work(tmp_path / "file/deeper/out.yuv", {}, [], ".segment").__enter__()
    run(raw, tmp_path / "new/folder/%02d.png", *RAW)
    assert len(list((tmp_path / "new/folder").iterdir())) == 9


def chaptered(path: Path) -> Path:
    """Write a film of twelve frames and two chapters."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
        one = {"time_base": Fraction(1, 1000), "metadata": {}}
        out.set_chapters(
            [{"id": 1, "start": 0, "end": 200, **one}, {"id": 2, "start": 200, "end": 480, **one}]
        )
        for number in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((24, 16), 9 * number, np.uint8), "yuv420p")
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("cuts", "said"),
    [
        ("off", None),
        ("auto", "shots: found on the way"),
        ("0\n4\n7\n", "shots: 3; nothing is predicted across their cuts"),
    ],
)
def test_a_plan_tells_of_chapters_and_of_cuts(tmp_path, capsys, cuts, said):
    video = chaptered(tmp_path / "in.mkv")
    if said and "3" in said:
        (tmp_path / "cuts.txt").write_text(cuts)
        cuts = tmp_path / "cuts.txt"
    run(video, tmp_path / "out.mkv", "--model", "average", "--scene-cuts", cuts, "--dry-run")
    out = capsys.readouterr().out
    assert "beside its video the input has: 2 chapters" in out
    assert (said in out) if said else ("shots" not in out)


def test_a_list_of_cuts_that_is_no_text_is_told(raw, tmp_path):
    (tmp_path / "cuts").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="--scene-cuts .*cuts: cannot be read as text"):
        run(raw, tmp_path / "out.yuv", *RAW, "--scene-cuts", tmp_path / "cuts")


@pytest.mark.parametrize("gone", [False, True])
def test_programs_learn_that_somebody_has_stopped_it(monkeypatch, gone):
    """And where they do not listen any more, what is said stays what has happened."""

    class Pipe(io.StringIO):
        def flush(self) -> None:
            if gone:
                raise BrokenPipeError

    out = Pipe()
    monkeypatch.setattr("sys.stdout", out)
    report = Report("json")
    with pytest.raises(KeyboardInterrupt, match="not written yet"), report.telling():
        raise KeyboardInterrupt("out.mkv is not written yet")
    event = json.loads(out.getvalue())
    assert event == {"event": "interrupted", "message": "out.mkv is not written yet"}


def pictures(folder: Path, width: int = 32) -> Iterator[Path]:
    from midframe.data.io import write_image

    for name, image in zip("ab", pan(3, (0, 2), 8, width)):
        write_image(folder / f"{name}.png", image)
        yield folder / f"{name}.png"


class Middle(Average):
    times = "half"


def test_pictures_between_two_and_what_a_model_of_the_middle_does_to_times(
    tmp_path, monkeypatch, capsys
):
    pair = list(pictures(tmp_path))
    out = ("--out", tmp_path / "out", "--overwrite")
    with pytest.raises(UserError, match="--factor and --times say the same"):
        run(*pair, *out, "--factor", "2", "--times", "0.5")
    monkeypatch.setattr(interpolate, "_load", lambda *_, **__: (Middle(), torch.device("cpu")))
    monkeypatch.setattr(interpolate, "_write", lambda *_: None)
    notes = []
    for factor in (2, 4, 3):
        run(*pair, *out, "--factor", factor)
        notes.append(capsys.readouterr().out.count("note: "))
    assert notes == [0, 1, 2]  # nothing to halve again, halves of halves, and thirds: rounded


def test_the_animation_of_wide_pictures_is_small():
    wide = np.repeat(np.arange(0, 256, dtype=np.uint8)[None, :, None], 5, 1)[..., [0, 0, 0]]
    assert wide.shape == (1, 1280, 3)
    small = interpolate._for_gif(np.repeat(wide, 30, 0))
    assert small.shape == (15, 640, 3) and np.abs(np.diff(small[0, :, 0].astype(int))).max() <= 1
    assert interpolate._for_gif(small) is small
    assert interpolate._for_gif(wide).shape == (1, 640, 3)  # half a line


def test_a_model_that_needs_more_than_pictures_is_told(tmp_path):
    with pytest.raises(UserError, match="model event needs events beside the frames; give a rec"):
        run(*pictures(tmp_path), "--out", tmp_path / "out", "--model", "event")
    with pytest.raises(UserError, match="reads 4 frames, here are only 2"):
        run(*pictures(tmp_path), "--out", tmp_path / "out", "--model", "stmfnet_mini")
