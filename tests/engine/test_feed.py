"""The feed: which batches a trainer gets follows from its step, rank and accumulation."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from midframe.data import loader
from midframe.data.module import Data
from midframe.engine.build import build_data
from midframe.engine.compose import compose
from midframe.engine.feed import Feed

STEPS, GLOBAL = 6, 4


@pytest.fixture(scope="module")
def data() -> Data:
    overrides = ["experiment=smoke", f"data.global_batch={GLOBAL}", "data.crop=32"]
    overrides += ["data.val.limit=5", "data.val.batch=1", "data.layout.size=40"]
    return build_data(compose(overrides))


def feed(data: Data, step: int = 0, rank: int = 0, world: int = 1, parts: int = 1) -> Feed:
    trainer: Any = SimpleNamespace(
        max_steps=STEPS,
        accumulate_grad_batches=parts,
        global_step=0,  # as it is when the feed is made
        global_rank=0,
        world_size=1,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )
    made = Feed(data, trainer)
    trainer.global_step, trainer.global_rank, trainer.world_size = step, rank, world
    made.trainer = trainer
    return made


def tickets(made: Feed) -> list[list[Any]]:
    return list(made.train_dataloader().batch_sampler)


def test_a_resumed_run_gets_the_batches_of_its_steps(data: Data) -> None:
    whole = tickets(feed(data))
    assert [len(batch) for batch in whole] == [GLOBAL] * STEPS
    assert tickets(feed(data, step=4)) == whole[4:]


def test_ranks_and_parts_share_the_same_batch(data: Data) -> None:
    whole = [set(batch) for batch in tickets(feed(data))]
    parts = tickets(feed(data, parts=2))
    assert [{*a, *b} for a, b in zip(parts[::2], parts[1::2])] == whole
    ranks = [tickets(feed(data, rank=rank, world=2, parts=2)) for rank in (0, 1)]
    joined = [[*a, *b] for a, b in zip(*ranks)]
    assert [{*a, *b} for a, b in zip(joined[::2], joined[1::2])] == whole


def test_every_validation_sample_goes_to_one_rank(data: Data) -> None:
    def ids(**where: int) -> list[str]:
        return [name for b in feed(data, **where).val_dataloader() for name in b.ids]

    whole = ids()
    shares = [ids(rank=rank, world=2) for rank in (0, 1)]
    assert len(whole) == 5 and sorted(shares[0] + shares[1]) == sorted(whole)
    assert all(shares)


@pytest.mark.parametrize(
    ("cores", "tasks", "threads", "expected"),
    [
        (8, "4(x2)", "8", 7),  # each task sees its own eight cores
        (32, "4(x2)", "8", 7),  # each sees those of all four of its machine
        (32, "4(x2)", None, 7),
        (32, "8", None, 3),
    ],
)
def test_a_rank_of_srun_loads_with_the_cores_of_its_own(
    cores: int, tasks: str, threads: str | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight ranks on one or two machines: on two, half of them share one machine's cores."""
    monkeypatch.setattr(loader, "usable_cores", lambda: cores)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "8")
    monkeypatch.setenv("SLURM_STEP_TASKS_PER_NODE", tasks)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    if threads:
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", threads)
    assert loader.worker_count("auto", 8) == expected
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")  # a shell of srun, whose ranks start here
    assert loader.worker_count("auto", 2) == min(cores // 2 - 1, 8)
