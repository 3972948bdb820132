"""`midframe interpolate RECORDING`: what an event camera's recording becomes."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from midframe.data.io import ImageFile
from midframe.errors import UserError
from midframe.events.bins import edges_at, signed_counts
from midframe.events.shards import write_shards
from midframe.events.simulate import simulate_recording
from midframe.events.single import save_recording
from midframe.launch import interpolate, interpolate_recording
from midframe.models.average import Average
from midframe.types import Prediction
from midframe.video.media import probe, read_video

HEIGHT, WIDTH, COUNT, STEP = 18, 32, 4, 40_000  # microseconds from frame to frame


class Seeing(Average):
    """Needs events, and keeps what it was given."""

    needs = frozenset({"events", "events_ends"})

    def __init__(self) -> None:
        super().__init__()
        self.seen: list = []

    def forward(self, x, **hints):
        self.seen.append(x)
        return super().forward(x)


@pytest.fixture(scope="module")
def recording():
    x = np.arange(WIDTH)[None] + np.zeros((HEIGHT, 1))
    frames = [np.uint8(127 + 100 * np.sin((x - 0.25 * k) / 2)) for k in range(8 * (COUNT - 1) + 1)]
    times = 1_600_000_000_000_000 + STEP // 8 * np.arange(len(frames))
    return simulate_recording(frames, times, every=8)


@pytest.fixture
def seeing(monkeypatch):
    model = Seeing()
    monkeypatch.setattr(interpolate, "_load", lambda *a, **k: (model, torch.device("cpu")))
    return model


def _run(*args):
    parser = argparse.ArgumentParser()
    interpolate.add_arguments(parser)
    return interpolate.run(parser.parse_args([str(a) for a in args]))


def _frames(folder: Path) -> list[np.ndarray]:
    return [ImageFile(str(p)).read() for p in sorted((folder / "frames").iterdir())]


@pytest.mark.parametrize("form", ["single", "shards"])
def test_recorded_frames_stay_and_events_are_those_around_each_time(
    recording, seeing, tmp_path, form
):
    path = tmp_path / ("waves.npz" if form == "single" else "waves")
    (save_recording if form == "single" else write_shards)(recording, path)
    assert _run(path, tmp_path / "out", "--times", "3") == 0
    written = _frames(tmp_path / "out")
    assert len(written) == 4 * (COUNT - 1) + 1
    for kept, frame in zip(written[::4], recording.frames):
        np.testing.assert_array_equal(kept, np.repeat(frame[..., None], 3, 2))
    start = int(recording.times[0])
    assert [x.t.tolist()[0] for x in seeing.seen] == [[0.25, 0.5, 0.75]] * (COUNT - 1)
    for gap, x in enumerate(seeing.seen):
        assert x.events.shape == (1, 3, 8, HEIGHT, WIDTH)
        four = [start + (gap + k) * STEP for k in (-1, 0, 1, 2)]  # at the ends as far as inside
        for given, t in ((x.events[0, 1], 0.5), (x.events_ends[0, 0], 0), (x.events_ends[0, 1], 1)):
            counts = signed_counts(recording.events, edges_at(four, t), HEIGHT, WIDTH)
            np.testing.assert_array_equal(given.numpy(), counts)
    assert float(seeing.seen[1].events.abs().sum()) > 0


def test_videos_are_in_real_time_and_side_by_side(recording, seeing, tmp_path):
    save_recording(recording, tmp_path / "waves.npz")
    _run(tmp_path / "waves.npz", "--out", tmp_path / "out", "--factor", 2)
    video = tmp_path / "out" / interpolate_recording.VIDEO
    assert probe(video).fps == pytest.approx(50, abs=1e-3)
    assert len(list(read_video(video))) == 2 * (COUNT - 1) + 1
    shown = [f.image for f in read_video(tmp_path / "out" / interpolate_recording.SIDE_BY_SIDE)]
    assert len(shown) == 2 * (COUNT - 1) + 1
    assert shown[0].shape[1] == 3 * WIDTH
    left = shown[1][-HEIGHT:, :WIDTH].astype(int)  # beside a new frame, the recorded one before it
    assert np.abs(left - recording.frames[0][..., None]).mean() < 4


def test_a_rate_puts_frames_on_the_clock_of_the_recording(recording, seeing, tmp_path):
    save_recording(recording, tmp_path / "waves.npz")
    _run(tmp_path / "waves.npz", tmp_path / "out", "--fps", 60)
    assert len(_frames(tmp_path / "out")) == 8  # 0.12 s at 60 a second, both ends
    times = [x.t.tolist()[0] for x in seeing.seen]
    positions = [float(Fraction(k, 60) / Fraction(STEP, 10**6)) for k in range(1, 8)]
    wanted = [p % 1 for p in positions]
    assert np.concatenate(times) == pytest.approx(wanted, abs=1e-6)


def test_what_cannot_be_is_said_before_anything_is_written(recording, seeing, tmp_path):
    save_recording(recording, tmp_path / "waves.npz")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    for args, message in (
        (["waves.npz", "mine"], "is not empty"),
        (["waves.npz", "mine", "--overwrite"], "notes.txt, which is not ours"),
        (["waves.npz", "new", "--fps", "0"], "--fps 0"),
        (["waves.npz", "new", "--fps", "60", "--factor", "4"], "leave out --factor"),
        (["none.npz", "new"], "no such file"),
        (["a.png", "b.png", "--out", "new", "--fps", "60"], "is for recordings of event cameras"),
    ):
        with pytest.raises(UserError, match=message):
            _run(
                *(
                    tmp_path / a if "." in a and a[0] != "-" or a in ("mine", "new") else a
                    for a in args
                )
            )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "waves.npz"]


def test_a_failure_half_way_leaves_nothing(recording, seeing, tmp_path, monkeypatch):
    save_recording(recording, tmp_path / "waves.npz")
    answers = iter([None])

    def failing(x, **hints):
        next(answers)
        return Prediction(x.frames[:, :1] * float("nan"))

    monkeypatch.setattr(seeing, "forward", failing)
    with pytest.raises(UserError, match="not finite"):
        _run(tmp_path / "waves.npz", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["waves.npz"]


def test_the_command_takes_a_real_recording(shared_data, tmp_path, monkeypatch):
    from midframe import cli

    path = shared_data("aedat4") / "davis346_short.aedat4"
    pytest.importorskip("dv_processing", reason="the extra 'events' is not installed")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["interpolate", str(path), "--times", "3"]) == 0
    folder = tmp_path / "davis346_short-interpolated"
    assert len(_frames(folder)) == 13
    assert probe(folder / interpolate_recording.VIDEO).width == 346
