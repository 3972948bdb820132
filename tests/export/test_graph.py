"""The graph that is exported is the model's `interpolate`, padding included."""

from __future__ import annotations

import pytest
import torch
from tiny_network import Tiny, TinyFour

from midframe.export.graph import Graph, input_names
from midframe.export.verify import example, moving
from midframe.models.base import Interpolator, Pad
from midframe.types import Inputs, Prediction


class Echo(Interpolator):
    """Returns what it saw of the first frame, so that padding shows at the edges when shrunk."""

    def forward(self, x: Inputs, **hints: object) -> Prediction:
        wide = torch.nn.functional.avg_pool2d(x.pair[0], 5, 1, 2)
        return Prediction(wide[:, None])


@pytest.mark.parametrize("size", [(13, 9), (16, 8), (3, 2)])
@pytest.mark.parametrize("mode", ["zeros", "half", "replicate", "reflect"])
@pytest.mark.parametrize("side", ["after", "both"])
@pytest.mark.parametrize("open_size", [False, True])
def test_padding_is_that_of_interpolate(mode, side, size, open_size, monkeypatch):
    monkeypatch.setattr(Echo, "pad", Pad(8, mode, side))
    model = Echo().eval()
    graph = Graph(model, {}, None if open_size else size)
    x = moving(model, size)
    expected = model.interpolate(x).frame[:, 0]
    torch.testing.assert_close(graph(*example(model, size)), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("cls", [Tiny, TinyFour])
def test_the_graph_computes_what_the_model_does(cls):
    model = cls().eval()
    with torch.no_grad():
        got = Graph(model, {}, (37, 30))(*example(model, (37, 30)))
    expected = model.interpolate(moving(model, (37, 30))).frame[:, 0]
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


def test_hints_are_frozen():
    model = Tiny().eval()
    with torch.no_grad():
        plain, shifted = (
            Graph(model, hints, (16, 16))(*example(model, (16, 16)))
            for hints in ({}, {"shift": 0.05})
        )
    assert not torch.equal(plain, shifted)


def test_inputs_have_names_by_what_a_model_reads():
    assert input_names(1, "any", ()) == ["first", "second", "t"]
    assert input_names(2, "half", ()) == ["before", "first", "second", "after"]
    assert input_names(1, "any", ("motion", "events"))[2:] == ["t", "events", "motion"]


def test_what_is_compared_moves():
    """Frames without motion would compare nothing of what a flow does."""
    first, second = moving(Tiny(), (96, 64)).pair
    assert (first - second).abs().mean() > 0.01
