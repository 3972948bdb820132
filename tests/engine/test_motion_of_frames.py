"""Motion comes into a batch: from the target in training, from the input frames in validation."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from midframe import create_model
from midframe.engine.build import build_enrichers
from midframe.engine.compose import compose
from midframe.engine.enrich import Enrichers, MotionOfFrames, TeacherFrames
from midframe.engine.module import VFIModule
from midframe.engine.teachers import FrameTeacher
from midframe.losses import L1, WeightedSum
from midframe.models.base import Interpolator
from midframe.models.motion import Guided, Motion
from midframe.types import Batch, Inputs, Prediction


class Marked(Motion):
    """Motion that tells where it is from: the call, and how many frames there were."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def _made(self, name: str, frames: torch.Tensor, times: int) -> torch.Tensor:
        self.calls.append(name)
        batch, (height, width) = len(frames), frames.shape[-2:]
        return torch.full((batch, times, 2, 2, height, width), float(len(self.calls)))

    def to_target(self, pair, target):
        return self._made("target", pair[0], target.shape[1])

    def quadratic(self, frames, t):
        return self._made("quadratic", frames, t.shape[1])

    def linear(self, frames, t):
        return self._made("linear", frames, t.shape[1])


class Seeing(Interpolator):
    """Keeps what it is given."""

    needs = frozenset({"motion"})

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(1))
        self.seen: list[Inputs] = []

    def forward(self, x: Inputs, **hints: object) -> Prediction:
        self.seen.append(x)
        return Prediction(self.gain * x.frames.mean(1, keepdim=True))


def _batch(frames: int, target: bool = True) -> Batch:
    x = Inputs(torch.rand(2, frames, 3, 8, 8), torch.full((2, 1), 0.5))
    return Batch(x, target=torch.rand(2, 1, 3, 8, 8) if target else None, ids=("a", "b"))


def _module(model: Interpolator, *enrichers) -> VFIModule:
    loss = WeightedSum({"l1": (1.0, L1())})
    module = VFIModule(model, loss, torch.optim.Adam, enrichers=Enrichers(enrichers, model.context))
    module._log_step = lambda *args: None  # type: ignore[method-assign]
    return module


def test_training_sees_the_target_and_validation_does_not():
    motion, model = Marked(), Seeing()
    module = _module(model, MotionOfFrames(motion))
    module.training_step(_batch(2), 0)
    module.validation_step(_batch(4), 0)
    module.validation_step(_batch(2), 1)
    assert motion.calls == ["target", "quadratic", "linear"]
    assert [float(x.motion[0, 0, 0, 0, 0, 0]) for x in model.seen] == [1, 2, 3]
    assert all(x.frames.shape[1] == 2 for x in model.seen)  # as many as the model reads
    assert module.validation.rows.means()["psnr"] > 0


def test_training_without_a_target_takes_the_frames():
    motion = Marked()
    MotionOfFrames(motion)(_batch(4, target=False))
    assert motion.calls == ["quadratic"]


def test_other_enrichers_leave_validation_alone():
    teacher = FrameTeacher("average")
    batch = Enrichers([TeacherFrames(teacher)], 1).validation(_batch(4))
    assert batch.teacher is None and batch.inputs.frames.shape[1] == 2


def test_what_makes_motion_is_no_part_of_the_module():
    module = _module(Seeing(), MotionOfFrames(Motion()))
    assert list(module.state_dict()) == ["model.gain"]
    assert copy.deepcopy(module).enrich is module.enrich


@pytest.mark.parametrize("name, count", [("event", 1), ("ifrnet_s", 0)])
def test_a_model_that_needs_motion_gets_it_first_of_all(name, count):
    cfg = compose([f"model={name}", "data=synthetic", "teacher=dis"])
    options = {"channels": [4] * 5} if name == "event" else {}
    found = build_enrichers(cfg, create_model(name, **options))
    assert [type(x) for x in found[:count]] == [MotionOfFrames] * count
    assert len(found) == count + 1


def test_a_teacher_makes_its_motion_itself_unless_there_is_some(tmp_path):
    net = create_model("event", channels=[4] * 5)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    teacher = FrameTeacher("event", str(tmp_path / "net.pth"), {"channels": [4] * 5})
    assert isinstance(teacher.net, Guided)
    motion = teacher.net.motion = Marked()
    events = torch.zeros(2, 1, 8, 8, 8)
    for frames, wanted in ((4, "quadratic"), (2, "linear")):
        x = replace(_batch(frames).inputs, events=events)
        assert teacher(x).frame.shape == (2, 1, 3, 8, 8)
        assert motion.calls.pop() == wanted
    teacher(replace(x, motion=torch.zeros(2, 1, 2, 2, 8, 8)))
    assert not motion.calls
