"""Which channels survive, in small networks with everything that may stand between layers.

The truth of all these: where what goes is zero, the narrow network computes what the wide one does.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from midframe import create_model
from midframe.engine.compress_channels import Layers, Survey
from midframe.engine.compress_transfer import (
    NEW,
    Channels,
    check_transfer,
    probe_run,
    transfer,
    without,
)
from midframe.errors import UserError
from midframe.models.base import Interpolator
from midframe.types import Inputs, Prediction


class Toy(Interpolator):
    """A network of one kind of connection; ``width`` is what is narrowed."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.last = nn.Conv2d(self.build(width), 3, 3, padding=1)

    def build(self, width: int) -> int:
        raise NotImplementedError

    def between(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        return Prediction(self.last(self.between(x.frames.flatten(1, 2)))[:, None])


def conv(inside: int, outside: int, **options: Any) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, 3, padding=1, **options)


class Residual(Toy):
    """Sums, normalisation, PReLU by channel and one for all."""

    def build(self, w: int) -> int:
        self.first, self.norm = conv(6, w, bias=False), nn.BatchNorm2d(w)
        self.a, self.b, self.slopes, self.slope = conv(w, w), conv(w, w), nn.PReLU(w), nn.PReLU()
        return w

    def between(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(x)))
        return self.slope(x + self.b(self.slopes(self.a(x))))


class Dense(Toy):
    """Concatenations in another order than written, the same features twice at one place."""

    def build(self, w: int) -> int:
        self.a, self.b = conv(6, w), conv(6 + w, 2 * w)
        return 4 * w + 6

    def between(self, x: Tensor) -> Tensor:
        a = torch.relu(self.a(x))
        b = self.b(torch.cat((a, x), 1))
        return torch.cat((a.roll(1, 3), b, x, a), 1)


class Split(Toy):
    """A path of its own for the last channels, whose number does not follow the rest."""

    side = 3

    def build(self, w: int) -> int:
        self.a, self.c = conv(6, w), conv(self.side, self.side)
        self.b = nn.ConvTranspose2d(w, w, 4, 2, 1)
        return w

    def between(self, x: Tensor) -> Tensor:
        rest, side = self.a(x).tensor_split([-self.side], 1)
        return F.avg_pool2d(self.b(torch.cat((rest, self.c(side)), 1)), 2)


class Narrower(Split):
    side = 1


class Gated(Toy):
    """Squeeze and excitation, whose linear layers see and scale every channel."""

    def build(self, w: int) -> int:
        self.a, self.norm = conv(6, w), nn.BatchNorm2d(w)
        self.down, self.up = nn.Linear(w, w // 2), nn.Linear(w // 2, w)
        return w

    def between(self, x: Tensor) -> Tensor:
        x = self.norm(self.a(x))
        gate = torch.sigmoid(self.up(torch.relu(self.down(x.mean((2, 3))))))
        return x * gate[..., None, None]


class Grouped(Toy):
    """Grouped convolutions, one of them transposed, and a depthwise one."""

    def build(self, w: int) -> int:
        self.a, self.b = conv(6, 2 * w), conv(2 * w, 2 * w, groups=2)
        self.up = nn.ConvTranspose2d(2 * w, 2 * w, 2, 2, groups=2)
        self.each = conv(2 * w, 2 * w, groups=2 * w)
        return 2 * w

    def between(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.each(self.up(torch.relu(self.b(self.a(x))))), 2)


class Warped(Toy):
    """Features that a flow from the same layer warps: it steers all and carries none."""

    def build(self, w: int) -> int:
        self.a, self.b = conv(3, w), conv(w, 2 + w)
        return 3 * w + 2

    def between(self, x: Tensor) -> Tensor:
        one, two = self.a(torch.cat(x.chunk(2, 1))).chunk(2)  # one layer for both frames
        out = self.b(one)
        flow, more = out[:, :2], out[:, 2:]
        ys, xs = (torch.linspace(-1, 1, n, dtype=x.dtype) for n in x.shape[-2:])
        grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1) + flow.movedim(1, -1) * 0.1
        warped = F.grid_sample(two, grid, align_corners=True)
        return torch.cat((one, warped, flow, more), 1)


class Times(Toy):
    """Convolutions over time, whose times become channels; twice the same layer."""

    def build(self, w: int) -> int:
        self.a, self.b = nn.Conv3d(3, w, 3, padding=1), nn.Conv3d(w, w, 3, padding=1)
        return 2 * w

    def between(self, x: Tensor) -> Tensor:
        x = self.a(x.unflatten(1, (2, 3)).transpose(1, 2))
        x = self.b(torch.relu(self.b(x)))
        return x.transpose(1, 2).flatten(1, 2)


class Flat(Toy):
    """A linear layer over pixels, and rows of channels unfolded into pixels."""

    def build(self, w: int) -> int:
        self.a, self.shift = conv(6, 4 * w), nn.Linear(4 * w, 4 * w)
        return w

    def between(self, x: Tensor) -> Tensor:
        x = self.shift(self.a(x).movedim(1, -1)).movedim(-1, 1)
        return F.avg_pool2d(F.pixel_shuffle(x, 2), 2)


def weigh(model: nn.Module, seed: int = 0, scale: float = 0.2) -> None:
    """Give everything, running statistics too, values that matter."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in (*model.named_parameters(), *model.named_buffers()):
            if value.is_floating_point():
                noise = torch.randn(value.shape, generator=generator) * scale
                value.copy_(1 + noise.abs() if "var" in name else value + noise)


TOYS = [Residual, Dense, Split, Gated, Grouped, Warped, Times, Flat]


@pytest.mark.parametrize("toy", TOYS, ids=lambda t: t.__name__)
def test_without_what_goes_both_compute_the_same(toy: type[Toy]) -> None:
    wide, narrow = toy(8).eval(), toy(4).eval()
    weigh(wide), weigh(narrow, 1)
    channels = Channels(wide, narrow)
    assert channels.removed and not any(NEW in chosen for chosen in channels.sources.values())
    narrow.load_state_dict(transfer(wide, narrow, channels))
    assert check_transfer(wide, narrow, channels) < 1e-12
    difference = (probe_run(wide).frame - probe_run(narrow).frame).abs().mean()
    assert difference > 1e-3, "the channels that went did nothing"


@pytest.mark.parametrize("toy", TOYS, ids=lambda t: t.__name__)
def test_channels_that_are_zero_are_the_ones_that_go(toy: type[Toy]) -> None:
    """Zeros are put where another network's survivors are not: the choice must find them."""
    wide, narrow, other = toy(8).eval(), toy(4).eval(), toy(8).eval()
    weigh(wide), weigh(other, 7)
    sparse = without(wide, Channels(other, narrow))
    channels = Channels(sparse, narrow)
    narrow.load_state_dict(transfer(sparse, narrow, channels))
    torch.testing.assert_close(
        probe_run(narrow).frame, probe_run(sparse).frame, atol=1e-5, rtol=1e-4
    )


def test_a_path_may_narrow_while_its_neighbour_grows() -> None:
    """Of as many channels as before, fewer take the path: those beside it have no source."""
    wide, narrow = Split(8).eval(), Narrower(8).eval()
    weigh(wide), weigh(narrow, 1)
    channels = Channels(wide, narrow)
    assert channels.sources["a", "out"].count(NEW) == 2
    narrow.load_state_dict(transfer(wide, narrow, channels))
    assert check_transfer(wide, narrow, channels) < 1e-12
    new = [n for n, source in enumerate(channels.sources["b", "in"]) if source == NEW]
    assert not narrow.b.weight[new].any() and narrow.a.weight[new].any()


def test_the_same_widths_transfer_everything() -> None:
    wide, same = Gated(8).eval(), Gated(8).eval()
    weigh(wide)
    channels = Channels(wide, same)
    same.load_state_dict(transfer(wide, same, channels))
    assert not channels.removed
    assert torch.equal(probe_run(wide).frame, probe_run(same).frame)


def test_the_strongest_survive() -> None:
    wide, narrow = Residual(6).eval(), Residual(3).eval()
    with torch.no_grad():
        for factor, channel in zip((5.0, 0.1, 4.0, 0.2, 3.0, 0.3), range(6)):
            for layer in (wide.first, wide.a, wide.b):
                layer.weight[channel] = factor * torch.randn_like(layer.weight[channel])
    chosen = Channels(wide, narrow).sources
    assert chosen["first", "out"] == chosen["last", "in"] == chosen["b", "out"] == [0, 2, 4]
    with torch.no_grad():  # what normalisation scales to nothing is nothing
        wide.norm.weight[2] = wide.norm.bias[2] = 0
    assert Channels(wide, narrow).sources["first", "out"] == [0, 4, 5]


def test_another_structure_is_told() -> None:
    class Other(Residual):
        def build(self, w: int) -> int:
            self.more = conv(w, w)
            return super().build(w)

    with pytest.raises(UserError, match=r"another structure .*more\.bias"):
        Channels(Residual(8), Other(4))


def test_weights_of_no_layer_are_told() -> None:
    class Scaled(Residual):
        def build(self, w: int) -> int:
            self.scale = nn.Parameter(torch.ones(1, w, 1, 1))
            return super().build(w)

        def between(self, x: Tensor) -> Tensor:
            return super().between(x) * self.scale

    wide, narrow = Scaled(8).eval(), Scaled(4).eval()
    with pytest.raises(UserError, match="scale has the shape"):
        transfer(wide, narrow, Channels(wide, narrow))


def test_a_survey_leaves_the_model_as_it_was() -> None:
    model = Gated(4).eval()
    before = probe_run(model).frame
    Survey(model, Layers(model, model), probe_run)
    assert torch.equal(probe_run(model).frame, before)
    assert not any(module._forward_pre_hooks for module in model.modules())


HALF = {"pyramid": [12, 18, 27, 36], "side": 12}  # of ifrnet_s
SIDE, ALL = {**HALF, "side": 4}, {"pyramid": [4, 6, 10, 20], "side": 5}
FEW = {**HALF, "pyramid": [2, 18, 27, 36]}  # the finest decoder is narrower than the side path
SMALL = {"features": [32, 48, 64, 64], "kernels": 12, "grid": [8, 9, 10], "fuse": 7}
SMALL |= {"texture": [8, 10, 12, 13], "flow": False}
LESS = {"features": [16, 32, 48, 64], "kernels": 5, "grid": [4, 5, 7], "fuse": 3}
LESS |= {"texture": [4, 5, 7, 8]}
MODELS = [
    pytest.param("ifrnet_s", {"widths": HALF}, {"widths": ALL}, id="ifrnet"),
    pytest.param("ifrnet_s", {"widths": HALF}, {"widths": SIDE}, id="ifrnet-side"),
    pytest.param(
        "ifrnet_s", {"widths": HALF}, {"widths": FEW}, id="ifrnet-few", marks=pytest.mark.slow
    ),
    pytest.param("stmfnet", SMALL, LESS, id="stmfnet-small", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "base", "options"), MODELS)
def test_models_compute_the_same(name: str, base: dict[str, Any], options: dict[str, Any]) -> None:
    wide, narrow = create_model(name, **base), create_model(name, **{**base, **options})
    weigh(wide, scale=0.02), weigh(narrow, 1)
    channels = Channels(wide, narrow)
    narrow.load_state_dict(transfer(wide, narrow, channels))
    assert check_transfer(wide, narrow, channels) < 1e-12
    assert (probe_run(wide).frame - probe_run(narrow).frame).abs().mean() > 1e-4
