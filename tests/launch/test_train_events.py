"""The event model from its first step to its evaluation, in small: both stages, a resume."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from midframe.launch.evaluate import main as evaluate
from midframe.launch.inference import load_model, model_of_run
from midframe.launch.tasks import train_main as train
from midframe.models.motion import Guided
from midframe.models.weights import read_checkpoint

pytestmark = pytest.mark.slow

TINY = [
    "data.global_batch=2",
    "data.crop=32",
    "data.workers=0",
    "data.layout.size=48",
    "data.layout.val_scenes=2",
    "data.layout.factor=2",
    "trainer.val_check_interval=1",
    "trainer.precision=32-true",
    "model.net.channels=[4,4,8,8,8]",
    "logger=none",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of stage 1, stopped and continued, and one of stage 2 from it."""
    folder = tmp_path_factory.mktemp("runs")
    torch.set_num_threads(1)
    first = [
        *TINY,
        "experiment=event_quick",
        f"paths.runs={folder}",
        "run.dir=" + str(folder / "one"),
    ]
    assert train([*first, "trainer.max_steps=1"]) == 0
    assert train([*first, "trainer.max_steps=2", f"resume={folder / 'one'}"]) == 0
    second = ["experiment=event_refine_quick", f"stage1={folder / 'one'}", "trainer.max_steps=2"]
    sizes = ["model.net.features=[4,4,8]", "model.net.embed=8", "model.net.decoder=[8,4,4]"]
    where = [f"paths.runs={folder}", "run.dir=" + str(folder / "two")]
    assert train([*TINY, *second, *sizes, *where]) == 0
    return folder


def test_stage_1_goes_on_where_it_stopped(runs):
    assert read_checkpoint(runs / "one" / "last.ckpt")["global_step"] == 2


def test_stage_2_holds_stage_1_unchanged_and_learns_the_rest(runs):
    states = [
        {k: v for k, v in read_checkpoint(runs / n / "best.ckpt")["state_dict"].items()}
        for n in ("one", "two")
    ]
    one, two = states
    for key, value in one.items():
        if key.startswith("model."):
            assert torch.equal(two[key.replace("model.", "model.generator.", 1)], value), key
    last = read_checkpoint(runs / "two" / "last.ckpt")["state_dict"]
    assert last["model.refine.AttDecoder.merge_tail.conv_tail2.weight"].any()


@pytest.mark.parametrize("name", ["one", "two"])
def test_a_run_is_loaded_with_what_makes_its_motion(runs, name):
    config = model_of_run(runs / name)
    assert config is not None and config["motion"]["network"] == "dis"
    model = load_model(config, str(runs / name), torch.device("cpu"))
    assert isinstance(model, Guided) and "motion" not in model.needs


def test_a_run_is_measured_on_true_frames_at_every_time(runs):
    words = [f"weights={runs / 'two'}", "benchmark=events_synthetic", "threads=1", "limit=1"]
    assert evaluate([*words, f"out={runs / 'results'}"]) == 0
    record = json.loads((runs / "results" / "summary.json").read_text())
    assert list(record["times"]) == ["0.25", "0.5", "0.75"]
    assert all(part["mean"]["psnr"] > 15 for part in record["times"].values())
    assert record["model_config"]["motion"]["network"] == "dis"


def test_data_without_events_are_refused_before_anything_is_built(capsys):
    assert train(["model=event_refine", "data=synthetic"]) == 2
    said = capsys.readouterr().err
    assert "needs events, events_ends" in said
    assert "choose data=events or data=events_synthetic" in said


def test_motion_without_weights_is_refused_before_a_run_begins(tmp_path, capsys):
    where = [f"paths.runs={tmp_path / 'runs'}"]
    assert train(["experiment=event_quick", "model.motion.network=pwcnet_event", *where]) == 2
    assert "give model.motion.weights=FILE" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
