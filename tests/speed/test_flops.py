"""Operations are counted as formulas by hand say, with and without numbers in the tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry

from midframe.models.base import Interpolator, Pad
from midframe.models.zoo import create_model
from midframe.ops import adacof, correlation, splat, use_backend
from midframe.speed.flops import COUNTED, count
from midframe.types import Inputs, Prediction

WIDTH, HEIGHT = 10, 6


class Network(Interpolator):
    """Runs a function of the first frame (1, 3, H, W), and returns the blend."""

    pad = Pad(4, "replicate", "after")  # 10x6 becomes 12x8

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        self.function(x.frames[:, 0])
        return Prediction(x.frames[:, :1])


def of(function: Any, **options: Any) -> dict[str, int]:
    return count(Network(function), (WIDTH, HEIGHT), **options)


@pytest.mark.parametrize("fake", [True, False])
def test_convolutions_on_the_padded_size(fake: bool) -> None:
    assert of(nn.Conv2d(3, 8, 3, padding=1), fake=fake) == {
        "convolution": 2 * 8 * 3 * 9 * (12 * 8)  # each output: 3 x 9 multiply-adds
    }
    assert of(nn.Conv2d(3, 8, 3, stride=2, padding=1), fake=fake) == {
        "convolution": 2 * 8 * 3 * 9 * (6 * 4)
    }
    # each *input* pixel is multiplied by the 4 x 4 kernel once, however large the output is
    assert of(nn.ConvTranspose2d(3, 5, 4, 2, 1), fake=fake) == {
        "convolution": 2 * 3 * 5 * 16 * (12 * 8)
    }


@pytest.mark.parametrize("fake", [True, False])
def test_matrix_products(fake: bool) -> None:
    layer = nn.Linear(12, 7)  # along the lines of 3 x 8
    assert of(lambda x: layer(x.flatten(1, 2)), fake=fake) == {"addmm": 2 * 12 * 7 * (3 * 8)}
    assert of(lambda x: x @ x.mT, fake=fake) == {"bmm": 2 * 3 * 8 * 12 * 8}


def test_backward_warping_is_not_counted_and_that_is_said() -> None:
    def warp(x: Tensor) -> Tensor:
        return nn.functional.grid_sample(x, x[:, :2].movedim(1, -1), align_corners=False)

    assert of(warp) == {} and "not element-wise operations, resizing and backward" in COUNTED


def test_a_call_of_several_times_and_samples() -> None:
    layer = nn.Conv2d(3, 8, 1)
    assert of(layer, batch=3, times=(0.25, 0.75)) == {"convolution": 3 * 2 * 24 * 12 * 8}

    class Deep(Network):
        def forward(self, x: Inputs, level: int = 1, **hints: Any) -> Prediction:
            assert x.t.tolist() == [[0.25, 0.75]] * 3
            for _ in range(level):
                super().forward(x)
            return Prediction(x.frames[:, :1])

    options = {"batch": 3, "times": (0.25, 0.75), "hints": {"level": 4}, "fake": False}
    assert count(Deep(layer), (12, 8), **options)["convolution"] == 4 * 3 * 2 * 24 * 12 * 8


def flow(x: Tensor) -> Tensor:
    return x[:, :2] * 3


PIXELS = 12 * 8


@pytest.mark.parametrize("fake", [True, False])
@pytest.mark.parametrize("forced", ["auto", "reference"])
@pytest.mark.parametrize(
    ("function", "expected"),
    [
        # a value times its weight is added to four pixels; 3 channels, and the weight itself
        (lambda x: splat(x, flow(x)), {"splat": 2 * 4 * 3 * PIXELS}),
        (lambda x: splat(x, flow(x), None, "avg"), {"splat": 2 * 4 * 4 * PIXELS}),
        (lambda x: splat(x, flow(x), x[:, :1], "soft"), {"splat": 2 * 4 * 4 * PIXELS}),
        # 25 displacements, 3 channels
        (lambda x: correlation(x, x, 2), {"correlation": 2 * 25 * 3 * PIXELS}),
        (lambda x: correlation(x, x, 2, stride=2), {"correlation": 2 * 25 * 3 * PIXELS // 4}),
        # 3 x 3 taps of four corners, 3 channels; the output is 10 x 6
        (
            lambda x: adacof(x, *[x[:, :1, :6, :10].expand(-1, 9, -1, -1)] * 3),
            {"adacof": 2 * 4 * 9 * 3 * 60},
        ),
    ],
)
def test_operators_by_hand(
    function: Any, expected: dict[str, int], forced: str, fake: bool
) -> None:
    with use_backend(forced):
        assert of(function, fake=fake) == expected


def test_parts_add_up_and_batches_multiply() -> None:
    layer = nn.Conv2d(3, 4, 1)
    both = of(lambda x: splat(layer(torch.cat((x, x))), torch.cat((flow(x), flow(x)))))
    assert both == {"convolution": 2 * 2 * 12 * PIXELS, "splat": 2 * 2 * 4 * 4 * PIXELS}


def test_a_model_that_asks_for_numbers_is_run() -> None:
    layer = nn.Conv2d(3, 8, 1)

    def function(x: Tensor) -> Tensor:
        return layer(x) if x.mean().item() == 0.5 else x

    assert of(function) == {"convolution": 2 * 24 * PIXELS}


def test_an_error_of_the_model_is_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="channels"):
        of(nn.Conv2d(7, 8, 1))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("ifrnet_s", (112, 64)),
        pytest.param("upr", (70, 60), marks=pytest.mark.slow),
        pytest.param("pwcnet", (64, 64), marks=pytest.mark.slow),
    ],
)
def test_shapes_alone_count_what_a_run_counts(name: str, size: tuple[int, int]) -> None:
    model = create_model(name)
    assert count(model, size) == count(model, size, fake=False)


@pytest.mark.parametrize(("name", "published"), [("ifrnet_s", 0.12), ("ifrnet", 0.21)])
def test_ifrnet_against_its_layers_and_the_paper(name: str, published: float) -> None:
    """The paper's tera operations at 720p are multiply-adds, transposed ones at their outputs."""
    model, layers = create_model(name), {"here": 0, "paper": 0}

    def note(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        values = layer.weight.numel()  # all are used once at each position
        places = {"here": output, "paper": output}
        if isinstance(layer, nn.ConvTranspose2d):
            places["here"] = inputs[0]
        for who, tensor in places.items():
            layers[who] += values * tensor.shape[0] * tensor.shape[-1] * tensor.shape[-2]

    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            layer.register_forward_hook(note)
    assert count(model, (1280, 720)) == {"convolution": 2 * layers["here"]}
    assert round(layers["paper"] / 1e12, 2) == published


def test_pytorchs_own_formulas_are_left_alone() -> None:
    before = dict(flop_registry)
    of(lambda x: splat(x, flow(x)))
    assert flop_registry == before and torch.ops.midframe.splat not in flop_registry
