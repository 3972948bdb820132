"""Critics on several devices: all ranks begin alike and learn from the mean of their gradients."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from midframe.engine.adversarial import Critics
from midframe.losses import Adversarial, WeightedSum
from midframe.types import Batch, Inputs, Prediction

WORLD = 2


def loss_of(rank: int) -> WeightedSum:
    torch.manual_seed(rank)  # ranks that began apart would stay apart
    return WeightedSum({"gan": (1.0, Adversarial(16))})


def sample(rank: int) -> tuple[Prediction, Batch]:
    torch.manual_seed(10 + rank)
    inputs = Inputs(torch.rand(3, 2, 3, 16, 16), torch.full((3, 1), 0.5))
    batch = Batch(inputs, torch.rand(3, 1, 3, 16, 16))
    return Prediction(torch.rand(3, 1, 3, 16, 16)), batch


def sgd(parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=WORLD)
    loss = loss_of(rank)
    Critics(loss, sgd).step(*sample(rank), 0)
    torch.save(dict(loss.terms["gan"].critic.named_parameters()), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_ranks_share_weights_and_gradients(tmp_path: Path) -> None:
    mp.spawn(work, (str(tmp_path),), WORLD)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(WORLD))
    grads = []
    for rank in range(WORLD):
        term = copy.deepcopy(loss_of(0).terms["gan"])
        term.critic_loss(*sample(rank)).backward()
        grads.append([p.grad for p in term.critic.parameters()])
    begun = loss_of(0).terms["gan"].critic.named_parameters()
    for (name, weight), *parts in zip(begun, *grads):
        assert torch.equal(first[name], second[name])
        wanted = weight - 0.1 * sum(parts) / WORLD
        torch.testing.assert_close(first[name], wanted, atol=1e-6, rtol=1e-5)
