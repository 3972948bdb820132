"""Weights of networks within a model: loaded strictly, and only where the whole has none."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest
import torch

from midframe import create_flow, create_model
from midframe.errors import UserError
from midframe.files import sha256_of
from midframe.models import zoo
from midframe.models.parts import digests, left_untrained, parts_of

NARROW = {"features": [32, 32, 32, 32], "kernels": 8, "grid": [8, 8, 8]}
NARROW |= {"texture": [8, 8, 8, 8], "fuse": 8}


@pytest.fixture(scope="module")
def state():
    """Random weights of PWC-Net under its own keys."""
    torch.manual_seed(5)
    return create_flow("pwcnet").state_dict()


@pytest.fixture(scope="module")
def published(state, tmp_path_factory) -> Path:
    """The same under the keys that older published checkpoints have."""
    path = tmp_path_factory.mktemp("weights") / "pwcnet.pth"
    torch.save({re.sub(r"(^|\.)net", r"\1module", k): v for k, v in state.items()}, path)
    return path


def _same(part, state) -> bool:
    found = part.state_dict()
    return found.keys() == state.keys() and all(torch.equal(found[k], state[k]) for k in state)


@pytest.mark.parametrize(
    ("model", "part", "options"),
    [
        ("stmfnet", "flow_estimator", NARROW),
        ("softsplat", "netFlow", {"flow": "pwcnet"}),
        ("softsplat_full", "flow_predictor", {}),
        ("softsplat_personal", "flow_extractor", {}),
    ],
)
def test_a_published_checkpoint_of_the_flow_network_is_loaded_into_its_place(
    model, part, options, state, published
):
    assert zoo.config_of(model)["parts"] == {part: None}
    built = create_model(model, parts={part: published}, **options)
    assert _same(getattr(built, part), state)
    assert not _same(parts_of(create_model(model, **options))[part], state)


def test_a_run_of_the_flow_network_and_a_state_dict_serve_as_well(state, tmp_path):
    trained = {f"model.{key}": value for key, value in state.items()}
    torch.save({"state_dict": trained, "global_step": 3}, tmp_path / "best.ckpt")
    for source in (tmp_path, str(tmp_path), state):
        built = create_model("stmfnet", parts={"flow_estimator": source}, **NARROW)
        assert _same(built.flow_estimator, state)
        assert not any(p.requires_grad for p in built.flow_estimator.parameters())


def test_weights_of_the_whole_model_win_and_python_is_told_so(state, published):
    whole = create_model("stmfnet", **NARROW).state_dict()
    with pytest.warns(UserWarning, match="whole model's weights win.* flow_estimator are not"):
        built = create_model("stmfnet", whole, parts={"flow_estimator": published}, **NARROW)
    assert _same(built, whole)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        create_model("stmfnet", whole, parts={"flow_estimator": None}, **NARROW)
        built = create_model("stmfnet", "none", parts={"flow_estimator": published}, **NARROW)
    assert _same(built.flow_estimator, state)


@pytest.mark.parametrize(
    ("parts", "options", "words"),
    [
        ({"flow": "x.pth"}, {}, "model stmfnet has no part flow .*known: flow_estimator$"),
        ({"flow_estimator": "x.pth"}, {"flow": False}, "no part flow_estimator .*known: none$"),
        ({"metric": "x.pth"}, {}, "no part metric"),
        ({"flow_estimator": "no/x.pth"}, {}, "part flow_estimator: there is no weights file no/x"),
        ({"flow_estimator": {"netOne": torch.ones(1)}}, {}, "does not fit PWCNet.*1 unexpected"),
    ],
)
def test_mistakes_name_the_part(parts, options, words):
    with pytest.raises(UserError, match=words):
        create_model("stmfnet", parts=parts, **NARROW, **options)


def test_a_part_that_is_not_there_is_no_part_even_where_the_whole_has_weights(published):
    whole = create_model("stmfnet", **NARROW).state_dict()
    config = {**zoo.config_of("stmfnet"), "weights": whole, "parts": {"flow": str(published)}}
    config["net"] = {**config["net"], **NARROW}
    with pytest.raises(UserError, match="no part flow "):
        zoo.build(config)


def test_parts_are_named(published):
    with pytest.raises(UserError, match="give model.parts.NAME=pwcnet.pth"):
        zoo.build({**zoo.config_of("stmfnet_mini"), "parts": "pwcnet.pth"})


def test_a_key_too_few_is_a_misfit(state, tmp_path):
    lacking = dict(list(state.items())[1:])
    torch.save(lacking, tmp_path / "x.pth")
    with pytest.raises(UserError, match=r"part flow_estimator: .*does not fit PWCNet.*1 missing"):
        create_model("stmfnet", parts={"flow_estimator": tmp_path / "x.pth"}, **NARROW)


def test_only_a_frozen_part_without_weights_is_left_untrained():
    config = zoo.config_of("stmfnet")
    given = {**config, "parts": {"flow_estimator": "x.pth"}}

    def left(config, **options):
        model = zoo.build_empty({**config, "net": {**config["net"], **NARROW, **options}})
        return list(left_untrained(model, config))

    assert left(config) == ["flow_estimator"]
    assert left(given) == left(config, train_flow=True) == left(config, flow=False) == []


def test_the_record_holds_the_digests_of_what_is_read(published, tmp_path):
    config = {"parts": {"flow_estimator": str(published), "other": None}}
    digest = sha256_of(published)
    assert digests(None, config) == {
        "weights_sha256": None,
        "parts_sha256": {"flow_estimator": digest},
    }
    assert digests(published, config) == {"weights_sha256": digest}
    assert digests(None, {}) == digests(None, {"parts": {"a": "none"}}) == {"weights_sha256": None}
