"""IFRNet says which sizes it takes."""

from __future__ import annotations

import pytest
import torch

from midframe import Inputs, create_model


@pytest.mark.parametrize(
    ("size", "scale", "multiple"),
    [((40, 48), 1.0, 16), ((48, 40), 1.0, 16), ((48, 48), 0.8, 20), ((48, 48), 0.5, 32)],
)
def test_a_size_that_does_not_fit_names_the_multiple(size, scale, multiple):
    model = create_model("ifrnet_s")
    x = Inputs(torch.rand(1, 2, 3, *size), torch.tensor([[0.5]]))
    message = f"multiples of {multiple}, not {size[0]}x{size[1]}"
    with pytest.raises(ValueError, match=message):
        model(x, scale_factor=scale)
    assert model.interpolate(x, scale_factor=scale).frame.shape[-2:] == size


@pytest.mark.parametrize("scale", [0.52, 0.68, 0.8, 1 / 3, 2.0])
def test_a_scale_whose_product_is_rounded_keeps_the_size(scale):
    """208 / 0.52 is 399.99..., which is 400 pixels and not 399."""
    model = create_model("ifrnet_s")
    step = model.padding(scale_factor=scale).multiple
    x = Inputs(torch.rand(1, 2, 3, step, step), torch.tensor([[0.5]]))
    out = model(x, scale_factor=scale)
    assert out.flow.shape[-2:] == out.frame.shape[-2:] == (step, step)
    assert 2 * out.flows_coarse[0].shape[-1] == round(step * scale)


def test_true_features_are_of_the_decoders_size_at_every_scale():
    model = create_model("ifrnet_s")
    model.fixed_hints = {"scale_factor": 0.5}
    x = Inputs(torch.rand(1, 2, 3, 64, 96), torch.tensor([[0.5]]))
    pred = model(x, **model.fixed_hints)
    true = model.target_features(x, torch.rand(1, 1, 3, 64, 96))
    assert [f.shape for f in true] == [f.shape for f in pred.features]
    assert true[0].shape[-2:] == (16, 24)  # half of half the size
