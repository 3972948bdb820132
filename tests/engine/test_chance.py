"""Generators are seeded by numbers: PyTorch's as `torch.manual_seed` does it, on any device."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from midframe.engine.chance import draw_by


@pytest.fixture(autouse=True)
def as_before():
    """Leave the generators as they were."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global one
    with torch.random.fork_rng(devices=[]):
        yield
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002 - the global one


def _seed(*numbers: int) -> int:
    first, second, _ = np.random.SeedSequence(numbers).generate_state(3, np.uint32)
    return (int(first) << 32) + int(second)


def test_pytorch_draws_as_after_its_own_seed():
    torch.manual_seed(_seed(1234, 7, 1, 0))
    wanted = torch.rand(5)
    torch.rand(3)
    draw_by(1234, 7, 1, 0)
    assert torch.equal(torch.rand(5), wanted)
    draw_by(1234, 8, 1, 0)
    assert not torch.equal(torch.rand(5), wanted)


def test_numpy_and_python_are_seeded_too():
    drawn = []
    for _ in range(2):
        draw_by(3, 1)
        drawn.append((np.random.rand(), random.random()))  # noqa: NPY002 - the global one is meant
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("name", ["manual_seed_all", "manual_seed"])  # of CUDA; of Apple's Metal
def test_a_device_that_is_there_gets_the_seed(name, monkeypatch):
    given = []

    class Kind:
        """Stands in for torch.cuda or torch.mps."""

        manual_seed = staticmethod(given.append)

    setattr(Kind, name, staticmethod(given.append))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch, "get_device_module", lambda: Kind)
    draw_by(5, 2)
    assert given == [_seed(5, 2)]
