"""Data sets of five frames: which files are inputs and target, worked by hand from their rules."""

from __future__ import annotations

import logging
import re

import fakes
import numpy as np
import pytest

from midframe.data.dataset import ClipDataset
from midframe.data.layouts import bvidvc, davis90, snufilm, ucf101, vfitex, vimeo, vimeo_bvidvc
from midframe.data.records import check_clips
from midframe.errors import UserError

VIDEO = "GOPR0384_11_00"


def _files(clip) -> tuple[list[str], list[str]]:
    """Return the names of the input files and of the targets'."""
    names = [frame.path.rsplit("/", 1)[1].rpartition(".")[0] for frame in clip.frames]
    return [names[i] for i in clip.inputs], [names[i] for i in clip.targets]


def _indexed(layout, root, split, context):
    clips = layout(root, split, context)
    check_clips(clips, context, "mine")
    assert all(clip.time(clip.targets[0]) == 0.5 for clip in clips)
    return {clip.id: _files(clip) for clip in clips}


def test_septuplets(tmp_path):
    fakes.vimeo_septuplets(tmp_path, train=1, test=1)
    found = _indexed(vimeo.septuplets, tmp_path, "train", 2)
    assert found == {"00001/0001": (["im1", "im3", "im5", "im7"], ["im4"])}


@pytest.mark.parametrize("context", [1, 2])
def test_the_tiles_of_bvi_dvc_are_put_in_order(tmp_path, context):
    fakes.bvidvc(tmp_path, count=2)
    frames = {2: (1, 3, 5, 7), 1: (3, 5)}[context]
    for seed, clip in enumerate(bvidvc.quintuplets(tmp_path, "train", context)):
        sample = ClipDataset([clip], context)[0]
        assert (sample.id, sample.t.tolist(), sample.size) == (f"{seed:05d}", [0.5], fakes.SIZE)
        for picture, frame in zip((*sample.frames, *sample.target), (*frames, 4), strict=True):
            expected = fakes.moving(fakes.FIVE[frame], seed=seed)
            np.testing.assert_array_equal(picture, expected)


def test_of_bvi_dvc_the_last_by_name_are_held_out(tmp_path):
    fakes.bvidvc(tmp_path, count=6)
    train, val = (
        [clip.id for clip in bvidvc.quintuplets(tmp_path, split, val_share=0.3)]
        for split in ("train", "val")
    )
    assert (train, val) == (["00000", "00001", "00002", "00003"], ["00004", "00005"])
    assert len(bvidvc.quintuplets(tmp_path, "train")) == 6  # as published
    assert not bvidvc.quintuplets(tmp_path, "val")
    assert len(bvidvc.quintuplets(tmp_path, "val", val_share=1e-9)) == 1
    with pytest.raises(UserError, match="val_share=1"):
        bvidvc.quintuplets(tmp_path, "val", val_share=1)


def test_both_training_sets_follow_one_another(tmp_path):
    fakes.vimeo_bvidvc(tmp_path)
    train = vimeo_bvidvc.clips(tmp_path, "train")
    names = [clip.id for clip in train]
    assert names[:2] == ["vimeo/00001/0001", "vimeo/00001/0002"]
    assert names[4:] == ["bvidvc/00010", "bvidvc/00011", "bvidvc/00012"]
    test = vimeo_bvidvc.clips(tmp_path, "test")
    assert [clip.id for clip in test] == ["vimeo/00002/0005", "vimeo/00002/0006"]
    inputs, targets = _files(test[0])
    assert (inputs, targets) == (["im1", "im3", "im5", "im7"], ["im4"])
    (two, *_) = vimeo_bvidvc.clips(tmp_path, "test", 1)
    assert _files(two) == (["im3", "im5"], ["im4"])
    elsewhere = {"vimeo": str(tmp_path / "vimeo_septuplet"), "bvidvc": "."}
    moved = vimeo_bvidvc.clips(tmp_path / "bvidvc", "train", **elsewhere)
    assert [clip.id for clip in moved] == names


def test_what_is_missing_of_both_is_counted(tmp_path):
    fakes.vimeo_bvidvc(tmp_path)
    (tmp_path / "bvidvc/quintuplets/00011/quintuplet.png").unlink()
    with (tmp_path / "vimeo_septuplet/sep_trainlist.txt").open("a") as file:
        file.write("00009/0001\n")
    with pytest.raises(UserError, match="1 of 5 listed"):
        vimeo_bvidvc.clips(tmp_path, "train")
    found = vimeo_bvidvc.clips(tmp_path, "train", on_error="skip")
    assert (len(found), found.missing) == (6, 2)


def test_ucf101(tmp_path):
    fakes.ucf101(tmp_path, 2)
    four = (["frame0", "frame1", "frame2", "frame3"], ["framet"])
    assert _indexed(ucf101.quintuplets, tmp_path, "test", 2) == {"0": four, "1": four}
    two = (["frame1", "frame2"], ["framet"])
    assert _indexed(ucf101.quintuplets, tmp_path, "test", 1) == {"0": two, "1": two}
    (tmp_path / "1/frame3.png").unlink()
    assert len(ucf101.quintuplets(tmp_path, "test", 1)) == 2
    with pytest.raises(UserError, match=r"1 of 2 .*the first: 1\)"):
        ucf101.quintuplets(tmp_path, "test", 2)
    found = ucf101.quintuplets(tmp_path, "test", 2, on_error="skip")
    assert ([clip.id for clip in found], found.missing) == (["0"], 1)


def test_davis90(tmp_path):
    """t, t+2, t+4, t+6 -> t+3 for t = 0, 2, ... <= n - 7, of n files from 00000 on."""
    fakes.davis90(tmp_path, lengths=(12, 7, 6))
    assert _indexed(davis90.quintuplets, tmp_path, "test", 2) == {
        "sequence0/00003": (["00000", "00002", "00004", "00006"], ["00003"]),
        "sequence0/00005": (["00002", "00004", "00006", "00008"], ["00005"]),
        "sequence0/00007": (["00004", "00006", "00008", "00010"], ["00007"]),
        "sequence1/00003": (["00000", "00002", "00004", "00006"], ["00003"]),
    }
    assert _indexed(davis90.quintuplets, tmp_path, "test", 1) == {
        "sequence0/00003": (["00002", "00004"], ["00003"]),
        "sequence0/00005": (["00004", "00006"], ["00005"]),
        "sequence0/00007": (["00006", "00008"], ["00007"]),
        "sequence1/00003": (["00002", "00004"], ["00003"]),
    }


@pytest.mark.parametrize(("length", "count"), [(100, 47), (87, 41), (7, 1), (6, 0)])
def test_a_vfitex_sequence_has_as_many_as_the_paper_counts(tmp_path, length, count):
    """t = 1, 3, ... <= n - 6 of n files from 001 on: 940 of twenty with 100 frames each."""
    for name, frames in (("a", length), ("b", 7)):
        (tmp_path / name).mkdir()
        for i in range(frames):
            (tmp_path / name / f"{i + 1:03d}.png").touch()
    found = _indexed(vfitex.quintuplets, tmp_path, "test", 2)
    assert len(found) == count + 1
    for number, target in enumerate(f"a/{t + 3:03d}" for t in range(1, length - 5, 2)):
        t = 1 + 2 * number
        assert found[target][0] == [f"{t + i:03d}" for i in (0, 2, 4, 6)]


def test_of_4k_sequences_the_centre_is_read(tmp_path):
    fakes.vfitex(tmp_path)
    for context in (1, 2):
        clips = vfitex.quintuplets(tmp_path, "test", context)
        assert {clip.group for clip in clips} == {"sequence0_4K", "sequence1"}
        for clip in clips:
            seed, number = int(clip.group[8]), int(clip.id.rsplit("/")[1])
            sample = ClipDataset([clip], context)[0]
            assert sample.size == fakes.SIZE
            np.testing.assert_array_equal(
                sample.target[0], fakes.moving((number - 1) / 4, seed=seed)
            )


def test_snufilm(tmp_path):
    """Left - s, left, right, right + s around the target; 64 frames from 000001 on."""
    fakes.snufilm(tmp_path)
    expected = {  # of the two triplets in the middle of the video, around 25 and 33
        "easy": ([22, 24, 26, 28], [30, 32, 34, 36]),
        "medium": ([19, 23, 27, 31], [27, 31, 35, 39]),
        "hard": ([13, 21, 29, 37], [21, 29, 37, 45]),
        "extreme": ([1, 17, 33, 49], [9, 25, 41, 57]),
    }
    for mode, (first, second) in expected.items():
        named = {25: first, 33: second}
        four = {
            f"{VIDEO}/{t:06d}": ([f"{i:06d}" for i in one], [f"{t:06d}"])
            for t, one in named.items()
        }
        assert _indexed(snufilm.clips, tmp_path, mode, 2) == four
        two = _indexed(snufilm.clips, tmp_path, mode, 1)
        assert len(two) == 3  # the one whose outer frame does not exist as well
        for name, (inputs, target) in four.items():
            assert two[name] == (inputs[1:3], target)


def test_of_snufilm_what_has_no_outer_frame_is_left_out_and_said_and_is_not_missing(
    tmp_path, caplog
):
    fakes.snufilm(tmp_path)
    with caplog.at_level(logging.WARNING):
        found = snufilm.clips(tmp_path, "hard", 2)
    assert (len(found), found.missing) == (2, 0)
    assert re.search(r"hard: 1 of 3 .*left out, as published", caplog.text)
    (tmp_path / f"test/GOPRO_test/{VIDEO}/000033.png").unlink()
    for context in (1, 2):
        with pytest.raises(UserError, match="1 of 3 listed .*000033.png.*data.on_error=skip"):
            snufilm.clips(tmp_path, "hard", context)
    assert snufilm.clips(tmp_path, "hard", 1, on_error="skip").missing == 1


@pytest.mark.parametrize(
    ("inner", "listed"),
    [
        (f"test/GOPRO_test/{VIDEO}", "data/SNU-FILM/"),
        (f"GOPRO_test/{VIDEO}", "data/SNU-FILM/test/"),
        (f"data/SNU-FILM/test/GOPRO_test/{VIDEO}", ""),
    ],
)
def test_snufilm_is_found_wherever_it_was_unpacked(tmp_path, inner, listed):
    fakes.snufilm(tmp_path, inner, listed)
    (tmp_path / "eval_modes").mkdir()
    for path in tmp_path.glob("test-*.txt"):
        path.rename(tmp_path / "eval_modes" / path.name)
    (clip, *_) = snufilm.clips(tmp_path, "easy", 2)
    np.testing.assert_array_equal(clip.frames[2].read(), fakes.moving(1))


def test_a_line_that_is_no_triplet_is_named(tmp_path):
    fakes.snufilm(tmp_path)
    for line in ("a/000001.png a/000002.png", "a/x.png a/000002.png a/000003.png"):
        (tmp_path / "test-easy.txt").write_text(line)
        with pytest.raises(UserError, match=rf"test-easy\.txt: '{line}' is no line of three"):
            snufilm.clips(tmp_path, "easy")


def test_the_official_lists_are_evenly_spaced_and_name_each_target_once(
    shared_data, tmp_path, monkeypatch
):
    for mode in snufilm.SPACING:
        path = shared_data(f"lists/test-{mode}.txt")
        (tmp_path / path.name).write_bytes(path.read_bytes())
    everything = type("Everything", (), {"__contains__": lambda self, name: True})()
    monkeypatch.setattr(snufilm, "_listing", lambda folder: everything)
    for mode, spacing in snufilm.SPACING.items():
        clips = snufilm.clips(tmp_path, mode, 2)
        assert len(clips) == len({clip.id for clip in clips}) == 310
        for clip in clips:
            inputs, (target,) = _files(clip)
            assert set(np.diff([int(name) for name in inputs])) == {spacing}
            assert int(inputs[1]) + spacing // 2 == int(target)
            assert {len(name) for name in inputs if int(name) >= 0} <= {len(target)}


LAYOUTS = [
    (bvidvc.quintuplets, "train"),
    (vimeo_bvidvc.clips, "train"),
    (ucf101.quintuplets, "test"),
    (davis90.quintuplets, "test"),
    (vfitex.quintuplets, "test"),
    (snufilm.clips, "easy"),
]


@pytest.mark.parametrize(("layout", "split"), LAYOUTS)
@pytest.mark.parametrize("root", ["nowhere", "empty", None])
def test_missing_data_is_answered_with_the_expected_tree(layout, split, root, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as error:
        layout(None if root is None else tmp_path / root, split, 2)
    message = str(error.value)
    assert (root or "data.root") in message.splitlines()[0] and "data.root" in message
    assert "The data set is" in message and re.search(r"\.(png|jpg)", message)


@pytest.mark.parametrize(("layout", "split"), LAYOUTS)
def test_more_frames_than_there_are_and_unknown_splits_are_refused(layout, split, tmp_path):
    with pytest.raises(UserError, match="gives 2 or 4 input frames and the model takes 6"):
        layout(tmp_path, split, 3)
    with pytest.raises(UserError, match=f"no split 'nonsense'; there are .*{split}"):
        layout(tmp_path, "nonsense", 2)
