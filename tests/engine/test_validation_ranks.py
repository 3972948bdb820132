"""Means of a validation that several processes share."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from midframe.engine.validation import Validation
from midframe.metrics import PerImage


def test_an_image_that_two_ranks_saw_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Validation()
    mine.rows.add("a@0.5", {"psnr": 30.0})
    mine.rows.add("b@0.5", {"psnr": 20.0})  # padded: the other rank has it too
    theirs = PerImage({"b@0.5": {"psnr": 20.0}, "c@0.5": {"psnr": 10.0}})

    def gather(everyone: list[Any], own: PerImage) -> None:
        everyone[:] = [own, theirs]

    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    assert mine.means() == {"psnr": 20.0}
    assert len(mine.rows) == 3
