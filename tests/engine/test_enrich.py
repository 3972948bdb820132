"""Enrichers: what they add is right, and they stay outside of what is trained."""

from __future__ import annotations

import contextlib
import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from midframe.engine.enrich import Enrichers, FlowLabels
from midframe.engine.teachers import DisFlow, FlowTeacher, NetworkFlow
from midframe.errors import UserError
from midframe.models import estimators
from midframe.models.flow import FlowNetwork
from midframe.models.zoo import create_flow
from midframe.types import Batch, Inputs


def moving_texture(shift: int) -> Batch:
    """A smooth random texture that moves ``shift`` pixels to the right over the gap."""
    rng = np.random.default_rng(0)
    wide = cv2.GaussianBlur(rng.random((96, 160, 3), np.float32), (0, 0), 2.0)
    wide = (wide - wide.min()) / (wide.max() - wide.min())
    frames = [torch.from_numpy(wide[:, 32 - s : 128 - s].copy()) for s in (0, shift // 2, shift)]
    first, middle, last = (f.permute(2, 0, 1) for f in frames)
    inputs = Inputs(torch.stack((first, last))[None], torch.tensor([[0.5]]))
    return Batch(inputs, target=middle[None, None], ids=("a",))


def test_dis_labels_point_to_both_frames() -> None:
    batch = Enrichers([FlowLabels(DisFlow())])(moving_texture(8))
    assert batch.flow is not None and batch.flow.shape == (1, 1, 2, 2, 96, 96)
    inner = batch.flow[0, 0, :, :, 16:-16, 16:-16].mean((-1, -2))
    assert torch.allclose(inner, torch.tensor([[-4.0, 0.0], [4.0, 0.0]]), atol=0.3)


def test_known_labels_are_kept() -> None:
    one, two = moving_texture(8), moving_texture(8)
    true = torch.full((2, 1, 2, 2, 96, 96), 7.0)
    both = Batch(
        Inputs(torch.cat((one.inputs.frames, two.inputs.frames)), torch.full((2, 1), 0.5)),
        target=torch.cat((one.target, two.target)),
        flow=true,
        flow_valid=torch.tensor([1.0, 0.0]),
    )
    out = Enrichers([FlowLabels(DisFlow())])(both)
    assert bool((out.flow[0] == 7.0).all()) and float(out.flow[1].abs().max()) < 7.0
    assert out.flow_valid is None


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (20, 96)])
def test_dis_labels_of_small_frames(size: tuple[int, int]) -> None:
    batch = moving_texture(8)
    small = Inputs(batch.inputs.frames[..., : size[0], : size[1]], batch.inputs.t)
    out = FlowLabels(DisFlow())(Batch(small, target=batch.target[..., : size[0], : size[1]]))
    assert out.flow.shape == (1, 1, 2, 2, *size) and bool(out.flow.isfinite().all())


def test_an_unknown_preset_names_the_known() -> None:
    with pytest.raises(UserError, match="'slow'; choose ultrafast, fast, medium"):
        DisFlow("slow")


def test_copying_the_training_module_does_not_copy_a_teacher() -> None:
    enrichers = Enrichers([FlowLabels(DisFlow())])
    assert copy.deepcopy(enrichers) is enrichers


class Brightness(FlowTeacher):
    """Says how much brighter the second frame is: exact, and different for every pair."""

    def __init__(self) -> None:
        self.pairs = 0

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        self.pairs += len(first)
        return (second - first)[:, :2]


def test_flow_goes_from_each_target_to_both_ends_of_its_own_sample() -> None:
    frames, target = torch.rand(3, 4, 3, 8, 8), torch.rand(3, 2, 3, 8, 8)
    times = torch.tensor([0.3, 0.6]).expand(3, 2)
    out = FlowLabels(Brightness())(Batch(Inputs(frames, times), target=target))
    assert out.flow.shape == (3, 2, 2, 2, 8, 8)
    for b in range(3):
        for t in range(2):
            for side, end in enumerate((1, 2)):  # of four frames, the middle two
                wanted = (frames[b, end] - target[b, t])[:2]
                assert torch.equal(out.flow[b, t, side], wanted)


def test_only_samples_without_labels_are_computed() -> None:
    frames, target = torch.rand(3, 2, 3, 8, 8), torch.rand(3, 1, 3, 8, 8)
    given = torch.full((3, 1, 2, 2, 8, 8), 7.0)
    batch = Batch(
        Inputs(frames, torch.full((3, 1), 0.5)), target, given, torch.tensor([1.0, 0.0, 1.0])
    )
    teacher = Brightness()
    out = FlowLabels(teacher)(batch)
    assert teacher.pairs == 2 and out.flow_valid is None
    assert bool((out.flow[[0, 2]] == 7.0).all()) and bool((given == 7.0).all())
    assert torch.equal(out.flow[1, 0, 1], (frames[1, 1] - target[1, 0])[:2])
    assert FlowLabels(teacher)(out) is out and teacher.pairs == 2


class Tiny(FlowNetwork):
    """A flow network that remembers how it was called."""

    multiple = 8

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(6, 2, 3, padding=1)
        self.calls: list[tuple[int, torch.dtype, bool]] = []

    def flows(self, first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
        out = self.layer(torch.cat((first, second), 1))
        self.calls.append((len(first), out.dtype, out.requires_grad))
        return (out,)


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Tiny, Path]:
    net = Tiny().eval()
    torch.save(net.state_dict(), tmp_path / "tiny.pt")
    monkeypatch.setattr(estimators, "create_flow", lambda name, weights, **options: net)
    return net, tmp_path / "tiny.pt"


def test_network_labels_in_chunks_full_precision_and_without_gradient(
    tiny: tuple[Tiny, Path],
) -> None:
    net, path = tiny
    batch = moving_texture(8)
    many = Batch(
        Inputs(batch.inputs.frames.expand(3, -1, -1, -1, -1), torch.full((3, 1), 0.5)),
        target=batch.target.expand(3, -1, -1, -1, -1),
    )
    teacher = NetworkFlow("tiny", str(path), chunk=4)
    with torch.autocast("cpu", torch.bfloat16):
        out = FlowLabels(teacher)(many)
    assert net.calls == [(4, torch.float32, False), (2, torch.float32, False)]
    wanted = net.estimate(batch.target[0], batch.inputs.pair[1])
    torch.testing.assert_close(out.flow[2, 0, 1:], wanted.detach())
    assert not net.training and not any(p.requires_grad for p in net.parameters())


def test_network_moves_to_the_frames_device_with_the_first_batch(
    tiny: tuple[Tiny, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, path = tiny
    moves: list[torch.device] = []
    monkeypatch.setattr(net, "to", moves.append)
    monkeypatch.setattr(net, "estimate", lambda first, second: first[:, :2])
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    teacher = NetworkFlow("tiny", str(path))
    assert not moves
    for device in ("cpu", "meta", "meta"):  # meta stands for a GPU
        teacher(*torch.rand(2, 2, 3, 16, 16, device=device))
    assert moves == [torch.device("meta")]


def test_pwcnet_with_weights_from_a_file(tmp_path: Path) -> None:
    net = create_flow("pwcnet")
    torch.save(net.state_dict(), tmp_path / "pwcnet.pt")
    batch = moving_texture(8)
    out = Enrichers([FlowLabels(NetworkFlow("pwcnet", str(tmp_path / "pwcnet.pt")))])(batch)
    with torch.no_grad():
        wanted = net.estimate(batch.target[0], batch.inputs.pair[0])
    torch.testing.assert_close(out.flow[0, 0, :1], wanted)
    with pytest.raises(UserError, match="does not fit LiteFlowNet"):
        NetworkFlow("liteflownet", str(tmp_path / "pwcnet.pt"))


@pytest.mark.parametrize("weights", [None, "none"])
def test_a_network_without_weights_is_refused(weights: str | None) -> None:
    with pytest.raises(UserError, match="teach nothing; give teacher.weights=FILE .official"):
        NetworkFlow("liteflownet", weights)
