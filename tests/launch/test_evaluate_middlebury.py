"""The three protocols of Middlebury "other": what each measures, from files to results.

The truth is each definition in float64 by NumPy and scipy, on the frames that the model predicts
with the padding of the protocol.
"""

from __future__ import annotations

import json
import sys

import cv2
import fakes
import numpy as np
import pytest
import torch
from scipy import ndimage

from midframe.launch import evaluate
from midframe.models.base import Pad
from midframe.models.zoo import create_model
from midframe.types import Inputs

CANVAS = Pad(16, "zeros", "after", (480, 640))
SCENES = ("Beanbags", "Dimetrodon")
PROTOCOLS = ("middlebury", "middlebury_softsplat", "middlebury_upr")
# for small pictures: a small canvas
SMALL = Pad(16, "zeros", "after", (64, 96))
SMALL_CANVAS = "benchmark.suites.middlebury.protocol.pad.least=[64,96]"


def _grey_levels(path):
    return cv2.imread(str(path))[..., ::-1].astype(np.float64)


def _predict(name, folder, pad):
    """Return the model's frame (h, w, 3) in grey levels, not rounded."""
    pair = [_grey_levels(folder / f"{n}.png") for n in ("frame10", "frame11")]
    frames = torch.from_numpy(np.stack(pair)[None]).float().movedim(-1, 2) / 255
    x = Inputs(frames, torch.tensor([[0.5]]))
    frame = create_model(name).interpolate(x, pad=pad).frame[0, 0]
    return (frame * 255).permute(1, 2, 0).double().numpy()


def _psnr(a, b):
    return 10 * np.log10(255**2 / ((a - b) ** 2).mean())


def _ie(a, b):
    return np.abs(np.rint(a) - b).mean()


def _ssim(a, b, mean, unbiased, inner):
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ma, mb = mean(a), mean(b)
    va, vb = (unbiased * (mean(x * x) - m * m) for x, m in ((a, ma), (b, mb)))
    cov = unbiased * (mean(a * b) - ma * mb)
    top = (2 * ma * mb + c1) * (2 * cov + c2)
    return (top / ((ma**2 + mb**2 + c1) * (va + vb + c2)))[inner].mean()


def _uniform_ssim(a, b):
    """scikit-image's for 8 bits: 7x7 per channel, sample covariance, 3 pixels of border left."""
    inner = (slice(3, -3), slice(3, -3))
    return _ssim(a, b, lambda x: ndimage.uniform_filter(x, (7, 7, 1)), 49 / 48, inner)


def _volume_ssim(a, b):
    """The colour channels as a third axis: 11x11x11, sigma 1.5, the border replicated."""
    blur = lambda x: ndimage.gaussian_filter(x, 1.5, mode="nearest", radius=5)  # noqa: E731
    return _ssim(a, b, blur, 1.0, ())


def _expected(protocol, model, folder, canvas):
    truth = _grey_levels(folder / "frame10i11.png")
    frame = _predict(model, folder, canvas if protocol == "middlebury" else None)
    if protocol == "middlebury_softsplat":
        frame = np.rint(frame)
        return _psnr(frame, truth), _uniform_ssim(frame, truth), _ie(frame, truth)
    return _psnr(frame, truth), _volume_ssim(frame, truth), _ie(frame, truth)


def _evaluate(monkeypatch, tmp_path, root, model, *overrides):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["evaluate.py"])
    common = [f"benchmark=[{','.join(PROTOCOLS)}]", f"benchmark.root={root}", "device=cpu"]
    command = [*common, f"model={model}", "threads=1", f"out={tmp_path / model}", *overrides]
    assert evaluate.main(command) == 0
    folders = [tmp_path / model / name for name in PROTOCOLS]
    assert sorted((tmp_path / model).iterdir()) == folders
    return [json.loads((folder / "summary.json").read_text()) for folder in folders]


def _check(records, root, model, scenes, canvas):
    """Hold the records against the definitions, and say (psnr, ssim, ie) by protocol."""
    for name, record in zip(PROTOCOLS, records):
        assert record["benchmark"] == f"{name}@1" and record["images"] == len(scenes)
        expected = np.mean([_expected(name, model, root / s, canvas) for s in scenes], 0)
        got = [record["mean"][m] for m in ("psnr", "ssim", "ie")]
        assert got == pytest.approx(list(expected), abs=1e-4), name
    return [tuple(record["mean"][m] for m in ("psnr", "ssim", "ie")) for record in records]


@pytest.mark.parametrize("model", ["average", "dis"])
def test_two_fake_scenes_by_three_protocols(tmp_path, monkeypatch, model):
    root = fakes.middlebury(tmp_path / "data", 2, size=(60, 90), two_folders=False)
    counts = [f"benchmark.suites.{name}.protocol.expected.test=2" for name in PROTOCOLS]
    records = _evaluate(monkeypatch, tmp_path, root, model, *counts, SMALL_CANVAS)
    assert all(record["complete"] for record in records)
    _, rounded, own = _check(records, root, model, SCENES, SMALL)
    assert rounded[0] != own[0] and rounded[1] != own[1]
    assert rounded[2] == pytest.approx(own[2], abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "scenes"), [("average", SCENES), ("dis", SCENES[1:])])
def test_real_scenes_by_three_protocols(tmp_path, monkeypatch, shared_data, model, scenes):
    root = tmp_path / "data"
    root.mkdir()
    for scene in scenes:
        (root / scene).symlink_to(shared_data("middlebury_other") / scene)
    records = _evaluate(monkeypatch, tmp_path, root, model)
    assert not any(record["complete"] for record in records)
    canvas, rounded, own = _check(records, root, model, scenes, CANVAS)
    # rounding moves PSNR by a hair, the other SSIM is another measure, IE is rounded anyway
    assert 0 < abs(rounded[0] - own[0]) < 0.15
    assert rounded[1] < own[1] - 0.002
    assert rounded[2] == pytest.approx(own[2], abs=1e-4)
    if model == "average":  # which no padding moves
        assert canvas == pytest.approx(own, abs=1e-6)
    else:
        assert canvas[0] != own[0]


def test_results_say_how_the_model_was_called(tmp_path, monkeypatch):
    root = fakes.middlebury(tmp_path / "data", 1, size=(40, 50), two_folders=False)
    family = "benchmark.suites.middlebury_upr.protocol.family=snufilm_hard"
    records = _evaluate(monkeypatch, tmp_path, root, "upr", "weights=none", family, SMALL_CANVAS)
    own, canvas = records[1]["calls"], records[0]["calls"]
    assert own[0]["hints"] == {"pyr_level": 1} and own[0]["pad"]["multiple"] == 4
    assert canvas[0]["pad"]["least"] == [64, 96] and canvas[0]["sizes"] == ["50x40"]
    (call,) = records[2]["calls"]
    assert call["hints"] == {"pyr_level": 5} and call["images"] == 1
    assert call["pad"] == {"multiple": 64, "mode": "half", "side": "after", "least": [0, 0]}
    assert '"pyr_level": 5' in (tmp_path / "upr" / "middlebury_upr" / "summary.md").read_text()


def test_the_users_hints_are_used_and_recorded(tmp_path, monkeypatch):
    root = fakes.middlebury(tmp_path / "data", 1, size=(40, 50), two_folders=False)
    theirs = "+benchmark.suites.middlebury_upr.protocol.hints={pyr_level:4,nr_lvl_skipped:1}"
    mine = "+model.hints.pyr_level=2"
    written = ("weights=none", theirs, mine, SMALL_CANVAS)
    records = _evaluate(monkeypatch, tmp_path, root, "upr", *written)
    assert [r["calls"][0]["hints"] for r in records] == [
        {"pyr_level": 2},
        {"pyr_level": 2},
        {"pyr_level": 2, "nr_lvl_skipped": 1},
    ]
