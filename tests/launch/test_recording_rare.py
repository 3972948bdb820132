"""Options of recordings that do not fit, and results that may be replaced."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from midframe.errors import UserError
from midframe.events.records import Events, Recording
from midframe.events.single import save_recording
from midframe.launch import interpolate
from midframe.launch.interpolate_recording import is_recording, open_film, run


def options(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    interpolate.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


def recorded(path: Path, count: int) -> Path:
    frames = np.zeros((count, 4, 6), np.uint8)
    times = 40_000 * np.arange(count, dtype=np.int64)
    save_recording(Recording(Events.empty(), frames, times, 4, 6), path)
    return path


class Looked(Exception):
    """Says that the options were taken, and the model would be loaded now."""


def load():
    raise Looked


@pytest.mark.parametrize("option", ["--polarity", "--reader"])
def test_options_of_recordings_are_for_recordings(option):
    value = {"--polarity": "released", "--reader": "own"}[option]
    assert is_recording(options("a.npz", "out", option, value))
    with pytest.raises(UserError, match=f"{option} is for recordings of event cameras, not a.mp4"):
        is_recording(options("a.mp4", "out.mp4", option, value))
    assert not is_recording(options("a.mp4", "out.mp4"))


def test_a_recording_of_one_frame_has_nothing_between(tmp_path):
    assert open_film(recorded(tmp_path / "two.npz", 2)).count == 2
    with pytest.raises(UserError, match="has 1 frames; there is something between two or more"):
        open_film(recorded(tmp_path / "one.npz", 1))


def test_results_go_into_one_folder_which_may_be_an_earlier_one(tmp_path):
    film = recorded(tmp_path / "in.npz", 3)
    (tmp_path / "file").touch()
    old = tmp_path / "old"
    (old / "frames").mkdir(parents=True)
    (old / "video.mp4").touch()
    for words, said in (
        ((old, "--out", tmp_path / "new"), "two folders, .*old and .*new: give one of them"),
        ((tmp_path / "file",), "file is a file; give a new folder with --out"),
        ((old,), "old is not empty; give a new folder, or add --overwrite"),
    ):
        with pytest.raises(UserError, match=said):
            run(options(film, *words), load)
    with pytest.raises(Looked):
        run(options(film, old, "--overwrite"), load)
    (old / "mine").touch()
    with pytest.raises(UserError, match="old holds mine, which is not ours"):
        run(options(film, old, "--overwrite"), load)
