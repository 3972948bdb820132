"""BatchNorm over two processes is BatchNorm over all samples."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from midframe.engine import sync_norm
from midframe.engine.sync_norm import SyncNorm, SyncNorms

WORLD = 2


def network() -> nn.Sequential:
    torch.manual_seed(5)
    first = nn.Sequential(nn.Conv3d(2, 3, 3), nn.BatchNorm3d(3), nn.Tanh())
    return nn.Sequential(first, nn.Flatten(2), nn.BatchNorm1d(3, affine=False)).double().train()


def samples() -> torch.Tensor:
    torch.manual_seed(6)
    return 3 + torch.randn(4, 2, 4, 4, 4, dtype=torch.float64)


def learnt(net: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    out = net(x)
    (out.sin() * torch.linspace(0, 1, out.shape[-1], dtype=out.dtype)).mean().backward()
    grads = {f"grad {name}": p.grad for name, p in net.named_parameters() if p.grad is not None}
    return {"out": out.detach(), **grads, **net.state_dict()}


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=WORLD)
    net = SyncNorms().apply(network())
    torch.save(learnt(net, samples().chunk(WORLD)[rank]), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_alone_and_in_evaluation_nothing_changes() -> None:
    plain, net = network(), SyncNorms().apply(network())
    assert sum(isinstance(x, SyncNorm) for x in net.modules()) == 2
    assert list(net.state_dict()) == list(plain.state_dict())
    for mode in (True, False):
        x = samples()
        torch.testing.assert_close(net.train(mode)(x), plain.train(mode)(x))


def test_means_are_taken_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under bf16-mixed features come in bfloat16, whose sums would be off by percents."""
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: WORLD)
    monkeypatch.setattr(sync_norm, "all_reduce", lambda x: WORLD * x)  # the other has the same
    x = (30 + torch.randn(4, 2, 16, 16)).bfloat16()
    (net,) = SyncNorms().apply(nn.Sequential(nn.BatchNorm2d(2))).train()
    out = net(x)
    wanted = nn.BatchNorm2d(2).train()(x.float())
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), wanted, atol=2e-2, rtol=1e-2)


@pytest.mark.slow
def test_two_processes_are_one_with_all_samples(tmp_path: Path) -> None:
    mp.spawn(work, (str(tmp_path),), WORLD)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]
    for key, wanted in learnt(network(), samples()).items():
        found = [x[key] for x in ranks]
        if key == "out":
            torch.testing.assert_close(torch.cat(found), wanted)
        else:  # several devices take the mean of gradients; buffers are the same on all
            torch.testing.assert_close(sum(found) / WORLD if "grad" in key else found[1], wanted)
