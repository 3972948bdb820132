"""What a model cannot be asked for is said in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from midframe.errors import UserError
from midframe.models.arrays import interpolate
from midframe.models.average import Average
from midframe.models.weights import load_weights
from midframe.models.zoo import create_flow, create_model

FRAME = np.zeros((16, 16, 3), np.uint8)


class Four(Average):
    """Wants two frames on each side."""

    context = 2


class Half(Average):
    """Knows the middle only."""

    times = "half"


def test_a_model_of_four_frames_does_not_take_two() -> None:
    with pytest.raises(UserError, match="Four needs 4 frames, not two"):
        interpolate(Four(), FRAME, FRAME)


def test_a_model_of_the_middle_takes_no_other_time() -> None:
    assert interpolate(Half(), FRAME, FRAME, t=[0.5, 0.5]).shape == (2, 16, 16, 3)
    with pytest.raises(UserError, match=r"Half knows only t = 0\.5"):
        interpolate(Half(), FRAME, FRAME, t=[0.5, 0.25])


def test_safetensors_that_are_none_are_named(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(b"\x10\0\0\0\0\0\0\0not a header at all")
    with pytest.raises(UserError, match=r"damaged\.safetensors cannot be read as weights"):
        load_weights(create_model("ifrnet_s"), path)


def test_flow_is_estimated_between_two_frames_of_one_size() -> None:
    net = create_flow("pwcnet")
    first = torch.zeros(1, 3, 64, 64)
    for second in (torch.zeros(1, 3, 64, 32), torch.zeros(2, 3, 64, 64)):
        with pytest.raises(ValueError, match="64"):
            net.estimate(first, second)
