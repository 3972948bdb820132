"""The fast copy of a model gives the same pictures, and leaves the model alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import midframe
from midframe import Inputs, for_inference
from midframe.errors import UserError
from midframe.models.blocks import RowPReLU, join


def _frames(height: int = 48, width: int = 80) -> Inputs:
    noise = torch.rand(2, 2, 3, height, width)
    smooth = nn.functional.avg_pool3d(noise, (1, 5, 5), 1, (0, 2, 2))
    return Inputs(smooth, torch.tensor([[0.25, 0.5]] * 2))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_same_pictures_from_the_same_inputs(precision):
    model = midframe.create_model("ifrnet_s")
    x = _frames()
    expected = model.interpolate(x)
    got = for_inference(model, precision).interpolate(x)
    assert got.frame.dtype == got.flow.dtype == got.mask.dtype == torch.float32
    tolerance = 1e-5 if precision == "fp32" else 2e-2
    torch.testing.assert_close(got.frame, expected.frame, atol=tolerance, rtol=0)
    torch.testing.assert_close(got.flow, expected.flow, atol=tolerance, rtol=0)


def test_the_model_itself_stays_as_it_was():
    model = midframe.create_model("ifrnet_s").train()
    fast = for_inference(model)
    assert model.training
    assert not fast.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert all(p.requires_grad for p in model.parameters())
    assert {p.dtype for p in fast.parameters()} == {torch.bfloat16}
    assert not any(p.requires_grad for p in fast.parameters())
    assert not any(isinstance(m, RowPReLU) for m in model.modules())
    assert model.state_dict().keys() == fast.state_dict().keys()


def test_frames_stay_exact_where_nothing_moves():
    """Rounding frames to bfloat16 would lose up to half a grey level."""
    model = for_inference(midframe.create_model("ifrnet_s", init="he"))
    x = _frames()
    out = model.interpolate(x).frame
    torch.testing.assert_close(out[:, 0], x.frames.mean(1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["average", "dis"])
def test_models_without_weights_pass_unchanged(name):
    model = midframe.create_model(name)
    x = _frames(40, 40)
    assert torch.equal(for_inference(model).interpolate(x).frame, model.interpolate(x).frame)


def test_what_cannot_be_done_is_said():
    with pytest.raises(UserError, match="fp32 or bf16"):
        for_inference(midframe.create_model("average"), "int8")
    model = midframe.create_model("ifrnet_s")
    model.__class__ = type("Other", (type(model),), {"casts": False})
    with pytest.raises(UserError, match="set casts = True"):
        for_inference(model, "bf16")


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_row_prelu_is_prelu(layout, dtype):
    plain, rows = nn.PReLU(5), RowPReLU(5)
    with torch.no_grad():
        plain.weight.copy_(torch.linspace(-0.5, 1.5, 5))
    rows.load_state_dict(plain.state_dict())
    x = torch.randn(2, 5, 7, 3).to(dtype).contiguous(memory_format=layout)
    with torch.inference_mode():
        got, expected = rows.to(dtype)(x), plain.to(dtype)(x)
    assert torch.equal(got, expected)
    assert got.is_contiguous(memory_format=layout)


def test_join_keeps_the_first_ones_layout():
    first, second = torch.rand(2, 4, 5, 6), torch.rand(2, 3, 5, 6)
    expected = torch.cat((first, second), 1)
    last = join(first.contiguous(memory_format=torch.channels_last), second)
    assert torch.equal(last, expected)
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert join(first, second).is_contiguous()
