"""Flow networks that are to learn from scratch begin where frames can be matched."""

from __future__ import annotations

import pytest
import torch

from midframe import Inputs, create_model
from midframe.errors import UserError
from midframe.ops import correlation


def test_pwcnet_sees_where_frames_match_and_starts_at_no_motion() -> None:
    network = create_model("pwcnet", init="he")
    frames = torch.nn.functional.avg_pool2d(torch.rand(2, 3, 128, 128), 5, 1, 2)
    out = network.interpolate(Inputs(frames[None], torch.tensor([[0.5]])))
    assert float(out.flow.abs().max()) == 0.0
    with torch.no_grad():
        one, _ = network.pyramids(frames[:1], frames[1:])
    for features in one[1:4]:
        volume = correlation(features, features).mean((0, 2, 3))
        assert float(volume[40] / volume.sum()) > 2 / 81  # of no displacement among 81
        assert 0.1 < float(features.std()) < 3
    with pytest.raises(UserError, match="PWC-Net has init default and he"):
        create_model("pwcnet", init="zeros")
