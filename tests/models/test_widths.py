"""What models say about their widths is so: each option narrows the weights that it names."""

from __future__ import annotations

import pytest
import torch

from midframe import create_model, list_models
from midframe.engine.compress import Change, narrowed
from midframe.engine.sparsity import output_axis
from midframe.models import zoo
from midframe.models.ifrnet import SIZES

EMPTY = {name: zoo.build_empty(zoo.config_of(name)) for name in list_models()}
WITH_WIDTHS = [name for name, model in EMPTY.items() if model.widths()]


def _of_each_class() -> list[str]:
    """Sizes of a network have the same options: its smallest speaks for all."""
    found: dict[type, str] = {}
    for name in sorted(WITH_WIDTHS, key=lambda name: -_parameters(name)):
        found[type(EMPTY[name])] = name
    return sorted(found.values())


def _parameters(name: str) -> int:
    return sum(parameter.numel() for parameter in EMPTY[name].parameters())


def test_some_models_have_widths() -> None:
    assert {"ifrnet_s", "ifrnet", "ifrnet_l"} <= set(WITH_WIDTHS)


@pytest.mark.parametrize("name", _of_each_class())
def test_each_option_narrows_the_weights_that_it_names(name: str) -> None:
    config = zoo.config_of(name)
    model = zoo.build_empty(config)
    widths = model.widths()
    assert len({width.option for width in widths}) == len(widths)
    for width in widths:
        assert width.parameters and width.channels % width.multiple == 0
        assert width.least <= width.channels
        assert not set(width.parameters) & model.idle
        less = width.channels - width.multiple
        changes = [Change(w, 1.0, less if w is width else w.channels) for w in widths]
        narrow = zoo.build_empty(narrowed(config, changes))
        (after,) = (w for w in narrow.widths() if w.option == width.option)
        assert after.channels == less and after.parameters == width.parameters
        for parameter in width.parameters:
            layer = parameter.rpartition(".")[0]
            axis = output_axis(model.get_submodule(layer))
            counts = [m.get_parameter(parameter).shape[axis] for m in (model, narrow)]
            assert counts[0] >= counts[1], parameter
        shrunk = sum(
            narrow.get_parameter(p).numel() < model.get_parameter(p).numel()
            for p in width.parameters
        )
        assert shrunk > len(width.parameters) // 2


@pytest.mark.parametrize("name", WITH_WIDTHS)
def test_all_at_their_least_builds(name: str) -> None:
    config = zoo.config_of(name)
    widths = zoo.build_empty(config).widths()
    narrow = zoo.build_empty(narrowed(config, [Change(w, 0.0, w.least) for w in widths]))
    assert all(w.channels == w.least for w in narrow.widths())


@pytest.mark.parametrize("size", SIZES)
def test_ifrnet_s_sizes_are_widths_too(size: str) -> None:
    of_size = create_model("ifrnet", size=size)
    w = SIZES[size]
    by_hand = {"pyramid": list(w.pyramid), "side": w.side, "first_kernel": w.first_kernel}
    given = create_model("ifrnet", size="S" if size != "S" else "L", widths=by_hand)
    shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (of_size, given)]
    assert shapes[0] == shapes[1]


def test_ifrnet_takes_some_widths_and_the_size_s_others() -> None:
    model = create_model("ifrnet_l", widths={"side": 5})
    assert model.decoder1.convblock[1].conv2[0].weight.shape[0] == 5
    assert model.encoder.pyramid1[0][0].weight.shape == (64, 3, 7, 7)
    narrow = create_model("ifrnet_s", widths={"pyramid": [2, 3, 4, 5]})
    out = narrow.interpolate(_inputs()).frame
    assert out.shape == (1, 1, 3, 40, 40)


def _inputs():
    from midframe import Inputs

    return Inputs(torch.rand(1, 2, 3, 40, 40), torch.full((1, 1), 0.5))


@pytest.mark.parametrize(
    "widths",
    [{"pyramid": [1, 2, 3]}, {"side": 0}, {"sides": 3}, {"first_kernel": 4}, {"side": 2.5}],
)
def test_ifrnet_names_widths_that_it_cannot_have(widths) -> None:
    with pytest.raises(Exception, match="widths"):
        create_model("ifrnet_s", widths=widths)
