"""Forward flow against labels of the target: exact scenes, hidden points, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from midframe.data.synthetic import Rendered, RenderedFlow, SceneSpec
from midframe.errors import UserError
from midframe.losses import FlowSupervision, ForwardFlowSupervision
from midframe.types import Batch, Inputs, Prediction


def tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(picture, np.float32)).permute(2, 0, 1)


def scene(t: float = 0.5, index: int = 0) -> tuple[Prediction, Batch]:
    """A scene with curved paths, and its true flow from frame to frame as the prediction."""
    spec = SceneSpec(3, "val", index, height=96, width=96, motion=(4.0, 8.0), acceleration=0.5)
    frames = [tensor(Rendered(spec, at).read()) / 255 for at in (0.0, 1.0, t)]
    labels = [tensor(RenderedFlow(spec, t, end).read()) for end in (0.0, 1.0)]
    across = [tensor(RenderedFlow(spec, a, 1.0 - a).read()) for a in (0.0, 1.0)]
    inputs = Inputs(torch.stack(frames[:2])[None], torch.tensor([[t]]))
    batch = Batch(inputs, frames[2][None, None], torch.stack(labels)[None, None])
    flow = torch.stack(across)[None, None]
    coarse = torch.nn.functional.interpolate(flow.flatten(0, 2), scale_factor=0.5, mode="area")
    halved = coarse.view(1, 1, 2, 2, 48, 48) / 2
    pred = Prediction(batch.target.clone(), flow, "forward", flows_coarse=(halved,))
    return pred, batch


@pytest.mark.parametrize("t", [0.5, 0.2])
def test_true_flow_is_right_at_any_time_and_on_curved_paths(t: float) -> None:
    pred, batch = scene(t)
    right = float(ForwardFlowSupervision()(pred, batch, None))
    still = Prediction(pred.frame, torch.zeros_like(pred.flow), "forward")
    wrong = float(ForwardFlowSupervision()(still, batch, None))
    assert right < 0.35  # the coarse level and bilinear sampling at the layers' edges
    assert wrong > 3.0


def test_a_flow_that_is_off_by_one_pixel_is_off_by_one() -> None:
    pred, batch = shifted()
    off = Prediction(pred.frame, pred.flow + torch.tensor([0.6, 0.8]).view(2, 1, 1), "forward")
    assert float(ForwardFlowSupervision()(pred, batch, None)) == pytest.approx(0.001, abs=1e-3)
    assert float(ForwardFlowSupervision()(off, batch, None)) == pytest.approx(1.0, abs=1e-3)


def shifted() -> tuple[Prediction, Batch]:
    """Everything moves by (4, 2) pixels from frame 0 to 1."""
    wide = torch.rand(3, 40, 44, generator=torch.Generator().manual_seed(1))
    cut = [wide[:, 4 - s : 36 - s, 6 - 2 * s : 38 - 2 * s] for s in (0, 2, 1)]
    flow = (
        torch.tensor([[4.0, 2.0], [-4.0, -2.0]]).view(1, 1, 2, 2, 1, 1).expand(1, 1, 2, 2, 32, 32)
    )
    inputs = Inputs(torch.stack(cut[:2])[None], torch.tensor([[0.5]]))
    batch = Batch(inputs, cut[2][None, None], flow.flip(2) / 2)
    return Prediction(cut[2][None, None], flow.clone(), "forward"), batch


def test_points_that_a_frame_does_not_show_count_for_nothing() -> None:
    pred, batch = shifted()
    hidden = batch.inputs.frames.clone()
    hidden[:, 0, :, 10:20, 10:20] = 2.0  # something stands before them in frame 0
    batch = Batch(Inputs(hidden, batch.inputs.t), batch.target, batch.flow)
    flow = pred.flow.clone().requires_grad_()
    wrong = Prediction(pred.frame, flow + 1.0, "forward")
    ForwardFlowSupervision()(wrong, batch, None).backward()
    assert not flow.grad[0, 0, 0, :, 11:19, 11:19].any()  # of frame 0
    assert flow.grad[0, 0, 1, :, 11:19, 11:19].any()
    # frame 0 begins two pixels above and to the left of what the target shows
    assert not flow.grad[0, 0, 0, :, :, -2:].any() or float(flow.grad[0, 0, 0, 0, 5, -1]) == 0


def test_unknown_labels_and_samples_without_any_count_for_nothing() -> None:
    pred, batch = shifted()
    label = batch.flow.clone()
    label[..., :5, :] = float("nan")
    flow = pred.flow.clone()
    flow[..., :3, :] += 100.0  # labels of these rows are unknown, in both directions
    some = Batch(batch.inputs, batch.target, label)
    value = ForwardFlowSupervision()(Prediction(pred.frame, flow, "forward"), some, None)
    assert float(value) < 0.01
    without = Batch(batch.inputs, batch.target, label, torch.zeros(1))
    assert float(ForwardFlowSupervision()(pred, without, None)) == 0.0


def test_descent_finds_the_flow() -> None:
    pred, batch = shifted()
    flow = torch.zeros_like(pred.flow).requires_grad_()
    optimizer = torch.optim.Adam([flow], lr=0.2)
    for _ in range(60):
        optimizer.zero_grad()
        ForwardFlowSupervision()(Prediction(pred.frame, flow, "forward"), batch, None).backward()
        optimizer.step()
    inside = flow.detach()[..., 6:-6, 6:-6]
    torch.testing.assert_close(inside, pred.flow[..., 6:-6, 6:-6], atol=0.3, rtol=0)


def test_each_kind_of_flow_has_its_own_term_and_is_sent_to_it() -> None:
    pred, batch = shifted()
    with pytest.raises(UserError, match="use ForwardFlowSupervision"):
        FlowSupervision()(pred, batch, None)
    backward = Prediction(pred.frame, pred.flow, "backward")
    with pytest.raises(UserError, match="or use FlowSupervision"):
        ForwardFlowSupervision()(backward, batch, None)
    with pytest.raises(UserError, match="tolerance=0"):
        ForwardFlowSupervision(tolerance=0)
