"""`midframe bench video`: what is measured against what, and the table."""

from __future__ import annotations

import json
from fractions import Fraction

import av
import pytest
from footage import pan

from midframe import cli
from midframe.errors import UserError
from midframe.launch import bench_video, minterpolate, video_speed
from midframe.launch.convert_compare import Comparison
from midframe.video.beginning import beginning
from midframe.video.clip import open_clip
from midframe.video.halved import Halved, OddFrames

ROW = {
    "video": "a.mp4",
    "size": "64x48",
    "frames": 12,
    "model": "dis",
    "trained": True,
    "fps": {"bare loop": 10.0, "end to end": 9.5, "minterpolate": 5.0},
    "of_bare": 0.95,
    "of_bare_cpu": 0.93,
    "psnr": {"model": 30.123, "average": 25.0, "minterpolate": 28.0},
}


def clip(path, count=9):
    """Write a pan of two pixels a frame in yuv420p, 25 a second."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": "8"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for image in pan(3, range(0, 2 * count, 2), 64, 96):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode())
    return path


@pytest.fixture
def without_ffmpeg(monkeypatch):
    monkeypatch.setattr(minterpolate, "version", lambda: None)


def test_a_conversion_is_held_against_the_bare_model(tmp_path, without_ffmpeg, capsys):
    out = tmp_path / "page.md"
    out.write_text("before\n\n<!-- bench video -->\nold\n<!-- end of bench video -->\n\nbehind\n")
    words = [str(clip(tmp_path / "a.mp4")), "--model", "average", "--rounds", "1"]
    assert cli.main(["bench", "video", *words, "--table", str(out)]) == 0
    found = json.loads(capsys.readouterr().out.split("wrote")[0])
    (row,) = found["rows"]
    assert row["frames"] == 9 and row["compared"] == 4 and row["trained"]
    assert set(row["fps"]) == {"bare loop", "end to end"}
    share = row["fps"]["end to end"] / row["fps"]["bare loop"]
    assert row["of_bare"] == pytest.approx(share, abs=2e-3)
    assert row["psnr"]["model"] == row["psnr"]["average"]
    assert found["load_before"] >= 0 and found["ffmpeg"] is None
    text = out.read_text()
    assert text.startswith("before\n") and text.endswith("behind\n") and "old" not in text
    assert "| a.mp4, 96x64, 9 frames | average |" in text and "ffmpeg was not there" in text


def test_models_without_weights_are_told_before_anything_is_measured(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(video_speed, "bench", lambda *args: pytest.fail("it was measured"))
    words = [str(tmp_path / "a.mp4"), "--model", "average", "ifrnet_s"]
    assert cli.main(["bench", "video", *words]) == 2
    assert "model ifrnet_s needs trained weights" in capsys.readouterr().err


def test_clips_that_do_not_fit_are_refused(tmp_path, without_ffmpeg):
    with pytest.raises(UserError, match="2 frames .*give 3 to"):
        video_speed.bench(clip(tmp_path / "a.mp4", 2), "average", None, 1)


@pytest.mark.parametrize("frames", [4, 7, 20])
def test_the_beginning_of_a_clip_leaves_no_gap(tmp_path, frames):
    """Frames are not stored in the order that they are shown in."""
    whole = open_clip(clip(tmp_path / "a.mp4", 12))
    part = open_clip(beginning(whole.path, frames, tmp_path))
    count = len(part)
    assert min(frames, 12) - 3 <= count <= min(frames, 12)
    assert list(part.times) == list(whole.times[:count])
    assert all(a.same_as(b) for a, b in zip(part.read(), whole.read()))


def test_the_table_says_what_is_known():
    found = {"environment": {"processor": "X"}, "load_before": 1, "load_after": 9, "rounds": 3}
    other = {**ROW, "trained": False, "fps": {"bare loop": 2.0, "end to end": 1.9}}
    text = bench_video.markdown(
        {**found, "threads": 2, "ffmpeg": "ffmpeg 5.1", "rows": [ROW, other]}
    )
    lines = text.splitlines()
    cells = ["a.mp4, 64x48, 12 frames", "dis", "10.00", "9.50", "95 %", "93 %", "5.00"]
    assert lines[2] == f"| {' | '.join([*cells, '30.12', '25.00', '28.00'])} |"
    assert "dis (untrained)" in lines[3] and "| 95 % | 93 % |  |  | 25.00 |" in lines[3]
    assert "it was busy" in lines[-1] and "ffmpeg 5.1" in lines[-1]


def test_the_filter_is_judged_by_the_same_frames(tmp_path):
    if minterpolate.version() is None:
        pytest.skip("there is no ffmpeg program here")
    video = open_clip(clip(tmp_path / "a.mp4", 13))
    halved = Halved(video, video.format, len(video), None)
    task = Comparison(halved, OddFrames(list(video.times)), "interpolate")
    rows = minterpolate.quality(video, task, tmp_path / "half.nut")
    assert 3 <= len(rows) <= 6 and [row.frame for row in rows] == [
        2 * k + 1 for k in range(len(rows))
    ]
    assert all(row.psnr > row.average_psnr - 3 and row.psnr > 20 for row in rows)
    minterpolate.twice(video.path, video, tmp_path / "twice.mp4")
    assert open_clip(tmp_path / "twice.mp4").rate == Fraction(50)
    with pytest.raises(UserError, match="ffmpeg failed"):
        minterpolate.twice(tmp_path / "none.mp4", video, tmp_path / "x.mp4")
