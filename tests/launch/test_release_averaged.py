"""What is made of a run says whether its weights are averaged (EMA) or those it ended with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tiny import train

from midframe.cli import main
from midframe.models.averaged import is_averaged


@pytest.mark.parametrize("ema", [True, False])
def test_released_weights_say_whether_they_are_averaged(
    ema: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    callbacks = "callbacks=[default,ema]" if ema else "callbacks=[default]"
    assert train(tmp_path / "runs", "model=upr_small", "trainer.max_steps=2", callbacks) == 0
    (run,) = (tmp_path / "runs").iterdir()
    capsys.readouterr()
    assert main(["release", str(run), "--to", str(tmp_path)]) == 0

    told = capsys.readouterr().out
    assert ("weights: the moving average (EMA)" in told) is ema
    assert ("weights: as trained, not averaged" in told) is not ema
    file = tmp_path / "upr_small.safetensors"
    assert json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))["averaged"] is ema
    assert is_averaged(file) is ema
    with safe_open(file, "pt") as released:
        assert released.metadata()["averaged"] == str(ema).lower()
    # it is true: Lightning keeps the last weights of a training beside the average
    saved = torch.load(run / "best.ckpt", weights_only=True)
    assert ("current_model_state" in saved) is ema
    last = saved.get("current_model_state", saved["state_dict"])
    same = [torch.equal(x, last[f"model.{key}"].half()) for key, x in load_file(file).items()]
    assert same and all(same) is not ema
