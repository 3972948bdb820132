"""Layouts: what they index of the official folders, and what they say of wrong ones."""

import logging

import fakes
import numpy as np
import pytest

from midframe.data.io import ImageFile
from midframe.data.layouts import adobe240, gopro, middlebury, vimeo
from midframe.data.layouts.folders import read_csv, read_list, windows
from midframe.data.module import Data
from midframe.errors import UserError


def _name(source) -> str:
    return "/".join(source.path.split("/")[-3:])


def test_vimeo_triplets(tmp_path):
    fakes.vimeo_triplets(tmp_path, train=4, test=2)
    clips = vimeo.triplets(tmp_path, "train", 1)
    assert [c.id for c in clips] == ["00001/0001", "00001/0002", "00001/0003", "00002/0004"]
    assert [_name(f) for f in clips[3].frames] == [f"00002/0004/im{i}.png" for i in (1, 2, 3)]
    assert clips[0].time(1) == 0.5
    test = vimeo.triplets(tmp_path, "test", 1)
    assert not {c.group for c in clips} & {c.group for c in test} and len(test) == 2


def test_vimeo_labels_lie_beside_the_triplets(tmp_path):
    fakes.vimeo_triplets(tmp_path)
    clips = Data("vimeo", vimeo.triplets, tmp_path).clips("train")
    assert [_name(f) for f in clips[3].flow[1]] == [f"00002/0004/flow_t{i}.flo" for i in (0, 1)]


@pytest.mark.parametrize("layout", ["triplets", "septuplets", "gopro", "adobe240", "middlebury"])
def test_listed_entries_that_are_not_there_are_an_error_or_counted(tmp_path, caplog, layout):
    read, write, split, there, absent, listed = {
        "triplets": (vimeo.triplets, fakes.vimeo_triplets, "train", 4, "00009/0001", 6),
        "septuplets": (vimeo.septuplets, fakes.vimeo_septuplets, "train", 4, "00009/0001", 6),
        "gopro": (gopro.clips, fakes.gopro, "test", 2, gopro.VIDEOS["test"][1], 11),
        "adobe240": (adobe240.clips, fakes.adobe240, "test", 2, adobe240.TEST[1], 8),
        "middlebury": (
            middlebury.other,
            lambda root: fakes.middlebury(root, 4),
            "test",
            4,
            "Grove3",
            12,
        ),
    }[layout]
    write(tmp_path)
    for path in tmp_path.glob("*_trainlist.txt"):
        path.write_text(path.read_text() + "00009/0001\n00001/0999\n")
    count = listed - there if split == "train" or layout == "middlebury" else listed - 1
    with pytest.raises(UserError, match=f"{count} of {listed} .*{absent}.*data.on_error=skip"):
        read(tmp_path, split, 1, on_error="raise")
    with caplog.at_level(logging.WARNING):
        found = read(tmp_path, split, 1, on_error="skip")
    assert (len(found), found.missing) == (there, count)
    assert f"{count} of {listed}" in caplog.text and absent in caplog.text
    with pytest.raises(UserError, match="on_error=drop"):
        read(tmp_path, split, 1, on_error="drop")


def test_a_list_without_any_entry_that_is_there_is_an_error(tmp_path):
    fakes.vimeo_triplets(tmp_path)
    (tmp_path / "tri_trainlist.txt").write_text("00009/0001\n")
    with pytest.raises(UserError, match="none of the 1 listed"):
        vimeo.triplets(tmp_path, "train", 1, on_error="skip")


def test_vimeo_septuplets(tmp_path):
    fakes.vimeo_septuplets(tmp_path)
    two = vimeo.septuplets(tmp_path, "train", 1)[0]
    assert (two.inputs, two.targets, len(two.frames)) == ((0, 6), (1, 2, 3, 4, 5), 7)
    four = vimeo.septuplets(tmp_path, "test", 2)[0]
    assert (four.inputs, four.targets, four.time(3)) == ((0, 2, 4, 6), (3,), 0.5)


def test_gopro(tmp_path):
    fakes.gopro(tmp_path, train=2, frames=18)
    clips = gopro.clips(tmp_path, "train", 1, on_error="skip")
    assert len(clips) == 4  # 18 frames hold the clips 0..8 and 8..16
    assert [_name(f)[-10:] for f in clips[1].frames[::8]] == ["000055.png", "000063.png"]
    assert (clips[0].inputs, clips[0].targets) == ((0, 8), (1, 2, 3, 4, 5, 6, 7))
    assert len({c.id for c in clips}) == 4 and len({c.group for c in clips}) == 2
    four = gopro.clips(tmp_path, "train", 2, factor=4, on_error="skip")
    assert (four[0].inputs, four[0].targets) == ((0, 4, 8, 12), (5, 6, 7))
    np.testing.assert_allclose([four[0].time(i) for i in (0, 5, 12)], [-1, 0.25, 2])


def test_gopro_below_train_and_test(tmp_path):
    fakes.frame_folder(tmp_path / "test" / gopro.VIDEOS["test"][0], 9)
    assert len(gopro.clips(tmp_path, "test", 1, on_error="skip")) == 1


def test_gopro_split_is_the_published_one(shared_data):
    for split, count in (("train", 22), ("test", 11)):
        lines = shared_data(f"lists/GoPro_{split}.txt").read_text().split()
        assert {line.split("/")[1] for line in lines} == set(gopro.VIDEOS[split])
        assert len(gopro.VIDEOS[split]) == count


def test_adobe240(tmp_path):
    fakes.adobe240(tmp_path)
    train = adobe240.clips(tmp_path, "train", 1)
    test = adobe240.clips(tmp_path, "test", 1, on_error="skip")
    assert {c.group for c in train} == {"GOPR9640", "GOPR9641"}
    assert {c.group for c in test} == {"720p_240fps_1"}
    (tmp_path / "train_list.txt").write_text("GOPR9641.mp4\n\n")
    assert {c.group for c in adobe240.clips(tmp_path, "train", 1)} == {"GOPR9641"}


def test_adobe240_split_is_the_published_one(shared_data):
    tests = {
        line.split(".")[0]
        for line in shared_data("lists/adobe240/test_list.txt").read_text().split()
    }
    assert tests == set(adobe240.TEST)
    train = shared_data("lists/adobe240/train_list.txt").read_text().split()
    assert not tests & {line.split(".")[0] for line in train}


def test_adobe240_of_videos_says_what_to_do(tmp_path):
    (tmp_path / "GOPR9640.mp4").touch()
    with pytest.raises(UserError, match="holds videos, not frames"):
        adobe240.clips(tmp_path, "train", 1)


@pytest.mark.parametrize("two_folders", [True, False])
def test_middlebury(tmp_path, two_folders, caplog):
    fakes.middlebury(tmp_path, two_folders=two_folders)
    clips = middlebury.other(tmp_path)
    assert len(clips) == 12 and not caplog.text
    for i, clip in enumerate(clips):
        for frame, time in zip(clip.frames, (0, 0.5, 1)):
            np.testing.assert_array_equal(frame.read(), fakes.moving(time, seed=i))


def test_middlebury_real(shared_data):
    clips = middlebury.other(shared_data("middlebury_other"))
    sizes = {clip.frames[0].size() for clip in clips}
    assert len(clips) == 12 and sizes >= {(380, 420), (480, 640)}
    assert all(len({f.size() for f in clip.frames}) == 1 for clip in clips)


@pytest.mark.parametrize(
    "layout, name, split, count",
    [
        (vimeo.triplets, "tri_testlist.txt", "test", 3782),
        (vimeo.triplets, "tri_trainlist.txt", "train", 51313),
        (vimeo.septuplets, "sep_testlist.txt", "test", 7824),
        (vimeo.septuplets, "sep_trainlist.txt", "train", 64612),
    ],
)
def test_official_lists_count_as_published(
    shared_data, monkeypatch, tmp_path, layout, name, split, count
):
    source = shared_data(f"lists/{name}")
    (tmp_path / name).write_bytes(source.read_bytes())
    (tmp_path / "sequences").mkdir()
    monkeypatch.setattr(vimeo, "_present", lambda folder, entries: set(entries))
    clips = layout(tmp_path, split, 1)
    assert len(clips) == len({c.id for c in clips}) == count


@pytest.mark.parametrize(
    "layout", [vimeo.triplets, vimeo.septuplets, gopro.clips, adobe240.clips, middlebury.other]
)
def test_a_missing_root_prints_the_expected_tree(layout, tmp_path):
    with pytest.raises(UserError) as error:
        layout(tmp_path / "nowhere", "test", 1)
    message = str(error.value)
    assert "nowhere" in message.splitlines()[0] and "data.root" in message
    assert ".png" in message and "The data set is" in message


@pytest.mark.parametrize("layout", [vimeo.triplets, middlebury.other])
def test_a_context_that_cannot_be_served_names_what_can(layout, tmp_path):
    with pytest.raises(UserError, match=r"2 input frames and the model takes 4; use .*septuplet"):
        layout(tmp_path, "test", 2)


def test_an_unknown_split_names_the_known(tmp_path):
    with pytest.raises(UserError, match="no split 'val'; there are train, test"):
        vimeo.triplets(tmp_path, "val", 1)


def test_frames_are_ordered_by_number(tmp_path):
    folder = tmp_path / gopro.VIDEOS["test"][0]
    for i in range(12):
        fakes.write_image(folder / f"frame_{i}.png", fakes.moving(i))
    (clip,) = gopro.clips(tmp_path, "test", 1, on_error="skip")
    assert isinstance(clip.frames[2], ImageFile)
    assert [_name(f).split("_")[-1] for f in clip.frames] == [f"{i}.png" for i in range(9)]


@pytest.mark.parametrize("first", [1, 47])
def test_no_clip_reaches_over_a_frame_that_is_missing(tmp_path, caplog, first):
    folder = fakes.frame_folder(tmp_path / "video", 24, first=first)
    (folder / f"{first + 11:06d}.png").unlink()
    clips = list(windows(folder, "video", context=1, factor=4, stride=2))
    for clip in clips:
        numbers = [int(_name(frame)[-10:-4]) for frame in clip.frames]
        assert numbers == list(range(numbers[0], numbers[0] + 5))
    assert [int(c.id[-6:]) - first for c in clips] == [0, 2, 4, 6, 12, 14, 16, 18]
    assert caplog.text.count("frames are missing") == 1
    assert f"missing after {first + 10:06d}.png" in caplog.text and str(folder) in caplog.text


@pytest.mark.parametrize(
    "names",
    [
        ["a", "b", "c", "d", "e"],  # no numbers
        ["f0002", "f0004", "f0006", "f0008", "f0010"],  # every second frame
        ["t0.000", "t0.033", "t0.066", "t0.100", "t0.133"],  # times, rounded
        ["1_l", "2_l", "3_l", "4_l", "5_l"],
    ],
)
def test_other_ways_of_naming_frames_are_one_run(tmp_path, caplog, names):
    for i, name in enumerate(names):
        fakes.write_image(tmp_path / f"{name}.png", fakes.moving(i))
    assert len(list(windows(tmp_path, "v", context=1, factor=4, stride=1))) == 1
    assert not caplog.text


def test_rows_of_a_table_by_column(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('\ufefffirst, last,note\n"a, b.png",c.png,\n\nd.png, e.png,x\n', "utf-8")
    assert read_csv(path, ["first", "last"], "tree") == [
        {"first": "a, b.png", "last": "c.png", "note": ""},
        {"first": "d.png", "last": "e.png", "note": "x"},
    ]


@pytest.mark.parametrize(
    "content, message",
    [
        (None, "no such file or folder.*\n  the tree"),
        (b"", "must name the columns first, last; there is no first, last"),
        (b"first,final\na,b\n", "there is no last"),
        (b"first,last\na,b\n\nc,\n", "line 4: the column last is empty"),
        (b"first,last\na\n", "line 2: the column last is empty"),
        (b"first,last\n\xff\xfe\n", "no text in UTF-8"),
    ],
)
def test_what_is_wrong_with_a_table_is_named(tmp_path, content, message):
    path = tmp_path / "a.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=rf"a\.csv.*{message}"):
        read_csv(path, ["first", "last"], "  the tree")


def test_a_list_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_list(tmp_path)
    (tmp_path / "list.txt").write_bytes(b"\xff\xfea")
    with pytest.raises(UserError, match=r"list\.txt: is no text in UTF-8"):
        read_list(tmp_path / "list.txt")
