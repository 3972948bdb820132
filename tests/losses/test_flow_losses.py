"""Flow losses: absent and mixed labels, units, levels."""

import logging

import pytest
import torch
import torch.nn.functional as F

from midframe.errors import UserError
from midframe.losses import FlowDistillation, FlowSupervision, WeightedSum
from midframe.types import Batch, Inputs, Prediction

TERMS = [FlowDistillation, FlowSupervision]


def predicted(batch=3, times=2, size=32, offset=0.0, seed=0):
    """A prediction whose every level says one constant flow per sample, plus ``offset`` pixels."""
    generator = torch.Generator().manual_seed(seed)
    constant = 4 * torch.rand(batch, times, 2, 2, 1, 1, generator=generator)
    levels = [
        ((constant + offset) / 2**i).expand(*constant.shape[:4], size >> i, size >> i).clone()
        for i in range(4)
    ]
    levels = [level.requires_grad_() for level in levels]
    pred = Prediction(
        torch.zeros(batch, times, 3, size, size),
        levels[0],
        "backward",
        flows_coarse=tuple(levels[1:]),
    )
    inputs = Inputs(torch.zeros(batch, 2, 3, size, size), torch.full((batch, times), 0.5))
    return pred, Batch(inputs, flow=constant.expand(*constant.shape[:4], size, size).clone())


@pytest.mark.parametrize("term", TERMS)
def test_without_labels_zero_with_a_gradient_and_one_notice(term, caplog):
    pred, batch = predicted()
    batch.flow = None
    loss = WeightedSum({"flow": (1.0, term())})
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            out = loss(pred, batch, None)
    assert float(out.total.detach()) == 0.0
    out.total.backward()
    assert not pred.flows_coarse[-1].grad.any()
    assert len(caplog.records) == 1 and "no flow labels" in caplog.text


@pytest.mark.parametrize("term", TERMS)
def test_labels_raise_no_notice(term, caplog):
    with caplog.at_level(logging.WARNING):
        term()(*predicted(), None)
    assert not caplog.records


@pytest.mark.parametrize("term", TERMS)
def test_samples_without_labels_do_not_count(term):
    pred, batch = predicted(offset=1.0)
    alone = Batch(batch.inputs, flow=batch.flow[:1])
    expected = term()(pred.map(lambda x: x[:1]), alone, None)
    batch.flow[1:] = float("nan")
    batch.flow_valid = torch.tensor([1, 0, 0])
    value = term()(pred, batch, None)
    torch.testing.assert_close(value, expected)
    value.backward()
    assert pred.flows_coarse[0].grad[0].any()
    assert all(not level.grad[1:].any() for level in pred.flows_coarse)
    batch.flow_valid = torch.zeros(3)
    assert float(term()(pred, batch, None).detach()) == 0.0


@pytest.mark.parametrize(("norm", "expected"), [("epe", 2**0.5 * 3), ("l1", 6.0)])
def test_supervision_is_in_pixels_of_the_full_size(norm, expected):
    for size, kept in ((32, 4), (64, 1)):
        pred, batch = predicted(size=size, offset=3.0)
        pred.flows_coarse = pred.flows_coarse[: kept - 1]
        value = FlowSupervision(norm)(pred, batch, None)
        assert float(value.detach()) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("term", TERMS)
def test_levels_of_another_shape(term):
    """A level that is not the same fraction in x and y is brought to full-size pixels in each."""
    pred, batch = predicted()
    expected = term()(pred, batch, None)
    coarse = pred.flows_coarse[0].detach()[..., :8, :]  # 8 rows of 16 columns for 32 x 32
    coarse = coarse * torch.tensor([1.0, 0.5]).view(2, 1, 1)
    pred.flows_coarse = (coarse, *pred.flows_coarse[1:])
    torch.testing.assert_close(term()(pred, batch, None), expected)


def test_supervision_level_weights():
    pred, batch = predicted()
    pred.flow = pred.flow.detach() + 2.0  # only the finest level is off, by (2, 2)
    off = 8**0.5
    for weights, expected in (([1, 0, 0, 0], off), ([1, 3], off / 4), ([0, 1], 0.0)):
        value = FlowSupervision(level_weights=weights)(pred, batch, None)
        assert float(value.detach()) == pytest.approx(expected, abs=2e-3)
    with pytest.raises(UserError, match="5 level_weights for 4 levels"):
        FlowSupervision(level_weights=[1] * 5)(pred, batch, None)
    with pytest.raises(UserError, match="no level"):
        FlowSupervision(level_weights=[0, 0])


def test_supervision_averages_the_label_down():
    """A coarse pixel is held against the mean of the labels that it covers."""
    label = torch.randn(1, 1, 2, 2, 16, 16)
    coarse = F.avg_pool2d(label.flatten(0, 2), 4).reshape(1, 1, 2, 2, 4, 4) / 4
    pred = Prediction(torch.zeros(1), label.clone(), "backward", flows_coarse=(coarse,))
    value = FlowSupervision()(pred, Batch(predicted()[1].inputs, flow=label), None)
    assert float(value) == pytest.approx(1e-3, rel=1e-2)


def test_distillation_trusts_labels_less_where_the_finest_flow_disagrees():
    pred, batch = predicted(offset=0.5)
    near = FlowDistillation()(pred, batch, None)
    near.backward()
    slope = pred.flows_coarse[0].grad.abs().sum()
    pred2, _ = predicted(offset=0.5)
    pred2.flow = pred2.flow.detach() + 30.0
    FlowDistillation()(pred2, batch, None).backward()
    assert pred.flow.grad is None
    assert pred2.flows_coarse[0].grad.abs().sum() < 1e-2 * slope


@pytest.mark.parametrize("term", TERMS)
def test_half_precision_flow_is_widened(term):
    pred, batch = predicted(offset=1.0)
    expected = term()(pred.map(lambda x: x.detach().bfloat16().float()), batch, None)
    with torch.autocast("cpu", torch.bfloat16):
        value = term()(pred.map(lambda x: x.detach().bfloat16()), batch, None)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("term", TERMS)
def test_flow_between_the_frames_is_refused(term):
    pred, batch = predicted()
    pred.flow_kind = "forward"
    with pytest.raises(UserError, match=r"needs flow t->0 and t->1, .* predicts flow 0->1"):
        term()(pred, batch, None)


UNKNOWN = [float("nan"), float("inf"), 1.7e9, -2e9]


@pytest.mark.parametrize("unknown", UNKNOWN)
@pytest.mark.parametrize("term", [FlowDistillation, FlowSupervision, lambda: FlowSupervision("l1")])
def test_unknown_pixels_do_not_count(term, unknown):
    """A block of 8x8, a pixel of the coarsest level: the rest alone gives the same value."""
    pred, batch = predicted(offset=1.0)
    batch.flow = batch.flow + 0.3 * torch.randn(batch.flow.shape)  # all pixels count differently
    rows = slice(8, None)
    rest = Batch(batch.inputs, flow=batch.flow[..., rows, :])
    levels = [x.detach()[..., x.shape[-2] // 4 :, :] for x in (pred.flow, *pred.flows_coarse)]
    expected = term()(
        Prediction(pred.frame, levels[0], "backward", flows_coarse=tuple(levels[1:])), rest, None
    )
    batch.flow[..., 0, :8, :] = unknown  # one component suffices
    value = term()(pred, batch, None)
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=0)
    value.backward()
    for level in (pred.flow, *pred.flows_coarse):
        if level.grad is not None:
            assert level.grad.isfinite().all() and level.grad.any()
            assert not level.grad[..., : level.shape[-2] // 4 - 1, :].any()


def test_a_coarse_pixel_is_held_against_its_known_pixels_and_counts_by_their_share():
    pred, batch = predicted(batch=1, times=1)
    label = torch.zeros(1, 1, 2, 2, 32, 32)
    label[..., :4, :] = 3.0
    label[..., 4:, :] = float("nan")  # half of the first coarse row, and all of the others
    batch.flow = label
    coarse = torch.zeros(1, 1, 2, 2, 4, 4)
    pred = Prediction(pred.frame, torch.zeros_like(label), "backward", flows_coarse=(coarse,))
    value = FlowSupervision("l1", level_weights=[0, 1])(pred, batch, None)
    assert float(value) == pytest.approx(6.0)


@pytest.mark.parametrize("term", TERMS)
def test_a_sample_without_a_known_pixel_does_not_count(term):
    pred, batch = predicted(offset=1.0)
    alone = Batch(batch.inputs, flow=batch.flow[:1].clone())
    expected = term()(pred.map(lambda x: x[:1]), alone, None)
    batch.flow[1:] = float("nan")
    torch.testing.assert_close(term()(pred, batch, None), expected)
    batch.flow[:] = float("nan")
    value = term()(pred, batch, None)
    value.backward()
    assert float(value.detach()) == 0.0 and not pred.flows_coarse[0].grad.any()
