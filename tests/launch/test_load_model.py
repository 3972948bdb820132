"""Which device a command uses, and what it says of one that is not there."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from midframe.errors import UserError
from midframe.launch.inference import load_model, model_of_run, resolve_device
from midframe.models import zoo

CPU = torch.device("cpu")
IFRNET = "midframe.models.ifrnet.IFRNet"


def _gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(
    ("gpus", "device", "rank", "wanted"),
    [
        (0, "auto", None, "cpu"),
        (0, "auto", 3, "cpu"),
        (2, "cpu", 1, "cpu"),
        (2, "auto", None, "cuda"),
        (2, "cuda:1", None, "cuda:1"),
        (2, "cuda:0", 1, "cuda:0"),
        (2, "auto", 1, "cuda:1"),
        (2, "cuda", 0, "cuda:0"),
        (2, "cuda", 5, "cuda:1"),
    ],
)
def test_a_process_takes_its_own_gpu_unless_one_is_named(
    monkeypatch: pytest.MonkeyPatch, gpus: int, device: str, rank: int | None, wanted: str
) -> None:
    _gpus(monkeypatch, gpus)
    assert resolve_device(device, rank) == torch.device(wanted)


@pytest.mark.parametrize("rank", [None, 0])
@pytest.mark.parametrize(
    ("gpus", "device", "told"),
    [
        (0, "cuda", "device=cuda: there are 0 CUDA devices"),
        (0, "cuda:1", "device=cuda:1: there are 0 CUDA devices"),
        (2, "cuda:2", "device=cuda:2: there are 2 CUDA devices"),
        (0, "gpu", "device=gpu is not known"),
        (2, "mps", "device=mps is not supported"),
    ],
)
def test_a_device_that_is_not_there_is_an_error_for_the_person(
    monkeypatch: pytest.MonkeyPatch, gpus: int, device: str, told: str, rank: int | None
) -> None:
    _gpus(monkeypatch, gpus)
    with pytest.raises(UserError, match=told):
        resolve_device(device, rank)


def _run_of(folder: Path, name: str, net: dict[str, Any]) -> Path:
    """Leave what a training leaves: its config and the best weights."""
    model = {"name": name, "net": net, "weights": "start.pth", "hints": {"scale_factor": 0.5}}
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": {**model, "info": {}}, "seed": 1}))
    torch.save(zoo.build({"name": name, "net": net}).state_dict(), folder / "best.ckpt")
    return folder


def test_a_run_knows_its_model_and_nothing_else_does(tmp_path: Path) -> None:
    net = {"_target_": IFRNET, "size": "S"}
    run = _run_of(tmp_path, "mine", net)
    for weights in (run, run / "best.ckpt", str(run)):
        found = model_of_run(weights)
        assert found == {"name": "mine", "net": net, "hints": {"scale_factor": 0.5}}
    for text in ("- a list", "model: ifrnet", "model: {name: a}", "{", "\x00"):
        (run / "config.yaml").write_text(text)
        assert model_of_run(run) is None
    (run / "config.yaml").unlink()
    assert model_of_run(run) is None and model_of_run(None) is None and model_of_run("none") is None


@pytest.mark.parametrize(
    ("name", "net", "words"),
    [
        ("ifrnet", {"size": "S"}, "add model.net.size=S"),
        ("ifrnet_s", {"size": "S"}, "add model=ifrnet_s"),
        ("ifrnet_s", {"size": "S", "init": "he"}, "add model=ifrnet_s model.net.init=he"),
        ("a_name_of_theirs", {"size": "S"}, "add model.net.size=S"),
    ],
)
def test_weights_of_a_run_with_another_network_name_the_overrides_to_give(
    tmp_path: Path, name: str, net: dict[str, Any], words: str
) -> None:
    run = _run_of(tmp_path, name, {"_target_": IFRNET, **net})
    with pytest.raises(UserError) as error:
        load_model(zoo.config_of("ifrnet"), str(run), CPU)
    first, second = str(error.value).splitlines()
    assert first.endswith(f": {words}") and "103 mis-shaped" in second


@pytest.mark.parametrize(
    ("trained", "here", "told"),
    [
        ({"init": "he"}, {}, "+model.net.init=he"),
        ({"init": "he"}, {"init": "default"}, "model.net.init=he"),
        ({}, {"init": "he"}, "model.net.init=default"),
        ({"init": "he"}, {"init": "he"}, None),
        ({"init": "default"}, {}, None),
        ({}, {"init": "default"}, None),
    ],
)
def test_a_run_s_other_options_that_fit_all_the_same_are_told(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    trained: dict[str, str],
    here: dict[str, str],
    told: str | None,
) -> None:
    net = {"_target_": IFRNET, "size": "S"}
    run = _run_of(tmp_path, "ifrnet", {**net, **trained})
    load_model({"name": "ifrnet", "net": {**net, **here}}, str(run), CPU)
    shown = capsys.readouterr().out
    assert shown.strip().endswith(f" {told}") if told else shown == ""


def test_an_override_has_what_a_command_line_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from midframe.launch.inference import _overrides_for

    values = {"a": [1, 2], "b": None, "c": "no", "d": {"e": 1e-5, "f": "x y"}, "g": True, "h": "he"}
    run = {"name": "mine", "net": {"_target_": IFRNET, **values}}
    words = _overrides_for(run, {"name": "mine", "net": {"_target_": IFRNET, "d": {"e": 0}}})
    parsed = OverridesParser.create().parse_overrides(
        [w for word in words for w in shlex.split(word)]
    )
    found = {o.key_or_group: o.value() for o in parsed}
    assert found.pop("model.net.d.e") == 1e-5 and found.pop("model.net.d.f") == "x y"
    assert found == {f"model.net.{k}": values[k] for k in "abcgh"}
    assert [o.input_line for o in parsed if not o.is_add()] == ["model.net.d.e=1e-05"]
