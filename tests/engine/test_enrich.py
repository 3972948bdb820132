"""Enrichers: what they add is right, and they stay outside of what is trained."""

from __future__ import annotations

import copy

import cv2
import numpy as np
import pytest
import torch

from midframe.engine.enrich import DisFlowLabels, Enrichers
from midframe.errors import UserError
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
    batch = Enrichers([DisFlowLabels()])(moving_texture(8))
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
    out = Enrichers([DisFlowLabels()])(both)
    assert bool((out.flow[0] == 7.0).all()) and float(out.flow[1].abs().max()) < 7.0
    assert out.flow_valid is None


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (20, 96)])
def test_dis_labels_of_small_frames(size: tuple[int, int]) -> None:
    batch = moving_texture(8)
    small = Inputs(batch.inputs.frames[..., : size[0], : size[1]], batch.inputs.t)
    out = DisFlowLabels()(Batch(small, target=batch.target[..., : size[0], : size[1]]))
    assert out.flow.shape == (1, 1, 2, 2, *size) and bool(out.flow.isfinite().all())


def test_an_unknown_preset_names_the_known() -> None:
    with pytest.raises(UserError, match="'slow'; choose ultrafast, fast, medium"):
        DisFlowLabels("slow")


def test_copying_the_training_module_does_not_copy_a_teacher() -> None:
    enrichers = Enrichers([DisFlowLabels()])
    assert copy.deepcopy(enrichers) is enrichers
