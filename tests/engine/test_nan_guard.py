"""The NaN guard: names what broke, and keeps a batch from which the step can be repeated."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from midframe.engine.enrich import Enrichers
from midframe.engine.nan_guard import NanGuard, find_non_finite, save_batch
from midframe.errors import UserError
from midframe.models.base import Interpolator
from midframe.types import Batch, Inputs, LossOutput, Prediction

NAN = float("nan")


class Two(Interpolator):
    """Two layers, and a hint without which it cannot be called."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.fixed_hints = {"gain": 1.0}

    def forward(self, x: Inputs, *, gain: float) -> Prediction:  # type: ignore[override]
        return Prediction(gain * self.second(self.first(x.pair[0]))[:, None])


def loss(pred: Prediction, batch: Batch, model: Any, step: int) -> LossOutput:
    flow = torch.tensor(0.0) if batch.flow is None else batch.flow.nan_to_num(0).abs().mean()
    terms = {"l1": (pred.frame - batch.target).abs().mean(), "flow": flow, "root": flow.sqrt()}
    return LossOutput(sum(terms.values()), terms)


def module() -> Any:
    plugin = SimpleNamespace(forward_context=nullcontext)
    return SimpleNamespace(
        model=Two(),
        loss=loss,
        enrich=Enrichers(),
        global_step=7,
        trainer=SimpleNamespace(precision_plugin=plugin),
    )


def batch() -> Batch:
    """A batch with every field."""
    flow = torch.ones(2, 1, 2, 2, 8, 8)
    flow[0, ..., :3, :] = NAN  # not known there
    return Batch(
        Inputs(torch.rand(2, 2, 3, 8, 8), torch.full((2, 1), 0.5), motion=flow.nan_to_num(0)),
        target=torch.rand(2, 1, 3, 8, 8),
        flow=flow,
        flow_valid=torch.ones(2),
        teacher=Prediction(torch.rand(2, 1, 3, 8, 8), flows_coarse=(torch.rand(1), torch.rand(2))),
        ids=("a", "b"),
    )


def test_labels_that_are_unknown_in_places_are_not_blamed() -> None:
    broken = module()
    nn.init.constant_(broken.model.first.weight, 3e38)
    assert find_non_finite(broken, batch()) == "the first non-finite output is that of first"


@pytest.mark.parametrize("field", ["frames", "t", "motion", "target", "flow_valid", "teacher"])
def test_whatever_else_in_the_batch_is_not_finite_is_named(field: str) -> None:
    bad = batch()
    holder = bad.inputs if hasattr(bad.inputs, field) else bad
    value = getattr(holder, field)
    tensor = value.flows_coarse[1] if isinstance(value, Prediction) else value
    tensor.view(-1)[1] = float("inf")
    name = "teacher.flows_coarse[1]" if field == "teacher" else field
    assert find_non_finite(module(), bad) == f"the batch's {name} is not finite"


def test_weights_layers_and_terms_are_named_in_this_order() -> None:
    broken = module()
    with torch.no_grad():
        broken.model.second.bias[0] = NAN
    assert find_non_finite(broken, batch()) == "the weight second.bias is not finite"

    healthy, negative = module(), batch()
    healthy.loss = lambda *args: LossOutput(
        torch.tensor(NAN), {"good": torch.tensor(1.0), "bad": torch.tensor(NAN)}
    )
    found = find_non_finite(healthy, negative)
    assert found == "the model's output is finite, the loss term bad is not"
    for layer in healthy.model.modules():
        assert not layer._forward_hooks, "it leaves no hook behind"


def test_the_saved_batch_repeats_the_step(tmp_path: Path) -> None:
    whole, path = batch(), tmp_path / "new" / "nan_batch.pt"
    save_batch(whole, path)
    saved = torch.load(path, weights_only=True)
    assert saved.pop("ids") == ["a", "b"]
    expected = {
        "frames": whole.inputs.frames,
        "t": whole.inputs.t,
        "motion": whole.inputs.motion,
        "target": whole.target,
        "flow": whole.flow,
        "flow_valid": whole.flow_valid,
        "teacher.frame": whole.teacher.frame,
        "teacher.flows_coarse[0]": whole.teacher.flows_coarse[0],
        "teacher.flows_coarse[1]": whole.teacher.flows_coarse[1],
    }
    assert saved.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(saved[name].nan_to_num(9), value.nan_to_num(9))
    assert [p.name for p in path.parent.iterdir()] == ["nan_batch.pt"]


def test_it_stops_before_the_backward_pass_and_only_then(tmp_path: Path) -> None:
    guard, broken = NanGuard(str(tmp_path)), module()
    nn.init.constant_(broken.model.first.weight, 3e38)
    trainer: Any = SimpleNamespace(world_size=1, global_step=7)
    guard.on_train_batch_start(trainer, broken, batch(), 0)
    guard.on_before_backward(trainer, broken, torch.tensor(1.0))
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match=r"inf at step 7.*output is that of first.*\(a, b\)"):
        guard.on_before_backward(trainer, broken, torch.tensor(float("inf")))
    assert (tmp_path / "nan_batch.pt").is_file()


def test_all_ranks_stop_where_one_has_to(tmp_path: Path) -> None:
    guard = NanGuard(str(tmp_path))
    strategy = SimpleNamespace(reduce=lambda bad, reduce_op: bad + 1)  # another rank's
    trainer: Any = SimpleNamespace(world_size=2, global_step=7, strategy=strategy)
    guard.on_train_batch_start(trainer, module(), batch(), 0)
    with pytest.raises(UserError, match="another rank, step 7"):
        guard.on_before_backward(trainer, module(), torch.tensor(1.0))
