"""Validation measures flow wherever there are labels, and frames only between the inputs."""

from __future__ import annotations

import pytest
import torch

from midframe.engine.validation import Validation, mean_epe
from midframe.types import Batch, Inputs, Prediction

SIZE = 32


def batch_of(t: list[list[float]], flow: bool = True) -> Batch:
    times = torch.tensor(t)
    count, number = times.shape
    labels = torch.zeros(count, number, 2, 2, SIZE, SIZE) if flow else None
    frames = torch.rand(count, 2, 3, SIZE, SIZE)
    target = torch.rand(count, number, 3, SIZE, SIZE)
    return Batch(Inputs(frames, times), target, labels, ids=tuple("abc"[:count]))


def predicted(batch: Batch, kind: str | None, off: float = 0.0) -> Prediction:
    count, number = batch.inputs.t.shape
    flow = torch.full((count, number, 2, 2, SIZE, SIZE), off) if kind else None
    return Prediction(batch.target.clone() * 0.5, flow, kind)


def measured(pred: Prediction, batch: Batch) -> dict[str, float]:
    validation = Validation()
    validation.add(pred, batch)
    return validation.means()


def test_flow_networks_are_measured_from_frame_to_frame() -> None:
    batch = batch_of([[0.0, 1.0]])
    pred = predicted(batch, "forward")
    batch.flow[0, 0, 1, 0], batch.flow[0, 0, 1, 1] = 3.0, 4.0  # 0->1
    batch.flow[0, 1, 0, 0] = -12.0  # 1->0
    batch.flow[0, 0, 0] = batch.flow[0, 1, 1] = 99.0  # to itself: not looked at
    means = measured(pred, batch)
    assert means == pytest.approx({"epe": 8.5, "epe_still": 8.5, "fl_all": 1.0})
    pred.flow[0, :, 0] = batch.flow[0, 0, 1]
    pred.flow[0, :, 1] = batch.flow[0, 1, 0] + torch.tensor([0.0, 2.0])[:, None, None]
    assert measured(pred, batch) == pytest.approx({"epe": 1.0, "epe_still": 8.5, "fl_all": 0.0})
    assert float(mean_epe(pred, batch)) == pytest.approx(1.0)


def test_a_label_of_one_direction_is_enough() -> None:
    batch = batch_of([[0.0], [1.0]])
    batch.flow[0, 0, 1, 0] = 5.0
    batch.flow[1, 0, 0, 0] = 7.0
    pred = predicted(batch, "forward")
    pred.flow[0, 0, 0, 0], pred.flow[1, 0, 1, 0] = 4.0, 4.0
    assert measured(pred, batch)["epe"] == pytest.approx((1 + 3) / 2)


def test_interpolators_are_measured_in_frames_and_flow() -> None:
    batch = batch_of([[0.5], [0.5]])
    batch.flow[:] = 3.0
    means = measured(predicted(batch, "backward"), batch)
    assert means["epe"] == means["epe_still"] == pytest.approx(18**0.5)
    assert {"psnr", "psnr_average", "ssim", "ie"} <= set(means)
    batch.flow[0, 0, 1] = float("nan")  # one direction known: it alone counts
    pred = predicted(batch, "backward")
    pred.flow[0, 0, 0] = 3.0
    assert measured(pred, batch)["epe"] == pytest.approx(18**0.5 / 2)


def test_samples_without_labels_have_frames_alone() -> None:
    batch = batch_of([[0.5], [0.5]])
    batch.flow[0] = 1.0
    batch.flow[1] = 77.0
    batch.flow_valid = torch.tensor([1.0, 0.0])
    validation = Validation()
    validation.add(predicted(batch, "backward"), batch)
    assert validation.means()["epe"] == pytest.approx(2**0.5)
    assert len(validation.rows) == 2 and "epe" not in validation.rows.rows["b@0.500000"]
    batch.flow_valid = None
    batch.flow[1] = 1.7e9  # nothing known
    validation.reset()
    validation.add(predicted(batch, "backward"), batch)
    assert validation.means()["epe"] == pytest.approx(2**0.5)
    for kind, flow in (("backward", False), (None, True), ("forward", True)):
        assert "epe" not in measured(predicted(batch, kind), batch_of([[0.5], [0.5]], flow))


def test_frames_that_are_inputs_do_not_count() -> None:
    batch = batch_of([[0.0, 0.5, 1.0]], flow=False)
    between = batch_of([[0.5]], flow=False)
    between.inputs.frames, between.target = batch.inputs.frames, batch.target[:, 1:2]
    assert measured(predicted(batch, None), batch) == measured(predicted(between, None), between)
