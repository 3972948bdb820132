"""Which device a command uses, and what it says of one that is not there."""

from __future__ import annotations

import pytest
import torch

from midframe.errors import UserError
from midframe.launch.inference import resolve_device


def _gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("gpus", "device", "rank", "wanted"),
    [
        (0, "auto", None, "cpu"),
        (0, "auto", 3, "cpu"),
        (2, "cpu", 1, "cpu"),
        (2, "auto", None, "cuda"),
        (2, "cuda:1", None, "cuda:1"),
        (2, "cuda:0", 1, "cuda:0"),
        (2, "auto", 1, "cuda:1"),
        (2, "cuda", 0, "cuda:0"),
        (2, "cuda", 5, "cuda:1"),
    ],
)
def test_a_process_takes_its_own_gpu_unless_one_is_named(
    monkeypatch: pytest.MonkeyPatch, gpus: int, device: str, rank: int | None, wanted: str
) -> None:
    _gpus(monkeypatch, gpus)
    assert resolve_device(device, rank) == torch.device(wanted)


@pytest.mark.parametrize("rank", [None, 0])
@pytest.mark.parametrize(
    ("gpus", "device", "told"),
    [
        (0, "cuda", "device=cuda: there are 0 CUDA devices"),
        (0, "cuda:1", "device=cuda:1: there are 0 CUDA devices"),
        (2, "cuda:2", "device=cuda:2: there are 2 CUDA devices"),
        (0, "gpu", "device=gpu is not known"),
        (2, "mps", "device=mps is not supported"),
    ],
)
def test_a_device_that_is_not_there_is_an_error_for_the_person(
    monkeypatch: pytest.MonkeyPatch, gpus: int, device: str, told: str, rank: int | None
) -> None:
    _gpus(monkeypatch, gpus)
    with pytest.raises(UserError, match=told):
        resolve_device(device, rank)
