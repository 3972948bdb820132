"""VMAF against values that torchmetrics publishes, and as a video between its ends."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest
import torch

from midframe.benchmark.protocol import Metric
from midframe.errors import UserError
from midframe.metrics import digests, vmaf

package = pytest.importorskip("vmaf_torch", reason="vmaf-torch computes it: pip install vmaf-torch")
# of the example in torchmetrics' page on the metric, which rounds them
PUBLISHED = [
    [9.99, 15.90, 14.26, 16.61, 15.91, 14.30, 13.58, 13.49, 15.47, 20.28],
    [6.25, 11.30, 17.30, 11.46, 19.06, 14.93, 14.05, 14.41, 12.47, 14.82],
]


def test_published_values():
    pred, target = (
        torch.rand(2, 3, 10, 32, 32, generator=torch.manual_seed(seed)) for seed in (42, 43)
    )
    for one, other, expected in zip(pred, target, PUBLISHED):
        found = vmaf(one.transpose(0, 1), other.transpose(0, 1))
        assert found.dtype == torch.float32
        assert found.tolist() == pytest.approx(expected, abs=0.006)


def moving(count: int) -> torch.Tensor:
    """A smooth pattern that moves 3 pixels a frame, (count, 3, 48, 64)."""
    wide = torch.rand(3, 12, 40)
    wide = torch.nn.functional.interpolate(wide[None], (48, 160), mode="bicubic")[0].clamp(0, 1)
    return torch.stack([wide[..., 3 * i : 3 * i + 64] for i in range(count)])


def test_ends_make_the_clip_the_video_that_it_is():
    video = moving(5)
    worse = (video + 0.05 * torch.randn_like(video)).clamp(0, 1)
    whole = vmaf(worse, video)
    ends = torch.stack((video[0], video[-1]))
    between = vmaf(worse[1:4], video[1:4], ends=ends)
    torch.testing.assert_close(between, whole[1:4], rtol=1e-4, atol=1e-3)
    single = torch.cat([vmaf(p[None], t[None]) for p, t in zip(worse[1:4], video[1:4])])
    assert (between - single).abs().min() > 0.5  # what motion is worth
    middle = vmaf(worse[2:3], video[2:3], ends=video[[1, 3]])
    assert middle.item() == pytest.approx(whole[2].item(), abs=1e-3)


def test_equal_images_score_most_and_stills_less_than_100():
    video = moving(3)
    assert vmaf(video[1:2], video[1:2]).item() == pytest.approx(97.43, abs=0.01)
    moved = vmaf(video[1:2], video[1:2], ends=video[[0, 2]]).item()
    assert 97.43 < moved <= 100
    worse = [vmaf((video + s * torch.randn_like(video)).clamp(0, 1), video) for s in (0.02, 0.2)]
    assert (worse[0] > worse[1]).all() and worse[1].min() >= 0


def test_luma_and_enhancement():
    video = moving(3)
    sharper = (video + 0.2 * (video - video.mean((2, 3), keepdim=True))).clamp(0, 1)
    plain, neg = vmaf(sharper, video), vmaf(sharper, video, neg=True)
    assert (neg < plain).any() and (neg <= plain).all()
    worse = (video + 0.05 * torch.randn_like(video)).clamp(0, 1)
    by_hand = (16 + 219 * video[:, :1]) / 255, (16 + 219 * worse[:, :1]) / 255
    grey = [x.expand(-1, 3, -1, -1) for x in by_hand]
    flat = [x[:, :1].expand(-1, 3, -1, -1) for x in (video, worse)]
    limited = vmaf(flat[1], flat[0], luma="limited")
    torch.testing.assert_close(limited, vmaf(grey[1], grey[0]), rtol=1e-4, atol=1e-2)
    assert (limited - vmaf(flat[1], flat[0])).abs().max() > 0.01
    with pytest.raises(ValueError, match="'full' or 'limited'"):
        vmaf(video, video, luma="wide")


def model_file(path: Path, names: list[str] | None = None, rho: float = -1.33133) -> Path:
    """Write the package's own model in libvmaf's form."""
    svm = package.SVMPredict()
    vectors = [
        f"{alpha} " + " ".join(f"{i}:{value}" for i, value in enumerate(vector, start=1))
        for alpha, vector in zip(svm.alpha.tolist(), svm.support_vectors.tolist())
    ]
    head = ["svm_type nu_svr", "kernel_type rbf", f"gamma {svm.gamma}", "nr_class 2"]
    lines = [*head, f"total_sv {svm.num_sv}", f"rho {rho}", "SV", *vectors, ""]
    features = ["adm2", "motion2", *(f"vif_scale{i}" for i in range(4))]
    content = {
        "feature_names": names or [f"VMAF_integer_feature_{name}_score" for name in features],
        "intercepts": [svm.intercept, *svm.intercepts.tolist()],
        "slopes": [svm.slope, *svm.slopes.tolist()],
        "score_clip": [0, 100],
        "model": "\n".join(lines),
    }
    path.write_text(json.dumps({"model_dict": content}))
    return path


def test_a_model_of_ones_own(tmp_path):
    video = moving(3)
    worse = (video + 0.2 * torch.randn_like(video)).clamp(0, 1)
    file = model_file(tmp_path / "same.json")
    torch.testing.assert_close(vmaf(worse, video, model=file), vmaf(worse, video))
    other = vmaf(worse, video, model=model_file(tmp_path / "other.json", rho=-1.2))
    assert ((other - vmaf(worse, video)).abs() > 1).all()
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    metric = Metric("vmaf", {"model": str(file), "sha256": digest[:12]})
    assert digests(metric) == {"model": digest} and digests(Metric("vmaf")) == {}
    torch.testing.assert_close(metric(worse, video, None), vmaf(worse, video))


def test_what_is_missing_or_no_model_is_named(tmp_path, monkeypatch):
    picture = torch.rand(1, 3, 32, 32)

    def refused(match: str, **options: object) -> None:
        with pytest.raises(UserError, match=match):
            vmaf(picture, picture, **options)

    refused("there is no file .*gone.json; get a model of libvmaf", model=tmp_path / "gone.json")
    file = model_file(tmp_path / "model.json")
    refused("sha256=12345678 means", model=file, sha256="12345678")
    refused("is a model of psnr, ssim; VMAF", model=model_file(tmp_path / "2", ["psnr", "ssim"]))
    (tmp_path / "text.json").write_text("no model")
    refused("text.json is no model of libvmaf", model=tmp_path / "text.json")
    content = json.loads(file.read_text())
    content["model_dict"]["model"] = "svm_type nu_svr"
    (tmp_path / "half.json").write_text(json.dumps(content))
    refused("half.json is no model that VMAF reads", model=tmp_path / "half.json")
    small = torch.rand(1, 3, 19, 40)
    with pytest.raises(ValueError, match="at least 20x20"):
        vmaf(small, small)
    sys.modules[vmaf.__module__]._network.cache_clear()
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "vmaf_torch", None)
        refused("needs the package vmaf-torch .*pip install vmaf-torch")
