"""A compiled training step is one graph and the eager one, operators included."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from midframe import Inputs, Prediction, create_model
from midframe.errors import UserError
from midframe.models.base import Interpolator
from midframe.speed.compile import bench_compile, gradient_norms, step_data, train_step

SIZE = 32


@pytest.mark.slow
@pytest.mark.parametrize("name", ["upr", "softsplat", "ifrnet_s"])
def test_a_compiled_training_step_is_the_eager_one(name):
    model = create_model(name, init="he").train()
    for parameter in model.parameters():  # off the average, so that flow takes part
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    x, target = step_data(model, 1, SIZE)
    eager, norms = train_step(model, model, x, target), gradient_norms(model)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True, dynamic=False)
    loss = train_step(compiled, model, x, target)
    torch.testing.assert_close(loss, eager, atol=1e-5, rtol=0)
    assert float(norms.max()) > 0
    torch.testing.assert_close(gradient_norms(model), norms, atol=1e-4, rtol=1e-3)


class Broken(Interpolator):
    """Cannot be one graph: what it does depends on a number in a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Inputs, **hints: object) -> Prediction:
        first, second = (frame[:, None] for frame in x.pair)
        way = second if float(self.scale) > 0.5 else first
        return Prediction(self.scale * way)


class Straight(Broken):
    def forward(self, x: Inputs, **hints: object) -> Prediction:
        return Prediction(self.scale * x.pair[0][:, None])


def test_the_benchmark_tells_what_compiling_brings():
    found = bench_compile(Straight(), 1, SIZE, rounds=2, backend="aot_eager")
    assert found["equal"] and found["loss_difference"] <= 1e-5
    assert set(found["passes"]) == {"forward", "forward+backward"}
    for way in found["passes"].values():
        assert way["eager_ms"] > 0 and way["compiled_ms"] > 0 and way["speed"] > 0


def test_a_model_that_is_not_one_graph_is_told():
    with pytest.raises(UserError, match="Broken does not compile as one graph"):
        bench_compile(Broken(), 1, SIZE, rounds=1, backend="aot_eager")
    with pytest.raises(UserError, match="nothing to train"):
        bench_compile("average", 1, SIZE)
