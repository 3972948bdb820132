"""Teachers of frames: frozen, outside of what is trained, with the frames that they read."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from midframe.engine import teachers
from midframe.engine.enrich import Enrichers, TeacherFrames
from midframe.engine.module import VFIModule
from midframe.engine.teachers import FrameTeacher, teacher_config
from midframe.errors import UserError
from midframe.losses import L1, Against, WeightedSum
from midframe.models.base import Interpolator, Pad
from midframe.models.zoo import config_of, create_model
from midframe.types import Batch, Inputs, Prediction


class Four(Interpolator):
    """Averages four frames after a layer whose statistics would drift in train mode."""

    context = 2
    times = "half"
    casts = True
    pad = Pad(8, "replicate", "after")

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.gain = gain
        self.calls: list[tuple[Any, ...]] = []

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        self.check_size(x)
        frames = self.norm(x.frames.flatten(0, 1).to(self.norm.weight.dtype))
        frames = self.gain * frames.float().unflatten(0, x.frames.shape[:2])
        out = Prediction(frames.mean(1, keepdim=True).expand(-1, x.t.shape[1], -1, -1, -1))
        flags = (self.training, torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"))
        self.calls.append((x.frames.shape[1], out.frame.requires_grad, *flags))
        return out


NODE = {"name": "four", "net": {"_target_": f"{__name__}.Four"}, "weights": None, "hints": {}}


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    known = config_of  # other models stay where they are
    monkeypatch.setattr(
        teachers, "config_of", lambda name: copy.deepcopy(NODE) if name == "four" else known(name)
    )
    net = Four()
    net.norm.running_mean.fill_(0.1)
    torch.save(net.state_dict(), tmp_path / "four.pt")
    return str(tmp_path / "four.pt")


def batch(context: int = 2, size: int = 16) -> Batch:
    frames = torch.rand(2, 2 * context, 3, size, size)
    return Batch(Inputs(frames, torch.full((2, 1), 0.5)), torch.rand(2, 1, 3, size, size))


def test_a_teacher_is_frozen_and_predicts_in_its_own_precision(weights: str) -> None:
    teacher = FrameTeacher("four", weights)
    state = copy.deepcopy(teacher.net.state_dict())
    one = batch(size=20)  # padded to 24 and cropped
    with torch.autocast("cpu", torch.bfloat16):
        out = Enrichers([TeacherFrames(teacher)])(one)
    assert teacher.net.calls == [(4, False, False, False, False)]
    assert out.teacher.frame.shape == (2, 1, 3, 20, 20) and out.target is one.target
    wanted = (one.inputs.frames - 0.1).mean(1, keepdim=True) / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(out.teacher.frame, wanted.clamp(0, 1))
    assert all(map(torch.equal, state.values(), teacher.net.state_dict().values()))
    assert not any(p.requires_grad for p in teacher.net.parameters())

    rounded = FrameTeacher("four", weights, precision="bf16")
    assert rounded.net.norm.weight.dtype == torch.bfloat16
    near = rounded(one.inputs).frame
    assert 0 < float((near - out.teacher.frame).abs().max()) < 0.02


def test_options_replace_those_of_the_file(weights: str) -> None:
    dark = FrameTeacher("four", weights, options={"gain": 0.0})
    assert float(dark(batch().inputs).frame.abs().max()) == 0


def test_a_teacher_follows_the_frames_to_their_device(
    weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = FrameTeacher("four", weights)
    moves: list[torch.device] = []
    monkeypatch.setattr(teacher.net, "to", moves.append)
    monkeypatch.setattr(teacher.net, "interpolate", lambda x: x)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: torch.no_grad())
    for device in ("cpu", "meta", "meta"):  # meta stands for a GPU
        teacher(batch().inputs.to(device))
    assert moves == [torch.device("meta")]


class Two(Interpolator):
    """A student of two frames that remembers how many it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.seen: list[torch.Tensor] = []

    def forward(self, x: Inputs, **hints: Any) -> Prediction:
        self.seen.append(x.frames)
        return Prediction(self.gain * x.frames.mean(1, keepdim=True))


def module_of(model: Interpolator, teacher: FrameTeacher) -> VFIModule:
    loss = WeightedSum({"teacher": (1.0, Against("teacher", L1()))})
    enrichers = Enrichers([TeacherFrames(teacher)], model.context)
    module = VFIModule(model, loss, torch.optim.Adamax, enrichers=enrichers)
    module._log_step = lambda *args: None  # type: ignore[method-assign]
    return module


def test_teacher_and_student_each_get_the_frames_that_they_read(weights: str) -> None:
    four, student = FrameTeacher("four", weights), Two()
    module, one = module_of(student, four), batch()
    out = module.training_step(one, 0)
    assert four.net.calls[0][0] == 4
    assert torch.equal(student.seen[0], one.inputs.frames[:, 1:3])
    assert out["batch"].inputs.frames.shape[1] == 2
    module.validation_step(one, 0)
    assert student.seen[1].shape[1] == 2
    # and the other way round: two frames of the four that a student reads
    two, wide = FrameTeacher("average"), Four()
    module_of(wide, two).training_step(one, 0)
    assert wide.calls[0][0] == 4
    middle = one.inputs.frames[:, 1:3]
    taught = TeacherFrames(two)(one).teacher.frame
    torch.testing.assert_close(taught, middle.mean(1, keepdim=True))
    two.net.interpolate = lambda x: x.frames  # type: ignore[method-assign]
    assert torch.equal(two(one.inputs), middle)  # type: ignore[arg-type]


def test_a_teacher_is_no_part_of_the_module(weights: str) -> None:
    teacher = FrameTeacher("four", weights)
    module = module_of(Two(), teacher)
    assert list(module.state_dict()) == ["model.gain"] and len(list(module.parameters())) == 1
    assert copy.deepcopy(module).enrich is module.enrich
    module.train()
    assert not teacher.net.training
    module.training_step(batch(), 0)["loss"].backward()
    assert all(p.grad is None for p in teacher.net.parameters())


def test_a_run_directory_knows_its_network(tmp_path: Path) -> None:
    net = create_model("ifrnet_s", init="he")
    (tmp_path / "run").mkdir()
    state = {f"model.{k}": v for k, v in net.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "run" / "best.ckpt")
    node = {**config_of("ifrnet_s"), "hints": {"scale_factor": 0.5}}
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump({"model": node}))
    run = str(tmp_path / "run")
    for name in (None, "ifrnet_s"):
        found = teacher_config(name, run)
        assert found["net"] == node["net"] and found["hints"] == node["hints"]
        assert str(found["weights"]) == f"{run}/best.ckpt"
    assert dict(FrameTeacher(None, run).net.fixed_hints) == {"scale_factor": 0.5}
    with pytest.raises(UserError, match="of a run of ifrnet_s, not of ifrnet_l; use teacher=model"):
        teacher_config("ifrnet_l", run)


def refusals() -> dict[str, tuple[Callable[[str], Any], str]]:
    return {
        "no weights": (lambda _: FrameTeacher("ifrnet_l"), "teach nothing; give teacher.weights="),
        "untrained": (lambda _: FrameTeacher("ifrnet_l", "none"), "teach nothing"),
        "no name": (lambda _: FrameTeacher(), "teacher=model needs teacher.name=NAME"),
        "a file": (lambda path: FrameTeacher(None, path), "teacher=model needs teacher.name"),
        "unknown": (lambda _: FrameTeacher("ifrnet_xl"), "no model 'ifrnet_xl'; did you mean"),
        "another": (lambda path: FrameTeacher("ifrnet_s", path), "does not fit IFRNet"),
        "option": (lambda p: FrameTeacher("four", p, {"gian": 1}), "no option gian; did you mean"),
        "precision": (lambda p: FrameTeacher("four", p, None, "fp8"), "fp32 or bf16"),
    }


@pytest.mark.parametrize("name", refusals())
def test_what_cannot_teach_is_refused(name: str, weights: str) -> None:
    build, message = refusals()[name]
    with pytest.raises(UserError, match=message):
        build(weights)
