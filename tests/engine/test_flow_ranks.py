"""Flow losses where processes have different numbers of labels: those of one process with all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from midframe.losses import FlowSupervision, Term
from midframe.losses.multiscale import MultiScaleEPE
from midframe.types import Batch, Inputs, Prediction

WORLD, EACH = 2, 3
TERMS: dict[str, tuple[Term, str, float]] = {
    "supervision": (FlowSupervision(), "backward", 0.5),
    "multiscale": (MultiScaleEPE(alphas=[1.0]), "forward", 0.0),
}
VALID = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 1.0])


def everything(kind: str, t: float) -> tuple[Prediction, Batch]:
    """All samples of a step, of which two have no labels."""
    torch.manual_seed(3)
    count = WORLD * EACH
    flow, label = torch.randn(2, count, 1, 2, 2, 16, 16).unbind(0)
    coarse = torch.randn(count, 1, 2, 2, 4, 4)
    inputs = Inputs(torch.rand(count, 2, 3, 16, 16), torch.full((count, 1), t))
    pred = Prediction(inputs.frames[:, :1], flow, kind, flows_coarse=(coarse,))
    return pred, Batch(inputs, flow=label, flow_valid=VALID)


def gradients(term: Term, pred: Prediction, batch: Batch) -> list[torch.Tensor]:
    flows = [pred.flow, *pred.flows_coarse]
    wanted = [cast(torch.Tensor, x).detach().clone().requires_grad_() for x in flows]
    term(
        replace(pred, flow=wanted[0], flows_coarse=tuple(wanted[1:])), batch, cast(Any, None)
    ).backward()
    return [torch.zeros_like(x) if x.grad is None else x.grad for x in wanted]


def part_of(tree: Any, rank: int) -> Any:
    return tree.map(lambda x: x.chunk(WORLD)[rank])


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=WORLD)
    found = {}
    for name, (term, kind, t) in TERMS.items():
        found[name] = gradients(term, *(part_of(x, rank) for x in everything(kind, t)))
    term, kind, t = TERMS["supervision"]
    pred, batch = (part_of(x, rank) for x in everything(kind, t))
    if rank:  # a batch in which nothing has labels has no field for them
        batch = replace(batch, flow=None, flow_valid=None)
    found["none at all"] = gradients(term, pred, batch)
    with torch.no_grad():  # what one process alone looks at waits for nobody
        if rank == 0:
            term(pred, batch, cast(Any, None))
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_ranks_with_other_numbers_of_labels_weigh_samples_alike(tmp_path: Path) -> None:
    mp.spawn(work, (str(tmp_path),), WORLD)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(WORLD)]
    for name, (term, kind, t) in TERMS.items():
        wanted = gradients(term, *everything(kind, t))
        for whole, *parts in zip(wanted, *(rank[name] for rank in ranks)):
            torch.testing.assert_close(torch.cat(parts) / WORLD, whole)
            assert not bool(whole[3:5].any())
        assert any(bool(whole.any()) for whole in wanted)
    # only the first has labels, so that its gradient alone is the step's
    for rank, found in enumerate(ranks):
        assert bool(found["none at all"][0].any()) == (rank == 0)
    pred, batch = (part_of(x, 0) for x in everything("backward", 0.5))
    alone = gradients(TERMS["supervision"][0], pred, batch)
    torch.testing.assert_close(ranks[0]["none at all"][0] / WORLD, alone[0])
