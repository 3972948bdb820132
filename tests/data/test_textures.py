"""Photographs as textures of synthetic scenes: exact flow, no photograph in two splits."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import fakes
import numpy as np
import pytest
import torch

from midframe.data import textures
from midframe.data.io import write_image
from midframe.data.layouts.synthetic import synthetic
from midframe.data.module import Data
from midframe.data.records import Box
from midframe.data.synthetic import (
    SPLITS,
    Rendered,
    RenderedFlow,
    SceneSpec,
    build,
    occluded,
    visible,
)
from midframe.data.textures import CUTS, TEXTURE, find_photographs, photograph_cut
from midframe.errors import UserError
from midframe.ops import backwarp

NAMES = [f"{name}.png" for name in ("bark", "door", "lake", "moss", "rose", "sand", "wall")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fakes.photographs(tmp_path / "photographs", NAMES)


@pytest.fixture
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Textures that take time to be drawn are grey, where they do not matter."""
    grey = np.full((TEXTURE, TEXTURE, 3), 99, np.uint8)
    monkeypatch.setattr(textures, "texture_table", lambda *_: grey)
    build.cache_clear()
    yield
    build.cache_clear()


def _warp(frame: np.ndarray, flow: np.ndarray) -> np.ndarray:
    image = torch.from_numpy(frame.astype(np.float32)).permute(2, 0, 1)[None]
    field = torch.from_numpy(flow).permute(2, 0, 1)[None]
    return backwarp(image, field)[0].permute(1, 2, 0).numpy()


def _near(mask: np.ndarray) -> np.ndarray:
    """Where a mask changes within two pixels."""
    shifts = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)]
    return np.any([np.roll(mask, shift, (0, 1)) != mask for shift in shifts], axis=0)


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_the_flow_is_exact_with_photographs(end: float, folder: Path) -> None:
    shown = find_photographs(folder, 0, 1.0)
    for index in range(2):
        scene = SceneSpec(3, "train", index, 96, 96, motion=(6.0, 12.0), photographs=shown)
        assert all(layer.surface.mirrored for layer in build(scene))
        middle, other = Rendered(scene, 0.5).read(), Rendered(scene, end).read()
        flow = RenderedFlow(scene, 0.5, end).read()
        hidden = occluded(scene, 0.5, end)
        edges = _near(visible(scene, 0.5, Box(0, 0, 96, 96))) | _near(hidden)
        seen = ~hidden & ~edges
        error = np.abs(_warp(other, flow) - middle).mean(-1)[seen]
        still = np.abs(other.astype(float) - middle).mean(-1)[seen]
        assert seen.mean() > 0.3
        assert error.mean() < 1.5 < 0.35 * still.mean()


@pytest.mark.usefixtures("no_drawing")
def test_a_scene_moves_with_photographs_as_it_does_without(folder: Path) -> None:
    plain = SceneSpec(0, "val", 4, 64, 64)
    scene = replace(plain, photographs=find_photographs(folder, 1, 0.5))
    assert len(build(plain)) == len(build(scene))
    assert np.array_equal(*(RenderedFlow(s, 0.25, 1.0).read() for s in (plain, scene)))
    assert not np.array_equal(*(Rendered(s, 0.5).read() for s in (plain, scene)))


@pytest.mark.usefixtures("no_drawing")
def test_their_share_of_the_layers_is_the_one_asked_for(folder: Path) -> None:
    shown = find_photographs(folder, 0, 0.25)
    scenes = (SceneSpec(0, "train", i, 32, 32, (0, 0), photographs=shown) for i in range(200))
    are = [layer.surface.mirrored for scene in scenes for layer in build(scene)]
    assert len(are) == 200 and np.mean(are) == pytest.approx(0.25, abs=0.1)


@pytest.mark.parametrize("count", [3, 4, 12])
def test_no_photograph_serves_two_splits_and_every_split_has_some(
    count: int, tmp_path: Path
) -> None:
    """Every picture is of a grey of its own, by which its cuts are known."""
    for i in range(count):
        write_image(tmp_path / f"{i}.png", np.full((64, 64, 3), 20 * i, np.uint8))
    seen = {}
    for split in SPLITS.values():
        shown = find_photographs(tmp_path, split, 1.0)
        cuts = [photograph_cut(shown, 0, split, number) for number in range(count)]
        seen[split] = {int(cut.max()) // 20 for cut in cuts}
        assert seen[split] == {int(name[:-4]) for name, _ in shown.files}
    assert all(seen.values()) and sum(map(len, seen.values())) == count
    assert set.union(*seen.values()) == set(range(count))


def test_the_order_of_a_folder_does_not_matter_but_its_content_does(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "licences.json").write_text("{}")
    (folder / "more.png").mkdir()
    first, listed = find_photographs(folder, 0, 0.5), list(folder.iterdir())
    moved = folder.rename(folder.with_name("moved"))
    listed = [moved / path.name for path in listed]
    monkeypatch.setattr(Path, "iterdir", lambda _: iter(sorted(listed, reverse=True)))
    again = find_photographs(moved, 0, 0.5)
    assert again == first and again.files == first.files and again.folder != first.folder
    write_image(moved / first.files[0][0], np.zeros((64, 64, 3), np.uint8))
    assert find_photographs(moved, 0, 0.5) != first


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_cut_is_a_part_of_the_photograph_reduced_and_upright(suffix, tmp_path) -> None:
    """Red rises to the right, green downwards: the slopes tell the scale, of both axes."""
    y, x = np.mgrid[:600, :840]
    ramps = np.stack([x * 255 / 840, y * 255 / 600, 0 * x], -1).round().astype(np.uint8)
    for name in "abc":
        write_image(tmp_path / f"{name}{suffix}", ramps)
    shown = find_photographs(tmp_path, 0, 1.0)
    scales = []
    for number in range(4):
        cut = photograph_cut(shown, 0, 0, number).astype(float)
        height, width = cut.shape[:2]
        assert max(height, width) <= TEXTURE and min(height, width) >= 256
        down = (cut[-1, :, 1].mean() - cut[0, :, 1].mean()) / (height - 1) * 600 / 255
        right = (cut[:, -1, 0].mean() - cut[:, 0, 0].mean()) / (width - 1) * 840 / 255
        assert 1 - 0.02 < down < 600 / 256 + 0.05 and right == pytest.approx(down, rel=0.03)
        scales.append(right)
    assert max(scales) > 1.5 * min(scales)


def test_a_cut_goes_on_as_its_mirror_image(folder: Path) -> None:
    """Fakes are smooth pictures of 72x96; repeated, they would jump at their borders."""
    scene = SceneSpec(0, "train", 1, 200, 200, layers=(0, 0))
    scene = replace(scene, photographs=find_photographs(folder, 0, 1.0))
    frame = Rendered(scene, 0.5).read().astype(int)
    steps = [np.abs(np.diff(frame, axis=axis)).max() for axis in (0, 1)]
    (texture,) = [layer.surface.texture.astype(int) for layer in build(scene)]
    own = max(np.abs(np.diff(texture, axis=axis)).max() for axis in (0, 1))
    jump = np.abs(texture[:, 0] - texture[:, -1]).max()
    assert max(steps) < 2.5 * own < jump


def test_only_what_is_shown_is_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = [name for split in (1, 2) for name, _ in find_photographs(folder, split, 0.5).files]
    for name in held:
        (folder / name).write_bytes(b"broken")
    assert len(find_photographs(folder, 0, 0.5).files) == len(NAMES) - len(held)
    monkeypatch.setattr(textures, "CUTS", 2)
    few = find_photographs(folder, 0, 0.5)
    (folder / (set(NAMES) - set(held) - {name for name, _ in few.files}).pop()).write_bytes(b"")
    assert find_photographs(folder, 0, 0.5) == few and len(few.files) == 2
    assert photograph_cut.cache_info().maxsize == 2 * CUTS


def _png_that_says(height: int, width: int) -> bytes:
    head = struct.pack(">I4sII5sI", 13, b"IHDR", width, height, b"\x08\x02\0\0\0", 0)
    return b"\x89PNG\r\n\x1a\n" + head + struct.pack(">I4sI", 0, b"IEND", 0)


def _cut_off(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_cut_off, "no PNG or JPEG picture, or cut off"),
        (lambda _: b"<html>", "no PNG or JPEG picture, or cut off"),
        (lambda _: b"", "no PNG or JPEG picture, or cut off"),
        (lambda _: _png_that_says(20_000, 20_000), "20000x20000 pixels; photographs have 64"),
        (lambda _: _png_that_says(8, 2000), "2000x8 pixels; photographs have 64"),
    ],
    ids=["cut off", "no picture", "empty", "huge", "thin"],
)
def test_what_is_no_photograph_is_named_and_never_decoded(harm, said, folder, monkeypatch) -> None:
    path = folder / find_photographs(folder, 0, 0.5).files[0][0]
    path.write_bytes(harm(path.read_bytes()))
    monkeypatch.setattr(textures, "decode", None)
    with pytest.raises(UserError, match=f"{path}: {said}"):
        find_photographs(folder, 0, 0.5)


def test_a_file_of_gigabytes_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / find_photographs(folder, 0, 0.5).files[0][0]
    with path.open("r+b") as file:
        file.truncate(1 << 33)  # a hole: it takes no room
    monkeypatch.setattr(Path, "read_bytes", None)
    with pytest.raises(UserError, match=f"{path}: 8192 MiB are too large"):
        find_photographs(folder, 0, 0.5)


def test_what_is_damaged_within_or_changes_later_is_named(folder: Path) -> None:
    shown = find_photographs(folder, 0, 1.0)
    path = folder / shown.files[0][0]
    whole = path.read_bytes()
    start = whole.index(b"IDAT") + 4
    path.write_bytes(whole[:start] + bytes(200) + whole[start + 200 :])
    with pytest.raises(UserError, match=f"{path}: was changed after the run had begun"):
        photograph_cut(shown, 7, 0, 0)
    with pytest.raises(UserError, match=f"{path}: not a picture that can be decoded"):
        photograph_cut(find_photographs(folder, 0, 1.0), 7, 0, 0)
    path.unlink()
    with pytest.raises(UserError, match=f"{path}: no such file"):
        photograph_cut(shown, 7, 0, 0)


def test_a_folder_that_is_missing_or_too_empty_is_told(folder: Path) -> None:
    where = folder / "nowhere"
    with pytest.raises(UserError, match=r"nowhere: no such folder; `midframe fetch open` makes"):
        synthetic(None, "train", photographs=str(where))
    for name in NAMES[2:]:
        (folder / name).unlink()
    with pytest.raises(UserError, match="2 PNG or JPEG pictures; give three or more"):
        synthetic(None, "train", photographs=str(folder))
    for share in (0, 1.5):
        with pytest.raises(UserError, match=r"data\.layout\.photograph_share="):
            synthetic(None, "train", photographs=str(folder), photograph_share=share)


def test_a_run_can_tell_which_photographs_it_was_made_of(folder: Path) -> None:
    def data(photographs: Path | None) -> Data:
        shown = photographs and str(photographs)
        layout = partial(synthetic, photographs=shown, size=32, scenes=3, val_scenes=2)
        return Data("synthetic", layout, val={"split": "val"}, labels="none")

    first, plain = data(folder), data(None)
    told = first.made_of()
    assert {n for n, _ in find_photographs(folder, 2, 1.0).files} == set(NAMES) - set(told)
    assert plain.made_of() == {} and plain.fingerprint() != first.fingerprint()
    assert data(folder).fingerprint() == first.fingerprint()
    name = next(iter(told))
    write_image(folder / name, np.zeros((64, 64, 3), np.uint8))
    other = data(folder)
    assert other.fingerprint() != first.fingerprint()
    assert {n for n in told if other.made_of()[n] != told[n]} == {name}


def test_sources_stay_small_and_picklable(folder: Path) -> None:
    scenes = synthetic(None, "train", photographs=str(folder), photograph_share=1.0, size=32)
    clip = scenes[12]
    again = pickle.loads(pickle.dumps(clip))
    assert len(pickle.dumps(clip)) < 4000 and again == clip
    assert str(folder) not in repr(clip), "a pack knows scenes by what they show, not where"
    assert np.array_equal(again.frames[1].read(), clip.frames[1].read())
