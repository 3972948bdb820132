"""Weights that come with midframe: found by their network, held against their record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import midframe
from midframe.errors import UserError
from midframe.files import sha256_of
from midframe.launch.facts import of_model
from midframe.launch.inference import load_model
from midframe.models import shipped, zoo
from midframe.models.weights import chosen_weights, weights_to_use

CPU = torch.device("cpu")
MOST = 8_000_000  # bytes of all that is shipped


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with half-precision weights of UPR-Net, drawn with a seed of their own."""
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    config = zoo.config_of("upr_small")
    torch.manual_seed(5)
    state = zoo.build({**config, "weights": "none"}).state_dict()
    path = tmp_path / "upr_small.safetensors"
    save_file({key: value.half() for key, value in state.items()}, path)
    record = {
        "model": {"name": "upr_small", "net": dict(config["net"])},
        "sha256": sha256_of(path),
        "licence": "MIT",
        "credits": ["someone"],
        "stages": [{"command": "python train.py"}],
        "metrics": {},
    }
    path.with_suffix(".json").write_text(json.dumps(record), encoding="utf-8")
    return path


def test_who_says_nothing_gets_them_but_in_training(ours: Path) -> None:
    config = zoo.config_of("upr_small")
    assert weights_to_use(None, config) == ours
    assert chosen_weights(None, config) is None
    assert chosen_weights("shipped", config) == weights_to_use("shipped", config) == ours
    assert weights_to_use("none", config) is None
    assert weights_to_use(None, {**config, "weights": "none"}) is None
    assert weights_to_use("other.pth", config) == Path("other.pth")
    assert of_model(config, None)["weights_sha256"] == sha256_of(ours)
    assert "(untrained)" in of_model(config, "none")["model"]


def test_they_are_loaded_in_full_precision(ours: Path) -> None:
    loaded = load_model(zoo.config_of("upr_small"), None, CPU).state_dict()
    again = midframe.create_model("upr_small", "shipped").state_dict()
    torch.manual_seed(5)
    drawn = zoo.build({**zoo.config_of("upr_small"), "weights": "none"}).state_dict()
    for key, value in drawn.items():
        assert loaded[key].dtype == torch.float32
        assert torch.equal(loaded[key], value.half().float())
        assert torch.equal(again[key], loaded[key])


def test_another_network_has_none(ours: Path) -> None:
    config = zoo.config_of("upr_small")
    drawn_otherwise = {**config, "net": {**config["net"], "init": "default"}}
    assert weights_to_use(None, drawn_otherwise) == ours
    wider = {**config, "net": {**config["net"], "size": "base"}}
    assert weights_to_use(None, wider) is None
    for other in (wider, zoo.config_of("ifrnet_l")):
        with pytest.raises(UserError, match="ships weights of upr_small, and none for"):
            chosen_weights("shipped", other)
    with pytest.raises(UserError, match="needs trained weights.*midframe ships none"):
        load_model(zoo.config_of("ifrnet_l"), None, CPU)


def test_a_file_that_is_not_the_one_that_was_shipped_is_refused(ours: Path) -> None:
    content = bytearray(ours.read_bytes())
    content[-1] ^= 1
    ours.write_bytes(bytes(content))
    with pytest.raises(UserError, match="not the file that its record is of.*install midframe"):
        load_model(zoo.config_of("upr_small"), None, CPU)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": 3}', '{"model": {"name": 1}}'])
def test_a_damaged_record_is_named(ours: Path, text: str) -> None:
    ours.with_suffix(".json").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"upr_small\.json is no record of weights"):
        shipped.records()
    with pytest.raises(UserError, match="install midframe anew"):
        shipped.record_for(zoo.config_of("upr_small"))
    assert shipped.record_for(zoo.config_of("ifrnet_s")) is None  # which it does not concern


def test_what_is_really_shipped_is_small_complete_and_fits_its_model() -> None:
    files = [path for path in shipped.FOLDER.glob("*") if path.suffix != ".py"]
    assert sum(path.stat().st_size for path in files) <= MOST
    found = shipped.records()
    assert {one.path for one in found} == {path for path in files if path.suffix != ".json"}
    for one in found:
        config = zoo.config_of(one.model["name"])
        assert weights_to_use(None, config) == one.path
        assert midframe.create_model(one.model["name"], "shipped").trainable
        assert one.licence and one.credits and one.metrics
        for stage in one.stages:
            assert stage["command"].startswith("python train.py")
            assert stage["steps"] > 0 and stage["hours"] > 0 and stage["hardware"]["processor"]
            assert 0 < stage["kept"]["step"] <= stage["steps"] and stage["kept"]["samples"] > 0
            assert stage["data_fingerprint"] and stage["revision"] and stage["curve"]
