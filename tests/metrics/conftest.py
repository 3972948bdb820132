"""Files of random weights in the form that they are published in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

ALEXNET = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}


def alexnet() -> dict[str, torch.Tensor]:
    """Return torchvision's state dict, its classifier cut down to next to nothing."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for place, (width, inside, kernel) in ALEXNET.items():
        scale = (2 / (inside * kernel**2)) ** 0.5
        weight = torch.randn(width, inside, kernel, kernel, generator=generator)
        state[f"features.{place}.weight"] = scale * weight
        state[f"features.{place}.bias"] = 0.1 * torch.randn(width, generator=generator)
    state["classifier.1.weight"], state["classifier.1.bias"] = torch.zeros(2, 3), torch.zeros(2)
    return state


def heads() -> dict[str, torch.Tensor]:
    """Return the linear layers as LPIPS's repository has them."""
    generator = torch.Generator().manual_seed(1)
    return {
        f"lin{i}.model.1.weight": torch.rand(1, width, 1, 1, generator=generator)
        for i, (width, *_) in enumerate(ALEXNET.values())
    }


@pytest.fixture(scope="session")
def weight_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the options weights and heads of LPIPS: files of random weights."""
    folder = tmp_path_factory.mktemp("weights")
    files = {"weights": folder / "alexnet-owt.pth", "heads": folder / "alex.pth"}
    torch.save(alexnet(), files["weights"])
    torch.save(heads(), files["heads"])
    return files
