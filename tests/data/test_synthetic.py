"""Synthetic scenes: exact frames, exact flow, the same scene everywhere."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import fakes
import numpy as np
import pytest
import torch

from midframe.data.layouts.synthetic import synthetic
from midframe.data.records import Box
from midframe.data.synthetic import (
    Rendered,
    RenderedFlow,
    SceneSpec,
    build,
    occluded,
    visible,
)
from midframe.data.textures import texture_table
from midframe.errors import UserError
from midframe.ops import backwarp


def warp(frame: np.ndarray, flow: np.ndarray) -> np.ndarray:
    image = torch.from_numpy(frame.astype(np.float32)).permute(2, 0, 1)[None]
    field = torch.from_numpy(flow).permute(2, 0, 1)[None]
    return backwarp(image, field)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("t", [0.5, 0.25, 0.9])
@pytest.mark.parametrize("end", [0, 1])
def test_frames_warped_by_their_flow_give_the_middle_frame(t: float, end: int) -> None:
    for index in range(4):
        scene = SceneSpec(3, "val", index, layers=(3, 5), motion=(6.0, 16.0), acceleration=0.5)
        middle, other = Rendered(scene, t).read(), Rendered(scene, float(end)).read()
        flow = RenderedFlow(scene, t, float(end)).read()
        seen = ~occluded(scene, t, float(end))
        seen &= ~_near_edges(visible(scene, t, Box(0, 0, 160, 160)))
        seen &= ~_near_edges(occluded(scene, t, float(end)))
        error = np.abs(warp(other, flow) - middle).mean(-1)[seen]
        still = np.abs(other.astype(float) - middle).mean(-1)[seen]
        assert seen.mean() > 0.5
        assert error.mean() < 2.0  # bilinear interpolation of the rendered frame, rounding
        assert error.mean() < 0.35 * still.mean()


def _near_edges(labels: np.ndarray) -> np.ndarray:
    near = np.zeros(labels.shape, bool)
    for dy in range(-4, 5):
        for dx in range(-4, 5):
            near |= np.roll(labels, (dy, dx), (0, 1)) != labels
    return near


def test_whole_pixel_translation_shifts_the_picture_exactly() -> None:
    scene = SceneSpec(0, "train", 5, layers=(0, 0), motion=(8.0, 8.0), rotation=0, zoom=0)
    (background,) = build(scene)
    object.__setattr__(background, "velocity", np.array([6.0, -4.0]))
    first, middle, last = (Rendered(scene, t).read().astype(int) for t in (0.0, 0.5, 1.0))
    assert np.abs(middle[:-2, 3:] - first[2:, :-3]).max() <= 1
    assert np.abs(last[:-4, 6:] - first[4:, :-6]).max() <= 1
    build.cache_clear()


def test_a_layers_centre_goes_its_way_and_the_flow_there_says_so() -> None:
    scene = SceneSpec(0, "val", 2, layers=(1, 1), motion=(9.0, 9.0))
    background, layer = build(scene)
    for item in (background, layer):
        way = item.place(1.0)[:2, 2] - item.place(0.0)[:2, 2]
        assert np.hypot(*way) == pytest.approx(9.0)
        assert item.place(0.5)[:2, 2] == pytest.approx(item.centre)
    centre = (scene.width - 1) / 2
    alone = SceneSpec(0, "val", 2, layers=(0, 0), motion=(9.0, 9.0))
    flow = RenderedFlow(alone, 0.5, 1.0).read()
    half = build(alone)[0].velocity / 2
    corner = int(centre)
    assert flow[corner : corner + 2, corner : corner + 2].mean((0, 1)) == pytest.approx(
        half, abs=1e-2
    )


def test_acceleration_bends_the_way_but_keeps_its_ends() -> None:
    for index in range(8):
        straight = build(SceneSpec(0, "val", index))[0]
        bent = build(SceneSpec(0, "val", index, acceleration=1.0))[0]
        for t in (0.0, 1.0):
            assert bent.place(t) == pytest.approx(straight.place(t))
        off = bent.place(0.5)[:2, 2] - straight.place(0.5)[:2, 2]
        assert 0 < np.hypot(*off) <= np.hypot(*straight.velocity) / 8 + 1e-9


def test_no_way_is_longer_than_asked_for() -> None:
    for index in range(40):
        scene = SceneSpec(1, "train", index, motion=(0.5, 6.0), rotation=0.3, zoom=0.3)
        flow = RenderedFlow(scene, 0.0, 1.0).read(Box(40, 40, 80, 80))
        assert np.hypot(flow[..., 0], flow[..., 1]).max() <= 6.0 * 1.7
    still = SceneSpec(1, "train", 3, motion=(0.0, 0.0))
    assert not RenderedFlow(still, 0.0, 1.0).read().any()
    assert np.array_equal(Rendered(still, 0.0).read(), Rendered(still, 1.0).read())


def test_a_front_layer_hides_what_lies_behind() -> None:
    hidden = [
        occluded(SceneSpec(0, "val", i, layers=(4, 5), motion=(12.0, 16.0)), 0.5, 1.0).mean()
        for i in range(6)
    ]
    assert 0.01 < np.mean(hidden) < 0.4


def test_a_box_reads_the_same_pixels_as_the_whole() -> None:
    scene = SceneSpec(0, "train", 7, layers=(4, 5))
    box = Box(11, 37, 64, 80)
    rows, columns = slice(11, 75), slice(37, 117)
    frame = Rendered(scene, 0.5)
    assert frame.size() == (160, 160)
    cut = frame.read()[rows, columns].astype(int)
    assert np.abs(frame.read(box) - cut).max() <= 2
    flow = RenderedFlow(scene, 0.5, 0.0)
    assert np.allclose(flow.read(box), flow.read()[rows, columns], atol=1e-4)
    assert frame.read(box).dtype == np.uint8 and flow.read(box).dtype == np.float32


def _digest(index: int, photographs: str | None = None) -> str:
    clip = synthetic(None, "train", 1, size=64, photographs=photographs)[index]
    digest = hashlib.sha256()
    for source in (*clip.frames, *clip.flow[1]):
        digest.update(source.read().tobytes())
    return digest.hexdigest()


@pytest.mark.slow
def test_every_process_renders_the_same_scene(tmp_path: Path) -> None:
    folder = str(fakes.photographs(tmp_path))
    code = (
        f"import importlib.util as u; s = u.spec_from_file_location('t', {__file__!r});"
        "m = u.module_from_spec(s); s.loader.exec_module(m); m._digest(3); print(m._digest(99));"
        f"print(m._digest(99, {folder!r}))"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    assert out.stdout.split() == [_digest(99), _digest(99, folder)]


def test_sources_are_small_and_picklable() -> None:
    clip = synthetic(None, "train")[12]
    assert len(pickle.dumps(clip)) < 2000
    again = pickle.loads(pickle.dumps(clip))
    assert again == clip
    assert np.array_equal(again.frames[1].read(), clip.frames[1].read())


def test_splits_share_neither_scenes_nor_textures() -> None:
    train, val = synthetic(None, "train"), synthetic(None, "val")
    assert len(val) == 64 and len(train) == 100_000
    assert not {c.group for c in val} & {c.group for c in train[:1000]}
    assert not np.array_equal(train[0].frames[0].read(), val[0].frames[0].read())
    assert not np.array_equal(texture_table(0, 0, 1), texture_table(0, 1, 1))


def test_clips_lie_on_the_time_grid_for_any_factor_and_context() -> None:
    clip = synthetic(None, "val", 2, factor=4, size=32)[0]
    assert clip.inputs == (0, 4, 8, 12) and clip.targets == (5, 6, 7)
    assert [clip.time(i) for i in clip.inputs] == [-1, 0, 1, 2]
    for i, source in enumerate(clip.frames):
        assert source.t == pytest.approx(clip.time(i))
    assert all(
        (f0.start, f0.end, f1.end) == (clip.time(i), 0.0, 1.0) for i, (f0, f1) in clip.flow.items()
    )


def test_the_average_is_a_poor_guess() -> None:
    def psnr(a: np.ndarray, b: np.ndarray) -> float:
        return float(10 * np.log10(255**2 / np.mean((a - b) ** 2)))

    gaps = []
    for clip in synthetic(None, "val")[:8]:
        first, middle, last = (f.read().astype(float) for f in clip.frames)
        back = warp(first, clip.flow[1][0].read()), warp(last, clip.flow[1][1].read())
        gaps.append(psnr((back[0] + back[1]) / 2, middle) - psnr((first + last) / 2, middle))
    assert np.mean(gaps) > 3


def test_options_out_of_range_are_told() -> None:
    with pytest.raises(UserError, match="splits"):
        synthetic(None, "training")
    with pytest.raises(UserError, match=r"data\.layout\.factor=1"):
        synthetic(None, "train", factor=1)
    with pytest.raises(UserError, match=r"data\.layout\.motion="):
        synthetic(None, "train", motion=-1)
    with pytest.raises(IndexError):
        synthetic(None, "val")[64]
