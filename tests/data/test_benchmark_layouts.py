"""Layouts of benchmarks alone: which frames they read, and what they say of folders not whole."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import fakes
import numpy as np
import pytest

from midframe.data.io import ImageFile, write_image
from midframe.data.layouts import hd, middlebury, ucf101, x4k, xiph
from midframe.data.records import Box, check_clips
from midframe.errors import UserError
from midframe.video.colour import Colour, to_rgb
from midframe.video.yuv import YuvFormat, YuvReader

SIZE = (64, 96)
X4K = {"size": SIZE}
XIPH = {"size": SIZE, "frames": 5}
HD = {"sizes": fakes.SMALL["hd.videos"]["sizes"]}


def _names(clip) -> list[str]:
    return [Path(frame.path).stem for frame in clip.frames]


def _rgb(path) -> np.ndarray:
    """Read a picture without midframe."""
    return cv2.imread(str(path))[..., ::-1]


def test_ucf101_triplets(tmp_path):
    fakes.ucf101_triplets(tmp_path, 3)
    clips = ucf101.triplets(tmp_path)
    assert [clip.id for clip in clips] == ["1", "11", "21"]
    for seed, clip in enumerate(clips):
        assert _names(clip) == ["frame_00", "frame_01_gt", "frame_02"]
        assert (clip.inputs, clip.targets, clip.group) == ((0, 2), (1,), clip.id)
        np.testing.assert_array_equal(clip.frames[1].read(), fakes.moving(0.5, seed=seed))


def test_of_xtest_every_fourth_frame_is_read(tmp_path):
    root = fakes.x4k(tmp_path, 2)
    clips = x4k.scenes(root, **X4K)
    assert len(clips) == 6 and len({clip.id for clip in clips}) == 6
    for clip in clips:
        assert _names(clip) == [f"{i:04d}" for i in range(0, 33, 4)]
        assert (clip.inputs, clip.targets) == ((0, 8), (1, 2, 3, 4, 5, 6, 7))
        assert [clip.time(i) for i in clip.targets] == [k / 8 for k in range(1, 8)]
    first = clips[0]
    assert first.id == first.group == "Type1/TEST01_003_f0433"
    np.testing.assert_array_equal(first.frames[3].read(), fakes.moving(3 / 8, SIZE, seed=10))


def test_xtest_is_found_below_test_as_well(tmp_path):
    fakes.x4k(tmp_path / "test")
    assert [clip.id[:5] for clip in x4k.scenes(tmp_path, **X4K)] == ["Type1", "Type2", "Type3"]


def test_xtest_at_2k_is_half_of_both_sides(tmp_path):
    clip = x4k.scenes(fakes.x4k(tmp_path), halved=True, **X4K)[0]
    whole = _rgb(tmp_path / clip.id / "0012.png")
    blocks = whole.reshape(32, 2, 48, 2, 3).astype(int).sum((1, 3))
    found = clip.frames[3].read()
    assert clip.frames[3].size() == found.shape[:2] == (32, 48)
    np.testing.assert_array_equal(found, (blocks + 2) // 4)  # the mean of two by two pixels


@pytest.mark.parametrize("flat", [True, False])
def test_of_xiph_every_second_frame_is_predicted(tmp_path, flat):
    root = fakes.xiph(tmp_path, flat=flat)
    for mode in ("2k", "4k"):
        clips = xiph.clips(root, mode=mode, **XIPH)
        assert [clip.id for clip in clips[:3]] == ["Clip0/002", "Clip0/004", "Clip1/002"]
        assert len(clips) == 16 and len({clip.group for clip in clips}) == 8
        for clip in clips:
            numbers = [int(name[-3:]) for name in _names(clip)]
            assert numbers[1] == int(clip.id[-3:]) and np.all(np.diff(numbers) == 1)
            assert (clip.inputs, clip.targets) == ((0, 2), (1,))
            assert {frame.size() for frame in clip.frames} == {(32, 48)}


def test_xiph_is_resized_or_cropped(tmp_path):
    root = fakes.xiph(tmp_path)
    whole = _rgb(root / "Clip3-002.png")
    small = cv2.resize(whole, (48, 32), interpolation=cv2.INTER_AREA)
    for mode, expected in (("2k", small), ("4k", whole[16:48, 24:72])):
        (clip,) = (c for c in xiph.clips(root, mode=mode, **XIPH) if c.id == "Clip3/002")
        np.testing.assert_array_equal(clip.frames[1].read(), expected)
        box = Box(3, 5, 11, 17)
        np.testing.assert_array_equal(clip.frames[1].read(box), expected[3:14, 5:22])


def test_a_clip_of_a_hundred_xiph_frames_has_49_targets(tmp_path):
    write_image(tmp_path / "Clip-001.png", np.zeros((8, 8, 3), np.uint8))
    for number in range(2, 101):
        (tmp_path / f"Clip-{number:03d}.png").touch()
    clips = xiph.clips(tmp_path, mode="4k", size=(8, 8), on_error="skip")
    assert [int(clip.id[-3:]) for clip in clips] == list(range(2, 99, 2)) and len(clips) == 49
    assert clips.missing == 7 * 49


def test_frames_of_hd_are_those_of_the_raw_video(tmp_path):
    root = fakes.hd(tmp_path)
    for split, (height, width) in HD["sizes"].items():
        clips = hd.videos(root, split, **HD)
        form = YuvFormat(width, height)
        assert len(clips) == 2 * hd.VIDEOS[split]
        assert [clip.id for clip in clips[:2]] == ["video0/001", "video0/003"]
        clip = clips[1]
        assert [frame.number for frame in clip.frames] == [2, 3, 4]
        assert (clip.inputs, clip.targets, clip.group) == ((0, 2), (1,), "video0")
        with YuvReader(root / f"HD{split}_GT" / "video0.yuv", form) as reader:
            rgb = to_rgb(reader.read(3), Colour("bt709")).transpose(1, 2, 0)
        found = clip.frames[1].read()
        assert clip.frames[1].size() == found.shape[:2] == (height, width)
        np.testing.assert_array_equal(found, np.round(255 * rgb).astype(np.uint8))
        pictures = [fakes.moving(t, (height, width)).astype(float) for t in (1, 1.5, 2)]
        off = [np.abs(found - picture).mean() for picture in pictures]
        assert off[1] < min(6, off[0] / 2, off[2] / 2)  # colour has a quarter of the samples
        np.testing.assert_array_equal(clip.frames[1].read(Box(2, 4, 8, 6)), found[2:10, 4:10])


def test_only_so_many_frames_of_hd_are_used(tmp_path):
    root = fakes.hd(tmp_path, frames=9)
    for frames, numbers in ((100, [1, 3, 5, 7]), (6, [1, 3]), (2, [])):
        clips = hd.videos(root, "720p", frames=frames, **HD)
        assert [int(c.id[-3:]) for c in clips if c.group == "video1"] == numbers


def test_the_truth_of_middleburys_evaluation_is_unknown(tmp_path):
    clips = middlebury.evaluation(fakes.middlebury_evaluation(tmp_path))
    assert [clip.id for clip in clips] == list(middlebury.EVALUATION) and len(clips) == 8
    for seed, clip in enumerate(clips):
        size = (32 + 4 * seed, 48)
        assert {frame.size() for frame in clip.frames} == {size}
        assert _names(clip)[::2] == ["frame10", "frame11"]
        np.testing.assert_array_equal(clip.frames[2].read(), fakes.moving(1, size, seed=seed))
        unknown = clip.frames[1]
        assert unknown.read().shape == (*size, 3) and not unknown.read().any()
        assert unknown.read().dtype == np.uint8
        assert unknown.read(Box(1, 2, 5, 7)).shape == (5, 7, 3)
        with pytest.raises(UserError, match="frame10.png: 7x5 pixels .* do not lie inside"):
            unknown.read(Box(size[0] - 4, 2, 5, 7))


def test_middleburys_evaluation_is_found_without_the_folder_around(tmp_path):
    fakes.middlebury_evaluation(tmp_path)
    assert len(middlebury.evaluation(tmp_path / "eval-data")) == 8


LAYOUTS = {
    "ucf101": (ucf101.triplets, fakes.ucf101_triplets, "test", {}),
    "x4k": (x4k.scenes, fakes.x4k, "test", X4K),
    "xiph": (xiph.clips, fakes.xiph, "test", {"mode": "2k", **XIPH}),
    "hd": (hd.videos, fakes.hd, "720p", HD),
    "middlebury_eval": (middlebury.evaluation, fakes.middlebury_evaluation, "test", {}),
}


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return LAYOUTS[request.param]


def test_the_examples_keep_the_rules_of_clips(layout, tmp_path):
    read, write, split, options = layout
    clips = read(write(tmp_path), split, 1, **options)
    check_clips(clips, 1, "example", every=True)
    assert clips.missing == 0


@pytest.mark.parametrize("root", ["nowhere", "empty", None])
def test_missing_data_is_answered_with_the_expected_tree(layout, root, tmp_path):
    read, _, split, options = layout
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError) as error:
        read(None if root is None else tmp_path / root, split, 1, **options)
    message = str(error.value)
    assert (root or "data.root") in message.splitlines()[0] and "data.root" in message
    assert len(message.splitlines()) > 3 and re.search(r"\([A-Z]\w+ (et al\.|and )", message)
    assert "http" not in message


def test_more_frames_than_there_are_and_unknown_splits_are_refused(layout, tmp_path):
    read, _, split, options = layout
    with pytest.raises(UserError, match="gives 2 input frames and the model takes 4"):
        read(tmp_path, split, 2, **options)
    with pytest.raises(UserError, match=f"no split 'nonsense'; there are .*{split}"):
        read(tmp_path, "nonsense", 1, **options)


@pytest.mark.parametrize(
    ("name", "gone", "left", "missing"),
    [
        ("ucf101", "11/frame_01_gt.png", 2, 1),
        ("x4k", "Type2/TEST06_003_f0433/0016.png", 2, 1),
        ("xiph", "Clip5-003.png", 14, 2),
        ("hd", "HD720p_GT/video1.yuv", 4, 1),
        ("middlebury_eval", "eval-data/Teddy/frame11.png", 7, 1),
    ],
)
def test_what_is_not_whole_is_an_error_or_left_out_and_counted(tmp_path, name, gone, left, missing):
    read, write, split, options = LAYOUTS[name]
    (write(tmp_path) / gone).unlink()
    with pytest.raises(UserError, match=f"{missing} of .* are missing .*data.on_error=skip"):
        read(tmp_path, split, 1, **options)
    found = read(tmp_path, split, 1, on_error="skip", **options)
    assert (len(found), found.missing) == (left, missing)


def test_a_frame_that_xtest_and_xiph_do_not_read_may_be_missing(tmp_path):
    fakes.x4k(tmp_path / "x4k")
    for path in (tmp_path / "x4k").rglob("0015.png"):
        path.unlink()
    assert len(x4k.scenes(tmp_path / "x4k", **X4K)) == 3


@pytest.mark.parametrize("name", ["x4k", "xiph"])
def test_frames_of_another_size_are_refused(tmp_path, name):
    read, write, split, options = LAYOUTS[name]
    with pytest.raises(UserError, match=r"001\.png|0000\.png") as error:
        read(write(tmp_path), split, 1, **{**options, "size": (2160, 4096)})
    assert "96x64 pixels" in str(error.value) and "4096x2160" in str(error.value)


def test_xiph_has_two_modes(tmp_path):
    with pytest.raises(UserError, match="no mode '8k'; there are 2k, 4k"):
        xiph.clips(fakes.xiph(tmp_path, 1), mode="8k", **XIPH)


def test_hd_refuses_what_is_none_of_it(tmp_path):
    root = fakes.hd(tmp_path)
    folder = root / "HD544p_GT"
    more = folder / "video9.yuv"
    more.write_bytes((folder / "video0.yuv").read_bytes())
    with pytest.raises(UserError, match="HD544p_GT: 5 videos, but the set has 4"):
        hd.videos(root, "544p", **HD)
    more.rename(folder / "video0.yuv")
    (folder / "video3.yuv").rename(folder / "video3_1280x720.yuv")
    with pytest.raises(UserError, match="says another size than 64x34"):
        hd.videos(root, "544p", **HD)
    (folder / "video3_1280x720.yuv").rename(folder / "video3_64x34.yuv")
    assert len(hd.videos(root, "544p", **HD)) == 8


def test_a_raw_video_that_became_shorter_is_named(tmp_path):
    root = fakes.hd(tmp_path)
    clip = hd.videos(root, "720p", **HD)[1]
    path = Path(clip.frames[2].path)
    path.write_bytes(path.read_bytes()[: 3 * 32 * 48 * 3 // 2])
    assert clip.frames[0].read().shape == (32, 48, 3)
    with pytest.raises(UserError, match="video0.yuv: no frame 4, there are 3"):
        clip.frames[2].read()
    with pytest.raises(UserError, match="do not lie inside"):
        clip.frames[0].read(Box(0, 0, 33, 4))


def test_sources_of_one_picture_are_equal_and_small(tmp_path):
    import pickle

    for name, (read, write, split, options) in LAYOUTS.items():
        root = write(tmp_path / name)
        once, twice = (read(root, split, 1, **options)[0] for _ in range(2))
        assert once.frames == twice.frames and len(set(once.frames + twice.frames)) == len(
            once.frames
        )
        for frame in once.frames:
            data = pickle.dumps(frame)
            assert len(data) < 1000 and pickle.loads(data) == frame
    assert isinstance(once.frames[0], ImageFile)
