"""IFRNet in ncnn, which has no batches: converted, run on the CPU, held against PyTorch."""

from __future__ import annotations

import pytest
import torch

from midframe import create_model, interpolate
from midframe.cli import main
from midframe.data.io import ImageFile, write_image
from midframe.errors import UserError
from midframe.export.engine import load_engine
from midframe.export.graph import Graph
from midframe.export.make import Wanted, make
from midframe.export.ncnn_ifrnet import SingleIFRNet
from midframe.export.verify import example, moving

SIZE = (52, 45)


def _lively(name: str = "ifrnet_s"):
    """An IFRNet whose flow is some pixels: the initial one's is next to nothing."""
    torch.manual_seed(3)
    model = create_model(name)
    with torch.no_grad():
        for decoder in (model.decoder4, model.decoder3, model.decoder2, model.decoder1):
            decoder.convblock[2].weight[:, :4] *= 40
    return model


@pytest.mark.parametrize("hints", [{}, {"scale_factor": 0.8}])
def test_frames_one_by_one_give_what_a_batch_does(hints):
    model = _lively()
    graph = Graph(model, hints, SIZE).eval()
    given = example(model, SIZE)
    with torch.no_grad():
        torch.testing.assert_close(
            SingleIFRNet(graph).eval()(*given), graph(*given), atol=1e-4, rtol=0
        )
    assert model.interpolate(moving(model, SIZE)).flow.abs().max() > 0.5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    for package in ("ncnn", "pnnx"):
        pytest.importorskip(package)
    path = tmp_path_factory.mktemp("ncnn") / "model.ncnn"
    made = make(Wanted(_lively(), "ifrnet_s", "ncnn", SIZE, {}), path)
    assert 0 < made.facts.error < 1e-3
    return path


def test_ncnn_gives_what_pytorch_does(folder):
    model, engine = _lively(), load_engine(folder)
    x = moving(model, SIZE, t=0.3, number=5)
    torch.testing.assert_close(
        engine.interpolate(x).frame, model.interpolate(x).frame, atol=1e-3, rtol=0
    )
    assert {one.name for one in folder.iterdir()} == {"model.param", "model.bin", "midframe.json"}


def test_it_converts_videos_at_any_time(folder, tmp_path):
    x = moving(_lively(), SIZE)
    for number, frame in enumerate(x.frames[0]):
        picture = frame.mul(255).round().byte().permute(1, 2, 0).numpy()
        write_image(tmp_path / f"{number}.png", picture)
    words = ["interpolate", str(tmp_path / "%01d.png"), str(tmp_path / "out_%02d.png")]
    assert main([*words, "--engine", str(folder), "--factor", "4"]) == 0
    made = ImageFile(str(tmp_path / "out_01.png")).read().astype(int)
    first, second = (ImageFile(str(tmp_path / f"{number}.png")).read() for number in (0, 1))
    assert abs(made - interpolate(_lively(), first, second, 0.25).astype(int)).max() <= 1
    assert len(list(tmp_path.glob("out_*.png"))) == 5


def test_a_folder_with_other_layers_is_not_loaded(folder, tmp_path):
    bad = tmp_path / "bad.ncnn"
    bad.mkdir()
    for one in folder.iterdir():
        (bad / one.name).write_bytes(one.read_bytes())
    text = (bad / "model.param").read_text()
    (bad / "model.param").write_text(text.replace("GridSample ", "torch.nonsense "))
    with pytest.raises(UserError, match="no network that ncnn runs"):
        load_engine(bad)


def test_what_ncnn_lacks_is_named(tmp_path):
    for package in ("ncnn", "pnnx"):
        pytest.importorskip(package)
    from tiny_network import wanted

    with pytest.raises(UserError, match="tiny cannot be exported to ncnn, which has no .*index"):
        make(wanted("tiny", "ncnn", (24, 16)), tmp_path / "tiny.ncnn")
    assert list(tmp_path.iterdir()) == []
