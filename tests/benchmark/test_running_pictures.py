"""Pictures of a result, and frames that are handed in where nobody has the true ones."""

from __future__ import annotations

import dataclasses

import cv2
import fakes
import numpy as np
import pytest
import torch

from midframe.benchmark.pictures import Pictures, flow_to_start, folder_name
from midframe.benchmark.predictor import Predictor
from midframe.benchmark.protocol import Metric, Protocol
from midframe.benchmark.runner import run
from midframe.errors import UserError
from midframe.models.average import Average
from midframe.picture import flow_picture
from midframe.types import Prediction

SCENES = Protocol(
    "scenes",
    1,
    "midframe.data.layouts.middlebury.other",
    ("test",),
    {},
    {"psnr": Metric("psnr")},
    layout_options={"on_error": "skip"},
)
HANDED_IN = dataclasses.replace(
    SCENES,
    layout="midframe.data.layouts.middlebury.evaluation",
    metrics={},
    submission="{id}/frame10i11.png",
)


def _read(path):
    return cv2.imread(str(path))[..., ::-1].astype(float)


class Moving(Average):
    """The average, with a flow to time 0 of 3 pixels to the left."""

    def forward(self, x, **hints):
        out = super().forward(x, **hints)
        out.flow = torch.zeros_like(out.flow)
        out.flow[:, :, 0, 0] = -3
        return out


def test_prediction_truth_and_flow_are_written(tmp_path):
    root = fakes.middlebury(tmp_path / "data", 2, size=(24, 32), two_folders=False)
    run(Predictor(Moving(), SCENES), SCENES, root, pictures=Pictures(tmp_path / "out"))
    found = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.png")}
    assert found == {
        f"{kind}/test/{scene}.png"
        for kind in ("images", "truth", "flow")
        for scene in ("Beanbags", "Dimetrodon")
    }
    first, middle, last = (
        _read(root / "Beanbags" / f"{n}.png") for n in ("frame10", "frame10i11", "frame11")
    )
    assert (_read(tmp_path / "out" / "truth" / "test" / "Beanbags.png") == middle).all()
    shown = _read(tmp_path / "out" / "images" / "test" / "Beanbags.png")
    assert np.abs(shown - (first + last) / 2).max() <= 0.5
    flow = np.zeros((24, 32, 2), np.float32)
    flow[..., 0] = -3
    wheel = _read(tmp_path / "out" / "flow" / "test" / "Beanbags.png")
    assert (wheel == flow_picture(flow)).all()


def test_a_model_without_flow_and_one_beside_leave_out_what_they_do_not_have(tmp_path):
    root = fakes.middlebury(tmp_path / "data", 1, size=(24, 32), two_folders=False)

    def frames_only(x):
        return Prediction(x.frames.mean(1, keepdim=True))

    run(frames_only, SCENES, root, pictures=Pictures(tmp_path / "out", truth=False))
    assert [p.parts[-3] for p in (tmp_path / "out").rglob("*.png")] == ["images"]


def test_flow_is_to_time_0_whichever_way_a_model_gives_it():
    flow = torch.randn(2, 3, 2, 2, 4, 4)
    t = torch.tensor([[0.25, 0.5, 0.75]] * 2)
    frame = torch.zeros(2, 3, 3, 4, 4)
    assert torch.equal(flow_to_start(Prediction(frame, flow, "backward"), t), flow[:, :, 0])
    shown = flow_to_start(Prediction(frame, flow, "forward"), t)
    assert torch.equal(shown[:, 2], 0.75 * flow[:, 2, 1])
    assert flow_to_start(Prediction(frame), t) is None


def test_frames_to_hand_in_are_written_without_a_true_one(tmp_path):
    root = fakes.middlebury_evaluation(tmp_path / "data")
    pictures = Pictures(tmp_path / "out", submission=HANDED_IN.submission)
    outcome = run(Predictor(Average(), HANDED_IN), HANDED_IN, root, pictures=pictures)
    assert outcome.complete and len(outcome.rows) == 8 and outcome.means() == {}
    written = sorted((tmp_path / "out").rglob("*.png"))
    assert [p.relative_to(tmp_path / "out").as_posix() for p in written] == sorted(
        f"submission/{row.id}/frame10i11.png" for row in outcome.rows
    )
    scene = outcome.rows[0].id
    inputs = [next(root.rglob(f"{scene}/{n}.png")) for n in ("frame10", "frame11")]
    mean = (_read(inputs[0]) + _read(inputs[1])) / 2
    shown = _read(tmp_path / "out" / "submission" / scene / "frame10i11.png")
    assert np.abs(shown - mean).max() <= 0.5


def test_times_and_subsets_have_their_place_in_a_path(tmp_path):
    pictures = Pictures(tmp_path, submission="{subset}/{id}_{t}.png")
    (path,) = pictures.paths("hard", "a@b/c@0.25")
    assert path == tmp_path / "submission" / "hard" / "a@b" / "c_0.25.png"
    (path,) = Pictures(tmp_path, submission="{id}.png").paths("hard", "a@b")
    assert path == tmp_path / "submission" / "a@b.png"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"submission": "frame.png"}, "names {id}"),
        ({"submission": "{id}{x}.png"}, "may name {id}, {subset} and {t}, not 'x'"),
        ({"times": (0.25, 0.5)}, "must name {t}"),
        ({"subsets": ("a", "b")}, "must name {subset}"),
    ],
)
def test_paths_that_pictures_would_share_are_refused(changes, said):
    with pytest.raises(UserError, match=said):
        dataclasses.replace(HANDED_IN, **changes)


@pytest.mark.parametrize(
    ("title", "name"), [("dis", "dis"), ("upr of run/1", "upr_of_run_1"), ("..", "model")]
)
def test_a_title_becomes_a_folder(title, name):
    assert folder_name(title) == name
