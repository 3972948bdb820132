"""A training that begins with weights of a part: checked, told and recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig

from midframe.engine.compose import compose
from midframe.errors import UserError
from midframe.files import sha256_of
from midframe.launch import check, tasks
from midframe.launch.inference import load_model
from midframe.launch.runs import identity
from midframe.models import zoo

NARROW = {"features": [32, 32, 32, 32], "kernels": 8, "grid": [8, 8, 8]}
NARROW |= {"texture": [8, 8, 8, 8], "fuse": 8}
TINY = [
    "experiment=stmfnet_quick",
    "model=stmfnet",
    "model.net.flow=true",
    *(f"model.net.{key}={value}" for key, value in NARROW.items()),
    "data.layout.val_scenes=1",
    "data.global_batch=1",
    "data.workers=0",
    "trainer=cpu",
    "trainer.threads=1",
    "trainer.max_steps=1",
    "trainer.val_check_interval=1",
    "logger=none",
]
WARNING = "warning: the PWCNet of model=stmfnet is untrained and stays so: give "


@pytest.fixture(scope="module")
def pwcnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "pwcnet.pth"
    torch.manual_seed(5)
    torch.save(zoo.create_flow("pwcnet").state_dict(), path)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "stmfnet.pth"
    torch.save(zoo.create_model("stmfnet", **NARROW).state_dict(), path)
    return path


def _config(*overrides: str) -> DictConfig:
    return compose([*TINY, *overrides])


def _only_run(runs: Path) -> Path:
    (run,) = runs.iterdir()
    return run


@pytest.mark.slow
def test_a_run_begins_with_the_weights_of_its_part_and_records_them(
    pwcnet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = f"model.parts.flow_estimator={pwcnet}"
    assert tasks.train_main([*TINY, f"paths.runs={tmp_path}", given]) == 0
    assert "warning: the PWCNet" not in capsys.readouterr().out
    run = _only_run(tmp_path)
    record = json.loads((run / "run.json").read_text())
    assert record["parts_sha256"] == {"flow_estimator": sha256_of(pwcnet)}
    assert record["weights_sha256"] is None
    trained = torch.load(run / "last.ckpt", weights_only=True)["state_dict"]
    for key, value in torch.load(pwcnet, weights_only=True).items():
        assert torch.equal(trained[f"model.flow_estimator.{key}"], value), key


@pytest.mark.parametrize("given", ["nothing", "part", "whole", "both"])
def test_the_start_of_a_run_tells_what_becomes_of_its_parts(
    given: str,
    pwcnet: Path,
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def stop(trainer: object, module: object, feed: object, run: tasks.Run) -> None:
        record.update(run.record)
        raise KeyboardInterrupt

    record: dict[str, object] = {}
    monkeypatch.setattr(tasks, "fit", stop)
    part, weights = [f"model.parts.flow_estimator={pwcnet}"], [f"weights={whole}"]
    words = {"nothing": [], "part": part, "whole": weights, "both": [*part, *weights]}[given]
    tasks.train_main([*TINY, f"paths.runs={tmp_path}", *words])
    told = [x for x in capsys.readouterr().out.splitlines() if "PWCNet" in x or "part" in x]
    assert told == {
        "nothing": [f"{WARNING}model.parts.flow_estimator=FILE or model.net.train_flow=true"],
        "both": [
            "note: the whole model's weights win: those of its part flow_estimator are not read"
        ],
    }.get(given, [])
    assert record["weights_sha256"] == (sha256_of(whole) if weights[0] in words else None)
    assert ("parts_sha256" in record) == (given == "part")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (TINY, [f"{WARNING}model.parts.flow_estimator=FILE or model.net.train_flow=true"]),
        ([*TINY, "model.net.train_flow=true"], []),
        ([*TINY, "model.net.flow=false"], []),
        ([*TINY, "~model.parts"],
         [f"{WARNING}+model.parts.flow_estimator=FILE or model.net.train_flow=true"]),
        (["model=stmfnet_mini", "data=synthetic", "data.crop=128", "data.layout.size=128"], []),
        (["model=softsplat", "data=synthetic", "model.net.train_flow=false"], []),
        (["model=softsplat", "data=synthetic", "model.net.train_flow=false",
          "model.net.flow=pwcnet"],
         [WARNING.replace("stmfnet", "softsplat")
          + "model.parts.netFlow=FILE or model.net.train_flow=true"]),
    ],
)  # fmt: skip
def test_check_warns_of_a_frozen_part_without_weights(
    overrides: list[str], told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert check.main(overrides) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ok: ") and [x for x in lines if "warning" in x] == told


def test_check_finds_parts_that_cannot_be_loaded(pwcnet: Path, whole: Path, tmp_path: Path) -> None:
    check.check(_config(f"model.parts.flow_estimator={pwcnet}"))
    (tmp_path / "empty").mkdir()
    for override, words in (
        ("model.parts.flow_estimator=no/x.pth", "part flow_estimator: there is no weights file no"),
        (f"model.parts.flow_estimator={whole}", "part flow_estimator: .* does not fit PWCNet"),
        (f"model.parts.flow_estimator={tmp_path}/empty", "no best.ckpt or last.ckpt in this"),
        (f"+model.parts.flow={pwcnet}", "no part flow with .*known: flow_estimator"),
        (f"model.parts={pwcnet}", "names no part; give model.parts.NAME="),
    ):
        with pytest.raises(UserError, match=words):
            check.check(_config(override))
    # what is not read may be missing
    check.check(_config("model.parts.flow_estimator=no/x.pth", f"weights={whole}"))


def test_a_run_s_name_follows_the_parts_that_have_weights() -> None:
    bare, left = identity(_config("~model.parts")), identity(_config())
    assert bare == left != identity(_config("model.parts.flow_estimator=x.pth"))


def test_commands_that_predict_tell_of_parts_that_are_not_read(
    pwcnet: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = zoo.config_of("stmfnet")
    config |= {"net": {**config["net"], **NARROW}, "parts": {"flow_estimator": str(pwcnet)}}
    load_model(config, str(whole), torch.device("cpu"))
    assert "note: the whole model's weights win" in capsys.readouterr().out
    model = load_model(config, "none", torch.device("cpu"))
    assert capsys.readouterr().out == ""
    state, wanted = model.state_dict(), torch.load(pwcnet, weights_only=True)
    assert all(torch.equal(state[f"flow_estimator.{key}"], wanted[key]) for key in wanted)
