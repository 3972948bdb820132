"""PWC-Net's loss against values by hand and against a plain float64 loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from midframe.errors import UserError
from midframe.losses import MultiScaleEPE
from midframe.types import Batch, Inputs, Prediction, SampleMeta

ALPHAS = (0.005, 0.01, 0.02, 0.08, 0.32)


def flow_pair(levels, size=64, t=((0.0, 1.0),), fill=None):
    """Return a prediction with these (B, T, 2, 2, h, w) levels, in their pixels, and a batch."""
    times = torch.tensor(t)
    count, number = times.shape
    pred = Prediction(
        torch.zeros(count, number, 3, size, size), levels[0], "forward", flows_coarse=tuple(levels)
    )
    flow = torch.zeros(count, number, 2, 2, size, size)
    if fill is not None:
        flow[:] = torch.as_tensor(fill)
    return pred, Batch(Inputs(torch.zeros(count, 2, 3, size, size), times), flow=flow)


def level(value, size, times=2):
    """Return a constant flow 0->1 and 1->0 of one sample: value (2, 2) by direction and axis."""
    value = torch.tensor(value, dtype=torch.float32)
    return value[None, None, :, :, None, None].repeat(1, times, 1, 1, size, size)


def test_one_level_by_hand():
    # quarter size: predicted 0->1 is (1, 0) there, so 4 px; the label is (1, 4) px: off by (3, -4)
    pred, batch = flow_pair([level([[1, 0], [-1, 0]], 16)])
    batch.flow[:, 0, 1] = torch.tensor([1.0, 4.0])[:, None, None]
    batch.flow[:, 1, 0] = torch.tensor([-4.0, 0.0])[:, None, None]  # 1->0 is right
    value = MultiScaleEPE([0.005])(pred, batch, None)
    assert float(value) == pytest.approx(0.005 * 16 * 16 * (5 / 20) / 2)  # the mean of two pairs
    mean = MultiScaleEPE([0.005], reduction="mean")(pred, batch, None)
    assert float(mean) == pytest.approx(0.005 * (5 / 20) / 2)
    manhattan = MultiScaleEPE([1.0], norm="l1", q=0.4, epsilon=0.01, reduction="mean")
    expected = ((7 / 20 + 0.01) ** 0.4 + 0.01**0.4) / 2
    assert float(manhattan(pred, batch, None)) == pytest.approx(expected)


def test_what_goes_to_a_frame_itself_is_not_looked_at():
    pred, batch = flow_pair([level([[1, 2], [3, 4]], 16)])
    before = MultiScaleEPE([1.0])(pred, batch, None)
    batch.flow[:, 0, 0] = 99.0
    batch.flow[:, 1, 1] = float("nan")
    assert torch.equal(MultiScaleEPE([1.0])(pred, batch, None), before)


def reference(pred, batch, alphas):
    """The published sum in float64 and plain loops, for labels known everywhere."""
    total, pairs = 0.0, 0
    flow, t = batch.flow.double().numpy(), batch.inputs.t.numpy()
    for b in range(t.shape[0]):
        for k in range(t.shape[1]):
            if t[b, k] not in (0.0, 1.0):
                continue
            pairs += 1
            start = int(t[b, k])
            label = flow[b, k, 1 - start] / 20.0
            for alpha, coarse in zip(alphas, pred.flows_coarse):
                guess = coarse[b, k, start].double().numpy()
                cell = label.shape[-1] // guess.shape[-1]
                h, w = guess.shape[-2:]
                small = label.reshape(2, h, cell, w, cell).mean((2, 4))
                total += alpha * np.sqrt((((guess * cell / 20.0) - small) ** 2).sum(0)).sum()
    return total / pairs


@pytest.mark.parametrize("t", [[[0.0, 1.0]] * 3, [[0.0], [1.0], [1.0]], [[0.0, 0.5, 1.0]] * 3])
def test_all_levels_against_a_loop_in_float64(t):
    generator = torch.Generator().manual_seed(3)
    number = len(t[0])
    levels = [torch.randn(3, number, 2, 2, 64 >> i, 64 >> i, generator=generator) for i in (1, 3)]
    pred, batch = flow_pair(levels, t=t)
    batch.flow = 5 * torch.randn(batch.flow.shape, generator=generator)
    value = MultiScaleEPE([0.3, 0.7])(pred, batch, None)
    assert float(value) == pytest.approx(reference(pred, batch, (0.3, 0.7)), rel=1e-5)


def test_unknown_pixels_do_not_count():
    guess = level([[0, 0], [0, 0]], 16).requires_grad_()
    pred, batch = flow_pair([guess])
    batch.flow[:, :, :, 0] = 20.0  # one unit off everywhere
    whole = float(MultiScaleEPE([1.0])(pred, batch, None).detach())
    assert whole == pytest.approx(256)
    batch.flow[:, :, :, :, :, :32] = 1.7e9
    batch.flow[:, :, :, :, :16, 32:34] = float("nan")  # half of a cell: the rest is its mean
    value = MultiScaleEPE([1.0])(pred, batch, None)
    assert float(value.detach()) == pytest.approx(128 - 4 * 0.5)
    value.backward()
    assert torch.isfinite(guess.grad).all()
    assert not guess.grad[..., :8].any() and guess.grad[0, 0, 0, 0, 10, 10] != 0
    mean = MultiScaleEPE([1.0], reduction="mean")(pred, batch, None)
    assert float(mean.detach()) == pytest.approx(1.0)


def test_samples_without_labels_do_not_count():
    generator = torch.Generator().manual_seed(0)
    levels = [torch.randn(3, 2, 2, 2, 16, 16, generator=generator)]
    pred, batch = flow_pair(levels, t=[[0.0, 1.0]] * 3)
    alone = Batch(Inputs(batch.inputs.frames[:1], batch.inputs.t[:1]), flow=batch.flow[:1].clone())
    expected = MultiScaleEPE([1.0])(pred.map(lambda x: x[:1]), alone, None)
    batch.flow[1:] = float("nan")
    batch.flow_valid = torch.tensor([1.0, 0.0, 0.0])
    torch.testing.assert_close(MultiScaleEPE([1.0])(pred, batch, None), expected)
    batch.flow_valid = torch.zeros(3)
    assert float(MultiScaleEPE([1.0])(pred, batch, None)) == 0.0


def test_gradient_is_finite_where_the_flow_is_right():
    guess = level([[0, 0], [0, 0]], 16).requires_grad_()
    for options in ({}, {"norm": "l1", "q": 0.4, "epsilon": 0.01}):
        pred, batch = flow_pair([guess])
        MultiScaleEPE([1.0], **options)(pred, batch, None).backward()
        assert torch.isfinite(guess.grad).all()


def test_half_precision_is_widened():
    levels = [torch.randn(1, 2, 2, 2, 16, 16).bfloat16()]
    pred, batch = flow_pair(levels)
    wide, _ = flow_pair([levels[0].float()])
    with torch.autocast("cpu", torch.bfloat16):
        value = MultiScaleEPE([1.0])(pred, batch, None)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, MultiScaleEPE([1.0])(wide, batch, None))


def test_labels_between_the_frames_are_an_error_that_says_what_to_use():
    pred, batch = flow_pair([level([[0, 0], [0, 0]], 16)], t=[[0.25, 0.5]])
    batch.meta = SampleMeta("vimeo")
    with pytest.raises(UserError, match="vimeo lie between.*data=flyingchairs"):
        MultiScaleEPE([1.0])(pred, batch, None)


def test_misuse_is_told():
    pred, batch = flow_pair([level([[0, 0], [0, 0]], 16)])
    with pytest.raises(UserError, match="5 alphas for 1 levels"):
        MultiScaleEPE(ALPHAS)(pred, batch, None)
    pred.flow_kind = "backward"
    with pytest.raises(UserError, match="use FlowSupervision"):
        MultiScaleEPE([1.0])(pred, batch, None)
    for options in ({"norm": "l3"}, {"reduction": "max"}, {"q": 0.4}, {"q": 2}, {"alphas": [0]}):
        with pytest.raises(UserError):
            MultiScaleEPE(**options)


def test_configs_of_earlier_runs_still_find_it():
    from midframe.losses import flow

    assert flow.MultiScaleEPE is MultiScaleEPE
