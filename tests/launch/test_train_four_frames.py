"""A model of four frames, from a data set's files to its training steps and benchmarks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import fakes
import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from midframe.data.dataset import ClipDataset
from midframe.data.layouts.synthetic import synthetic
from midframe.data.transforms import Augment
from midframe.engine.compose import compose
from midframe.launch import evaluate
from midframe.launch.labels import run as labels
from midframe.launch.pack import run as pack
from midframe.launch.tasks import train_main
from midframe.models.zoo import create_flow, create_model
from midframe.ops import backwarp

MODEL = '''
import torch
from torch import nn

from midframe.models.base import Interpolator
from midframe.types import Prediction

SEEN = []


class Four(Interpolator):
    """The average of the middle two frames, and what a layer learns from all four."""

    context, times = 2, "half"
    provides = frozenset({"flow"})

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(12, 7, 3, padding=1)

    def forward(self, x, **hints):
        SEEN.append(x.frames.detach().clone())
        out = self.layer(x.frames.flatten(1, 2))
        flow = out[:, None, 3:].unflatten(2, (2, 2))
        frame = x.frames[:, 1:3].mean(1, keepdim=True) + out[:, None, :3]
        return Prediction(frame, flow=flow, flow_kind="backward")
'''
CONFIG = """# A model of four frames
name: four
net: {_target_: four_frames_of_tests.Four}
"""
TINY = [
    "model=four",
    "data.crop=16",
    "data.global_batch=2",
    "data.workers=0",
    "data.val.limit=2",
    "trainer.max_steps=2",
    "trainer.val_check_interval=2",
    "trainer.threads=1",
    "logger=none",
    "name=t",
]
FLOW_TERM = "+loss.terms.flow={weight: 0.01, term: {_target_: midframe.losses.FlowSupervision}}"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    (folder / "conf/model").mkdir(parents=True)
    (folder / "four_frames_of_tests.py").write_text(MODEL)
    (folder / "conf/model/four.yaml").write_text(CONFIG)
    monkeypatch.setenv("MIDFRAME_PROJECT", str(folder))
    monkeypatch.syspath_prepend(folder)
    return tmp_path


def _overrides(name: str, project: Path) -> list[str]:
    """Return what chooses a data set that the folder holds."""
    root, common = project / "data", [f"data={name}", f"paths.data={project / 'kept'}"]
    if name == "synthetic":
        sizes = ["size=24", "scenes=40", "val_scenes=2"]
        return [*common, *(f"data.layout.{size}" for size in sizes), FLOW_TERM]
    fakes.WRITERS[name](root)
    return [*common, f"data.root={root}", "data.val.crop=16"]


def _train(project: Path, *overrides: str) -> int:
    return train_main([*TINY, f"paths.runs={project / 'runs'}", *overrides])


def _record(project: Path) -> dict:
    (run,) = (project / "runs").iterdir()
    return json.loads((run / "run.json").read_text())


@pytest.mark.parametrize(
    "name",
    [
        *("synthetic", "vimeo_bvidvc"),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("clips", "sample")),
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("vimeo_septuplet", "bvidvc")),
    ],
)
def test_a_model_of_four_frames_trains_without_further_words(project: Path, name: str) -> None:
    import four_frames_of_tests as model

    model.SEEN.clear()
    assert _train(project, *_overrides(name, project)) == 0
    assert _record(project)["status"] == "finished" and _record(project)["steps"] == 2
    assert {tuple(frames.shape[1:3]) for frames in model.SEEN} == {(4, 3)}
    assert {tuple(frames.shape) for frames in model.SEEN} >= {(2, 4, 3, 16, 16)}


def test_packed_and_labelled_it_trains_on_flow(project: Path) -> None:
    data = _overrides("clips", project)
    label = ["model=four", "teacher=dis", "device=cpu", f"out={project / 'labels'}", "workers=1"]
    assert labels([*label, *data]) == 0
    given = [*data, f"data.labels={project / 'labels'}"]
    assert pack(["model=four", *given, f"out={project / 'pack'}"]) == 0
    assert _train(project, "data=clips", f"data.root={project / 'pack'}", FLOW_TERM) == 0
    assert _record(project)["steps"] == 2


def test_played_backward_four_frames_their_target_and_flow_turn_round(project: Path) -> None:
    names = ["horizontal_flip", "vertical_flip", "rotate"]
    still = [f"data.augment.{name}=0" for name in names]
    cfg = compose(["model=four", *_overrides("synthetic", project)[:-1], *still])
    assert cfg.data.context == 2
    samples = []
    for chance in (0, 1):
        cfg.data.augment.time_reversal, cfg.data.crop = chance, None
        found = instantiate(cfg.data)
        samples.append(found.train_set[3])
    forward, backward = samples
    np.testing.assert_array_equal(backward.frames, forward.frames[::-1])
    np.testing.assert_array_equal(backward.target, forward.target[::-1])
    np.testing.assert_array_equal(backward.flow, forward.flow[::-1, ::-1])
    np.testing.assert_allclose(backward.t, 1 - forward.t)


@pytest.mark.parametrize("reversal", [0.0, 1.0])
def test_labels_lead_to_the_middle_two_of_four_frames(reversal: float) -> None:
    scenes = synthetic(None, "train", 2, size=96, layers=[1, 1], motion=6.0)
    dataset = ClipDataset(scenes, 2, augment=Augment(time_reversal=reversal))
    for index in range(3):
        sample = dataset[index]
        planes = torch.from_numpy(sample.frames.copy()).permute(0, 3, 1, 2).float()
        target = torch.from_numpy(sample.target.copy()).permute(0, 3, 1, 2).float()
        flow = torch.from_numpy(sample.flow.copy()).permute(0, 1, 4, 2, 3)
        for side, frame in ((0, planes[1:2]), (1, planes[2:3])):
            right = (backwarp(frame, flow[:, side]) - target).abs().median()
            wrong = (backwarp(frame, flow[:, 1 - side]) - target).abs().median()
            assert right < 1 and wrong > 2 * right


NARROW = {"features": [32, 32, 32, 32], "kernels": 8, "grid": [4, 8, 12]}
NARROW |= {"texture": [4, 6, 8, 10], "fuse": 4}
ST_MFNET = [
    *("experiment=smoke", "model=stmfnet", "data.crop=128"),
    *(f"model.net.{key}={value}" for key, value in NARROW.items()),
    *("data.layout.size=128", "data.global_batch=2"),
    *("data.val.limit=2", "data.layout.val_scenes=2", "trainer=ddp_cpu", "trainer.devices=2"),
    *("trainer.threads=1", "trainer.max_steps=3", "trainer.val_check_interval=3", "logger=none"),
]


@pytest.mark.slow
@pytest.mark.parametrize("flow", ["fixed", "trained"])
def test_st_mfnet_learns_on_two_ranks_though_some_of_it_never_gets_a_gradient(
    tmp_path: Path, flow: str
) -> None:
    words = [*ST_MFNET, f"model.net.train_flow={flow == 'trained'}", f"paths.runs={tmp_path}"]
    torch.manual_seed(3)
    torch.save(create_flow("pwcnet").state_dict(), tmp_path / "pwcnet.pth")
    words.append(f"model.parts.flow_estimator={tmp_path / 'pwcnet.pth'}")
    command = [sys.executable, "-m", "midframe.cli", "train", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = (p for p in tmp_path.iterdir() if p.is_dir())
    saved = torch.load(run / "last.ckpt", weights_only=True)
    state = {key.removeprefix("model."): value for key, value in saved["state_dict"].items()}
    assert saved["global_step"] == 3 and all(v.isfinite().all() for v in state.values())
    begun = torch.load(tmp_path / "pwcnet.pth", weights_only=True)
    same = {torch.equal(state[f"flow_estimator.{key}"], value) for key, value in begun.items()}
    assert same == ({True} if flow == "fixed" else {False})
    # the optimizer has stepped all others, whatever their gradient was
    (optimizer,) = saved["optimizer_states"]
    model = create_model("stmfnet", train_flow=flow == "trained", **NARROW)
    learning = [name for name, p in model.named_parameters() if p.requires_grad]
    assert len(optimizer["state"]) == len(learning) < len(list(model.parameters()))


def test_a_trained_one_is_measured_by_quintuplets(project: Path, monkeypatch, capsys) -> None:
    root = fakes.davis90(project / "davis90")
    monkeypatch.chdir(project)
    assert _train(project, *_overrides("vimeo_septuplet", project)) == 0
    (folder,) = (project / "runs").iterdir()
    words = [f"benchmark.root={root}", "model=four", f"weights={folder}", "device=cpu", "threads=1"]
    assert evaluate.main(["benchmark=davis90", *words, "out=out"]) == 0
    assert "mean of 4 in 2 sequences" in capsys.readouterr().out
    assert evaluate.main(["benchmark=davis90_middle", *words, "out=other"]) == 2
    assert "reads 4 frames" in capsys.readouterr().err
