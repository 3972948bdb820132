"""Loaders: the same batches for any workers, devices and restart; clean errors; every config."""

import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from functools import partial
from pathlib import Path

import fakes
import pytest
import torch
from torch.utils import _pytree as pytree

from midframe.data.layouts import gopro, vimeo
from midframe.data.loader import worker_count
from midframe.data.module import Data
from midframe.data.pack import pack_clips
from midframe.data.records import Clip
from midframe.data.shards import ShardFrame
from midframe.errors import UserError

PAPER = {
    "resize": 0.1,
    "channel_order": 0.5,
    "vertical_flip": 0.3,
    "horizontal_flip": 0.5,
    "transpose": 0.05,
    "time_reversal": 0.5,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return fakes.vimeo_triplets(tmp_path_factory.mktemp("vimeo"), train=7, test=3)


def _data(root: Path, **options) -> Data:
    options = {"global_batch": 4, "crop": 16, "augment": PAPER, "workers": 0, "seed": 9, **options}
    return Data("vimeo", vimeo.triplets, root, **options)


def _equal(a, b) -> bool:
    (xs, spec), (ys, other) = pytree.tree_flatten(a), pytree.tree_flatten(b)
    pairs = zip(xs, ys, strict=True)
    return spec == other and all(x is y or torch.equal(x, y) for x, y in pairs)


def test_batches_do_not_depend_on_workers(root):
    expected = list(_data(root).train_loader(steps=6))
    assert len(expected) == 6 and len({batch.ids for batch in expected}) > 1
    for workers in (1, 2):
        got = list(_data(root, workers=workers).train_loader(steps=6))
        assert all(_equal(a, b) for a, b in zip(expected, got, strict=True))


def test_a_restart_continues_at_its_step(root):
    expected = list(_data(root).train_loader(steps=6))
    for workers in (0, 1):
        loader = _data(root, workers=workers).train_loader(steps=6, start_step=4)
        assert len(loader) == 6
        assert all(_equal(a, b) for a, b in zip(expected[4:], loader, strict=True))


def test_devices_and_micro_batches_share_the_same_global_batch(root):
    expected = list(_data(root).train_loader(steps=4))
    ranks = [
        list(_data(root).train_loader(steps=4, rank=r, world=2, micro_batches=2)) for r in range(2)
    ]
    for step, whole in enumerate(expected):
        parts = [b for rank in ranks for b in rank[2 * step : 2 * step + 2]]
        assert sum((b.ids for b in parts), ()) == whole.ids
        assert torch.equal(torch.cat([b.inputs.frames for b in parts]), whole.inputs.frames)
        assert torch.equal(torch.cat([b.flow for b in parts]), whole.flow)
    with pytest.raises(UserError, match="global_batch=4 cannot be shared by 3"):
        _data(root).train_loader(steps=1, world=3)


def test_validation_is_fixed_whole_and_disjoint(root):
    data = _data(root, val={"batch": 2})
    batches = list(data.val_loader())
    assert [len(b) for b in batches] == [2, 1]
    assert batches[0].inputs.frames.shape[-2:] == fakes.SIZE
    assert all(_equal(a, b) for a, b in zip(batches, data.val_loader(), strict=True))
    ids = [i for r in range(2) for b in data.val_loader(rank=r, world=2) for i in b.ids]
    assert sorted(ids) == sorted(c.id for c in data.clips("test"))
    (small,) = _data(root, val={"batch": 2, "crop": [16, 24], "limit": 2}).val_loader()
    assert small.target.shape == (2, 1, 3, 16, 24)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_reaches_the_person_as_one_clean_line(tmp_path, workers):
    fakes.vimeo_triplets(tmp_path)
    (tmp_path / "sequences/00001/0002/im2.png").unlink()
    with pytest.raises(UserError) as error:
        list(_data(tmp_path, workers=workers).train_loader(steps=3))
    assert "0002/im2.png: no such file" in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(UserError, match="bigger than the frame"):
        list(_data(tmp_path, workers=workers, crop=224).train_loader(steps=3))


@pytest.mark.parametrize("workers", [0, 2])
def test_skipped_samples_of_workers_are_counted(tmp_path, workers):
    fakes.vimeo_triplets(tmp_path)
    (tmp_path / "sequences/00001/0002/im2.png").unlink()
    data = _data(tmp_path, workers=workers, on_error="skip")
    batches = list(data.train_loader(steps=4))
    assert all("00001/0002" not in b.ids for b in batches) and data.skipped >= 4
    reference = _data(tmp_path, on_error="skip")
    assert all(_equal(a, b) for a, b in zip(batches, reference.train_loader(steps=4), strict=True))
    assert data.skipped == reference.skipped


def test_entries_that_are_not_there_are_counted_as_skipped(tmp_path):
    fakes.vimeo_triplets(tmp_path)
    for split in ("train", "test"):
        with (tmp_path / f"tri_{split}list.txt").open("a") as file:
            file.write("00009/0001\n")
    layout = partial(vimeo.triplets, on_error="skip")
    data = Data("vimeo", layout, tmp_path, crop=16, global_batch=2, workers=0, on_error="skip")
    next(iter(data.train_loader(steps=1)))
    assert data.skipped == 1
    data.val_loader()
    assert data.skipped == 2


def test_a_packed_data_set_is_known_by_any_spelling_of_its_folder(root, tmp_path, monkeypatch):
    packed = tmp_path / "packed"
    pack_clips({"train": _data(root).clips("train")}, packed, context=1)
    monkeypatch.chdir(packed)
    monkeypatch.setenv("HOME", str(tmp_path))
    for spelling in (".", "~/packed", str(packed)):
        assert isinstance(_data(spelling).clips("train")[0].frames[0], ShardFrame)
    frame = ShardFrame(str(packed / "x"), 0, 8, 8)
    nowhere = Data("v", lambda root, split, context: [Clip("a", (frame,) * 3, (0, 2), (1,))], None)
    assert [clip.id for clip in nowhere.clips("train")] == ["a"]  # needs no folder


@pytest.mark.slow
def test_ctrl_c_is_quiet_and_ends_the_workers(root):
    code = textwrap.dedent(
        f"""
        import os, signal
        from midframe.data.layouts import vimeo
        from midframe.data.module import Data
        data = Data("v", vimeo.triplets, {str(root)!r}, global_batch=4, crop=16, workers=2)
        try:
            for step, batch in enumerate(data.train_loader(steps=1000)):
                if step == 3:
                    os.killpg(0, signal.SIGINT)
        except KeyboardInterrupt:
            print("stopped", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert (done.stdout, done.stderr, done.returncode) == ("stopped True\n", "", 0)


def test_wrong_options_name_the_right_ones(root):
    with pytest.raises(UserError, match=r"data\.augment\.flip: no such option.*vertical_flip"):
        _data(root, augment={"flip": 0.5})
    with pytest.raises(UserError, match=r"data\.augment\.crop: no such option"):
        _data(root, augment={"crop": 8})
    with pytest.raises(UserError, match=r"data\.val\.size: no such option.*crop"):
        _data(root, val={"size": 8})
    with pytest.raises(UserError, match=r"data\.workers=-1"):
        _data(root, workers=-1)
    with pytest.raises(UserError, match=r"data\.times=half"):
        _ = _data(root, times="half").train_set
    with pytest.raises(UserError, match="no such file or folder"):
        _data(root / "no").train_loader(steps=1)


def test_fingerprint_follows_the_clips(root, tmp_path):
    fakes.vimeo_triplets(tmp_path / "same", train=7, test=3)
    fakes.vimeo_triplets(tmp_path / "fewer", train=6, test=3)
    fakes.vimeo_triplets(tmp_path / "bigger", train=7, test=3, size=(40, 48))
    names = ("same", "fewer", "bigger")
    same, fewer, bigger = (_data(tmp_path / name).fingerprint() for name in names)
    here = _data(root, seed=1, crop=8).fingerprint()
    assert here == same and len({same, fewer, bigger}) == 3


def test_describe_says_what_is_read(root):
    data = _data(root)
    assert "7 training clips of " in data.describe() and "3 of 3 validation" in data.describe()


def test_clips_without_a_group_are_of_no_known_video(root):
    def layout(root, split, context):
        return [replace(clip, group="") for clip in vimeo.triplets(root, split, context)]

    assert (
        "mine: 7 training clips, 3 of 3 validation clips" in Data("mine", layout, root).describe()
    )


@pytest.mark.parametrize("gpu", [False, True])
def test_workers_by_cores(monkeypatch, gpu):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    of_two = 1 if gpu else 0  # without a GPU the cores compute the network
    for cores, world, expected in ((1, 1, 0), (2, 1, of_two), (64, 1, 8), (16, 4, 3), (2, 4, 0)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=cores: set(range(n)), False)
        monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
        assert worker_count("auto", world) == expected
    assert worker_count(5) == 5


def test_targets_of_a_clip_follow_its_times(tmp_path):
    fakes.gopro(tmp_path)
    layout = partial(gopro.clips, on_error="skip")
    data = Data("gopro", layout, tmp_path, crop=16, global_batch=1, workers=0)
    batch = next(iter(data.train_loader(steps=1)))
    assert torch.equal(batch.inputs.t, torch.arange(1, 8)[None] / 8)


def _clips(*groups: str, frames: int = 3) -> list[Clip]:
    """Clips of shots by these names, whose middle frame has labels."""
    frame = ShardFrame("x", 0, 8, 8)
    flow = {1: (frame, frame)}
    return [
        Clip(f"{i}", (frame,) * frames, (0, 2), (1,), flow, group=g) for i, g in enumerate(groups)
    ]


def _splits(**splits: list[Clip]) -> Data:
    return Data("mine", lambda root, split, context: splits[split], None, val={"split": "val"})


def test_a_shot_on_both_sides_of_the_split_is_told_with_an_example():
    told = _splits(train=_clips("a", "b", "c"), val=_clips("c", "b", "d", "d")).shared_group()
    assert told.startswith("data mine: 2 of 3 shots or videos of the split 'val' are in 'train'")
    assert "such as 'b'" in told and "Clip.group" in told and "\n" not in told
    assert not _splits(train=_clips("a", "b"), val=_clips("c")).shared_group()
    unnamed = _splits(train=_clips("", ""), val=_clips("", ""))
    assert "such as '0'" in unnamed.shared_group(), "the same clips by their ids"
    same = Data("mine", lambda *_: _clips("a"), None, val={"split": "train"})
    assert not same.shared_group(), "somebody asked for that"


def test_clips_without_any_group_are_told_as_nobody_can_look_for_shared_shots():
    first, second = _clips("", ""), [replace(clip, id=f"v{clip.id}") for clip in _clips("", "")]
    told = _splits(train=first, val=second).shared_group()
    assert told.startswith("data mine: no clip has a group, so nothing tells whether a video is")
    assert "'train' and in 'val'; let the layout" in told and "\n" not in told
    assert not _splits(train=_clips("a", ""), val=second).shared_group()
    assert not _splits(train=first, val=[replace(second[0], group="b")]).shared_group()
    one = Data("mine", lambda *_: first, None, val={"split": "train"})
    assert not one.shared_group()


def test_the_summary_tells_of_how_many_samples_there_are_labels():
    clips = _clips("a", frames=3) + _clips("b", frames=7)[:1]
    clips[1] = replace(clips[1], id="other")
    layout = lambda root, split, context: clips  # noqa: E731
    said = {t: Data("mine", layout, None, times=t).describe() for t in ("fixed", "any")}
    assert said["fixed"].endswith("flow labels: all")
    # of three frames one sample can be drawn, of seven there are 35
    assert said["any"].endswith("flow labels: all clips, 51 % of the samples (times any)")
    clips[0] = replace(clips[0], flow={})
    assert (
        "labels: 1 clips, 1.4 % of the samples" in Data("m", layout, None, times="any").describe()
    )
