"""LPIPS against its formula in NumPy and against torchmetrics' network, with random weights."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
import torch
from alexnet_in_numpy import layer_maps
from torch import nn

from midframe.benchmark.protocol import Metric
from midframe.errors import UserError
from midframe.metrics import digests, lpips
from midframe.metrics.lpips import heads_file

OFFICIAL_HEADS = "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"


def pictures(count: int = 2, height: int = 43, width: int = 56) -> tuple[torch.Tensor, ...]:
    target = torch.rand(count, 3, height, width)
    return (target + 0.1 * torch.randn_like(target)).clamp(0, 1), target


def test_it_is_its_formula(weight_files):
    pred, target = pictures()
    expected = [
        sum(layer.mean() for layer in layer_maps(a, b, weight_files)) for a, b in zip(pred, target)
    ]
    found = lpips(pred, target, **weight_files)
    assert found.dtype == torch.float32 and found.tolist() == pytest.approx(expected, rel=1e-5)
    assert min(expected) > 0.01  # a network of zeros would agree with anything


@pytest.mark.parametrize("size", [(31, 31), (64, 40), (97, 131)])
def test_it_is_torchmetrics_with_the_published_heads(weight_files, monkeypatch, size):
    from torchmetrics.functional.image import lpips as theirs

    def features(net: str, pretrained: bool = False) -> nn.Sequential:
        assert net == "alexnet"
        backbone = nn.Sequential(
            *(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU()),
            *(nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU()),
            *(nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 2)),
        )
        state = torch.load(weight_files["weights"], weights_only=True)
        backbone.load_state_dict(
            {k.removeprefix("features."): x for k, x in state.items() if k.startswith("features.")}
        )
        return backbone

    monkeypatch.setattr(theirs, "_get_tv_model_features", features)
    pred, target = pictures(2, *size)
    expected = theirs._LPIPS()(pred, target, normalize=True).flatten()
    found = lpips(pred, target, weights=weight_files["weights"])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_distance_of_equal_images_is_0_and_of_unequal_ones_symmetric(weight_files):
    pred, target = pictures()
    assert lpips(target, target, **weight_files).tolist() == [0, 0]
    forth, back = (lpips(*pair, **weight_files) for pair in ((pred, target), (target, pred)))
    assert torch.equal(forth, back)
    nearer = lpips((pred + target) / 2, target, **weight_files)
    assert (nearer < forth).all()


def test_values_do_not_depend_on_the_batch(weight_files):
    pred, target = pictures(3)
    together = lpips(pred, target, **weight_files)
    single = [lpips(pred[i : i + 1], target[i : i + 1], **weight_files) for i in range(3)]
    assert torch.equal(together, torch.cat(single))
    low = lpips(pred.bfloat16(), target.bfloat16(), **weight_files)
    assert low.dtype == torch.float32 and low.tolist() == pytest.approx(together.tolist(), rel=0.1)
    assert not lpips(pred.requires_grad_(), target, **weight_files).requires_grad


def test_missing_files_are_named_with_their_source(tmp_path, weight_files):
    pred, target = pictures(1)
    with pytest.raises(
        UserError,
        match=r"lpips has no weights: .*alexnet-owt-7be5be79.pth .*metrics.lpips.options.weights=",
    ):
        lpips(pred, target)
    with pytest.raises(UserError, match=r"there is no file .*gone.pth; get torchvision's AlexNet"):
        lpips(pred, target, weights=tmp_path / "gone.pth")
    with pytest.raises(UserError, match=r"gone.pth; get the linear layers of LPIPS v0.1"):
        lpips(pred, target, weights=weight_files["weights"], heads=tmp_path / "gone.pth")


def test_files_of_another_form_are_refused(tmp_path, weight_files):
    pred, target = pictures(1)
    state = torch.load(weight_files["weights"], weights_only=True)

    def refused(match: str, option: str = "weights", **changes: object) -> None:
        file = tmp_path / "changed.pth"
        content = torch.load(weight_files[option], weights_only=True) | changes
        torch.save({k: x for k, x in content.items() if x is not None}, file)
        with pytest.raises(UserError, match=match):
            lpips(pred, target, **{**weight_files, option: file})

    refused("lacks features.8.bias", **{"features.8.bias": None})
    refused("an entry too many, features.12.bias", **{"features.12.bias": torch.ones(1)})
    refused(r"features.8.bias is \(3,\), not \(256,\)", **{"features.8.bias": torch.ones(3)})
    refused("features.8.bias is str", **{"features.8.bias": "no"})
    refused("lacks lin2.model.1.weight", "heads", **{"lin2.model.1.weight": None})
    refused("an entry too many, lin5", "heads", **{"lin5.model.1.weight": torch.ones(1)})
    torch.save({"features.0.weight": Path("an object")}, tmp_path / "objects.pth")
    with pytest.raises(UserError, match="never executed"):
        lpips(pred, target, weights=tmp_path / "objects.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(UserError, match="cannot be read as weights"):
        lpips(pred, target, weights=tmp_path / "text.pth")
    assert len(state) == 12


def test_digests_are_checked_and_recorded(weight_files):
    pred, target = pictures(1)
    own = {k: hashlib.sha256(p.read_bytes()).hexdigest() for k, p in weight_files.items()}
    given = {"sha256": own["weights"][:8], "heads_sha256": own["heads"].upper()}
    assert lpips(pred, target, **weight_files, **given).shape == (1,)
    with pytest.raises(UserError, match=f"is not the file that sha256=7be5be79 .*{own['weights']}"):
        lpips(pred, target, **weight_files, sha256="7be5be79")
    with pytest.raises(UserError, match="heads_sha256=00000000 means"):
        lpips(pred, target, **weight_files, heads_sha256="0" * 8)
    with pytest.raises(UserError, match="'xyz' is no digest"):
        lpips(pred, target, **weight_files, sha256="xyz")
    options = {name: str(path) for name, path in weight_files.items()}
    assert digests(Metric("lpips", options)) == own
    shipped = digests(Metric("lpips", {"weights": options["weights"]}))
    assert shipped == {"weights": own["weights"], "heads": OFFICIAL_HEADS}
    assert digests(Metric("psnr")) == {}


def test_heads_are_those_that_are_published():
    assert hashlib.sha256(heads_file().read_bytes()).hexdigest() == OFFICIAL_HEADS


def test_a_file_that_changed_is_read_again(tmp_path, weight_files):
    pred, target = pictures(1)
    file = tmp_path / "alexnet.pth"
    shutil.copy(weight_files["weights"], file)
    options = {"weights": file, "heads": weight_files["heads"]}
    before = lpips(pred, target, **options)
    digest = digests(Metric("lpips", {"weights": str(file)}))["weights"]
    state = torch.load(file, weights_only=True)
    state["features.0.bias"] += 0.5
    torch.save(state, file)
    assert lpips(pred, target, **options) != before
    assert digests(Metric("lpips", {"weights": str(file)}))["weights"] != digest


def test_what_is_too_small_or_no_colour_is_refused(weight_files):
    small = torch.zeros(1, 3, 30, 64)
    with pytest.raises(ValueError, match="at least 31x31"):
        lpips(small, small, **weight_files)
    grey = torch.zeros(1, 1, 64, 64)
    with pytest.raises(ValueError, match="needs RGB"):
        lpips(grey, grey, **weight_files)
    assert lpips(torch.zeros(0, 3, 64, 64), torch.zeros(0, 3, 64, 64), **weight_files).shape == (0,)
