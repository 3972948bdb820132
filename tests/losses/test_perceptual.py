"""The VGG loss: where its weights come from, what it measures, and that nothing else sees it."""

from __future__ import annotations

import copy
import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from midframe.errors import UserError
from midframe.losses import VGGFeatures, WeightedSum
from midframe.losses.vgg import FILE
from midframe.paths import config_dir
from midframe.types import Batch, Inputs, Prediction

# Of the published network: layers before relu4_4 and after it, (number, in, out).
BEFORE = [(0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128), (10, 128, 256)]
BEFORE += [(n, 256, 256) for n in (12, 14, 16)] + [(19, 256, 512), (21, 512, 512)]
BEFORE += [(n, 512, 512) for n in (23, 25)]
POOLS = (4, 9, 18)


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """Random weights under the names of torchvision's file, with layers that the loss ignores."""
    generator = torch.Generator().manual_seed(3)
    state = {}
    for number, inside, outside in BEFORE:
        scale = (2 / (9 * inside)) ** 0.5
        weight = torch.randn(outside, inside, 3, 3, generator=generator) * scale
        state[f"features.{number}.weight"] = weight
        state[f"features.{number}.bias"] = torch.randn(outside, generator=generator) * 0.1
    state["features.28.weight"] = torch.zeros(1)
    state["classifier.0.weight"] = torch.zeros(1)
    path = tmp_path_factory.mktemp("vgg") / FILE
    torch.save(state, path)
    return path


@pytest.fixture(scope="module")
def digest(file) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def loss(file) -> VGGFeatures:
    return VGGFeatures(file)


def _reference(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Features relu4_4, layer by layer as published, in float64."""
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).double()
    x = (x.double() - mean[:, None, None]) / deviation[:, None, None]
    for number in range(27):
        if number in POOLS:
            x = F.max_pool2d(x, 2, 2)
        elif f"features.{number}.weight" in state:
            weight, bias = (state[f"features.{number}.{k}"].double() for k in ("weight", "bias"))
            x = F.conv2d(x, weight, bias, padding=1)
        else:
            x = x.relu()
    return x


def _example(height: int = 16, width: int = 24) -> tuple[Prediction, Batch]:
    frame, target = torch.rand(2, 1, 2, 3, height, width)
    inputs = Inputs(torch.zeros(1, 2, 3, height, width), torch.tensor([[0.3, 0.6]]))
    return Prediction(frame.requires_grad_()), Batch(inputs, target=target.requires_grad_())


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_value_is_the_distance_of_the_published_layer(file, norm):
    pred, batch = _example()
    state = torch.load(file, weights_only=True)
    difference = _reference(state, pred.frame[0]) - _reference(state, batch.target[0])
    expected = difference.abs().mean() if norm == "l1" else difference.square().mean()
    got = VGGFeatures(file, norm=norm)(pred, batch, None)
    assert got.item() == pytest.approx(expected.item(), rel=1e-4)


def test_gradient_reaches_the_prediction_alone(loss):
    pred, batch = _example()
    loss(pred, batch, None).backward()
    assert pred.frame.grad.abs().sum() > 0
    assert batch.target.grad is None
    assert all(p.grad is None for p in loss.vgg.network.parameters())
    assert loss(Prediction(batch.target), batch, None).item() == 0


def test_the_network_is_no_part_of_the_module(loss):
    total = WeightedSum({"vgg": (1.0, loss)})
    assert not list(total.parameters()) and not total.state_dict()
    copied = copy.deepcopy(total).train()
    assert copied.terms["vgg"].vgg is loss.vgg
    assert not loss.vgg.network.training


def test_half_precision_frames_are_compared_in_float32(loss):
    pred, batch = _example()
    exact = loss(pred, batch, None)
    with torch.autocast("cpu", torch.bfloat16):
        rough = loss(Prediction(pred.frame.bfloat16()), batch, None)
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(exact.item(), rel=0.05)


def test_a_crop_too_small_for_the_layer_is_named(loss):
    with pytest.raises(UserError, match=r"at least 8 pixels a side, got \(4, 24\)"):
        loss(*_example(4), None)


def test_it_goes_where_the_frames_are(file):
    loss = VGGFeatures(file)
    pred, batch = _example()
    moved = loss(pred.to("meta"), batch.to("meta"), None)
    assert moved.device.type == "meta"


def test_no_weights_says_which_file_to_get(tmp_path):
    for options in ({}, {"cache": tmp_path}, {"weights": tmp_path / "no.pth"}):
        with pytest.raises(UserError, match=FILE):
            VGGFeatures(**options)


def test_a_local_file_is_checked_against_whole_and_abridged_digests(file, digest):
    VGGFeatures(file, sha256=digest)
    VGGFeatures(file, sha256=digest[:8].upper())
    wrong = "0" * 8 if digest[0] != "0" else "1" * 8
    with pytest.raises(UserError, match=f"its SHA-256 is {digest}, not {wrong}"):
        VGGFeatures(file, sha256=wrong)
    for none in ("dcbb", "no digest"):
        with pytest.raises(UserError, match="8 to 64 hexadecimal digits"):
            VGGFeatures(file, sha256=none)


def test_missing_and_misshapen_layers_are_named(file, tmp_path):
    state = torch.load(file, weights_only=True)
    del state["features.25.bias"]
    state["features.0.weight"] = state["features.0.weight"][:, :1]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(UserError, match="2 of 24 entries .* such as features.0.weight"):
        VGGFeatures(tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match=r"b\.pth cannot be read"):
        VGGFeatures(tmp_path / "b.pth")


def test_a_download_is_kept_and_used_again(file, digest, tmp_path):
    cache = tmp_path / "deep" / "cache"
    first = VGGFeatures(url=file.as_uri(), sha256=digest[:8], cache=cache)
    assert [p.name for p in cache.iterdir()] == [FILE]
    again = VGGFeatures(url="file:///nowhere", sha256=digest[:8], cache=cache)
    pred, batch = _example()
    assert torch.equal(first(pred, batch, None), again(pred, batch, None))
    with pytest.raises(UserError, match=f"{FILE} is not the expected file"):
        VGGFeatures(sha256="0" * 64, cache=cache)


@pytest.fixture
def server(file):
    handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(handler, directory=str(file.parent))
    ) as served:
        thread = threading.Thread(target=served.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}/"
        served.shutdown()
        thread.join()


def test_downloads_over_http_and_names_what_it_could_not_get(server, digest, tmp_path):
    VGGFeatures(url=server + FILE, sha256=digest, cache=tmp_path)
    assert (tmp_path / FILE).is_file()
    with pytest.raises(UserError, match=r"cannot download .*absent\.pth"):
        VGGFeatures(url=server + "absent.pth", sha256=digest, cache=tmp_path / "other")
    assert not list((tmp_path / "other").iterdir())


def test_a_wrong_download_leaves_nothing_behind(file, tmp_path):
    with pytest.raises(UserError, match="is not the expected file"):
        VGGFeatures(url=file.as_uri(), sha256="0" * 64, cache=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("url", ["file:///nowhere/at/all", "no address", "ftp2://x/y"])
def test_an_address_that_does_not_work_is_named(url, tmp_path):
    with pytest.raises(UserError, match=f"cannot download {url}"):
        VGGFeatures(url=url, sha256="0" * 64, cache=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_download_needs_a_digest_and_a_place(file, digest, tmp_path):
    for options in ({"cache": tmp_path}, {"sha256": digest}):
        with pytest.raises(UserError, match="needs a cache folder and the file's sha256"):
            VGGFeatures(url=file.as_uri(), **options)


def test_unknown_norm_is_named(file):
    with pytest.raises(UserError, match="l1 or l2, not 'l3'"):
        VGGFeatures(file, norm="l3")


def test_the_config_takes_a_file_and_expects_the_published_digest(file, digest, tmp_path):
    with initialize_config_dir(str(config_dir()), version_base=None):
        overrides = [f"+paths.data={tmp_path}", f"loss.terms.vgg.term.weights={file}"]
        cfg = compose(overrides=["+loss=softsplat_lf", *overrides])
    with pytest.raises(Exception, match=f"is {digest}, not dcbb9e9d"):
        instantiate(cfg.loss)
    cfg.loss.terms.vgg.term.sha256 = digest
    loss = instantiate(cfg.loss)
    pred, batch = _example()
    loss(pred, batch, None).total.backward()
    assert pred.frame.grad.any() and not loss.state_dict()
