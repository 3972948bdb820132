"""ffmpeg's filter as it is called and judged; the program itself is stood in for."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from footage import pan, write_video

from midframe.errors import UserError
from midframe.launch import minterpolate
from midframe.launch.convert_compare import CAP, Comparison
from midframe.video.clip import open_clip
from midframe.video.halved import Halved, OddFrames
from midframe.video.pipeline import Cuts


@pytest.fixture
def program(monkeypatch):
    """What the program was called with, and what it answers: text, an error, or a call."""
    found = SimpleNamespace(words=[], answer="", there="/usr/bin/ffmpeg")

    def run(command, **options):
        found.words.append(command)
        if isinstance(found.answer, Exception):
            raise found.answer
        if callable(found.answer):
            found.answer(Path(command[-1]))
        return SimpleNamespace(stdout=found.answer)

    monkeypatch.setattr("subprocess.run", run)
    monkeypatch.setattr("shutil.which", lambda name: found.there)
    minterpolate.version.cache_clear()
    yield found
    minterpolate.version.cache_clear()


@pytest.mark.parametrize(
    ("there", "answer", "said"),
    [
        ("/bin/ffmpeg", "ffmpeg version 5.1.6-0+deb12u1 Copyright (c)", "ffmpeg 5.1.6-0+deb12u1"),
        ("/bin/ffmpeg", "what", None),
        ("/bin/ffmpeg", OSError("no permission"), None),
        ("/bin/ffmpeg", subprocess.CalledProcessError(1, "ffmpeg"), None),
        (None, "ffmpeg version 5.1", None),
    ],
)
def test_a_program_says_what_it_is_or_counts_as_none(program, there, answer, said):
    program.there, program.answer = there, answer
    assert minterpolate.version() == said
    assert bool(program.words) == (there is not None)


@pytest.fixture
def clip(tmp_path):
    frames = pan(3, range(0, 18, 2), 32, 48)
    return open_clip(write_video(tmp_path / "in.mkv", frames))


def task(clip, cuts=None):
    halved = Halved(clip, clip.format, len(clip), cuts)
    return Comparison(halved, OddFrames(list(clip.times)), "interpolate")


def test_twice_the_frames_are_asked_for_exactly(program, clip):
    minterpolate.twice(clip.path, clip, Path("out.mp4"))
    (words,) = program.words
    assert words[words.index("-vf") + 1] == "minterpolate=fps=50"
    assert words[words.index("-i") + 1] == str(clip.path) and words[-1] == "out.mp4"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (subprocess.CalledProcessError(1, "x", stderr="first\nno such filter\n"), "no such filter"),
        (OSError("no permission"), "no permission"),
    ],
)
def test_why_the_program_failed_is_told(program, clip, error, said):
    program.answer = error
    with pytest.raises(UserError, match=f"^ffmpeg failed: {said}$"):
        minterpolate.twice(clip.path, clip, Path("out.mp4"))


def test_its_frames_are_held_against_those_of_the_same_times(program, clip, tmp_path):
    """Given the clip itself every frame is met; the last ones may lack, as the filter has it."""
    images = [np.rint(frame.rgb().transpose(1, 2, 0) * 255) for frame in clip.read()]

    def made(count):
        def write(path):
            write_video(path, [image.astype(np.uint8) for image in images[:count]])

        return write

    for count, wanted in ((9, [1, 3, 5, 7]), (7, [1, 3, 5])):
        program.answer = made(count)
        rows = minterpolate.quality(clip, task(clip), tmp_path / "out.nut")
        assert [row.frame for row in rows] == wanted and {row.psnr for row in rows} == {CAP}
        assert [Fraction(row.seconds).limit_denominator(99) for row in rows] == [
            Fraction(frame, 25) for frame in wanted
        ]
    assert "mod(n,2)" in program.words[0][program.words[0].index("-vf") + 1]
    rows = minterpolate.quality(clip, task(clip, Cuts([4])), tmp_path / "out.nut")
    assert [row.frame for row in rows] == [1, 5]  # beside a cut there is nothing to be met
    program.answer = made(2)
    with pytest.raises(UserError, match="minterpolate gave 1 of 4 frames"):
        minterpolate.quality(clip, task(clip), tmp_path / "out.nut")


def test_a_measurement_has_the_filter_beside_the_model_where_it_is_there(
    program, clip, tmp_path, monkeypatch
):
    """Only frames that all of them made are counted, so that means are of the same ones."""
    from midframe.launch import video_speed

    images = pan(3, range(0, 18, 2), 32, 48)
    program.answer = "ffmpeg version 5.1 Copyright"
    assert minterpolate.version() == "ffmpeg 5.1"
    calls = []
    program.answer = lambda path: calls.append(write_video(path, images[:6]))
    monkeypatch.setattr("midframe.launch.memory_need.room", lambda *_: None)
    found = video_speed.bench(clip.path, "average", None, 1, "cpu")
    assert {path.suffix for path in calls} == {".mp4", ".nut"}
    assert set(found["fps"]) == {"bare loop", "end to end", "minterpolate"}
    assert found["of_ffmpeg"] > 0 and found["compared"] == 3
    assert found["psnr"]["minterpolate"] == CAP
    for name in ("psnr", "ssim"):  # the model here is the average
        assert found[name]["model"] == pytest.approx(found[name]["average"], abs=1e-4)
