"""Weights load strictly, from all the forms they come in, and never run code."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
import torch

from midframe import create_model, load_weights
from midframe.errors import UserError
from midframe.files import sha256_of
from midframe.models.weights import BEST, LAST, chosen_weights, read_checkpoint


@pytest.fixture
def donor():
    torch.manual_seed(1)
    return create_model("ifrnet_s")


@pytest.fixture
def state(donor):
    return donor.state_dict()


def _prefixed(state, prefix):
    return {prefix + k: v for k, v in state.items()}


FORMS = {
    "bare": lambda s: s,
    "module": lambda s: _prefixed(s, "module."),
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "model": lambda s: {"model": s, "step": 7},
    "state_dict of DDP": lambda s: {"state_dict": _prefixed(s, "module.")},
    "compiled": lambda s: _prefixed(s, "_orig_mod."),
    "both": lambda s: _prefixed(s, "module._orig_mod."),
    "lightning": lambda s: {
        "pytorch-lightning_version": "2.6.6",
        "state_dict": {**_prefixed(s, "model."), "loss.terms.x.kernel": torch.ones(1)},
        "current_model_state": _prefixed({k: v + 1 for k, v in s.items()}, "model."),
        "loops": {"fit_loop": {"state_dict": {}}},
    },
    "half": lambda s: {k: v.half() for k, v in s.items()},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", ["memory", "file"])
def test_all_usual_forms_load(state, tmp_path, form, place):
    source = FORMS[form](state)
    if place == "file":
        source = tmp_path / "weights.pth"
        torch.save(FORMS[form](state), source)
    model = create_model("ifrnet_s", weights=source)
    tolerance = 1e-3 if form == "half" else 0
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, state[key], atol=tolerance, rtol=0)


def test_official_keys_of_the_reference_data_load(golden, tmp_path):
    import json

    keys = json.loads(golden("ifrnet/IFRNet_L.keys.json").read_text())["keys"]
    weights = {k: torch.randn(shape) for k, shape in keys.items()}
    torch.save(weights, tmp_path / "IFRNet_L_Vimeo90K.pth")
    model = create_model("ifrnet_l", weights=str(tmp_path / "IFRNet_L_Vimeo90K.pth"))
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())


def test_safetensors(state, tmp_path):
    save = pytest.importorskip("safetensors.torch").save_file
    save(state, tmp_path / "w.safetensors")
    model = create_model("ifrnet_s", weights=tmp_path / "w.safetensors")
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())


def test_keys_that_do_not_fit_are_all_named_in_one_error(state):
    broken = dict(state)
    del broken["encoder.pyramid1.0.0.bias"]
    broken["encoder.extra"] = torch.ones(1)
    broken["decoder1.convblock.2.bias"] = torch.ones(5)
    with pytest.raises(UserError) as caught:
        create_model("ifrnet_s", weights=broken)
    message = str(caught.value)
    assert "1 missing: encoder.pyramid1.0.0.bias" in message
    assert "1 unexpected: encoder.extra" in message
    assert "1 mis-shaped: decoder1.convblock.2.bias (5,) for (8,)" in message


def test_the_error_stays_short_however_many_keys(state):
    junk = {f"{'x' * 500}{i}": torch.ones(1) for i in range(1000)}
    with pytest.raises(UserError) as caught:
        create_model("ifrnet_s", weights=junk)
    assert len(str(caught.value)) < 1000
    assert "104 missing" in str(caught.value)
    assert "1000 unexpected" in str(caught.value)


def test_a_failed_load_leaves_the_model_as_it_was(donor, state):
    before = {k: v.clone() for k, v in state.items()}
    broken = {k: v + 1 for k, v in state.items()}
    broken["encoder.extra"] = torch.ones(1)
    with pytest.raises(UserError):
        load_weights(donor, broken)
    assert all(torch.equal(v, before[k]) for k, v in donor.state_dict().items())


class _Touch:
    """Creates a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("writer", ["torch", "torch-legacy", "pickle"])
def test_code_inside_a_file_is_not_executed(state, tmp_path, writer):
    victim, path = tmp_path / "created", tmp_path / "evil.pth"
    content = {**state, "payload": _Touch(victim)}
    if writer == "pickle":
        path.write_bytes(pickle.dumps(_Touch(victim), protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=writer == "torch")
    with pytest.raises(UserError, match="evil.pth"):
        create_model("ifrnet_s", weights=path)
    assert not victim.exists()


@pytest.mark.parametrize(
    "damage", ["missing", "empty", "text", "truncated", "flipped", "folder", "table"]
)
def test_unreadable_files_are_named(state, tmp_path, damage):
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    content = path.read_bytes()
    if damage == "missing":
        path = tmp_path / "none.pth"
    elif damage == "folder":
        path = tmp_path
    elif damage == "flipped":
        path.write_bytes(bytes(255 - b for b in content[:400]) + content[400:-2000])
    else:
        broken = {
            "table": b"a,b\n1,2\n",
            "empty": b"",
            "text": b"<html>not found</html>",
            "truncated": content[:5000],
        }
        path.write_bytes(broken[damage])
    with pytest.raises(UserError) as caught:
        create_model("ifrnet_s", weights=path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert damage != "table" or "it is no file of PyTorch's; give a file" in str(caught.value)


@pytest.mark.parametrize(
    ("option", "own", "chosen"),
    [
        (None, None, None),
        (None, "own.pth", "own.pth"),
        ("", "own.pth", "own.pth"),
        (None, "none", None),
        ("given.pth", None, "given.pth"),
        ("given.pth", "own.pth", "given.pth"),
        ("none", "own.pth", None),
        (Path("given.pth"), "none", "given.pth"),
    ],
)
def test_a_commands_weights_win_over_the_models(option, own, chosen):
    found = chosen_weights(option, {"weights": own})
    assert found == (None if chosen is None else Path(chosen))
    assert own is not None or chosen_weights(option, {}) == found


def test_a_run_directory_stands_for_its_best_weights(tmp_path):
    for name in (LAST, BEST):
        (tmp_path / name).touch()
        assert chosen_weights(str(tmp_path), {}) == tmp_path / name
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no best.ckpt or last.ckpt in this folder"):
        chosen_weights(str(tmp_path / "empty"), {})


@pytest.mark.parametrize("nothing", ["none", ""])
def test_no_weights_cannot_be_loaded(donor, nothing):
    with pytest.raises(UserError, match="no weights to load"):
        load_weights(donor, nothing)


@pytest.mark.parametrize("content", [torch.ones(3), [1, 2], {"epoch": 3}, {"a": 1, "b": "x"}])
def test_files_without_a_state_dict_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "thing.pt")
    with pytest.raises(UserError, match="state dict"):
        create_model("ifrnet_s", weights=tmp_path / "thing.pt")


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "x").write_bytes(b"abc" * 1_000_000)
    assert sha256_of(tmp_path / "x") == hashlib.sha256(b"abc" * 1_000_000).hexdigest()


def test_read_checkpoint_puts_tensors_on_the_cpu(state, tmp_path):
    torch.save(state, tmp_path / "w.pth")
    assert {v.device.type for v in read_checkpoint(tmp_path / "w.pth").values()} == {"cpu"}
