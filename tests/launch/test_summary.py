"""What a run says at its end: numbers that are there, and commands that work."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import DictConfig, OmegaConf

from midframe.engine.expected import ExpectedCurve
from midframe.launch import summary
from midframe.launch.runs import Run
from midframe.launch.summary import next_commands, print_end, print_start
from midframe.models.zoo import config_of

METRICS = {"val/psnr": 30.5, "val/psnr_average": 29.25, "train/loss": 0.1}


def config(**changes: Any) -> DictConfig:
    base = {
        "model": config_of("ifrnet_s"),
        "data": {"name": "vimeo", "global_batch": 8},
        "trainer": {"max_steps": 100},
        "optimizer": {"lr": 1e-4},
        "seed": 1,
        "weights": None,
        "paths": {"runs": "runs"},
        "expected": {},
    }
    return OmegaConf.create({**base, **changes})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path, "a", _lock=(tmp_path / ".lock").open("w"))


def trainer(metrics: dict[str, float] = METRICS, **values: Any) -> Any:
    usual = {
        "is_global_zero": True,
        "global_step": 100,
        "callback_metrics": {k: torch.tensor(v) for k, v in metrics.items()},
        "checkpoint_callbacks": [],
    }
    return SimpleNamespace(**{**usual, **values})


def end(
    run: Run, capsys: pytest.CaptureFixture[str], of: Any = None, skipped: int = 0, **changes: Any
) -> str:
    data: Any = SimpleNamespace(skipped=skipped)
    print_end(config(**changes), run, data, of or trainer())
    return capsys.readouterr().out


def test_the_start_says_what_is_trained_and_where(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    module: Any = SimpleNamespace(model=torch.nn.Linear(1000, 2))
    data: Any = SimpleNamespace(describe=lambda: "pictures", shared_group=lambda: "one of both")
    values = {"world_size": 2, "precision": "bf16-mixed", "accelerator": SimpleNamespace()}
    print_start(config(), run, data, module, trainer(**values))
    shown = capsys.readouterr().out
    assert "ifrnet_s, 2,002 parameters" in shown
    assert "data    pictures\nwarning: one of both\n" in shown
    assert "100 steps of 8 samples, lr 0.0001, seed 1" in shown
    assert "x 2, precision bf16-mixed" in shown and shown.endswith(f"run     {run.dir}\n")
    run.checkpoint, run.step = Path("last.ckpt"), 40
    print_start(config(), run, data, module, trainer(**values))
    assert capsys.readouterr().out.endswith("resumed at step 40\n")
    print_start(config(), run, data, module, trainer(**values, is_global_zero=False))
    assert capsys.readouterr().out == ""


def test_the_end_sets_the_result_beside_the_floor_and_records_it(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = end(run, capsys, skipped=3)
    assert "After 100 steps: 30.50 dB PSNR" in shown and "29.25 dB (+1.25 dB)" in shown
    assert "3 samples could not be read" in shown
    record = json.loads((run.dir / "run.json").read_text())
    assert record["metrics"] == {"val/psnr": 30.5, "val/psnr_average": 29.25}
    assert (record["steps"], record["skipped"]) == (100, 3)
    flow = end(run, capsys, trainer({"val/epe": 1.5, "val/epe_still": 4.0}))
    assert "off by 1.50 px (EPE); without any motion it would be by 4.00 px" in flow
    assert end(run, capsys, trainer(is_global_zero=False)) == ""


def test_published_numbers_are_shown_with_their_source(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = {"source": "A and B, 2022", "vimeo_psnr": 35.8, "vimeo_ssim": None, "memory": "1 GB"}
    shown = end(run, capsys, expected=facts)
    assert "Published for the whole recipe: vimeo_psnr 35.8 (A and B, 2022).\n" in shown
    assert "None" not in shown and "1 GB" not in shown


@pytest.mark.parametrize(
    "facts",
    [
        {"source": "none: shorter", "parameters": 7},
        {"source": None, "parameters": 7},
        {"source": "A and B", "vimeo_psnr": None},
        {},
    ],
)
def test_without_published_numbers_there_is_no_such_line(
    facts: dict[str, Any], run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = end(run, capsys, expected={**facts, "note": "Takes a day."})
    assert "Published" not in shown and "Takes a day.\n" in shown


def test_it_says_where_the_best_weights_are_not_the_last(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    best = ModelCheckpoint(monitor="val/psnr")
    best.best_model_score = torch.tensor(31.25)
    assert "best.ckpt is of an earlier step, with val/psnr 31.25." in end(
        run, capsys, trainer(checkpoint_callbacks=[best])
    )
    best.best_model_score = torch.tensor(30.5)
    assert "earlier step" not in end(run, capsys, trainer(checkpoint_callbacks=[best]))


def test_commands_name_weights_that_are_there(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    shown = end(run, capsys)
    assert "--weights" not in shown and "python train.py" in shown
    (run.dir / "last.ckpt").touch()
    assert f"--weights {run.dir / 'last.ckpt'}" in end(run, capsys)
    (run.dir / "best.ckpt").touch()
    shown = end(run, capsys)
    assert f"--weights {run.dir / 'best.ckpt'}" in shown and f"weights={run.dir}/best" in shown


def test_commands_keep_what_changes_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    own = ["model=ifrnet", "model.net.size=S", "+model.hints.scale_factor=0.5", "optimizer.lr=1"]
    monkeypatch.setattr(
        summary, "own_overrides", lambda: [*own, "trainer.max_steps=100", "resume=x"]
    )
    commands = [command for command, _ in next_commands(config(), Path("a b/best.ckpt"))]
    (evaluate,) = [c for c in commands if "evaluate.py" in c]
    # the run says its network and hints itself
    assert evaluate.endswith("'weights=a b/best.ckpt' benchmark=middlebury benchmark.root=DIR")
    assert f"python train.py {' '.join(own)} trainer.max_steps=1000" in commands
    sample = config(data={"name": "sample"})
    monkeypatch.setattr(summary, "own_overrides", lambda: ["model=ifrnet", "data=sample"])
    (longer,) = [c for c, _ in next_commands(sample, None) if "train.py" in c]
    assert longer == (
        "python train.py model=ifrnet data=clips data.root=MY_VIDEOS trainer.max_steps=1000"
    )


@pytest.mark.parametrize(
    ("model", "interpolates", "benchmark"),
    [
        ("event", "RECORDING.aedat4 --times 3 --weights", "events_synthetic"),
        ("stmfnet_mini", "IN_640x360.yuv OUT.yuv --weights", "ucf101_quintuplet"),
    ],
)
def test_commands_are_such_as_the_model_can_do(
    model: str, interpolates: str, benchmark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, "own_overrides", lambda: [f"model={model}"])
    given = next_commands(config(model=config_of(model)), Path("best.ckpt"))
    commands = [command for command, _ in given]
    assert f"midframe interpolate {interpolates} best.ckpt" in commands
    assert any(f"weights=best.ckpt benchmark={benchmark}" in command for command in commands)


def test_a_profile_is_printed(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (run.dir / "fit-profile.txt").write_text("forward 12 ms")
    assert "forward 12 ms" in end(run, capsys)


def test_the_curve_of_the_recipe_stands_beside_what_was_measured(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    compared = ExpectedCurve({100: 31.0})
    compared.measured = {100: 30.5}
    facts = {"curve": {100: 31.0}, "tolerance": 0.3, "source": "A and B"}
    shown = end(run, capsys, trainer(callbacks=[compared]), expected=facts)
    assert "step 100: the recipe's curve has 31.00 dB PSNR, measured are 30.50 dB (-0.50" in shown
    assert "Published" not in shown, "neither is a published number"
