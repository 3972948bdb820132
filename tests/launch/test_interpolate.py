"""`midframe interpolate`: what it writes, at which times, and what it refuses."""

from __future__ import annotations

import argparse

import cv2
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import midframe
from midframe.data.flow_files import FloFile
from midframe.data.io import ImageFile
from midframe.errors import UserError
from midframe.launch import interpolate
from midframe.models import zoo
from midframe.models.average import Average
from midframe.models.base import Interpolator
from midframe.models.shipped import record_for
from midframe.picture import flow_picture
from midframe.types import Inputs, Prediction

CPU = torch.device("cpu")


@pytest.fixture
def pair(tmp_path):
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 256, (96, 160, 3), dtype=np.uint8), (0, 0), 3)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX)
    paths = tmp_path / "a.png", tmp_path / "b.png"
    for path, shift in zip(paths, (0, 8)):
        cv2.imwrite(str(path), texture[:, 8 - shift : 136 - shift])
    return paths


def _run(*args):
    parser = argparse.ArgumentParser()
    interpolate.add_arguments(parser)
    return interpolate.run(parser.parse_args([str(a) for a in args]))


def test_factor_8_writes_a_clip_with_the_inputs_gif_overlay_and_flow(pair, tmp_path, capsys):
    out = tmp_path / "out"
    assert _run(*pair, "--out", out, "--factor", 8, "--device", "cpu") == 0
    assert sorted(p.name for p in out.iterdir()) == [
        "between.gif",
        "flow.png",
        "flow_0.flo",
        "flow_1.flo",
        "frames",
        "overlay.png",
    ]
    frames = sorted((out / "frames").iterdir())
    assert [p.name for p in frames] == [f"{i:04d}.png" for i in range(9)]
    pictures = [cv2.imread(str(p)).astype(float) for p in frames]
    for end, path in ((0, pair[0]), (-1, pair[1])):
        assert np.array_equal(pictures[end], cv2.imread(str(path)))
    # the texture moves 8 pixels to the right, one per frame
    for step in (2, 4, 6):
        moved = pictures[0][30:60, 40:80]
        there = pictures[step][30:60, 40 + step : 80 + step]
        assert (
            np.abs(there - moved).mean() < 4 < np.abs(pictures[step][30:60, 40:80] - moved).mean()
        )
    assert "dis" in capsys.readouterr().out
    assert not list(tmp_path.glob(".*"))


def test_the_default_needs_nothing_that_is_not_here():
    record = record_for(zoo.config_of(interpolate.DEFAULT_MODEL))
    assert record is not None and record.path.is_file()


def test_both_flows_are_drawn_and_written_exactly(pair, tmp_path, capsys):
    out = tmp_path / "out"
    _run(*pair, "--out", out)
    flows = [FloFile(str(out / f"flow_{i}.flo")).read() for i in (0, 1)]
    for flow, sign in zip(flows, (-1, 1)):  # the texture moves 8 pixels to the right
        assert flow.shape == (96, 128, 2)
        inside = flow[20:76, 30:98]
        assert np.abs(inside - (4.0 * sign, 0.0)).max() < 0.5
    drawn = ImageFile(str(out / "flow.png")).read()
    assert drawn.shape[0] > 96 and drawn.shape[1] >= 256
    for flow, part in zip(flows, (drawn[-96:, :128], drawn[-96:, -128:])):
        assert np.array_equal(part, flow_picture(flow, legend=True))
    shown = capsys.readouterr().out
    assert "flow.png" in shown and "flow_0.flo and flow_1.flo" in shown


class Moving(Average):
    """Provides given flow."""

    def __init__(self, flow, kind):
        super().__init__()
        self.given = flow, kind

    def forward(self, x, **hints):
        frame = super().forward(x).frame
        flow, kind = self.given
        return Prediction(frame, flow=flow, flow_kind=kind)


@pytest.mark.parametrize(
    ("kind", "titles"),
    [
        ("backward", ("flow from the middle to the first", "flow from the middle to the second")),
        ("forward", ("flow from the first to the second", "flow from the second to the first")),
    ],
)
def test_flows_are_called_what_they_are(kind, titles):
    frame, flow = torch.zeros(3, 8, 12), torch.randn(1, 1, 2, 2, 8, 12)
    out = Moving(flow, kind)(Inputs(torch.stack((frame, frame))[None], torch.tensor([[0.5]])))
    flows = interpolate._flows(out)
    assert tuple(title for title, _ in flows) == titles
    for i, (_, field) in enumerate(flows):
        assert np.array_equal(field, flow[0, 0, i].permute(1, 2, 0).numpy())


@pytest.mark.parametrize("directions", [0, 1])
def test_one_direction_or_none(pair, tmp_path, monkeypatch, capsys, directions):
    flow = torch.randn(1, 1, 1, 2, 96, 128) if directions else None
    monkeypatch.setattr(
        interpolate, "_load", lambda args: (Moving(flow, "backward" if directions else None), CPU)
    )
    out = tmp_path / "out"
    _run(*pair, "--out", out, "--model", "average")
    names = {p.name for p in out.iterdir()}
    assert names & {"flow.png", "flow_0.flo", "flow_1.flo"} == (
        {"flow.png", "flow_0.flo"} if directions else set()
    )
    assert ("flow" in capsys.readouterr().out) == bool(directions)
    if directions:
        field = flow[0, 0, 0].permute(1, 2, 0).numpy()
        assert np.array_equal(FloFile(str(out / "flow_0.flo")).read(), field)
        drawn = ImageFile(str(out / "flow.png")).read()
        assert np.array_equal(drawn, flow_picture(field, legend=True))


def test_times_instead_of_a_factor(pair, tmp_path):
    args = ("--out", tmp_path / "o", "--times", "0.25,2/3", "--model", "average")
    _run(*pair, *args)
    frames = sorted((tmp_path / "o" / "frames").iterdir())
    first, second = (cv2.imread(str(p)).astype(float) for p in pair)
    assert len(frames) == 4
    assert np.abs(cv2.imread(str(frames[2])) - (first + 2 * second) / 3).max() <= 0.51


def test_bad_input_is_refused_before_anything_is_written(pair, tmp_path, monkeypatch):
    first, second = pair
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((10, 10, 3), np.uint8))
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "cut.png").write_bytes(first.read_bytes()[:500])
    before = sorted(tmp_path.rglob("*"))
    out = ("--out", tmp_path / "o")
    for args, said in (
        ((first, tmp_path / "nix.png", *out), "no such file"),
        ((first, tmp_path / "small.png", *out), "128x96 pixels .* 10x10"),
        ((first, tmp_path / "text.png", *out), "not a picture"),
        ((first, tmp_path / "cut.png", *out), "cut off"),
        ((first, second, *out, "--factor", 1), "factor 1: give"),
        ((first, second, *out, "--model", "nix"), "no model 'nix'"),
        ((first, second, *out, "--model", "ifrnet_s"), "--weights FILE"),
        ((first, second, *out, "--weights", "w.pth"), "--model NAME"),
        ((first, second, "--out", first), "is a file"),
        ((first, second, "--out", tmp_path), "not empty"),
        ((first, second, "--out", tmp_path, "--overwrite"), "not ours"),
    ):
        with pytest.raises(UserError, match=said):
            _run(*args)
        assert sorted(tmp_path.rglob("*")) == before

    class Four(Interpolator):
        context = 2

    from midframe.models import zoo

    monkeypatch.setattr(zoo, "check_config", lambda config: Four)
    with pytest.raises(UserError, match="reads 4 frames"):
        _run(first, second, *out)


def test_an_earlier_result_is_replaced_only_when_asked(pair, tmp_path):
    out = tmp_path / "o"
    args = (*pair, "--out", out, "--model", "average")
    _run(*args, "--factor", 4)
    with pytest.raises(UserError, match="--overwrite"):
        _run(*args)
    assert len(list((out / "frames").iterdir())) == 5
    _run(*args, "--overwrite")
    assert len(list((out / "frames").iterdir())) == 3


def test_nothing_half_written_when_writing_fails(pair, tmp_path, monkeypatch):
    import midframe.video.gif

    def full(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(midframe.video.gif, "write_gif", full)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OSError, match="no space"):
        _run(*pair, "--out", tmp_path / "o", "--model", "average")
    assert sorted(tmp_path.rglob("*")) == before


def _run_of(folder, net, weights):
    """Leave what a training leaves: its config and the best weights."""
    folder.mkdir()
    model = {"name": "ifrnet", "net": net, "weights": None, "hints": {}, "info": {"licence": "MIT"}}
    (folder / "config.yaml").write_text(OmegaConf.to_yaml({"model": model, "seed": 0}))
    torch.save(weights.state_dict(), folder / "best.ckpt")
    return folder


@pytest.mark.parametrize("args", [(), ("--model", "ifrnet")])
@pytest.mark.parametrize("file", ["", "best.ckpt"])
def test_a_run_says_itself_what_its_network_is(pair, tmp_path, capsys, args, file):
    net = {"_target_": "midframe.models.ifrnet.IFRNet", "size": "S", "init": "he"}
    torch.manual_seed(0)
    model = midframe.create_model("ifrnet_s", init="he")
    weights = _run_of(tmp_path / "run", net, model) / file
    out = tmp_path / "out"
    assert _run(*pair, "--out", out, "--weights", weights, "--device", "cpu", *args) == 0
    assert f"model ifrnet, as it was trained in {weights}" in capsys.readouterr().out
    first, second = (ImageFile(str(p)).read() for p in pair)
    there = ImageFile(str(out / "frames/0001.png")).read()
    # the picture is of the run's weights, not of any others
    assert np.abs(there - midframe.interpolate(model, first, second).astype(int)).max() <= 1


def test_another_model_than_the_run_s_is_told_what_to_leave_out(pair, tmp_path):
    net = {"_target_": "midframe.models.ifrnet.IFRNet", "size": "S"}
    run = _run_of(tmp_path / "run", net, midframe.create_model("ifrnet_s"))
    with pytest.raises(UserError) as error:
        _run(*pair, "--out", tmp_path / "o", "--weights", run, "--model", "ifrnet_l")
    first, second = str(error.value).splitlines()
    assert "leave out --model" in first and "mis-shaped" in second
