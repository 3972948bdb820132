"""Options that no loss can have are said in one line, before anything trains."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from midframe.errors import UserError
from midframe.losses import Charbonnier, Linear, LogL2, WeightedSum
from midframe.losses.flow import FlowSupervision
from midframe.losses.structure import Census, LaplacianPyramid
from midframe.models.zoo import create_model
from midframe.types import Batch, Inputs, Prediction


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Census(patch=6), "odd patch .* got patch=6"),
        (lambda: Census(patch=5, border=3), "border=3"),
        (lambda: Census(grey="hsv"), "grey .*, not 'hsv'"),
        (lambda: LaplacianPyramid(levels=0), "levels=0"),
        (lambda: LaplacianPyramid(reduction="max"), "reduction='max'"),
        (lambda: LaplacianPyramid(kernel="box"), "kernel='box'"),
        (lambda: LaplacianPyramid(band="raw"), "band='raw'"),
        (lambda: FlowSupervision(norm="l2"), "norm epe or l1, not 'l2'"),
        (lambda: Linear(0.0, 1.0, 200, 100), "from step 200 to step 100"),
        (lambda: LogL2(epsilon=0), "epsilon=0 must be above 0"),
    ],
)
def test_what_cannot_be_is_named(make: Callable[[], object], words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_sum_whose_terms_all_have_weight_zero_says_at_which_step() -> None:
    frame = torch.rand(1, 1, 3, 8, 8)
    batch = Batch(Inputs(torch.rand(1, 2, 3, 8, 8), torch.tensor([[0.5]])), target=frame)
    schedule = Linear(0.0, 1.0, 10, 20)
    loss = WeightedSum({"charbonnier": {"weight": schedule, "term": Charbonnier()}})
    model = create_model("average")
    assert loss(Prediction(frame), batch, model, step=15).total > 0
    with pytest.raises(UserError, match="weight 0 at step 3"):
        loss(Prediction(frame), batch, model, step=3)


def test_log_l2_is_psnr_of_each_frame_with_the_sign_turned():
    target = torch.full((1, 2, 3, 8, 8), 0.5)
    off = torch.tensor([0.1, 0.01]).reshape(1, 2, 1, 1, 1)
    batch = Batch(Inputs(torch.zeros(1, 2, 3, 8, 8), torch.tensor([[0.3, 0.6]])), target)
    value = LogL2(1e-9)(Prediction(target + off), batch, nn.Identity())
    torch.testing.assert_close(value, torch.tensor(-(20.0 + 40.0) / 2), atol=1e-2, rtol=0)
    exact = LogL2()(Prediction(target), batch, nn.Identity())
    torch.testing.assert_close(exact, torch.tensor(-50.0))
