"""Label files: where they lie, what survives a crop, and what is written when something fails."""

from __future__ import annotations

import pickle
from dataclasses import replace
from functools import partial
from pathlib import Path

import fakes
import numpy as np
import pytest
import torch
from torch import Tensor

from midframe.data import labels as files
from midframe.data.flow_files import FloFile, write_flow
from midframe.data.io import ImageFile, write_image
from midframe.data.layouts import gopro, vimeo
from midframe.data.layouts.synthetic import synthetic
from midframe.data.manifest import claim, finish, read_manifest
from midframe.data.module import Data
from midframe.data.records import Box, Clip
from midframe.engine import labels as writing
from midframe.engine.teachers import FlowTeacher
from midframe.errors import UserError

HEAD = {"data": "d", "options": {}, "teacher": {"name": "x"}, "dtype": "float32"}


class Brightness(FlowTeacher):
    """Flow that tells which frames it was made from."""

    chunk = 4
    settings = {"name": "brightness"}

    def __init__(self) -> None:
        self.sizes: list[tuple[int, ...]] = []

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        self.sizes.append((len(first), *first.shape[2:]))
        return (second - first)[:, :2]


def write(
    clips, folder: Path, teacher=None, dtype: str = "float32", layout=None, **options
) -> writing.Work:
    claim(folder, {**HEAD, "dtype": dtype, "options": layout or {}}, "train")
    work = writing.find_work(clips, folder, dtype)
    writing.write_labels(work, folder, teacher or Brightness(), dtype=dtype, workers=2, **options)
    present = lambda c: files.written(folder, c, files.SUFFIXES[dtype])  # noqa: E731
    finish(folder, "train", clips, present, work.left_out)
    return work


def difference(clip: Clip, target: int, end: int) -> np.ndarray:
    first, second = (clip.frames[i].read().astype(np.float32) / 255 for i in (target, end))
    return (second - first)[..., :2]


def test_a_triplets_labels_have_the_published_names() -> None:
    triplet = Clip("00001/0002", (), (0, 2), (1,))
    assert files.label_path("flow", triplet, 1, 0) == "flow/00001/0002/flow_t0.flo"
    assert files.label_path("flow", triplet, 1, 1) == "flow/00001/0002/flow_t1.flo"


def test_other_labels_are_named_by_the_numbers_of_their_frames() -> None:
    four = Clip("a/b", (), (0, 2, 4, 6), (3,))
    assert [files.label_path("f", four, 3, side, ".npy") for side in range(2)] == [
        "f/a/b/flow_3_2.npy",
        "f/a/b/flow_3_4.npy",
    ]


@pytest.mark.parametrize("context", [1, 2])
def test_every_target_points_to_the_two_middle_inputs(tmp_path: Path, context: int) -> None:
    clips = gopro.clips(fakes.gopro(tmp_path, frames=27), "train", context, on_error="skip")
    teacher = Brightness()
    work = write(clips, tmp_path / "flow", teacher)
    assert len(work) == 7 * len(clips) and set(teacher.sizes) <= {(4, 32, 48), (2, 32, 48)}
    for clip in files.with_labels(clips, tmp_path / "flow", "train"):
        ends = clip.inputs[context - 1 : context + 1]
        assert tuple(clip.flow) == clip.targets
        for target, pair in clip.flow.items():
            for source, end in zip(pair, ends):
                np.testing.assert_allclose(source.read(), difference(clip, target, end), atol=1e-6)


def test_sizes_are_not_mixed_in_a_call(tmp_path: Path) -> None:
    sizes = [(32, 48), (40, 48), (32, 48), (16, 16), (32, 48)]
    clips = []
    for number, size in enumerate(sizes):
        frames = [ImageFile(str(tmp_path / f"{number}_{i}.png")) for i in range(3)]
        for i, frame in enumerate(frames):
            write_image(frame.path, fakes.moving(i / 2, size, seed=number))
        clips.append(Clip(f"c{number}", tuple(frames), (0, 2), (1,)))
    teacher = Brightness()
    write(clips, tmp_path / "flow", teacher)
    assert sorted(teacher.sizes) == [(2, 16, 16), (2, 32, 48), (2, 40, 48), (4, 32, 48)]
    for clip in files.with_labels(clips, tmp_path / "flow", "train"):
        np.testing.assert_allclose(clip.flow[1][1].read(), difference(clip, 1, 2), atol=1e-6)


def test_half_precision_takes_half_the_room_and_reads_as_float32(tmp_path: Path) -> None:
    clips = vimeo.triplets(fakes.vimeo_triplets(tmp_path, flow=False), "train")
    write(clips, tmp_path / "flow", dtype="float16")
    (clip, *_) = fakes.labelled(tmp_path)  # the folder's description says that it is .npy
    source = clip.flow[1][0]
    wanted = difference(clip, 1, 0)
    assert Path(source.path).stat().st_size == 128 + wanted.size * 2 and source.size() == (32, 48)
    assert source.read().dtype == np.float32
    np.testing.assert_allclose(source.read(), wanted, atol=1e-3)
    part = source.read(Box(3, 5, 7, 11))
    np.testing.assert_array_equal(part, source.read()[3:10, 5:16])
    Path(source.path).write_bytes(Path(source.path).read_bytes()[:-1])
    with pytest.raises(UserError, match=r"flow_t0.npy: cannot be read .*write it again"):
        source.read()


def test_labels_go_through_crops_flips_and_time_reversal_like_the_layouts_own(
    tmp_path: Path,
) -> None:
    """Exact flow of rendered scenes, once from the layout and once from files."""

    def layout(root, split, context):
        return synthetic(root, split, context, size=48, scenes=6, val_scenes=2, factor=3)

    folder = tmp_path / "labels"
    for clip in layout(None, "train", 1):
        for target, pair in clip.flow.items():
            for side, source in enumerate(pair):
                path = Path(files.label_path(folder, clip, target, side))
                path.parent.mkdir(parents=True, exist_ok=True)
                write_flow(path, source.read())
    names = ["vertical_flip", "horizontal_flip", "transpose", "rotate", "time_reversal", "resize"]
    common = {
        "crop": 24,
        "global_batch": 6,
        "workers": 0,
        "augment": dict.fromkeys(names, 0.5),
        "val": {"split": "val"},
    }
    exact = Data("synthetic", layout, **common)
    read = Data("synthetic", layout, labels=folder, **common)
    for one, two in zip(exact.train_loader(steps=3), read.train_loader(steps=3)):
        assert torch.equal(one.inputs.frames, two.inputs.frames) and two.flow_valid is None
        torch.testing.assert_close(
            one.flow, two.flow, atol=1e-4, rtol=0
        )  # rendered by crop or whole
    assert "flow labels: all" in read.describe()
    none = Data("synthetic", layout, labels="none", **common)
    assert next(iter(none.train_loader(steps=1))).flow is None
    assert "flow labels: none" in none.describe()
    pickle.loads(pickle.dumps(read.clips("train")))  # as workers get it where they are spawned


def test_a_damaged_frame_stops_and_is_named(tmp_path: Path) -> None:
    clips = vimeo.triplets(fakes.vimeo_triplets(tmp_path, flow=False), "train")
    bad = Path(clips[1].frames[2].path)
    bad.write_bytes(bad.read_bytes()[:-20])
    with pytest.raises(UserError, match=rf"clip {clips[1].id}: {bad}: .*data.on_error=skip"):
        write(clips, tmp_path / "flow")
    assert not list((tmp_path / "flow").glob("*.part"))


def test_what_is_left_out_has_no_labels_until_it_is_mended(tmp_path: Path, caplog) -> None:
    clips = vimeo.triplets(fakes.vimeo_triplets(tmp_path, flow=False), "train")
    bad = Path(clips[1].frames[0].path)
    write_image(bad, fakes.moving(0, (20, 20)))  # of another size
    work = write(clips, tmp_path / "flow", on_error="skip")
    assert work.left_out == {clips[1].id: [1]} and "20x20" in caplog.text or "48x32" in caplog.text
    manifest = read_manifest(tmp_path / "flow")
    assert manifest["splits"]["train"]["complete"]
    found = fakes.labelled(tmp_path)
    assert [bool(clip.flow) for clip in found] == [True, False, True, True]
    write_image(bad, fakes.moving(0, seed=1))
    again = write(clips, tmp_path / "flow", on_error="skip")
    assert (len(again), again.done) == (1, 3)
    assert all(clip.flow for clip in fakes.labelled(tmp_path))
    assert read_manifest(tmp_path / "flow")["splits"]["train"]["left_out"] == {}


def test_a_full_disk_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = vimeo.triplets(fakes.vimeo_triplets(tmp_path, flow=False), "train")

    def full(path, flow):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "write_flow", full)
    with pytest.raises(UserError, match="cannot be written .No space left on device"):
        write(clips, tmp_path / "flow")


def test_room_is_checked_with_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = vimeo.triplets(fakes.vimeo_triplets(tmp_path, flow=False, size=(256, 448)), "train")
    work = writing.find_work(clips, tmp_path, "float32")
    free = type("Usage", (), {"free": 7_000_000})
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda folder: free)
    need = 4 * 2 * 256 * 448 * 8 / 1e6  # 7.3 MB
    with pytest.raises(UserError, match=rf"take {need:.1f} MB and 7.0 MB are free.*3.7 MB"):
        writing.check_room(work, tmp_path, "float32")
    writing.check_room(work, tmp_path, "float16")


def test_flow_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    class Broken(Brightness):
        def __call__(self, first: Tensor, second: Tensor) -> Tensor:
            return super().__call__(first, second) / 0

    clips = vimeo.triplets(fakes.vimeo_triplets(tmp_path, flow=False), "train")
    with pytest.raises(UserError, match="not finite.*weights"):
        write(clips, tmp_path / "flow", Broken())


def test_labels_of_part_of_the_clips_are_used_and_told(tmp_path: Path, caplog) -> None:
    clips = vimeo.triplets(fakes.vimeo_triplets(tmp_path, flow=False), "train")
    write(clips[:3], tmp_path / "flow")
    data = Data("vimeo", vimeo.triplets, tmp_path, crop=16)
    assert [bool(clip.flow) for clip in data.clips("train")] == [True, True, True, False]
    assert "3 of 4 training clips have flow labels" in caplog.text


def test_labels_beside_any_data_set_are_found_or_left_out(tmp_path: Path) -> None:
    root = fakes.gopro(tmp_path / "gopro")
    options = {"crop": 16, "workers": 0, "on_error": "skip"}
    layout = partial(gopro.clips, factor=8, on_error="skip")
    bare = Data("gopro", layout, root, **options)
    assert not any(clip.flow for clip in bare.clips("train"))
    write(bare.clips("train"), root / "flow", layout=files.layout_options(layout))
    read = Data("gopro", layout, root, **options)
    assert all(set(clip.flow) == set(clip.targets) for clip in read.clips("train"))
    assert not any(clip.flow for clip in read.clips("test"))  # these were not labelled
    none = Data("gopro", layout, root, labels="none", **options)
    assert not any(clip.flow for clip in none.clips("train"))
    other = Data("gopro", partial(gopro.clips, factor=4, on_error="skip"), root, **options)
    with pytest.raises(UserError, match="layout.factor=8, but this is 4.*data.labels=none"):
        other.clips("train")


def test_a_folder_flow_of_something_else_is_left_alone(tmp_path: Path) -> None:
    root = fakes.gopro(tmp_path)
    clips = gopro.clips(root, "train", on_error="skip")
    (root / "flow" / clips[0].id).mkdir(parents=True)
    (root / "flow" / clips[0].id / "wheel.png").touch()
    data = Data("gopro", partial(gopro.clips, on_error="skip"), root)
    assert not any(clip.flow for clip in data.clips("train"))


def test_labels_of_the_layout_itself_come_before_the_folder(tmp_path: Path) -> None:
    root = fakes.vimeo_triplets(tmp_path)
    own = [replace(c, flow={1: (c.frames[0], c.frames[1])}) for c in vimeo.triplets(root, "train")]
    assert files.attach(own, None, root, "train", {}) == own


def test_labels_of_other_layout_options_are_refused(tmp_path: Path) -> None:
    root = fakes.gopro(tmp_path / "gopro")
    claim(tmp_path / "labels", {**HEAD, "options": {"factor": 8}}, "train")
    layout = partial(gopro.clips, factor=4, on_error="skip")
    data = Data("gopro", layout, root, labels=tmp_path / "labels", on_error="skip")
    with pytest.raises(UserError, match="made with data.layout.factor=8, but this is 4.*use that"):
        data.clips("train")


@pytest.mark.parametrize("asked", [True, False])
def test_labels_of_other_layout_options_are_left_out_where_nothing_reads_them(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, asked: bool
) -> None:
    root = fakes.gopro(tmp_path / "gopro")
    claim(folder := root / "flow", {**HEAD, "options": {"factor": 8}}, "train")
    options = {"on_error": "skip", "val": {"split": "test"}, "labels": folder if asked else None}
    layout = partial(gopro.clips, factor=4, on_error="skip")
    data = Data("gopro", layout, root, needs_labels=False, **options)
    for split in ("train", "test"):
        assert len(data.clips(split)) and not any(clip.flow for clip in data.clips(split))
    (said,) = [r.getMessage() for r in caplog.records if "factor" in r.getMessage()]
    assert said.startswith(f"note: data.labels={folder}: made with data.layout.factor=8, but this")
    assert said.endswith("left out, since no loss term reads them")
    (tmp_path / "nowhere").touch()
    with pytest.raises(UserError, match="no such folder"):
        Data("gopro", layout, root, labels=tmp_path / "nowhere", needs_labels=False).clips("train")


@pytest.mark.parametrize("made", [True, False])
def test_a_folder_without_labels_of_this_data_set_is_an_error(tmp_path: Path, made: bool) -> None:
    root = fakes.vimeo_triplets(tmp_path / "v")
    folder = tmp_path / "labels"
    if made:
        claim(folder, HEAD, "train")
    with pytest.raises(UserError, match="no labels for any" if made else "no such folder"):
        Data("vimeo", vimeo.triplets, root, labels=folder).clips("train")


def test_a_published_folder_needs_no_description(tmp_path: Path) -> None:
    root = fakes.vimeo_triplets(tmp_path / "v")
    (tmp_path / "elsewhere").mkdir()
    (root / "flow").rename(tmp_path / "elsewhere" / "flow")
    data = Data("vimeo", vimeo.triplets, root, labels=tmp_path / "elsewhere" / "flow")
    (clip, *_) = data.clips("train")
    assert isinstance(clip.flow[1][0], FloFile)
    np.testing.assert_array_equal(clip.flow[1][0].read(), fakes.moving_flow(0.5, 0))
