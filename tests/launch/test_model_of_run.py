"""Weights of a run bring their model and its options, where nobody chooses one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from midframe.errors import UserError
from midframe.launch import evaluate
from midframe.launch.inference import with_model_of_run
from midframe.models import zoo

NET = {"_target_": "midframe.models.ifrnet.IFRNet", "size": "S"}
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def _run_of(folder: Path, name: str, net: dict[str, Any], hints: Any = None) -> Path:
    """Leave what a training leaves: its config and the last weights."""
    folder.mkdir()
    model = {"name": name, "net": net, "weights": None, "hints": hints}
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": model}))
    torch.manual_seed(3)
    torch.save(zoo.build({"name": name, "net": net}).state_dict(), folder / "last.ckpt")
    return folder


@pytest.mark.parametrize(
    ("net", "hints", "words", "wanted"),
    [
        ({}, None, [], []),
        ({"init": "he"}, {}, [], ["model.net.init=he"]),
        ({"init": "he"}, {}, ["model.net.init=default"], []),
        ({}, {"scale_factor": 0.5}, [], ["+model.hints.scale_factor=0.5"]),
        ({}, {"scale_factor": 0.5}, ["+model.hints.scale_factor=1"], []),
    ],
)
def test_the_run_s_model_and_options_come_before_what_is_given(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    net: dict[str, Any],
    hints: Any,
    words: list[str],
    wanted: list[str],
) -> None:
    run = _run_of(tmp_path / "run", "ifrnet_s", {**NET, **net}, hints)
    for weights in (f"weights={run}", f"model.weights={run / 'last.ckpt'}", f"weights='{run}'"):
        given = ["--cfg", "job", weights, *words]
        found = with_model_of_run(given)
        assert found == ["--cfg", "job", "model=ifrnet_s", *wanted, weights, *words]
        assert "model ifrnet_s, as it was trained in " in capsys.readouterr().out


def test_hints_that_the_run_did_not_have_are_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _run_of(tmp_path / "run", "ifrnet_s", NET)
    known = zoo.config_of
    monkeypatch.setattr(zoo, "config_of", lambda name: {**known(name), "hints": {"scale": 2}})
    assert "~model.hints.scale" in with_model_of_run([f"weights={run}"])


def test_a_model_that_is_chosen_stays_and_weights_of_no_run_say_nothing(tmp_path: Path) -> None:
    run = _run_of(tmp_path / "run", "ifrnet_s", NET)
    for words in (
        ["model=ifrnet", f"weights={run}"],
        ["weights=none"],
        ["weights=null"],
        ["model=ifrnet", f"weights={tmp_path / 'w.pth'}"],
        ["limit=1"],
    ):
        assert with_model_of_run(words) == words


def test_weights_of_no_run_need_a_model(tmp_path: Path) -> None:
    (tmp_path / "w.pth").touch()
    with pytest.raises(UserError, match="w.pth needs the name of the model .*: add model=NAME"):
        with_model_of_run([f"weights={tmp_path / 'w.pth'}", "benchmark=middlebury"])


def test_a_run_of_a_model_that_is_not_here_says_where_it_may_be(tmp_path: Path) -> None:
    run = _run_of(tmp_path / "run", "of_theirs", NET)
    with pytest.raises(UserError, match="of_theirs, which is not in conf/model; .*MIDFRAME_PROJ"):
        with_model_of_run([f"weights={run}"])


def test_evaluate_measures_the_run_s_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MIDFRAME_PROJECT", str(EXAMPLES))
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["evaluate.py"])
    import csv_triplets

    csv_triplets.write_example(tmp_path / "data")
    run = _run_of(tmp_path / "run", "ifrnet", {**NET, "init": "he"})
    words = ["benchmark=csv_triplets", f"benchmark.root={tmp_path / 'data'}", "device=cpu"]
    assert evaluate.main([*words, f"weights={run}", "limit=1", f"out={tmp_path / 'out'}"]) == 0
    assert f"model ifrnet, as it was trained in {run}" in capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert record["model"] == "ifrnet" and record["model_config"]["net"]["init"] == "he"
    assert evaluate.main([*words, f"weights={tmp_path / 'data'}"]) == 2
    assert "no best.ckpt or last.ckpt in this folder" in capsys.readouterr().err
